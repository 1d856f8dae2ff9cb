//! What OpenAPI says of a few types beyond what the schema's tables have: nothing else reads it.

use api::value::{Map, Value};

use super::types::Dialect;

/// Unions: the type, the field that says which member counts, the members.
const UNIONS: &[(&str, &str, &[&str])] = &[
    ("io.k8s.api.core.v1.AppArmorProfile", "type", &["localhostProfile"]),
    ("io.k8s.api.core.v1.PodSchedulingGroup", "", &["podGroupName"]),
    ("io.k8s.api.core.v1.SeccompProfile", "type", &["localhostProfile"]),
    ("io.k8s.api.flowcontrol.v1.LimitResponse", "type", &["queuing"]),
    ("io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec", "type", &["exempt", "limited"]),
    ("io.k8s.api.flowcontrol.v1.Subject", "kind", &["group", "serviceAccount", "user"]),
    ("io.k8s.api.scheduling.v1alpha3.WorkloadPodGroupDisruptionMode", "", &["all", "single"]),
    ("io.k8s.api.scheduling.v1alpha3.WorkloadPodGroupSchedulingPolicy", "", &["basic", "gang"]),
];

/// Defaults that are Go's zero values, of fields that are left out where they are zero.
const ZEROS: &[(&str, &str)] = &[
    ("io.k8s.api.autoscaling.v1.ScaleSpec", "replicas"),
    ("io.k8s.api.core.v1.ConfigMapEnvSource", "name"),
    ("io.k8s.api.core.v1.ConfigMapKeySelector", "name"),
    ("io.k8s.api.core.v1.ConfigMapProjection", "name"),
    ("io.k8s.api.core.v1.ConfigMapVolumeSource", "name"),
    ("io.k8s.api.core.v1.LocalObjectReference", "name"),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "minReadySeconds"),
    ("io.k8s.api.core.v1.SecretEnvSource", "name"),
    ("io.k8s.api.core.v1.SecretKeySelector", "name"),
    ("io.k8s.api.core.v1.SecretProjection", "name"),
];

/// How single fields merge.
const MARKS: &[(&str, &str, &str, &str)] = &[
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
        "allocatedResourceStatuses",
        "x-kubernetes-map-type",
        "granular",
    ),
    (
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceSpec",
        "caBundle",
        "x-kubernetes-list-type",
        "atomic",
    ),
];

/// Groups and versions of which upstream knows no more than options and events.
pub const OPTIONS_ONLY: &[(&str, &str)] = &[("apiextensions.k8s.io", "v1beta1"), ("apiregistration.k8s.io", "v1beta1")];
/// Groups that have neither.
pub const NO_OPTIONS: &[&str] = &["apidiscovery.k8s.io", "meta.k8s.io"];

/// Adds to a type's schema.
pub fn of_type(name: &str, schema: &mut Value) {
    let Some((_, discriminator, members)) = UNIONS.iter().find(|(of, ..)| *of == name) else { return };
    let mut union = Map::new();
    if !discriminator.is_empty() {
        union.insert("discriminator", *discriminator);
    }
    let named = |member: &&str| (member.to_string(), format!("{}{}", member[..1].to_uppercase(), &member[1..]));
    union.insert("fields-to-discriminateBy", members.iter().map(named).collect::<Map>());
    schema.set("x-kubernetes-unions", vec![union]);
}

/// Adds to a field's schema.
pub fn of_field(of: &str, name: &str, dialect: Dialect, schema: &mut Value) {
    if dialect == Dialect::V3 && ZEROS.contains(&(of, name)) {
        match schema.str_at("type") {
            "string" => schema.set("default", ""),
            _ => schema.set("default", 0),
        }
    }
    for (_, _, member, value) in MARKS.iter().filter(|(a_type, field, ..)| (*a_type, *field) == (of, name)) {
        schema.set(member, *value);
    }
}

/// Lists that don't say how they merge: nobody merges lists of objects, and discovery's are wrapped.
pub fn is_unmarked(of: &str, field: &str) -> bool {
    (field == "items" && of.ends_with("List")) || (field == "verbs" && of.ends_with(".APIResource"))
}
