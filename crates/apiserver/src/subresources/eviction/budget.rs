//! What a PodDisruptionBudget says to an eviction.

use api::selector::LabelSelector;
use api::status::{GroupResource, Status};
use api::value::{Map, Value};

/// Upstream's `MaxDisruptedPodSize`: pods that a budget remembers as about to go.
const DISRUPTED_PODS_MAX: usize = 2_000;
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const CONDITION: &str = "DisruptionAllowed";

/// Whether the budget is about a pod with these labels. Without a selector it is about none; a broken one is no
/// obstacle.
pub fn is_about<'a>(budget: &Value, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    budget.at("spec").field("selector").is_some()
        && LabelSelector::from_object(budget.at("spec.selector")).is_ok_and(|selector| selector.matches(label))
}

/// Whether a pod that does not serve may go without being counted: nobody would miss it.
pub fn spares_unready(budget: &Value) -> bool {
    let desired = count(budget, "desiredHealthy");
    budget.str_at("spec.unhealthyPodEvictionPolicy") == "AlwaysAllow"
        || (desired > 0 && count(budget, "currentHealthy") >= desired)
}

/// The answer while the budget's status is not up to date.
pub fn being_processed(name: &str) -> Status {
    let why = format!("The disruption budget {name} is still being processed by the server.");
    Status::too_many_requests(VIOLATES, 10).cause("DisruptionBudget", why, "")
}

/// The budget after one more disruption.
///
/// # Errors
/// 429 with the reason as its cause where it allows none.
pub fn disrupt(budget: &Value, name: &str, pod: &str, now: &str) -> Result<Value, Status> {
    let generation = budget.i64_at("metadata.generation").unwrap_or_default();
    if count(budget, "observedGeneration") < generation {
        return Err(being_processed(name));
    }
    let allowed = count(budget, "disruptionsAllowed");
    if allowed < 0 {
        return Err(impossible(name, "pdb disruptions allowed is negative", "pdb disruptions allowed is negative"));
    }
    if budget.at("status.disruptedPods").as_object().map_or(0, Map::len) > DISRUPTED_PODS_MAX {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(impossible(name, why, "too many pending evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        return Err(Status::too_many_requests(VIOLATES, 0).cause("DisruptionBudget", why_none(budget, name), ""));
    }
    let mut budget = budget.clone();
    budget.set("status.disruptionsAllowed", allowed - 1);
    if allowed == 1 {
        set_exhausted(&mut budget, now);
    }
    budget.at_or_insert("status.disruptedPods").make_object().insert(pod, now);
    Ok(budget)
}

fn count(budget: &Value, field: &str) -> i64 {
    budget.at("status").i64_at(field).unwrap_or_default()
}

fn impossible(name: &str, why: &str, cause: &str) -> Status {
    let of = GroupResource { group: "policy", resource: "poddisruptionbudget" };
    let cause = format!("The disruption budget {name} does not allow evicting pods currently: {cause}");
    Status::forbidden(of, name, why).cause("DisruptionBudget", cause, "")
}

/// Why the budget allows no disruption at this moment.
fn why_none(budget: &Value, name: &str) -> String {
    let (current, desired) = (count(budget, "currentHealthy"), count(budget, "desiredHealthy"));
    let condition = budget.array_at("status.conditions").iter().find(|one| one.str_at("type") == CONDITION);
    let refusing = condition.filter(|one| one.str_at("status") == "False" && !one.str_at("message").is_empty());
    let said = refusing.map(|one| (one.str_at("reason"), one.str_at("message")));
    match said {
        Some(("SyncFailed", message)) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        ),
        _ if current <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        }
        Some((reason, message)) => {
            format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
        }
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// The condition of a budget that has just given its last disruption away.
fn set_exhausted(budget: &mut Value, now: &str) {
    let generation = budget.i64_at("status.observedGeneration").filter(|generation| *generation != 0);
    let conditions = budget.at_or_insert("status.conditions");
    if conditions.as_array().is_none() {
        *conditions = Value::Array(Vec::new());
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let at = conditions.iter().position(|one| one.str_at("type") == CONDITION).unwrap_or_else(|| {
        conditions.push(Map::from_iter([("type", CONDITION)]).into());
        conditions.len() - 1
    });
    let condition = &mut conditions[at];
    if condition.str_at("status") != "False" {
        condition.set("status", "False");
        condition.set("lastTransitionTime", now);
    }
    condition.set("reason", "InsufficientPods");
    condition.set("message", "");
    match generation {
        Some(generation) => condition.set("observedGeneration", generation),
        None => drop(condition.remove("observedGeneration")),
    }
}

#[cfg(test)]
mod tests {
    use api::codec::json;
    use rstest::rstest;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn budget(status: &str) -> Value {
        let text = format!(r#"{{"metadata":{{"generation":2}},"spec":{{}},"status":{status}}}"#);
        json::parse(text.as_bytes()).unwrap()
    }

    #[rstest]
    #[case::not_yet_seen(
        r#"{"observedGeneration":1}"#,
        429,
        "The disruption budget b is still being processed by the server."
    )]
    #[case::too_few(
        r#"{"observedGeneration":2,"disruptionsAllowed":0,"currentHealthy":1,"desiredHealthy":2}"#,
        429,
        "The disruption budget b needs 2 healthy pods and has 1 currently"
    )]
    #[case::sync_failed(
        r#"{"observedGeneration":2,"conditions":[{"type":"DisruptionAllowed","status":"False","reason":"SyncFailed","message":"oh"}]}"#,
        429,
        "The disruption budget b does not allow evicting pods currently because it failed sync: oh"
    )]
    #[case::said_otherwise(
        r#"{"observedGeneration":2,"currentHealthy":3,"conditions":[{"type":"DisruptionAllowed","status":"False","reason":"Why","message":"oh"}]}"#,
        429,
        "The disruption budget b does not allow evicting pods currently (Why): oh"
    )]
    #[case::unexplained(
        r#"{"observedGeneration":2,"currentHealthy":3}"#,
        429,
        "The disruption budget b does not allow evicting pods currently"
    )]
    #[case::nonsense(
        r#"{"observedGeneration":2,"disruptionsAllowed":-1}"#,
        403,
        "The disruption budget b does not allow evicting pods currently: pdb disruptions allowed is negative"
    )]
    fn refusals(#[case] status: &str, #[case] code: u16, #[case] cause: &str) {
        let refused = disrupt(&budget(status), "b", "p", NOW).unwrap_err();
        let causes = refused.details.as_ref().map(|details| details.causes.clone()).unwrap_or_default();
        assert_eq!(
            (refused.code, causes[0].reason.as_str(), causes[0].message.as_str()),
            (code, "DisruptionBudget", cause)
        );
    }

    #[rstest]
    #[case::one_of_several(2, 1, "True", "SufficientPods")]
    #[case::the_last_one(1, 0, "False", "InsufficientPods")]
    fn a_disruption_is_taken(#[case] allowed: i64, #[case] left: i64, #[case] state: &str, #[case] reason: &str) {
        let known = format!(
            r#"{{"observedGeneration":2,"disruptionsAllowed":{allowed},"conditions":[{{"type":"DisruptionAllowed","status":"True","reason":"SufficientPods","message":""}}]}}"#
        );
        let after = disrupt(&budget(&known), "b", "p", NOW).unwrap();
        assert_eq!(after.i64_at("status.disruptionsAllowed"), Some(left));
        assert_eq!(after.at("status.disruptedPods").str_at("p"), NOW);
        let condition = &after.array_at("status.conditions")[0];
        assert_eq!((condition.str_at("status"), condition.str_at("reason")), (state, reason));
    }

    #[rstest]
    #[case::enough_without_it(r#"{"currentHealthy":2,"desiredHealthy":2}"#, "", true)]
    #[case::too_few_already(r#"{"currentHealthy":1,"desiredHealthy":2}"#, "", false)]
    #[case::none_wanted(r#"{"currentHealthy":0,"desiredHealthy":0}"#, "", false)]
    #[case::always(r#"{"currentHealthy":1,"desiredHealthy":2}"#, "AlwaysAllow", true)]
    fn pods_that_do_not_serve(#[case] status: &str, #[case] policy: &str, #[case] spared: bool) {
        let mut budget = budget(status);
        budget.set("spec.unhealthyPodEvictionPolicy", policy);
        assert_eq!(spares_unready(&budget), spared);
    }
}
