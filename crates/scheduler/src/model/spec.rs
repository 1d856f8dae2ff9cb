//! A pod's and a node's JSON, as far as it is read.

use super::labels::{RawNodeTerm, RawSelector, nullable};
use super::resources::RawResources;
use super::taint::{Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::collections::BTreeMap;

macro_rules! raw {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        #[allow(missing_docs)]
        pub struct $name { $($(#[$field_meta])* #[serde(deserialize_with = "nullable")] pub $field: $type,)* }
    )*};
}

raw! {
    RawPod { metadata: ObjectMeta, spec: RawPodSpec, status: RawPodStatus, }
    RawPodSpec {
        node_name: String,
        scheduler_name: String,
        priority: i32,
        preemption_policy: String,
        containers: Vec<RawContainer>,
        init_containers: Vec<RawContainer>,
        overhead: RawResources,
        resources: Option<RawResourceRequirements>,
        node_selector: BTreeMap<String, String>,
        affinity: RawAffinity,
        tolerations: Vec<Toleration>,
        topology_spread_constraints: Vec<RawSpread>,
        scheduling_gates: Vec<RawNamed>,
        volumes: Vec<RawVolume>,
    }
    RawContainer {
        name: String,
        image: String,
        restart_policy: String,
        resources: RawResourceRequirements,
        ports: Vec<RawPort>,
    }
    RawResourceRequirements { requests: RawResources, }
    RawPort {
        host_port: u16,
        #[serde(rename = "hostIP")]
        host_ip: String,
        protocol: String,
    }
    RawNamed { name: String, }
    RawVolume {
        name: String,
        ephemeral: Option<serde_json::Map<String, serde_json::Value>>,
        image: Option<RawImageVolume>, persistent_volume_claim: Option<RawClaim>, }
    RawImageVolume { reference: String, }
    RawClaim { claim_name: String, }
    RawAffinity {
        node_affinity: RawNodeAffinity,
        pod_affinity: RawPodAffinity,
        pod_anti_affinity: RawPodAffinity,
    }
    RawNodeAffinity {
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Option<RawNodeSelector>,
        #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
        preferred: Vec<RawPreferredNode>,
    }
    RawNodeSelector { node_selector_terms: Vec<RawNodeTerm>, }
    RawPreferredNode { weight: i64, preference: RawNodeTerm, }
    RawPodAffinity {
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Vec<RawPodTerm>,
        #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
        preferred: Vec<RawWeightedPodTerm>,
    }
    RawWeightedPodTerm { weight: i64, pod_affinity_term: RawPodTerm, }
    RawPodTerm {
        label_selector: Option<RawSelector>,
        namespaces: Vec<String>,
        namespace_selector: Option<RawSelector>,
        topology_key: String,
        match_label_keys: Vec<String>,
        mismatch_label_keys: Vec<String>,
    }
    RawSpread {
        max_skew: i64,
        topology_key: String,
        when_unsatisfiable: String,
        label_selector: Option<RawSelector>,
        min_domains: Option<i64>,
        node_affinity_policy: String,
        node_taints_policy: String,
        match_label_keys: Vec<String>,
    }
    RawPodStatus {
        phase: String,
        nominated_node_name: String,
        start_time: String,
        conditions: Vec<RawCondition>,
        container_statuses: Vec<RawContainerStatus>,
        init_container_statuses: Vec<RawContainerStatus>,
    }
    RawCondition {
        #[serde(rename = "type")]
        kind: String,
        status: String,
        reason: String,
        message: String,
        last_transition_time: String,
    }
    RawContainerStatus { name: String, allocated_resources: Option<RawResources>, }

    RawNode { metadata: ObjectMeta, spec: RawNodeSpec, status: RawNodeStatus, }
    RawNodeSpec { unschedulable: bool, taints: Vec<Taint>, }
    RawNodeStatus { allocatable: RawResources, images: Vec<RawImage>, }
    RawImage { names: Vec<String>, size_bytes: i64, }
}
