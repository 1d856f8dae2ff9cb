//! The node's status, derived. Upstream: pkg/kubelet/nodestatus.

use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
        NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus, NodeSwapStatus, NodeSystemInfo,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::machine::{Disk, Machine};
use crate::{
    config::Config,
    cri::v1,
    kubelet::Health,
    quantity::{self, Quantity, ResourceList},
    status::time,
};

/// Names shown of one image.
const IMAGE_NAMES_MAX: usize = 5;
/// What of the newer features a scheduler may count on; those that are built.
const DECLARED_FEATURES: [&str; 4] = [
    "ExtendWebSocketsToKubelet",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    "RestartAllContainersOnContainerExits",
];

/// Which resources are short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk, or its file numbers.
    pub disk: bool,
    /// Process numbers.
    pub pids: bool,
}

/// What it depends on.
pub struct Input<'a> {
    /// What the kubelet was told.
    pub config: &'a Config,
    /// The machine.
    pub machine: &'a Machine,
    /// The disk of the kubelet's directory, where it could be asked.
    pub disk: Option<Disk>,
    /// What the runtime says of itself.
    pub health: &'a Health,
    /// `containerd://1.6.20`.
    pub runtime_version: &'a str,
    /// On the node.
    pub images: &'a [v1::Image],
    /// What is short.
    pub pressure: Pressure,
    /// Where the kubelet's server listens.
    pub port: u16,
    /// Claims' volumes that are mounted.
    pub volumes_in_use: &'a [String],
    /// Nanoseconds since 1970.
    pub now: i64,
}

/// `status.capacity`.
pub fn capacity(config: &Config, machine: &Machine, disk: Option<Disk>) -> ResourceList {
    let mut list = machine.capacity(config.max_pods);
    if let Some(disk) = disk {
        list.insert("ephemeral-storage".into(), Quantity::bytes(disk.capacity));
    }
    list
}

/// `status.allocatable`: what is left of the capacity for pods.
pub fn allocatable(config: &Config, capacity: &ResourceList) -> ResourceList {
    let reserved = |name: &str| config.reserved.get(name).and_then(|text| Quantity::parse(text)).unwrap_or_default();
    let evicted = |name: &str| {
        let signal = match name {
            "memory" => "memory.available",
            "ephemeral-storage" => "nodefs.available",
            _ => return Quantity::default(),
        };
        let whole = capacity.get(name).copied().unwrap_or_default();
        config.eviction_hard.get(signal).map_or_else(Quantity::default, |text| threshold(text, whole))
    };
    let mut list: ResourceList = capacity
        .iter()
        .map(|(name, amount)| {
            (name.clone(), amount.minus(reserved(name)).minus(evicted(name)).max(Quantity::default()))
        })
        .collect();
    let huge: Vec<Quantity> =
        list.iter().filter(|(name, _)| name.starts_with("hugepages-")).map(|(_, amount)| *amount).collect();
    if let Some(memory) = list.get_mut("memory") {
        *memory = huge.into_iter().fold(*memory, Quantity::minus);
    }
    list
}

/// `10%` of the whole, or an amount.
pub fn threshold(text: &str, whole: Quantity) -> Quantity {
    match text.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok()) {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a disk"
        )]
        Some(percent) => Quantity::bytes((whole.value() as f64 * percent / 100.0) as u64),
        None => Quantity::parse(text).unwrap_or_default(),
    }
}

/// The status; what others have written into the old one stays.
pub fn generate(input: &Input<'_>, old: &NodeStatus) -> NodeStatus {
    let Input { config, machine, health, .. } = *input;
    // Resources that others advertise stay, and are allocatable. Sizes of huge pages are the machine's.
    let mut capacity = quantity::list(old.capacity.as_ref());
    capacity.retain(|name, _| !name.starts_with("hugepages-"));
    capacity.extend(self::capacity(config, machine, input.disk));
    let allocatable = allocatable(config, &capacity);
    let mut status = old.clone();
    status.capacity = Some(quantity::wire(&capacity));
    status.allocatable = Some(quantity::wire(&allocatable));
    status.addresses = Some(addresses(config));
    status.daemon_endpoints =
        Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(input.port) }) });
    status.node_info = Some(NodeSystemInfo {
        architecture: machine.architecture.into(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: input.runtime_version.to_owned(),
        kernel_version: machine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: api::GIT_VERSION.into(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".into(),
        os_image: machine.os_image.clone(),
        swap: i64::try_from(machine.swap_bytes)
            .ok()
            .filter(|bytes| *bytes > 0)
            .map(|bytes| NodeSwapStatus { capacity: Some(bytes) }),
        system_uuid: machine.system_uuid.clone(),
        ..NodeSystemInfo::default()
    });
    status.images = Some(images(input.images, config.node_status_max_images)).filter(|images| !images.is_empty());
    status.runtime_handlers = Some(handlers(health)).filter(|handlers| !handlers.is_empty());
    status.features =
        health.supplemental_groups_policy.map(|policy| NodeFeatures { supplemental_groups_policy: Some(policy) });
    status.declared_features = Some(DECLARED_FEATURES.map(str::to_owned).to_vec());
    status.volumes_in_use = Some(input.volumes_in_use.to_vec()).filter(|volumes| !volumes.is_empty());
    status.conditions = Some(conditions(input, old, &capacity));
    status
}

fn addresses(config: &Config) -> Vec<NodeAddress> {
    let address = |type_: &str, address: &String| NodeAddress { type_: type_.into(), address: address.clone() };
    let ips = config.node_ips.iter().take(2).map(|ip| address("InternalIP", ip));
    ips.chain([address("Hostname", &config.hostname)]).collect()
}

fn images(images: &[v1::Image], max: i64) -> Vec<ContainerImage> {
    let mut sorted: Vec<&v1::Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let count = usize::try_from(max).unwrap_or(usize::MAX);
    let shown = sorted.into_iter().take(count).map(|image| {
        let names = image.repo_digests.iter().chain(&image.repo_tags).take(IMAGE_NAMES_MAX);
        ContainerImage { names: Some(names.cloned().collect()), size_bytes: i64::try_from(image.size).ok() }
    });
    shown.collect()
}

fn handlers(health: &Health) -> Vec<NodeRuntimeHandler> {
    let handlers = health.handlers.iter().map(|(name, (recursive, users))| NodeRuntimeHandler {
        name: Some(name.clone()),
        features: Some(NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(*recursive),
            user_namespaces: Some(*users),
        }),
    });
    handlers.collect()
}

fn conditions(input: &Input<'_>, old: &NodeStatus, capacity: &ResourceList) -> Vec<NodeCondition> {
    let now = time(input.now);
    let pressure = input.pressure;
    let table = [
        (
            "MemoryPressure",
            pressure.memory,
            ["KubeletHasInsufficientMemory", "kubelet has insufficient memory available"],
            ["KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
        ),
        (
            "DiskPressure",
            pressure.disk,
            ["KubeletHasDiskPressure", "kubelet has disk pressure"],
            ["KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
        ),
        (
            "PIDPressure",
            pressure.pids,
            ["KubeletHasInsufficientPID", "kubelet has insufficient PID available"],
            ["KubeletHasSufficientPID", "kubelet has sufficient PID available"],
        ),
    ];
    let mut conditions: Vec<NodeCondition> = Vec::new();
    for (type_, is, yes, no) in table {
        let [reason, message] = if is { yes } else { no };
        conditions.push(condition(type_, is, reason, message.to_owned(), old, now.clone()));
    }
    let missing: Vec<&str> = ["cpu", "memory", "pods", "ephemeral-storage"]
        .into_iter()
        .filter(|name| !capacity.contains_key(*name))
        .collect();
    let missing = (!missing.is_empty()).then(|| format!("missing node capacity for resources: {}", missing.join(", ")));
    let mut errors: Vec<String> = [&input.health.runtime, &input.health.network]
        .into_iter()
        .filter_map(|health| health.clone().err())
        .chain(missing)
        .collect();
    errors.dedup();
    let ready = match errors.as_slice() {
        [] => condition("Ready", true, "KubeletReady", "kubelet is posting ready status".into(), old, now),
        [one] => condition("Ready", false, "KubeletNotReady", one.clone(), old, now),
        many => condition("Ready", false, "KubeletNotReady", format!("[{}]", many.join(", ")), old, now),
    };
    conditions.push(ready);
    // Others' conditions stay, and where they are.
    let mut all = old.conditions.clone().unwrap_or_default();
    for condition in conditions {
        match all.iter_mut().find(|known| known.type_ == condition.type_) {
            Some(known) => *known = condition,
            None => all.push(condition),
        }
    }
    all
}

fn condition(
    type_: &str,
    is: bool,
    reason: &str,
    message: String,
    old: &NodeStatus,
    now: Option<Time>,
) -> NodeCondition {
    let status = if is { "True" } else { "False" };
    let before = old.conditions.iter().flatten().find(|before| before.type_ == type_ && before.status == status);
    NodeCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_heartbeat_time: now.clone(),
        last_transition_time: before.map_or(now, |before| before.last_transition_time.clone()),
    }
}

/// Whether two statuses differ in more than the time they were made.
pub fn changed(old: &NodeStatus, new: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    still(old) != still(new)
}

/// The node as it is first registered.
pub fn initial(config: &Config, machine: &Machine, status: NodeStatus) -> Node {
    let mut node = Node::default();
    let labels = [
        ("kubernetes.io/hostname", config.hostname.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
    ];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    node.metadata.name = Some(config.node_name.clone());
    node.metadata.labels = Some(labels.chain(config.node_labels.clone()).collect());
    node.metadata.annotations =
        Some([("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned())].into());
    let spec = node.spec.get_or_insert_default();
    spec.taints = Some(config.taints.clone()).filter(|taints| !taints.is_empty());
    spec.provider_id = Some(config.provider_id.clone()).filter(|id| !id.is_empty());
    node.status = Some(status);
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Version;
    use std::path::Path;

    fn machine() -> Machine {
        Machine {
            cpus: 2,
            memory_bytes: 1 << 30,
            huge_pages: vec![("2MB".into(), 2048, 3)],
            ..Machine::read(Version::V1)
        }
    }

    fn input<'a>(config: &'a Config, machine: &'a Machine, health: &'a Health) -> Input<'a> {
        let disk = Disk { capacity: 100 << 30, available: 50 << 30, inodes: 1, inodes_free: 1 };
        Input {
            config,
            machine,
            disk: Some(disk),
            health,
            runtime_version: "containerd://1",
            images: &[],
            pressure: Pressure::default(),
            port: 10250,
            volumes_in_use: &[],
            now: 5_000_000_000,
        }
    }

    fn healthy() -> Health {
        Health { runtime: Ok(()), network: Ok(()), ..Health::default() }
    }

    #[test]
    fn resources_that_others_advertise_stay() {
        let (config, machine, health) = (Config::new("n", Path::new("/k")), machine(), healthy());
        let input = input(&config, &machine, &health);
        let mut advertised = generate(&input, &NodeStatus::default());
        advertised.capacity.as_mut().unwrap().insert("example.com/dongle".into(), Quantity::units(4).wire());
        advertised.capacity.as_mut().unwrap().insert("hugepages-3Mi".into(), Quantity::units(0).wire());
        advertised.allocatable.as_mut().unwrap().insert("example.com/gone".into(), Quantity::units(1).wire());
        let status = generate(&input, &advertised);
        let of = |list: &Option<std::collections::BTreeMap<_, _>>| quantity::list(list.as_ref());
        assert_eq!(of(&status.capacity)["example.com/dongle"].value(), 4);
        assert_eq!(of(&status.allocatable)["example.com/dongle"].value(), 4);
        assert!(!of(&status.allocatable).contains_key("example.com/gone"));
        assert!(!of(&status.capacity).contains_key("hugepages-3Mi"));
    }

    #[test]
    fn a_ready_node() {
        let (mut config, machine) = (Config::new("n", Path::new("/k")), machine());
        config.node_ips = vec!["192.0.2.1".into()];
        config.reserved.insert("cpu".into(), "500m".into());
        let status = generate(&input(&config, &machine, &healthy()), &NodeStatus::default());
        let text = |list: &Option<std::collections::BTreeMap<String, _>>, name: &str| -> String {
            let quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity = &list.as_ref().unwrap()[name];
            quantity.0.clone()
        };
        assert_eq!((text(&status.capacity, "cpu"), text(&status.allocatable, "cpu")), ("2".into(), "1500m".into()));
        assert_eq!(
            (text(&status.capacity, "memory"), text(&status.allocatable, "memory")),
            ("1Gi".into(), "918Mi".into())
        );
        assert_eq!(text(&status.capacity, "hugepages-2Mi"), "6Mi");
        assert_eq!(text(&status.allocatable, "ephemeral-storage"), "90Gi");
        let types: Vec<_> =
            status.conditions.as_ref().unwrap().iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert_eq!(
            types,
            [("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False"), ("Ready", "True")]
        );
        assert_eq!(status.addresses.unwrap().len(), 2);
    }

    #[test]
    fn a_node_without_network_is_not_ready() {
        let (config, machine) = (Config::new("n", Path::new("/k")), machine());
        let health = Health { network: Err("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized".into()), ..healthy() };
        let status = generate(&input(&config, &machine, &health), &NodeStatus::default());
        let ready = status.conditions.unwrap().pop().unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("False", Some("KubeletNotReady")));
        assert!(ready.message.unwrap().contains("cni plugin not initialized"));
    }

    #[test]
    fn a_heartbeat_is_no_change() {
        let (config, machine, health) = (Config::new("n", Path::new("/k")), machine(), healthy());
        let first = generate(&input(&config, &machine, &health), &NodeStatus::default());
        let later = generate(&Input { now: 90_000_000_000, ..input(&config, &machine, &health) }, &first);
        assert!(!changed(&first, &later));
        let ready = later.conditions.as_ref().unwrap().last().unwrap();
        assert_eq!(ready.last_transition_time, time(5_000_000_000));
        let short =
            Input { pressure: Pressure { disk: true, ..Pressure::default() }, ..input(&config, &machine, &health) };
        assert!(changed(&first, &generate(&short, &first)));
    }
}
