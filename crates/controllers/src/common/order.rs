//! Which pods go first when there are too many: upstream's `ActivePodsWithRanks`.

use std::cmp::Ordering;
use std::collections::HashMap;

use client::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pods;

/// Says how willingly a pod is given up: lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts pods so that those to be deleted come first. `related` are the active and other pods whose number on a node
/// makes the node's pods go first (those of all sets of one deployment).
pub fn sort_for_deletion<'a, P: std::borrow::Borrow<Pod>>(
    candidates: &mut [P],
    related: impl IntoIterator<Item = &'a Pod>,
    now: Timestamp,
) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.into_iter().filter(|pod| pods::is_active(pod)) {
        *on_node.entry(pods::node_name(pod)).or_default() += 1;
    }
    let rank = |pod: &Pod| on_node.get(pods::node_name(pod)).copied().unwrap_or(0);
    candidates.sort_by(|a, b| compare(a.borrow(), b.borrow(), rank(a.borrow()), rank(b.borrow()), now));
}

fn compare(a: &Pod, b: &Pod, rank_a: usize, rank_b: usize, now: Timestamp) -> Ordering {
    let is_assigned = |pod: &Pod| !pods::node_name(pod).is_empty();
    is_assigned(a)
        .cmp(&is_assigned(b))
        .then_with(|| phase_order(a).cmp(&phase_order(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| match pods::is_ready(a) && pods::is_ready(b) {
            true => by_age(pods::ready_since(a), pods::ready_since(b), now),
            false => Ordering::Equal,
        })
        .then_with(|| pods::restarts(b).cmp(&pods::restarts(a)))
        .then_with(|| by_age(a.created(), b.created(), now))
        .then_with(|| a.uid().cmp(b.uid()))
}

/// Pending before unknown before running; a phase that is not known counts as pending.
fn phase_order(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    pod.annotation(DELETION_COST).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The younger first; ages that are close (same power of two) are the same, and UIDs decide in the end, which is as good
/// as by chance. (Upstream asks for UIDs at once unless times are equal to the second, which is no order: of three pods
/// each may come before the next.) No time at all counts as youngest.
fn by_age(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => magnitude(a, now).cmp(&magnitude(b, now)),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// The binary logarithm of an age in nanoseconds.
fn magnitude(time: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(time).as_nanos();
    u128::try_from(age).ok().and_then(u128::checked_ilog2).map_or(-1, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::View;
    use rstest::rstest;

    fn pod(json: &str) -> Box<Pod> {
        Box::new(Pod::decode(json.as_bytes()).unwrap())
    }

    const NODE: &str = r#""spec":{"nodeName":"n","containers":[]}"#;
    const READY: &str = r#""status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;

    #[rstest]
    #[case::unassigned("{}", &format!("{{{NODE}}}"))]
    #[case::pending(r#"{"status":{"phase":"Pending"}}"#, r#"{"status":{"phase":"Running"}}"#)]
    #[case::not_ready(r#"{"status":{"phase":"Running"}}"#, &format!("{{{READY}}}"))]
    #[case::cheap(r#"{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"-5"}}}"#, "{}")]
    #[case::restarted(
        r#"{"status":{"containerStatuses":[{"name":"c","image":"","imageID":"","ready":true,"restartCount":3}]}}"#,
        "{}"
    )]
    #[case::younger(
        r#"{"metadata":{"creationTimestamp":"2026-01-01T00:59:00Z"}}"#,
        r#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"}}"#
    )]
    #[case::about_as_old_by_uid(
        r#"{"metadata":{"uid":"a","creationTimestamp":"2026-01-01T00:00:00Z"}}"#,
        r#"{"metadata":{"uid":"b","creationTimestamp":"2026-01-01T00:00:01Z"}}"#
    )]
    fn goes_first(#[case] first: &str, #[case] second: &str) {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        assert_eq!(compare(&pod(first), &pod(second), 0, 0, now), Ordering::Less);
        assert_eq!(compare(&pod(second), &pod(first), 0, 0, now), Ordering::Greater);
    }

    #[test]
    fn pods_that_share_a_node_go_first() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let on = |name: &str, node: &str| {
            pod(&format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"nodeName":"{node}","containers":[]}}}}"#))
        };
        let related = [on("a", "n1"), on("b", "n2"), on("c", "n2")];
        let mut candidates = [on("a", "n1"), on("b", "n2")];
        sort_for_deletion(&mut candidates, related.iter().map(|pod| &**pod), now);
        assert_eq!(candidates[0].name(), "b");
    }

    /// The standard library's sort panics where there is no order; Deployments of this size are scaled down every day.
    #[test]
    fn many_pods_of_about_one_age_have_an_order() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let made = |n: u64| {
            let (uid, second) = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40, n % 4);
            pod(&format!(
                r#"{{"metadata":{{"uid":"{uid:06x}","creationTimestamp":"2026-01-01T00:00:0{second}Z"}},"spec":{{"containers":[]}}}}"#
            ))
        };
        let mut candidates: Vec<_> = (0..200).map(made).collect();
        sort_for_deletion(&mut candidates, [], now);
        assert!(candidates.is_sorted_by(|a, b| a.uid() <= b.uid()));
    }
}
