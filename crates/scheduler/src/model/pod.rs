//! A pod as the scheduler sees it: read once when it comes, then only compared.

use super::labels::{Labels, NodeTerm, Selector};
use super::resources::{Resources, pod_requests};
use super::spec::{RawPod, RawPodSpec, RawPodTerm, RawSpread};
use super::taint::Toleration;
use client::{ClientError, MetaExt, View};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Pod {
    /// Without what schedulers don't read (managed fields, annotations).
    pub meta: ObjectMeta,
    pub labels: Labels,
    /// Where it is, empty for nowhere yet.
    pub node: String,
    pub scheduler: String,
    pub priority: i32,
    pub never_preempts: bool,
    /// Succeeded or failed: takes no room.
    pub terminal: bool,
    pub terminating: bool,
    /// Being deleted because the scheduler wanted its room.
    pub preempted: bool,
    pub nominated_node: String,
    /// When it started, for the choice among victims; empty while it did not.
    pub start_time: String,
    pub scheduled_condition: Option<Condition>,
    pub gates: Vec<String>,
    pub requests: Resources,
    /// With a little for containers that ask for nothing.
    pub requests_with_defaults: Resources,
    pub host_ports: Vec<HostPort>,
    pub node_selector: Labels,
    /// One of these must match, where there are any; some: affinity was given.
    pub required_nodes: Option<Vec<NodeTerm>>,
    pub preferred_nodes: Vec<(i64, NodeTerm)>,
    pub tolerations: Vec<Toleration>,
    pub affinity: Vec<PodTerm>,
    /// The pods that satisfy all of `affinity`: only such count.
    pub affinity_group: Option<Arc<PodGroup>>,
    pub anti_affinity: Vec<PodTerm>,
    pub preferred_affinity: Vec<(i64, PodTerm)>,
    pub preferred_anti_affinity: Vec<(i64, PodTerm)>,
    pub spread: Vec<Spread>,
    /// PersistentVolumeClaims that it uses.
    pub claims: Vec<UsedClaim>,
    /// Images of all containers and image volumes, with their tags.
    pub images: Vec<String>,
}

/// The PodScheduled condition as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Condition {
    pub status: String,
    pub reason: String,
    pub message: String,
    pub last_transition_time: String,
}

/// A claim that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedClaim {
    /// The claim's name.
    pub name: String,
    /// Made for this pod by a controller, from a template in the pod.
    pub ephemeral: bool,
}

/// A port on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: u16,
}

/// Which pods a term is about, apart from where: shared by all terms that are alike, so that they are counted once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodGroup {
    /// These namespaces.
    pub namespaces: BTreeSet<String>,
    /// And those whose labels are selected.
    pub namespace_selector: Option<Selector>,
    /// Pods with selected labels.
    pub selector: Selector,
    /// Which belong to these as well.
    pub also: Vec<Arc<PodGroup>>,
}

/// A pod affinity term: pods like these in the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct PodTerm {
    pub group: Arc<PodGroup>,
    pub topology_key: String,
}

/// A spread constraint.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Spread {
    pub max_skew: i64,
    pub topology_key: String,
    /// Hard: keeps the pod off; soft: only a preference.
    pub hard: bool,
    pub group: Arc<PodGroup>,
    pub min_domains: i64,
    /// Count only nodes that the pod's node affinity allows (the default).
    pub honor_affinity: bool,
    /// Count only nodes whose taints it tolerates (not the default).
    pub honor_taints: bool,
}

// === impl Pod ===

impl View for Pod {
    fn decode(bytes: &[u8]) -> Result<Pod, ClientError> {
        let raw: Result<RawPod, serde_json::Error> = serde_json::from_slice(bytes);
        let decode = |error: serde_json::Error| ClientError::Decode { what: "Pod".into(), why: error.to_string() };
        raw.map(Pod::new).map_err(decode)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

impl Pod {
    /// Reads a pod.
    pub fn new(raw: RawPod) -> Pod {
        let RawPod { mut metadata, spec, status } = raw;
        let labels: Labels = metadata.labels.take().unwrap_or_default().into_iter().collect();
        (metadata.managed_fields, metadata.annotations) = (None, None);
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let term = |raw: &RawPodTerm| PodTerm::new(raw, &namespace, &labels);
        let weighted = |raw: &[super::spec::RawWeightedPodTerm]| -> Vec<(i64, PodTerm)> {
            raw.iter().map(|raw| (raw.weight, term(&raw.pod_affinity_term))).collect()
        };
        let affinity = &spec.affinity;
        let condition = |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
        let preempted = condition("DisruptionTarget")
            .is_some_and(|condition| condition.status == "True" && condition.reason == "PreemptionByScheduler");
        Pod {
            node: spec.node_name.clone(),
            scheduler: spec.scheduler_name.clone(),
            priority: spec.priority,
            never_preempts: spec.preemption_policy == "Never",
            terminal: matches!(status.phase.as_str(), "Succeeded" | "Failed"),
            terminating: metadata.deletion_timestamp.is_some(),
            preempted,
            nominated_node: status.nominated_node_name.clone(),
            start_time: status.start_time.clone(),
            scheduled_condition: condition("PodScheduled").map(|condition| Condition {
                status: condition.status.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
                last_transition_time: condition.last_transition_time.clone(),
            }),
            gates: spec.scheduling_gates.iter().map(|gate| gate.name.clone()).collect(),
            requests: pod_requests(&spec, &status, false),
            requests_with_defaults: pod_requests(&spec, &status, true),
            host_ports: host_ports(&spec),
            node_selector: spec.node_selector.clone(),
            required_nodes: (affinity.node_affinity.required.as_ref())
                .map(|required| required.node_selector_terms.iter().map(NodeTerm::new).collect()),
            preferred_nodes: (affinity.node_affinity.preferred.iter())
                .map(|preferred| (preferred.weight, NodeTerm::new(&preferred.preference)))
                .collect(),
            tolerations: spec.tolerations.clone(),
            affinity_group: PodGroup::of_all(&affinity.pod_affinity.required.iter().map(term).collect::<Vec<_>>()),
            affinity: affinity.pod_affinity.required.iter().map(term).collect(),
            anti_affinity: affinity.pod_anti_affinity.required.iter().map(term).collect(),
            preferred_affinity: weighted(&affinity.pod_affinity.preferred),
            preferred_anti_affinity: weighted(&affinity.pod_anti_affinity.preferred),
            spread: spec.topology_spread_constraints.iter().map(|raw| Spread::new(raw, &namespace, &labels)).collect(),
            claims: claims(&spec, metadata.name.as_deref().unwrap_or_default()),
            images: images(&spec),
            labels,
            meta: metadata,
        }
    }

    /// Its unique identity.
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// The same pod on a node.
    pub fn on(&self, node: &str) -> Pod {
        Pod { node: node.to_string(), ..self.clone() }
    }

    /// Whether it takes part in affinity between pods.
    pub fn has_pod_affinity(&self) -> bool {
        !(self.affinity.is_empty()
            && self.anti_affinity.is_empty()
            && self.preferred_affinity.is_empty()
            && self.preferred_anti_affinity.is_empty())
    }

    /// Whether a node matches its selector and required affinity.
    pub fn allows_node(&self, name: &str, labels: &Labels) -> bool {
        self.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.required_nodes.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }
}

fn host_ports(spec: &RawPodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    let or = |text: &str, default: &str| if text.is_empty() { default.to_string() } else { text.to_string() };
    ports
        .filter(|port| port.host_port != 0)
        .map(|port| HostPort {
            ip: or(&port.host_ip, "0.0.0.0"),
            protocol: or(&port.protocol, "TCP"),
            port: port.host_port,
        })
        .collect()
}

fn claims(spec: &RawPodSpec, pod: &str) -> Vec<UsedClaim> {
    let claim = |volume: &super::spec::RawVolume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(UsedClaim { name: claim.claim_name.clone(), ephemeral: false }),
        (None, Some(_)) => Some(UsedClaim { name: format!("{pod}-{}", volume.name), ephemeral: true }),
        (None, None) => None,
    };
    spec.volumes.iter().filter_map(claim).collect()
}

fn images(spec: &RawPodSpec) -> Vec<String> {
    let containers = spec.init_containers.iter().chain(&spec.containers).map(|container| container.image.as_str());
    let volumes = spec.volumes.iter().filter_map(|volume| Some(volume.image.as_ref()?.reference.as_str()));
    containers.chain(volumes).map(with_tag).collect()
}

/// An image's name with a tag, `latest` where it has none.
pub fn with_tag(name: &str) -> String {
    let tagged = name.rfind(':') > name.rfind('/');
    if tagged { name.to_string() } else { format!("{name}:latest") }
}

impl HostPort {
    /// Whether both can't be on one node.
    pub fn conflicts(&self, other: &HostPort) -> bool {
        let any = |ip: &str| ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

// === impl PodTerm ===

impl PodGroup {
    /// Pods of one namespace.
    pub fn of_namespace(namespace: &str, selector: Selector) -> PodGroup {
        let namespaces = BTreeSet::from([namespace.to_string()]);
        PodGroup { namespaces, namespace_selector: None, selector, also: Vec::new() }
    }

    /// Pods that belong to all of the terms' groups; none without terms.
    pub fn of_all(terms: &[PodTerm]) -> Option<Arc<PodGroup>> {
        let (first, rest) = terms.split_first()?;
        if rest.is_empty() {
            return Some(first.group.clone());
        }
        let also = rest.iter().map(|term| term.group.clone()).collect();
        Some(Arc::new(PodGroup { also, ..(*first.group).clone() }))
    }

    /// Whether membership depends on namespaces' labels.
    pub fn minds_namespace_labels(&self) -> bool {
        self.namespace_selector.is_some() || self.also.iter().any(|group| group.minds_namespace_labels())
    }

    /// Whether a pod belongs to it, given its namespace's labels.
    pub fn contains(&self, pod: &Pod, namespace_labels: Option<&Labels>) -> bool {
        let in_namespace = self.namespaces.contains(pod.namespace())
            || self.namespace_selector.as_ref().is_some_and(|selector| match namespace_labels {
                Some(labels) => selector.matches(labels),
                None => selector.is_everything(),
            });
        in_namespace
            && self.selector.matches(&pod.labels)
            && self.also.iter().all(|group| group.contains(pod, namespace_labels))
    }
}

impl PodTerm {
    /// Without namespaces and selector of such, a term is about the pod's own namespace. Label keys to match (or not)
    /// become part of the selector, with the pod's own values.
    fn new(raw: &RawPodTerm, namespace: &str, labels: &Labels) -> PodTerm {
        let mut selector = Selector::new(raw.label_selector.as_ref());
        for (key, value) in raw.match_label_keys.iter().filter_map(|key| Some((key, labels.get(key)?))) {
            selector.and(key, value);
        }
        for (key, value) in raw.mismatch_label_keys.iter().filter_map(|key| Some((key, labels.get(key)?))) {
            selector.and_not(key, value);
        }
        let mut namespaces: BTreeSet<String> = raw.namespaces.iter().cloned().collect();
        if namespaces.is_empty() && raw.namespace_selector.is_none() {
            namespaces.insert(namespace.to_string());
        }
        let namespace_selector = raw.namespace_selector.as_ref().map(|raw| Selector::new(Some(raw)));
        PodTerm {
            group: Arc::new(PodGroup { namespaces, namespace_selector, selector, also: Vec::new() }),
            topology_key: raw.topology_key.clone(),
        }
    }
}

// === impl Spread ===

impl Spread {
    fn new(raw: &RawSpread, namespace: &str, labels: &Labels) -> Spread {
        let mut selector = Selector::new(raw.label_selector.as_ref());
        for (key, value) in raw.match_label_keys.iter().filter_map(|key| Some((key, labels.get(key)?))) {
            selector.and(key, value);
        }
        Spread {
            max_skew: raw.max_skew,
            topology_key: raw.topology_key.clone(),
            hard: raw.when_unsatisfiable != "ScheduleAnyway",
            group: Arc::new(PodGroup::of_namespace(namespace, selector)),
            min_domains: raw.min_domains.unwrap_or(1),
            honor_affinity: raw.node_affinity_policy != "Ignore",
            honor_taints: raw.node_taints_policy == "Honor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("nginx", "nginx:latest")]
    #[case("nginx:1.2", "nginx:1.2")]
    #[case("registry:5000/nginx", "registry:5000/nginx:latest")]
    fn tags(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(with_tag(name), expected);
    }

    #[rstest]
    #[case("0.0.0.0", "10.0.0.1", true)]
    #[case("10.0.0.1", "10.0.0.1", true)]
    #[case("10.0.0.1", "10.0.0.2", false)]
    fn host_ports_conflict(#[case] a: &str, #[case] b: &str, #[case] expected: bool) {
        let port = |ip: &str| HostPort { ip: ip.to_string(), protocol: "TCP".to_string(), port: 80 };
        assert_eq!(port(a).conflicts(&port(b)), expected);
        assert!(!port(a).conflicts(&HostPort { protocol: "UDP".to_string(), ..port(a) }));
    }
}
