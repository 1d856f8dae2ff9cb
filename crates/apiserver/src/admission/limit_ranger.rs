//! LimitRanger: what containers ask for where they don't say, and what they, pods and claims may ask for.
//!
//! Upstream: `plugin/pkg/admission/limitranger`.

use api::quantity::Quantity;
use api::quota::{Amounts, pods};
use api::status::Status;
use api::value::{Map, Value};

use super::{Attributes, Operation};
use crate::api::Api;

const PREFIX: &str = "/registry/limitranges/";
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// The largest whole number whose thousandths fit into 64 bits: upstream's `MaxMilliValue`.
const MILLI_MAX: i64 = i64::MAX / 1000;

pub fn mutate(api: &Api, attributes: &Attributes<'_>, pod: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    if attributes.served.plural() == "pods" && is_concerned(attributes, old) {
        for range in ranges(api, attributes.namespace)? {
            fill(&range, pod);
        }
    }
    Ok(())
}

pub fn validate(
    api: &Api,
    attributes: &Attributes<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(object) = object.filter(|_| is_concerned(attributes, old)) else { return Ok(()) };
    for range in ranges(api, attributes.namespace)? {
        let wrong = match attributes.served.plural() {
            "pods" => pod_errors(&range, object),
            _ => claim_errors(&range, object),
        };
        if let Some(why) = aggregate(wrong) {
            return Err(attributes.forbidden(&why));
        }
    }
    Ok(())
}

/// New pods and claims, changed claims, resized pods; but not what is going anyway.
fn is_concerned(attributes: &Attributes<'_>, old: Option<&Value>) -> bool {
    let concerned = match (attributes.served.plural(), attributes.subresource) {
        ("pods", "") => attributes.operation == Operation::Create,
        ("pods", "resize") => attributes.operation == Operation::Update,
        ("persistentvolumeclaims", "") => true,
        _ => false,
    };
    concerned
        && attributes.served.group().is_empty()
        && old.is_none_or(|old| old.at("metadata").field("deletionTimestamp").is_none())
}

fn ranges(api: &Api, namespace: &str) -> Result<Vec<Value>, Status> {
    let snapshot = api.store.snapshot(PREFIX);
    let root = format!("{PREFIX}{namespace}/");
    snapshot.range(&root, None).map(|entry| api::codec::json::parse(&entry.value).map_err(Status::internal)).collect()
}

/// The limits of one type.
fn limits<'a>(range: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    range.array_at("spec.limits").iter().filter(move |limit| limit.str_at("type") == kind)
}

// === defaults ===

/// Fills in what containers don't say, and notes on the pod what that was.
fn fill(range: &Value, pod: &mut Value) {
    let (mut requests, mut most) = (Map::new(), Map::new());
    for limit in limits(range, "Container") {
        for (defaults, list) in [(&mut requests, "defaultRequest"), (&mut most, "default")] {
            for (name, amount) in limit.at(list).as_object().into_iter().flat_map(Map::iter) {
                defaults.insert(name.clone(), amount.clone());
            }
        }
    }
    let mut notes = Vec::new();
    for (list, called) in [("spec.containers", "container"), ("spec.initContainers", "init container")] {
        for container in pod.at_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let limited = merge(container, "limits", &most);
            let requested = merge(container, "requests", &requests);
            for (names, what) in [(requested, "request"), (limited, "limit")] {
                if !names.is_empty() {
                    notes.push(format!("{} {what} for {called} {}", names.join(", "), container.str_at("name")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let said = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod.at_or_insert("metadata.annotations").make_object().insert(ANNOTATION, said);
    }
}

/// Sets what is missing; the names of that, in order.
fn merge(container: &mut Value, list: &str, defaults: &Map) -> Vec<String> {
    let known = container.at("resources").at(list);
    let mut missing: Vec<(String, Value)> = Vec::new();
    for (name, amount) in defaults.iter().filter(|(name, _)| known.field(name).is_none()) {
        missing.push((name.to_string(), amount.clone()));
    }
    missing.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, amount) in &missing {
        let resources = container.at_or_insert("resources").make_object();
        resources.get_or_insert(list).make_object().insert(name.as_str(), amount.clone());
    }
    missing.into_iter().map(|(name, _)| name).collect()
}

// === judgement ===

/// What something asks for.
struct Asked<'a> {
    /// `Container`, `Pod`, `PersistentVolumeClaim`.
    kind: &'static str,
    requests: &'a Amounts,
    limits: &'a Amounts,
}

fn pod_errors(range: &Value, pod: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for limit in range.array_at("spec.limits") {
        match limit.str_at("type") {
            "Container" => {
                for container in ["spec.containers", "spec.initContainers"].iter().flat_map(|list| pod.array_at(list)) {
                    let requests = Amounts::read(container.at("resources.requests"));
                    let limits = Amounts::read(container.at("resources.limits"));
                    Asked { kind: "Container", requests: &requests, limits: &limits }.check(limit, &mut errors);
                }
            }
            "Pod" => {
                // As it is asked for, whatever it holds or costs besides.
                let mut asked = Value::object();
                asked.set("spec", pod.at("spec").clone());
                asked.remove("spec.overhead");
                let (requests, limits) = (pods::requests(&asked), pods::limits(&asked));
                Asked { kind: "Pod", requests: &requests, limits: &limits }.check(limit, &mut errors);
            }
            _ => {}
        }
    }
    errors
}

fn claim_errors(range: &Value, claim: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let (requests, none) = (Amounts::read(claim.at("spec.resources.requests")), Amounts::default());
    let asked = Asked { kind: "PersistentVolumeClaim", requests: &requests, limits: &none };
    for limit in limits(range, asked.kind) {
        errors.extend(Amounts::read(limit.at("min")).iter().filter_map(|(name, least)| asked.below(name, least)));
        errors.extend(Amounts::read(limit.at("max")).iter().filter_map(|(name, most)| asked.request_above(name, most)));
    }
    errors
}

// === impl Asked ===

impl Asked<'_> {
    fn check(&self, limit: &Value, errors: &mut Vec<String>) {
        errors.extend(Amounts::read(limit.at("min")).iter().filter_map(|(name, least)| self.below(name, least)));
        errors.extend(Amounts::read(limit.at("max")).iter().filter_map(|(name, most)| self.above(name, most)));
        let ratios = Amounts::read(limit.at("maxLimitRequestRatio"));
        errors.extend(ratios.iter().filter_map(|(name, most)| self.too_far_apart(name, most)));
    }

    fn below(&self, name: &str, least: &Quantity) -> Option<String> {
        let said = format!("minimum {name} usage per {} is {least}", self.kind);
        let Some(request) = self.requests.get(name) else { return Some(format!("{said}.  No request is specified")) };
        let limit = self.limits.get(name);
        let values = Values::of(Some(request), limit, least);
        if values.request < values.enforced {
            return Some(format!("{said}, but request is {request}"));
        }
        let limit = limit.filter(|_| values.limit < values.enforced)?;
        Some(format!("{said}, but limit is {limit}"))
    }

    fn above(&self, name: &str, most: &Quantity) -> Option<String> {
        let said = format!("maximum {name} usage per {} is {most}", self.kind);
        let Some(limit) = self.limits.get(name) else { return Some(format!("{said}.  No limit is specified")) };
        let request = self.requests.get(name);
        let values = Values::of(request, Some(limit), most);
        if values.limit > values.enforced {
            return Some(format!("{said}, but limit is {limit}"));
        }
        let request = request.filter(|_| values.request > values.enforced)?;
        Some(format!("{said}, but request is {request}"))
    }

    fn request_above(&self, name: &str, most: &Quantity) -> Option<String> {
        let said = format!("maximum {name} usage per {} is {most}", self.kind);
        let Some(request) = self.requests.get(name) else { return Some(format!("{said}.  No request is specified")) };
        let values = Values::of(Some(request), None, most);
        (values.request > values.enforced).then(|| format!("{said}, but request is {request}"))
    }

    fn too_far_apart(&self, name: &str, most: &Quantity) -> Option<String> {
        let said = format!("{name} max limit to request ratio per {} is {most}", self.kind);
        let values = Values::of(self.requests.get(name), self.limits.get(name), most);
        if values.request == 0 {
            return Some(format!("{said}, but no request is specified or request is 0"));
        }
        if values.limit == 0 {
            return Some(format!("{said}, but no limit is specified or limit is 0"));
        }
        let ratio = values.limit as f64 / values.request as f64;
        let is_above = match most.value() <= MILLI_MAX {
            true => ratio * 1000.0 > most.milli_value() as f64,
            false => ratio > most.value() as f64,
        };
        is_above.then(|| format!("{said}, but provided ratio is {ratio:.6}"))
    }
}

/// Three amounts in one unit: thousandths, unless one of them is too large for that.
struct Values {
    request: i64,
    limit: i64,
    enforced: i64,
}

impl Values {
    fn of(request: Option<&Quantity>, limit: Option<&Quantity>, enforced: &Quantity) -> Values {
        let all = [request, limit, Some(enforced)];
        let is_small = all.iter().flatten().all(|one| one.value() <= MILLI_MAX);
        let value = |one: Option<&Quantity>| match (one, is_small) {
            (None, _) => 0,
            (Some(one), true) => one.milli_value(),
            (Some(one), false) => one.value(),
        };
        Values { request: value(request), limit: value(limit), enforced: value(Some(enforced)) }
    }
}

/// Several errors as Go joins them.
fn aggregate(mut errors: Vec<String>) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    match errors.len() {
        0 => None,
        1 => errors.pop(),
        _ => Some(format!("[{}]", errors.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use api::codec::json;
    use rstest::rstest;

    use super::*;

    fn value(text: &str) -> Value {
        json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_said_is_filled_in_and_noted() {
        let range = value(
            r#"{"spec":{"limits":[{"type":"Container","default":{"cpu":"2","memory":"1Gi"},"defaultRequest":{"cpu":"1"}}]}}"#,
        );
        let mut pod = value(
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b","resources":{"limits":{"cpu":"3"},"requests":{"cpu":"3"}}}],"initContainers":[{"name":"i","resources":{"limits":{"cpu":"1","memory":"1"}}}]}}"#,
        );
        fill(&range, &mut pod);
        let containers = pod.array_at("spec.containers");
        assert_eq!(
            containers[0].at("resources"),
            &value(r#"{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"1"}}"#)
        );
        assert_eq!(
            containers[1].at("resources"),
            &value(r#"{"limits":{"cpu":"3","memory":"1Gi"},"requests":{"cpu":"3"}}"#)
        );
        assert_eq!(
            pod.at("metadata.annotations").get(ANNOTATION).as_str(),
            Some(
                "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; memory limit for container b; cpu request for init container i"
            )
        );
    }

    #[rstest]
    #[case::fits(r#"{"type":"Container","min":{"cpu":"50m"},"max":{"cpu":"1"}}"#, "100m", "200m", "")]
    #[case::below(
        r#"{"type":"Container","min":{"cpu":"150m"}}"#,
        "100m",
        "200m",
        "minimum cpu usage per Container is 150m, but request is 100m"
    )]
    #[case::above(
        r#"{"type":"Container","max":{"cpu":"150m"}}"#,
        "100m",
        "200m",
        "maximum cpu usage per Container is 150m, but limit is 200m"
    )]
    #[case::not_said(
        r#"{"type":"Container","max":{"memory":"1Gi"},"min":{"memory":"1Mi"}}"#,
        "100m",
        "200m",
        "[minimum memory usage per Container is 1Mi.  No request is specified, maximum memory usage per Container is 1Gi.  No limit is specified]"
    )]
    #[case::too_far_apart(
        r#"{"type":"Container","maxLimitRequestRatio":{"cpu":"1500m"}}"#,
        "100m",
        "200m",
        "cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000"
    )]
    #[case::together(
        r#"{"type":"Pod","max":{"cpu":"150m"}}"#,
        "100m",
        "200m",
        "maximum cpu usage per Pod is 150m, but limit is 200m"
    )]
    fn judgements(#[case] limit: &str, #[case] request: &str, #[case] most: &str, #[case] expected: &str) {
        let range = value(&format!(r#"{{"spec":{{"limits":[{limit}]}}}}"#));
        let pod = value(&format!(
            r#"{{"spec":{{"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"{request}"}},"limits":{{"cpu":"{most}"}}}}}}]}}}}"#
        ));
        assert_eq!(aggregate(pod_errors(&range, &pod)).unwrap_or_default(), expected);
    }

    #[rstest]
    #[case("1Gi", "")]
    #[case("11Gi", "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 11Gi")]
    #[case("1Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")]
    fn claims(#[case] size: &str, #[case] expected: &str) {
        let range = value(
            r#"{"spec":{"limits":[{"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"10Gi"}}]}}"#,
        );
        let claim = value(&format!(r#"{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}"#));
        assert_eq!(aggregate(claim_errors(&range, &claim)).unwrap_or_default(), expected);
    }
}
