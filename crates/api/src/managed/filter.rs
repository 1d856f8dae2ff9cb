//! The fields that an endpoint does not write, whatever a client sends: nobody comes to own them
//! there.
//!
//! Upstream's strategies state them (`GetResetFields`, `GetResetFieldsFilter` in `pkg/registry`);
//! here they are a table, which a test of the API server's could hold against the strategies.

use super::PathElement;
use super::set::{Entry, Set};
use std::sync::LazyLock;

/// Which fields count.
#[derive(Clone, Debug)]
pub enum Filter {
    /// All.
    All,
    /// All but these and what lies below them.
    Without(Set),
    /// Only those under one of these paths; `*` is any element.
    Only(&'static [&'static [&'static str]]),
}

/// What the status endpoints do not write.
#[derive(Clone, Copy)]
enum Status {
    Spec,
    SpecAndMetadata,
    SpecAndLabels,
    Pod,
    SigningRequest,
}

/// Kinds whose resource resets its status, and what their status resets.
const KINDS: [(&str, &[(&str, Status)]); 16] = [
    (
        "",
        &[
            ("Namespace", Status::Spec),
            ("Node", Status::Spec),
            ("PersistentVolume", Status::Spec),
            ("PersistentVolumeClaim", Status::Spec),
            ("Pod", Status::Pod),
            ("ReplicationController", Status::Spec),
            ("ResourceQuota", Status::Spec),
            ("Service", Status::Spec),
        ],
    ),
    ("admissionregistration.k8s.io", &[("ValidatingAdmissionPolicy", Status::SpecAndMetadata)]),
    ("apiextensions.k8s.io", &[("CustomResourceDefinition", Status::SpecAndMetadata)]),
    ("apiregistration.k8s.io", &[("APIService", Status::SpecAndMetadata)]),
    (
        "apps",
        &[
            ("DaemonSet", Status::Spec),
            ("Deployment", Status::SpecAndLabels),
            ("ReplicaSet", Status::Spec),
            ("StatefulSet", Status::Spec),
        ],
    ),
    ("autoscaling", &[("HorizontalPodAutoscaler", Status::Spec)]),
    ("batch", &[("CronJob", Status::Spec), ("Job", Status::Spec)]),
    (
        "certificates.k8s.io",
        &[("CertificateSigningRequest", Status::SigningRequest), ("PodCertificateRequest", Status::SpecAndMetadata)],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        &[("FlowSchema", Status::SpecAndMetadata), ("PriorityLevelConfiguration", Status::SpecAndMetadata)],
    ),
    ("internal.apiserver.k8s.io", &[("StorageVersion", Status::SpecAndMetadata)]),
    ("networking.k8s.io", &[("Ingress", Status::Spec), ("ServiceCIDR", Status::SpecAndMetadata)]),
    ("policy", &[("PodDisruptionBudget", Status::Spec)]),
    (
        "resource.k8s.io",
        &[
            ("DeviceTaintRule", Status::SpecAndMetadata),
            ("ResourceClaim", Status::SpecAndMetadata),
            ("ResourcePoolStatusRequest", Status::SpecAndMetadata),
        ],
    ),
    ("scheduling.k8s.io", &[("CompositePodGroup", Status::SpecAndMetadata), ("PodGroup", Status::SpecAndMetadata)]),
    ("storage.k8s.io", &[("CSINode", Status::SpecAndMetadata), ("VolumeAttachment", Status::SpecAndMetadata)]),
    ("storagemigration.k8s.io", &[("StorageVersionMigration", Status::SpecAndMetadata)]),
];

type Lazy = LazyLock<Filter>;

static ALL: Filter = Filter::All;
static STATUS: Lazy = Lazy::new(|| without(&[&["status"]]));
static SPEC: Lazy = Lazy::new(|| without(&[&["spec"]]));
static SPEC_AND_METADATA: Lazy = Lazy::new(|| without(&[&["spec"], &["metadata"]]));
static SPEC_AND_LABELS: Lazy = Lazy::new(|| without(&[&["spec"], &["metadata", "labels"]]));
static POD_STATUS: Lazy =
    Lazy::new(|| without(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]));
static SIGNING_REQUEST: Lazy = Lazy::new(|| without(&[&["spec"], &["status"]]));
static SIGNING_REQUEST_STATUS: Lazy = Lazy::new(|| without(&[&["spec"], &["status", "conditions"]]));
static APPROVAL: Lazy = Lazy::new(|| without(&[&["spec"], &["status", "certificate"]]));
static EPHEMERAL_CONTAINERS: Filter = Filter::Only(&[&["spec", "ephemeralContainers"]]);
static RESIZE: Filter = Filter::Only(&[
    &["spec", "containers", "*", "resources"],
    &["spec", "containers", "*", "resizePolicy"],
    &["spec", "initContainers", "*", "resources"],
    &["spec", "initContainers", "*", "resizePolicy"],
]);

fn without(paths: &[&[&str]]) -> Filter {
    Filter::Without(Set::of_fields(paths))
}

// === impl Filter ===

impl Filter {
    /// The filter of a built-in kind's endpoint: the resource itself (no subresource) or one of
    /// its subresources that write the resource.
    pub fn of(group: &str, kind: &str, subresource: &str) -> &'static Filter {
        let row = || KINDS.iter().find(|(name, _)| *name == group)?.1.iter().find(|(name, _)| *name == kind);
        match (kind, subresource) {
            ("Pod", "ephemeralcontainers") if group.is_empty() => return &EPHEMERAL_CONTAINERS,
            ("Pod", "resize") if group.is_empty() => return &RESIZE,
            ("CertificateSigningRequest", "") => return &SIGNING_REQUEST,
            ("CertificateSigningRequest", "approval") => return &APPROVAL,
            _ => {}
        }
        let Some((_, status)) = row() else { return &ALL };
        match (subresource, status) {
            ("" | "finalize", _) => &STATUS,
            ("status", Status::Spec) => &SPEC,
            ("status", Status::SpecAndMetadata) => &SPEC_AND_METADATA,
            ("status", Status::SpecAndLabels) => &SPEC_AND_LABELS,
            ("status", Status::Pod) => &POD_STATUS,
            ("status", Status::SigningRequest) => &SIGNING_REQUEST_STATUS,
            _ => &ALL,
        }
    }

    /// Takes out of the set what does not count.
    pub fn apply(&self, set: &mut Set) {
        match self {
            Filter::All => {}
            Filter::Without(fields) => set.subtract_trees(fields),
            Filter::Only(paths) => *set = only(set, paths),
        }
    }
}

/// Members on the way to a path count, too: upstream's matcher has it so.
fn only(set: &Set, paths: &[&[&str]]) -> Set {
    let matches = |element: &PathElement, step: &str| step == "*" || element.field_name() == Some(step);
    let keep = |entry: &Entry| {
        let mut below: Vec<&[&str]> = Vec::new();
        for path in paths {
            match path.split_first() {
                None => return Some(entry.clone()),
                Some((step, rest)) if matches(&entry.element, step) => below.push(rest),
                Some(_) => {}
            }
        }
        if below.is_empty() {
            return None;
        }
        let children = only(&entry.children, &below);
        let kept = Entry { element: entry.element.clone(), member: entry.member, children };
        (kept.member || !kept.children.is_empty()).then_some(kept)
    };
    Set { entries: set.entries.iter().filter_map(keep).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::fields;
    use crate::registry::{Registry, Resource};
    use crate::testing::json;
    use rstest::rstest;

    const POD: &str = r#"{"f:metadata":{"f:labels":{"f:a":{}},"f:ownerReferences":{}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:resources":{"f:limits":{}}}},"f:nodeName":{}},"f:status":{"f:phase":{}}}"#;

    #[rstest]
    #[case("Pod", "", r#"{"f:metadata":{"f:labels":{"f:a":{}},"f:ownerReferences":{}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:resources":{"f:limits":{}}}},"f:nodeName":{}}}"#)]
    #[case("Pod", "status", r#"{"f:metadata":{"f:labels":{"f:a":{}}},"f:status":{"f:phase":{}}}"#)]
    #[case(
        "Pod",
        "resize",
        r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:resources":{"f:limits":{}}}}}}"#
    )]
    #[case("Pod", "ephemeralcontainers", "{}")]
    #[case("Pod", "other", POD)]
    #[case("ConfigMap", "", POD)]
    fn filters(#[case] kind: &str, #[case] subresource: &str, #[case] expected: &str) {
        let mut set = fields::read(&json(POD)).unwrap();
        Filter::of("", kind, subresource).apply(&mut set);
        assert_eq!(fields::write(&set), json(expected));
    }

    /// Every resource with a status is in the table, and nothing that is not a kind.
    #[test]
    fn the_table_is_that_of_the_registry() {
        let registry = Registry::builtin();
        let listed = |group: &str, kind: &str| {
            KINDS.iter().any(|(name, kinds)| *name == group && kinds.iter().any(|(name, _)| *name == kind))
        };
        let unlisted = |row: &&Resource| row.subresource("status").is_some() && !listed(&row.group, &row.kind);
        let missing: Vec<_> = registry.resources().iter().filter(unlisted).map(|row| &row.kind).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let known =
            |group: &str, kind: &str| registry.kinds().iter().any(|(of, _)| of.group == *group && of.kind == *kind);
        for (group, kinds) in KINDS {
            let unknown: Vec<_> = kinds.iter().map(|(kind, _)| *kind).filter(|kind| !known(group, kind)).collect();
            assert!(unknown.is_empty(), "{group}: {unknown:?}");
        }
    }
}
