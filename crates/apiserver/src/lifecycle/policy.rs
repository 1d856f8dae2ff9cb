//! What kinds say about their deletion. A table.
//!
//! Upstream: `ReturnDeletedObject`, `DefaultGarbageCollectionPolicy` and `CheckGracefulDelete` in
//! `pkg/registry`.

use api::value::Value;

use super::deletion::Policy;
use crate::request::options::DeleteOptions;
use crate::served::Served;

/// Resources whose deletion answers with the object rather than a Status.
const RETURN_DELETED_OBJECT: &[(&str, &str)] = &[
    ("", "namespaces"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

/// Resources whose dependents are orphaned unless the request says otherwise.
const ORPHAN_BY_DEFAULT: &[(&str, &str)] = &[("", "replicationcontrollers"), ("batch", "jobs")];

pub fn returns_deleted_object(served: &Served) -> bool {
    of_resource_returns_deleted_object(served.group(), served.plural())
}

pub fn of_resource_returns_deleted_object(group: &str, plural: &str) -> bool {
    RETURN_DELETED_OBJECT.contains(&(group, plural))
}

/// What a client is told that deletes without saying what becomes of the dependents. Upstream's storage of jobs.
pub fn warning(served: &Served, options: &DeleteOptions) -> Option<&'static str> {
    let is_job = (served.group(), served.plural()) == ("batch", "jobs");
    (is_job && options.propagation.is_none()).then_some(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them \
         or set propagationPolicy=Orphan to suppress this warning",
    )
}

/// How this object, in the stored version, may be deleted.
pub fn of(served: &Served, object: &Value, options: &DeleteOptions) -> Policy {
    Policy {
        grace_seconds: (served.group().is_empty() && served.plural() == "pods").then(|| pod_grace(object, options)),
        orphans_by_default: ORPHAN_BY_DEFAULT.contains(&(served.group(), served.plural())),
        no_garbage_collection: served.plural() == "events",
        terminates: is_namespaces(served),
        precondition_words: precondition_words(served),
        is_held: is_held(served, object),
    }
}

/// Whether the kind holds the object back: a namespace stays until whoever empties it has let go.
pub fn is_held(served: &Served, object: &Value) -> bool {
    is_namespaces(served) && !object.array_at("spec.finalizers").is_empty()
}

fn precondition_words(served: &Served) -> &'static str {
    match (served.group(), served.plural()) {
        ("", "namespaces") => "Precondition failed",
        ("apiextensions.k8s.io", "customresourcedefinitions") => "precondition failed",
        _ => "",
    }
}

fn is_namespaces(served: &Served) -> bool {
    served.group().is_empty() && served.plural() == "namespaces"
}

/// Seconds that a pod gets to end: as asked, else as specified; none before it runs anywhere or once it has ended.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let ended = matches!(pod.str_at("status.phase"), "Succeeded" | "Failed");
    if ended || pod.str_at("spec.nodeName").is_empty() {
        return 0;
    }
    let asked = options.grace_period_seconds.or(pod.i64_at("spec.terminationGracePeriodSeconds")).unwrap_or_default();
    if asked < 0 { 1 } else { asked }
}
