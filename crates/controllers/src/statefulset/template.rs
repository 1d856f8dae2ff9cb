//! The pods of a stateful set, and their claims.

use api::value::{Map, Value};
use client::{Kind, MetaExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;

use super::plan::claim_name;
use crate::common::claim::Owner;
use crate::common::pod_control::from_template;
use crate::common::revisions::REVISION_HASH;

/// The pod's own name as a label, for services that want one pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The pod's ordinal as a label.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The pod for a place, of a template that has the name `revision`.
pub fn pod(owner: &Owner, set: &Value, template: &Value, ordinal: i32, revision: &str) -> Value {
    let mut pod = from_template(owner, template);
    let name = format!("{}-{ordinal}", owner.name);
    pod.remove("metadata.generateName");
    pod.set("metadata.name", name.as_str());
    pod.set("spec.hostname", name.as_str());
    let service = set.str_at("spec.serviceName");
    if !service.is_empty() {
        pod.set("spec.subdomain", service);
    }
    pod.at_or_insert("metadata.labels").make_object().insert(REVISION_HASH, revision);
    give_identity(&mut pod, &owner.name, ordinal, set);
    pod
}

/// Brings a pod's labels and volumes in line with its place.
pub fn give_identity(pod: &mut Value, set_name: &str, ordinal: i32, set: &Value) {
    let name = format!("{set_name}-{ordinal}");
    let labels = pod.at_or_insert("metadata.labels").make_object();
    labels.insert(POD_NAME, name);
    labels.insert(POD_INDEX, ordinal.to_string());
    let templates: Vec<&str> =
        set.array_at("spec.volumeClaimTemplates").iter().map(|claim| claim.str_at("metadata.name")).collect();
    if templates.is_empty() {
        return;
    }
    let mut volumes: Vec<Value> = templates.iter().map(|template| volume(template, set_name, ordinal)).collect();
    let others = pod.array_at("spec.volumes").iter().filter(|one| !templates.contains(&one.str_at("name"))).cloned();
    volumes.extend(others);
    pod.set("spec.volumes", Value::Array(volumes));
}

fn volume(template: &str, set: &str, ordinal: i32) -> Value {
    let mut volume = Value::object();
    volume.set("name", template);
    volume.set("persistentVolumeClaim.claimName", claim_name(template, set, ordinal));
    volume
}

/// The claims of a place: name and object.
pub fn claims(set: &Value, set_name: &str, ordinal: i32) -> Vec<(String, Value)> {
    let selected = set.at("spec.selector.matchLabels").as_object().cloned().unwrap_or_default();
    let make = |template: &Value| {
        let name = claim_name(template.str_at("metadata.name"), set_name, ordinal);
        let mut claim = template.clone();
        claim.remove("status");
        claim.set("metadata.name", name.as_str());
        let labels = claim.at_or_insert("metadata.labels").make_object();
        selected.iter().for_each(|(key, value)| drop(labels.insert(key.clone(), value.clone())));
        (name, claim)
    };
    set.array_at("spec.volumeClaimTemplates").iter().map(make).collect()
}

/// Whether claims go with the set, and whether with a pod that is scaled away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `whenDeleted: Delete`.
    pub goes_with_set: bool,
    /// `whenScaled: Delete`.
    pub goes_with_pod: bool,
}

// === impl Retention ===

impl Retention {
    /// Of a set.
    pub fn of(set: &StatefulSet) -> Retention {
        let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
        let is_delete = |text: Option<&String>| text.is_some_and(|text| text == "Delete");
        Retention {
            goes_with_set: is_delete(policy.and_then(|policy| policy.when_deleted.as_ref())),
            goes_with_pod: is_delete(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }

    /// The owners that a claim should have, if they differ from those it has; none where it is somebody else's.
    /// `is_condemned`: the pod is scaled away.
    pub fn owners(self, claim: &Value, set: &StatefulSet, pod: &Pod, is_condemned: bool) -> Option<Vec<Value>> {
        let there = claim.array_at("metadata.ownerReferences");
        let names = |one: &Value, owner: &Owner| {
            one.str_at("kind") == owner.kind
                && one.str_at("name") == owner.name
                && one.str_at("apiVersion") == owner.api_version
        };
        let (set, pod) = (Owner::of(set), Owner::of(pod));
        // Owners of the same name that are gone: the garbage collector's business.
        let is_stale =
            |one: &Value| [&set, &pod].into_iter().any(|owner| names(one, owner) && one.str_at("uid") != owner.uid);
        if there.iter().any(is_stale) {
            return None;
        }
        let is_ours = |one: &Value| names(one, &set) || names(one, &pod);
        let mut wanted: Vec<Value> = there.iter().filter(|one| !is_ours(one)).cloned().collect();
        let is_controlled = wanted.iter().any(|one| one.at("controller").as_bool() == Some(true));
        if !is_controlled || self == Retention::default() {
            if self.goes_with_pod && is_condemned {
                wanted.push(pod.reference());
            } else if self.goes_with_set {
                wanted.push(set.reference());
            }
        }
        (wanted != there).then_some(wanted)
    }
}

/// The names under which events speak of a pod.
pub fn about(pod: &str, set: &impl Kind) -> String {
    format!("Pod {pod} in StatefulSet {}", set.name())
}

/// A patch that restores the template of a revision: its `data.spec.template` without the directive.
pub fn template_of(revision: &Value) -> Value {
    let mut template = revision.at("data.spec.template").clone();
    if let Value::Object(map) = &mut template {
        let _: &mut Map = map;
        map.remove("$patch");
    }
    template
}
