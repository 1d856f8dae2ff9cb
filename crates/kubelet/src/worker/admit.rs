//! Whether a pod may run on this node at all. The scheduler has looked before; but it can be wrong, and static pods
//! have no scheduler. Upstream: pkg/kubelet/lifecycle/predicate.go, sysctl/allowlist.go.

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    eviction::is_critical,
    node::status::Pressure,
    qos,
    quantity::{self, Quantity, ResourceList},
    status::{Eviction, resources},
    worker::predicates,
};

/// Sysctls that are each pod's own. Upstream: pkg/kubelet/sysctl/safe_sysctls.go.
const SAFE_SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
];

/// What of the node a pod's admission depends on.
#[derive(Debug, Clone, Copy)]
pub struct NodeState<'a> {
    /// What pods may use altogether.
    pub allocatable: &'a ResourceList,
    /// Sysctls that are allowed though they are not each pod's own.
    pub unsafe_sysctls: &'a [String],
    /// What is short.
    pub pressure: Pressure,
    /// The node itself, once it is known.
    pub node: Option<&'a Node>,
}

/// Why not, in upstream's words; none where it may.
pub fn check(pod: &Pod, active: &[&Pod], node: NodeState<'_>) -> Option<Eviction> {
    let reject =
        |reason: &str, message: String| Some(Eviction { reason: reason.to_owned(), message, disruption: false });
    if let Some(os) = pod.spec.as_ref().and_then(|spec| spec.os.as_ref()).filter(|os| os.name != "linux") {
        tracing::debug!(os = os.name, "a pod for another system");
        return reject("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS".into());
    }
    if let Some(name) = forbidden_sysctl(pod, node.unsafe_sysctls) {
        return reject("SysctlForbidden", format!("forbidden sysctl: {name:?} not allowlisted"));
    }
    if let Some(condition) = pressed(pod, node.pressure) {
        return reject("Evicted", format!("The node had condition: [{condition}]. "));
    }
    let mut allocatable = node.allocatable.clone();
    allocatable.extend(advertised(node.node));
    insufficient(pod, active, &allocatable).or_else(|| {
        let (name, message) = predicates::first_failure(pod, active, node.node?)?;
        reject(name, message)
    })
}

/// The condition of the node that keeps the pod away.
fn pressed(pod: &Pod, pressure: Pressure) -> Option<&'static str> {
    let tolerates = || {
        let mut tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
        tolerations.any(|toleration| toleration.key.as_deref() == Some("node.kubernetes.io/memory-pressure"))
    };
    if is_critical(pod) {
        return None;
    }
    if pressure.disk {
        return Some("DiskPressure");
    }
    if pressure.pids {
        return Some("PIDPressure");
    }
    let best_effort = qos::class(pod) == qos::Class::BestEffort;
    (pressure.memory && best_effort && !tolerates()).then_some("MemoryPressure")
}

fn forbidden_sysctl(pod: &Pod, allowed: &[String]) -> Option<String> {
    let own = pod.spec.as_ref()?.security_context.as_ref()?.sysctls.as_ref()?;
    let fits = |name: &str| {
        SAFE_SYSCTLS.contains(&name)
            || allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            })
    };
    own.iter().map(|sysctl| crate::runtime::sandbox::dotted(&sysctl.name)).find(|name| !fits(name))
}

/// What others have made allocatable on the node (`example.com/dongle`).
fn advertised(node: Option<&Node>) -> impl Iterator<Item = (String, Quantity)> {
    let status = node.and_then(|node| node.status.as_ref());
    quantity::list(status.and_then(|status| status.allocatable.as_ref()))
        .into_iter()
        .filter(|(name, _)| name.contains('/'))
}

fn insufficient(pod: &Pod, active: &[&Pod], allocatable: &ResourceList) -> Option<Eviction> {
    let get = |list: &ResourceList, name: &str| list.get(name).copied().unwrap_or_default();
    let mut used = ResourceList::new();
    for other in active {
        for (name, amount) in resources::requests(other) {
            let sum = get(&used, &name).plus(amount);
            used.insert(name, sum);
        }
    }
    let count = i64::try_from(active.len()).unwrap_or(i64::MAX);
    used.insert("pods".into(), Quantity::units(count));
    let mut requests = resources::requests(pod);
    requests.insert("pods".into(), Quantity::units(1));
    let others = requests.keys().map(String::as_str).filter(|name| name.contains('/'));
    for name in ["pods", "cpu", "memory", "ephemeral-storage"].into_iter().chain(others) {
        let (asked, had, all) = (get(&requests, name), get(&used, name), get(allocatable, name));
        if asked.is_zero() || !allocatable.contains_key(name) || had.plus(asked) <= all {
            continue;
        }
        let number = |amount: Quantity| if name == "cpu" { amount.milli_value() } else { amount.value() };
        let message = format!(
            "Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
            number(asked),
            number(had),
            number(all)
        );
        return Some(Eviction { reason: format!("OutOf{name}"), message, disruption: false });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": spec})).unwrap()
    }

    #[rstest]
    #[case(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "600m"}}}]}), Some(("OutOfcpu", "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000")))]
    #[case(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}), None)]
    #[case(json!({"containers": [], "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}), Some(("SysctlForbidden", "forbidden sysctl: \"kernel.msgmax\" not allowlisted")))]
    #[case(json!({"containers": [], "securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": "net.x.y", "value": "1"}]}}), None)]
    #[case(json!({"containers": [], "os": {"name": "windows"}}), Some(("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")))]
    fn admission(#[case] spec: Value, #[case] expected: Option<(&str, &str)>) {
        let other = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}));
        let allocatable =
            ResourceList::from([("cpu".to_owned(), Quantity::units(1)), ("pods".to_owned(), Quantity::units(2))]);
        let verdict = check(
            &pod(spec),
            &[&other],
            NodeState {
                allocatable: &allocatable,
                unsafe_sysctls: &["net.x.*".to_owned()],
                pressure: Pressure::default(),
                node: None,
            },
        );
        assert_eq!(
            verdict,
            expected.map(|(reason, message)| Eviction {
                reason: reason.into(),
                message: message.into(),
                disruption: false
            })
        );
    }

    #[test]
    fn too_many_pods() {
        let other = pod(json!({"containers": []}));
        let allocatable = ResourceList::from([("pods".to_owned(), Quantity::units(1))]);
        let verdict = check(
            &pod(json!({"containers": []})),
            &[&other],
            NodeState { allocatable: &allocatable, unsafe_sysctls: &[], pressure: Pressure::default(), node: None },
        )
        .unwrap();
        assert_eq!(
            (verdict.reason.as_str(), verdict.message.as_str()),
            ("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 1, capacity: 1")
        );
    }

    #[test]
    fn what_others_advertise_is_counted() {
        let asks = |name: &str| pod(json!({"containers": [{"name": "c", "resources": {"requests": {name: "3"}}}]}));
        let node = json!({"status": {"allocatable": {"example.com/dongle": "4"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        let allocatable = ResourceList::new();
        let state = NodeState {
            allocatable: &allocatable,
            unsafe_sysctls: &[],
            pressure: Pressure::default(),
            node: Some(&node),
        };
        let (taken, unknown) = (asks("example.com/dongle"), asks("example.com/other"));
        assert_eq!(check(&taken, &[], state), None);
        assert_eq!(check(&unknown, &[&unknown], state), None, "the scheduler knew better");
        let verdict = check(&taken, &[&taken], state).unwrap();
        assert_eq!(
            (verdict.reason.as_str(), verdict.message.as_str()),
            (
                "OutOfexample.com/dongle",
                "Node didn't have enough resource: example.com/dongle, requested: 3, used: 3, capacity: 4"
            )
        );
    }

    #[test]
    fn a_node_under_pressure_takes_no_more() {
        let (nothing, plenty) = (ResourceList::new(), pod(json!({"containers": [], "priority": 2_000_000_000})));
        let verdict = |pod: &Pod, pressure| {
            let node = NodeState { allocatable: &nothing, unsafe_sysctls: &[], pressure, node: None };
            check(pod, &[], node).map(|eviction| eviction.message)
        };
        let memory = Pressure { memory: true, ..Pressure::default() };
        let small = pod(json!({"containers": [{"name": "c"}]}));
        assert_eq!(verdict(&small, memory).as_deref(), Some("The node had condition: [MemoryPressure]. "));
        assert_eq!(
            verdict(&pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]})), memory),
            None
        );
        assert_eq!(verdict(&plenty, Pressure { disk: true, ..memory }), None);
    }
}
