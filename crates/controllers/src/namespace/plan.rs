//! What a pass over a namespace found, and how that is told in its conditions.

use std::collections::BTreeMap;

use api::value::{Map, Value};
use client::Resource;
use jiff::Timestamp;

use crate::common::tree;

/// How long finalizers are expected to take; upstream's guess.
const FINALIZER_SECONDS: i64 = 15;

/// What is left of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// How many objects.
    pub objects: usize,
    /// How many of them each finalizer holds.
    pub finalizers: BTreeMap<String, usize>,
}

/// What a pass found.
#[derive(Debug, Default)]
pub struct Findings {
    remaining: BTreeMap<String, Remaining>,
    errors: Vec<String>,
    /// Seconds until it is worth looking again; 0 if nothing is left.
    pub estimate: i64,
}

// === impl Findings ===

impl Findings {
    /// Something went wrong with one resource.
    pub fn failed(&mut self, error: String) {
        self.errors.push(error);
    }

    /// Objects of a resource are still there; `estimate` is how many seconds they may take to end by themselves.
    pub fn remain(&mut self, resource: &Resource, namespace: &str, remaining: Remaining, estimate: i64) {
        if remaining.objects == 0 {
            return;
        }
        let seconds = match (estimate, remaining.finalizers.is_empty()) {
            (0, true) => {
                let (group, version, plural) = (&resource.group, &resource.version, &resource.plural);
                let what = format!("{group}/{version}, Resource={plural}");
                self.errors.push(format!("unexpected items still remain in namespace: {namespace} for gvr: {what}"));
                0
            }
            (0, false) => FINALIZER_SECONDS,
            (estimate, _) => estimate,
        };
        self.estimate = self.estimate.max(seconds);
        self.remaining.insert(format!("{}.{}", resource.plural, resource.group), remaining);
    }

    /// Whether anything is left.
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    /// What went wrong.
    pub fn error(&self) -> Option<String> {
        let mut errors = self.errors.clone();
        errors.sort();
        errors.dedup();
        (!errors.is_empty()).then(|| errors.join(", "))
    }

    /// Tells it in the namespace's conditions. Whether they changed.
    pub fn tell(&self, namespace: &mut Value, now: Timestamp) -> bool {
        let mut conditions: Vec<Value> = namespace.array_at("status.conditions").to_vec();
        let mut has_changed = false;
        for (kind, reason, message, trouble) in self.conditions() {
            let (status, reason, message) = match trouble {
                Some((reason, message)) => ("True", reason, message),
                None => ("False", reason, message.to_owned()),
            };
            let mut condition = Map::from_iter([("type", kind), ("status", status)]);
            condition.insert("lastTransitionTime", tree::time(now));
            condition.insert("reason", reason);
            condition.insert("message", message);
            let mut condition = Value::Object(condition);
            let Some(known) = conditions.iter_mut().find(|known| known.str_at("type") == kind) else {
                conditions.push(condition);
                has_changed = true;
                continue;
            };
            if known.str_at("status") == status {
                condition.set("lastTransitionTime", known.get("lastTransitionTime"));
            }
            if *known != condition {
                *known = condition;
                has_changed = true;
            }
        }
        if has_changed {
            namespace.set("status.conditions", conditions);
        }
        has_changed
    }

    /// Every condition: its type, reason and message when all is well, and what is not.
    #[allow(clippy::type_complexity)]
    fn conditions(&self) -> [(&'static str, &'static str, &'static str, Option<(&'static str, String)>); 5] {
        let failure = self.error().map(|errors| {
            let said = format!("Failed to delete all resource types, {} remaining: {errors}", self.errors.len());
            ("ContentDeletionFailed", said)
        });
        let lines: Vec<String> = self
            .remaining
            .iter()
            .map(|(name, left)| format!("{name} has {} resource instances", left.objects))
            .collect();
        let content = (!lines.is_empty())
            .then(|| ("SomeResourcesRemain", format!("Some resources are remaining: {}", lines.join(", "))));
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        for (finalizer, count) in self.remaining.values().flat_map(|left| &left.finalizers) {
            *held.entry(finalizer).or_default() += count;
        }
        let lines: Vec<String> =
            held.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect();
        let finalizers = (!lines.is_empty()).then(|| {
            let said = format!("Some content in the namespace has finalizers remaining: {}", lines.join(", "));
            ("SomeFinalizersRemain", said)
        });
        [
            ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered", None),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
                None,
            ),
            (
                "NamespaceDeletionContentFailure",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
                failure,
            ),
            ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed", content),
            (
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
                finalizers,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::resources::{CONFIG_MAPS, DEPLOYMENTS, PODS};

    fn left(objects: usize, finalizers: &[&str]) -> Remaining {
        Remaining { objects, finalizers: finalizers.iter().map(|one| ((*one).to_owned(), objects)).collect() }
    }

    fn said(tree: &Value, kind: &str) -> (String, String) {
        let found = tree.array_at("status.conditions").iter().find(|one| one.str_at("type") == kind).unwrap();
        (found.str_at("status").to_owned(), found.str_at("message").to_owned())
    }

    #[test]
    fn what_remains_is_told_once() {
        let mut findings = Findings::default();
        findings.remain(&PODS, "ns", left(2, &[]), 30);
        findings.remain(&DEPLOYMENTS, "ns", left(1, &["a/b"]), 0);
        findings.remain(&CONFIG_MAPS, "ns", left(0, &[]), 0);
        assert_eq!((findings.estimate, findings.error()), (30, None));
        let mut tree = Value::object();
        assert!(findings.tell(&mut tree, Timestamp::UNIX_EPOCH));
        let content =
            "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances";
        assert_eq!(said(&tree, "NamespaceContentRemaining"), ("True".into(), content.into()));
        let held = "Some content in the namespace has finalizers remaining: a/b in 1 resource instances";
        assert_eq!(said(&tree, "NamespaceFinalizersRemaining"), ("True".into(), held.into()));
        assert!(!findings.tell(&mut tree, Timestamp::MAX));
        assert!(Findings::default().tell(&mut tree, Timestamp::UNIX_EPOCH));
        assert_eq!(said(&tree, "NamespaceContentRemaining").0, "False");
    }

    #[test]
    fn what_should_be_gone_is_an_error() {
        let mut findings = Findings::default();
        findings.remain(&CONFIG_MAPS, "ns", left(1, &[]), 0);
        let expected = "unexpected items still remain in namespace: ns for gvr: /v1, Resource=configmaps";
        assert_eq!(findings.error().as_deref(), Some(expected));
    }
}
