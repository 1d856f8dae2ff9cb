//! Nodes, namespaces, events, and other things that stand by themselves.

use jiff::Timestamp;

use super::cells::{self, NONE};
use super::{AGE, Column, NAME, Table, age, boolean, integer, text};
use crate::kinds::read::Read;
use crate::kinds::resources::quantity;
use crate::value::Value;

pub static NAME_AND_AGE: Table =
    Table { columns: &[NAME, AGE], cells: |object, now| vec![cells::name(object), cells::age(object, now)] };

pub static CONFIG_MAPS: Table = Table {
    columns: &[NAME, text("Data", "How many keys there are."), AGE],
    cells: |map, now| {
        let keys = map.len_at("data") + map.len_at("binaryData");
        vec![cells::name(map), (keys as i64).into(), cells::age(map, now)]
    },
};

pub static COMPONENT_STATUSES: Table = Table {
    columns: &[
        NAME,
        text("Status", "Whether it is healthy."),
        text("Message", "What it says of itself."),
        text("Error", "Why it could not be asked."),
    ],
    cells: |component, _| {
        let healthy = component.array_at("conditions").iter().find(|one| one.str_at("type") == "Healthy");
        let said = healthy.unwrap_or(&Value::Null);
        let status = match said.str_at("status") {
            "" => "Unknown",
            "True" => "Healthy",
            _ => "Unhealthy",
        };
        vec![cells::name(component), status.into(), said.str_at("message").into(), said.str_at("error").into()]
    },
};

pub static SECRETS: Table = Table {
    columns: &[NAME, text("Type", "What the secret is for."), text("Data", "How many keys there are."), AGE],
    cells: |secret, now| {
        let keys = secret.len_at("data") as i64;
        vec![cells::name(secret), secret.str_at("type").into(), keys.into(), cells::age(secret, now)]
    },
};

pub static NAMESPACES: Table = Table {
    columns: &[NAME, text("Status", "Whether it is active or going away."), AGE],
    cells: |namespace, now| {
        vec![cells::name(namespace), namespace.str_at("status.phase").into(), cells::age(namespace, now)]
    },
};

pub static LEASES: Table = Table {
    columns: &[NAME, text("Holder", "Who holds it."), AGE],
    cells: |lease, now| vec![cells::name(lease), lease.str_at("spec.holderIdentity").into(), cells::age(lease, now)],
};

pub static RUNTIME_CLASSES: Table = Table {
    columns: &[NAME, text("Handler", "What the container runtime calls it."), AGE],
    cells: |class, now| vec![cells::name(class), class.str_at("handler").into(), cells::age(class, now)],
};

pub static PRIORITY_CLASSES: Table = Table {
    columns: &[
        NAME,
        integer("Value", "The priority."),
        boolean("Global-Default", "Whether pods without a class get this one."),
        AGE,
        text("PreemptionPolicy", "Whether pods of this class may push others out."),
    ],
    cells: |class, now| {
        vec![
            cells::name(class),
            class.int("value").into(),
            class.flag("globalDefault").into(),
            cells::age(class, now),
            class.str_at("preemptionPolicy").into(),
        ]
    },
};

pub static RESOURCE_QUOTAS: Table = Table {
    columns: &[
        NAME,
        text("Request", "Amounts used of what may be asked for."),
        text("Limit", "Amounts used of what may be used at most."),
        AGE,
    ],
    cells: |quota, now| {
        let mut names: Vec<&str> = quota.entries("status.hard").map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let shown = |limits: bool| -> Value {
            let amounts: Vec<String> = names
                .iter()
                .filter(|name| name.starts_with("limits.") == limits)
                .map(|name| {
                    let amount = |list: &str| quantity(quota.at("status").entry(list, name));
                    format!("{name}: {}/{}", amount("used"), amount("hard"))
                })
                .collect();
            amounts.join(", ").into()
        };
        vec![cells::name(quota), shown(false), shown(true), cells::age(quota, now)]
    },
};

// === Nodes ===

pub static NODES: Table = Table {
    columns: &[
        NAME,
        text("Status", "Whether the node is ready and takes pods."),
        text("Roles", "What the node is for."),
        AGE,
        text("Version", "The kubelet's version."),
        text("Internal-IP", "Address within the cluster.").wide(),
        text("External-IP", "Address outside of the cluster.").wide(),
        text("OS-Image", "The operating system.").wide(),
        text("Kernel-Version", "The kernel, and the machine's architecture.").wide(),
        text("Container-Runtime", "What runs the containers.").wide(),
    ],
    cells: |node, now| {
        let info = node.at("status.nodeInfo");
        let mut kernel = cells::or(info, "kernelVersion", "<unknown>").to_owned();
        if info.filled("architecture") {
            kernel.push_str(&format!(" ({})", info.str_at("architecture")));
        }
        let address = |kind: &str| -> Value {
            let all = node.array_at("status.addresses");
            all.iter().find(|one| one.str_at("type") == kind).map_or(NONE, |one| one.str_at("address")).into()
        };
        vec![
            cells::name(node),
            node_status(node).into(),
            node_roles(node).into(),
            cells::age(node, now),
            info.str_at("kubeletVersion").into(),
            address("InternalIP"),
            address("ExternalIP"),
            cells::or(info, "osImage", "<unknown>").into(),
            kernel.into(),
            cells::or(info, "containerRuntimeVersion", "<unknown>").into(),
        ]
    },
};

fn node_status(node: &Value) -> String {
    let ready = node.array_at("status.conditions").iter().rfind(|one| one.str_at("type") == "Ready");
    let status = match ready.map(|one| one.str_at("status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let unschedulable = node.flag("spec.unschedulable");
    if unschedulable { format!("{status},SchedulingDisabled") } else { status.to_owned() }
}

fn node_roles(node: &Value) -> String {
    let mut roles: Vec<&str> = node
        .entries("metadata.labels")
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}

// === Events ===

pub static EVENTS: Table = Table {
    columns: &[
        text("Last Seen", "Time since it last happened."),
        text("Type", "Whether it is normal."),
        text("Reason", "What happened, in a word."),
        text("Object", "What it is about."),
        text("Subobject", "Which part of it.").wide(),
        text("Source", "Who reports it.").wide(),
        text("Message", "What happened."),
        text("First Seen", "Time since it first happened.").wide(),
        text("Count", "How often it happened.").wide(),
        Column { priority: 1, ..NAME },
    ],
    cells: event_cells,
};

fn event_cells(event: &Value, now: Timestamp) -> Vec<Value> {
    let ago = |path: &str, otherwise: &str| match event.has(path) {
        true => age::since(event.at(path), now),
        false => age::since(event.at(otherwise), now),
    };
    let first = ago("firstTimestamp", "eventTime");
    let (last, count) = if event.has("series") {
        (age::since(event.at("series.lastObservedTime"), now), event.int("series.count"))
    } else {
        let last = if event.has("lastTimestamp") { ago("lastTimestamp", "") } else { first.clone() };
        (last, event.int("count").max(1))
    };
    let involved = event.at("involvedObject");
    let mut target = involved.str_at("kind").to_lowercase();
    if involved.filled("name") {
        target.push_str(&format!("/{}", involved.str_at("name")));
    }
    let source = cells::or(event, "source.component", event.str_at("reportingComponent"));
    let host = cells::or(event, "source.host", event.str_at("reportingInstance"));
    vec![
        last.into(),
        event.str_at("type").into(),
        event.str_at("reason").into(),
        target.into(),
        involved.str_at("fieldPath").into(),
        if host.is_empty() { source.into() } else { format!("{source}, {host}").into() },
        event.str_at("message").trim().into(),
        first.into(),
        count.into(),
        cells::name(event),
    ]
}

// === Devices ===

pub static RESOURCE_CLAIMS: Table = Table {
    columns: &[NAME, text("State", "Whether it is allocated and reserved."), AGE],
    cells: |claim, now| {
        let deleted = claim.has("metadata.deletionTimestamp");
        let mut states = Vec::new();
        if deleted {
            states.push("deleted");
        }
        match claim.has("status.allocation") {
            false if !deleted => states.push("pending"),
            false => {}
            true => {
                states.push("allocated");
                if claim.filled("status.reservedFor") {
                    states.push("reserved");
                }
            }
        }
        vec![cells::name(claim), states.join(",").into(), cells::age(claim, now)]
    },
};

pub static RESOURCE_SLICES: Table = Table {
    columns: &[
        NAME,
        text("Node", "Where the devices are."),
        text("Driver", "Who offers them."),
        text("Pool", "Which pool they are in."),
        AGE,
    ],
    cells: |slice, now| {
        vec![
            cells::name(slice),
            slice.str_at("spec.nodeName").into(),
            slice.str_at("spec.driver").into(),
            slice.str_at("spec.pool.name").into(),
            cells::age(slice, now),
        ]
    },
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[test]
    fn a_node() {
        let node = tree(json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.37.2", "kernelVersion": "6.1", "architecture": "amd64"}}}));
        let row = (NODES.cells)(&node, Timestamp::UNIX_EPOCH);
        let shown: Vec<&str> = row.iter().map(|cell| cell.as_str().unwrap()).collect();
        assert_eq!(
            shown,
            [
                "n",
                "Ready,SchedulingDisabled",
                "control-plane",
                "<unknown>",
                "v1.37.2",
                "10.0.0.1",
                "<none>",
                "<unknown>",
                "6.1 (amd64)",
                "<unknown>"
            ]
        );
    }

    #[test]
    fn an_event() {
        let event =
            tree(json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started", "message": " hello ",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": "1970-01-01T00:00:30Z", "count": 3}));
        let row = event_cells(&event, Timestamp::from_second(60).unwrap());
        assert_eq!(
            row[..7],
            [
                "30s".into(),
                "Normal".into(),
                "Started".into(),
                "pod/p".into(),
                "".into(),
                "kubelet, n".into(),
                "hello".into()
            ]
        );
        assert_eq!(row[7..9], ["60s".into(), Value::Int(3)]);
    }
}
