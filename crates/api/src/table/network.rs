//! Services and what stands behind and before them.

use super::cells::{self, NONE, UNSET};
use super::{AGE, NAME, SELECTOR, Table, text};
use crate::kinds::read::Read;
use crate::value::Value;

pub static SERVICES: Table = Table {
    columns: &[
        NAME,
        text("Type", "How the service is reached."),
        text("Cluster-IP", "Its address within the cluster."),
        text("External-IP", "Addresses outside of the cluster."),
        text("Port(s)", "Ports, with node ports behind the colon."),
        AGE,
        SELECTOR,
    ],
    cells: |service, now| {
        let ports: Vec<String> = service.array_at("spec.ports").iter().map(port).collect();
        let ip = service.array_at("spec.clusterIPs").first().and_then(Value::as_str);
        vec![
            cells::name(service),
            service.str_at("spec.type").into(),
            ip.unwrap_or(NONE).into(),
            external_ip(service).into(),
            if ports.is_empty() { NONE.into() } else { ports.join(",").into() },
            cells::age(service, now),
            cells::labels(service.at("spec.selector")).into(),
        ]
    },
};

fn port(port: &Value) -> String {
    let (number, protocol) = (port.int("port"), port.str_at("protocol"));
    match port.int("nodePort") {
        node_port if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

fn external_ip(service: &Value) -> String {
    let external: Vec<&str> = service.strings("spec.externalIPs").collect();
    match service.str_at("spec.type") {
        "ClusterIP" | "NodePort" if external.is_empty() => NONE.to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let balanced = balancer_addresses(service);
            match (balanced.is_empty(), external.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (true, false) => external.join(","),
                (false, true) => balanced,
                (false, false) => format!("{balanced},{}", external.join(",")),
            }
        }
        "ExternalName" => service.str_at("spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Addresses or names that a load balancer answers at.
fn balancer_addresses(object: &Value) -> String {
    let mut all: Vec<&str> = object
        .array_at("status.loadBalancer.ingress")
        .iter()
        .map(|ingress| cells::or(ingress, "ip", ingress.str_at("hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

pub static ENDPOINTS: Table = Table {
    columns: &[NAME, text("Endpoints", "Addresses and ports."), AGE],
    cells: |endpoints, now| {
        let mut all = Vec::new();
        for subset in endpoints.array_at("subsets") {
            let addresses = || subset.array_at("addresses").iter().map(|address| address.str_at("ip"));
            match subset.array_at("ports") {
                [] => all.extend(addresses().map(str::to_owned)),
                ports => {
                    for port in ports {
                        all.extend(addresses().map(|ip| host_port(ip, port.int("port"))));
                    }
                }
            }
        }
        let absent = if endpoints.filled("subsets") { "" } else { NONE };
        vec![cells::name(endpoints), cells::shortened(&all, absent).into(), cells::age(endpoints, now)]
    },
};

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub static ENDPOINT_SLICES: Table = Table {
    columns: &[
        NAME,
        text("AddressType", "The family of the addresses."),
        text("Ports", "Ports that the endpoints listen on."),
        text("Endpoints", "Addresses."),
        AGE,
    ],
    cells: |slice, now| {
        let ports: Vec<String> = slice
            .array_at("ports")
            .iter()
            .map(|port| match port.i64_at("port") {
                Some(number) => number.to_string(),
                None => cells::pointer(port, "name", "*").to_owned(),
            })
            .collect();
        let addresses: Vec<String> = slice
            .array_at("endpoints")
            .iter()
            .flat_map(|endpoint| endpoint.strings("addresses"))
            .map(str::to_owned)
            .collect();
        vec![
            cells::name(slice),
            slice.str_at("addressType").into(),
            cells::shortened(&ports, UNSET).into(),
            cells::shortened(&addresses, UNSET).into(),
            cells::age(slice, now),
        ]
    },
};

pub static INGRESSES: Table = Table {
    columns: &[
        NAME,
        text("Class", "Which controller serves it."),
        text("Hosts", "Host names that are routed."),
        text("Address", "Where the load balancer answers."),
        text("Ports", "Ports that are open."),
        AGE,
    ],
    cells: |ingress, now| {
        vec![
            cells::name(ingress),
            cells::pointer(ingress, "spec.ingressClassName", NONE).into(),
            hosts(ingress.array_at("spec.rules")).into(),
            balancer_addresses(ingress).into(),
            if ingress.filled("spec.tls") { "80, 443".into() } else { "80".into() },
            cells::age(ingress, now),
        ]
    },
};

/// Host names before `+ n more...`.
const HOSTS_SHOWN: usize = 3;

fn hosts(rules: &[Value]) -> String {
    let (mut shown, mut more): (Vec<&str>, bool) = (Vec::new(), false);
    for rule in rules {
        more |= shown.len() == HOSTS_SHOWN;
        if !more && rule.filled("host") {
            shown.push(rule.str_at("host"));
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => shown.join(","),
        (false, true) => format!("{} + {} more...", shown.join(","), rules.len() - HOSTS_SHOWN),
    }
}

pub static INGRESS_CLASSES: Table = Table {
    columns: &[
        NAME,
        text("Controller", "Who serves ingresses of this class."),
        text("Parameters", "Further settings of the controller."),
        AGE,
    ],
    cells: |class, now| {
        let is_default =
            class.entry("metadata.annotations", "ingressclass.kubernetes.io/is-default-class").as_str() == Some("true");
        let name = class.str_at("metadata.name");
        let parameters = class.at("spec.parameters");
        let shown = match (parameters.is_null(), parameters.at("apiGroup").as_str()) {
            (true, _) => NONE.to_owned(),
            (_, Some(group)) => format!("{}.{group}/{}", parameters.str_at("kind"), parameters.str_at("name")),
            (_, None) => format!("{}/{}", parameters.str_at("kind"), parameters.str_at("name")),
        };
        vec![
            if is_default { format!("{name} (default)").into() } else { name.into() },
            class.str_at("spec.controller").into(),
            shown.into(),
            cells::age(class, now),
        ]
    },
};

pub static NETWORK_POLICIES: Table = Table {
    columns: &[NAME, text("Pod-Selector", "Pods that the policy is about."), AGE],
    cells: |policy, now| {
        let mut selector = policy.at("spec.podSelector").clone();
        selector.make_object();
        vec![cells::name(policy), cells::selector(&selector).into(), cells::age(policy, now)]
    },
};

pub static SERVICE_CIDRS: Table = Table {
    columns: &[NAME, text("CIDRs", "Ranges of cluster IPs."), AGE],
    cells: |cidr, now| {
        let ranges: Vec<&str> = cidr.strings("spec.cidrs").collect();
        vec![cells::name(cidr), ranges.join(",").into(), cells::age(cidr, now)]
    },
};

pub static IP_ADDRESSES: Table = Table {
    columns: &[NAME, text("ParentRef", "What holds the address.")],
    cells: |address, _| {
        let parent = address.at("spec.parentRef");
        let shown = match parent.is_null() {
            true => NONE.to_owned(),
            false => {
                let resource =
                    crate::status::GroupResource { group: parent.str_at("group"), resource: parent.str_at("resource") };
                let mut path = vec![resource.to_string().to_lowercase()];
                path.extend(Some(parent.str_at("namespace").to_owned()).filter(|namespace| !namespace.is_empty()));
                path.push(parent.str_at("name").to_owned());
                path.join("/")
            }
        };
        vec![cells::name(address), shown.into()]
    },
};

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[rstest]
    #[case(json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "protocol": "TCP"}]}), json!({}), "ClusterIP 10.0.0.1 <none> 80/TCP")]
    #[case(json!({"type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}]}), json!({}), "NodePort 10.0.0.1 <none> 80:30000/TCP")]
    #[case(json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]}), json!({}), "LoadBalancer 10.0.0.1 <pending> <none>")]
    #[case(json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]}), json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}), "LoadBalancer 10.0.0.1 1.2.3.4 <none>")]
    #[case(json!({"type": "ExternalName", "externalName": "e.com"}), json!({}), "ExternalName <none> e.com <none>")]
    fn services(#[case] spec: serde_json::Value, #[case] status: serde_json::Value, #[case] expected: &str) {
        let cells = (SERVICES.cells)(&tree(json!({"spec": spec, "status": status})), Timestamp::UNIX_EPOCH);
        let shown: Vec<&str> = cells[1..5].iter().map(|cell| cell.as_str().unwrap()).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn endpoints_are_shortened() {
        let endpoints = tree(
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 81}]}]}),
        );
        let cells = (ENDPOINTS.cells)(&endpoints, Timestamp::UNIX_EPOCH);
        assert_eq!(cells[1].as_str(), Some("10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more..."));
    }
}
