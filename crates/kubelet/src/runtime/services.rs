//! The variables that tell a container where services are (`KUBERNETES_SERVICE_HOST`, …).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// Those of the API server's own service, and with `links` those of the pod's namespace.
pub fn variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services.filter(|service| cluster_ip(service).is_some()) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let own = service.metadata.namespace.as_deref() == Some(namespace);
        let master = service.metadata.namespace.as_deref() == Some("default") && name == "kubernetes";
        if own && links {
            chosen.insert(name, service);
        } else if master {
            chosen.entry(name).or_insert(service);
        }
    }
    chosen.into_values().flat_map(of_service).collect()
}

fn cluster_ip(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let (Some(ip), Some(spec)) = (cluster_ip(service), &service.spec) else { return Vec::new() };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let prefix = variable(service.metadata.name.as_deref().unwrap_or_default());
    let mut all = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for (index, port) in ports.iter().enumerate() {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all.push((format!("{prefix}_SERVICE_PORT_{}", variable(name)), port.port.to_string()));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            all.push((format!("{prefix}_PORT"), url.clone()));
        }
        let own = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        all.push((own.clone(), url));
        all.push((format!("{own}_PROTO"), lower));
        all.push((format!("{own}_PORT"), port.port.to_string()));
        all.push((format!("{own}_ADDR"), ip.to_owned()));
    }
    all
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str) -> Service {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [{"name": "p-1", "port": 443, "protocol": "TCP"}]}}))
        .unwrap()
    }

    #[test]
    fn the_masters_always_and_the_namespaces_by_choice() {
        let services = [
            service("default", "kubernetes", "10.0.0.1"),
            service("ns", "my-app", "10.0.0.2"),
            service("ns", "headless", "None"),
            service("other", "far", "10.0.0.3"),
        ];
        let without = variables(services.iter(), "ns", false);
        assert_eq!(without["KUBERNETES_SERVICE_HOST"], "10.0.0.1");
        assert!(without.keys().all(|key| key.starts_with("KUBERNETES_")));
        let with = variables(services.iter(), "ns", true);
        let own: Vec<_> = with
            .iter()
            .filter(|(key, _)| key.starts_with("MY_APP"))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            own,
            [
                "MY_APP_PORT=tcp://10.0.0.2:443",
                "MY_APP_PORT_443_TCP=tcp://10.0.0.2:443",
                "MY_APP_PORT_443_TCP_ADDR=10.0.0.2",
                "MY_APP_PORT_443_TCP_PORT=443",
                "MY_APP_PORT_443_TCP_PROTO=tcp",
                "MY_APP_SERVICE_HOST=10.0.0.2",
                "MY_APP_SERVICE_PORT=443",
                "MY_APP_SERVICE_PORT_P_1=443",
            ]
        );
        assert!(!with.contains_key("FAR_SERVICE_HOST") && !with.contains_key("HEADLESS_SERVICE_HOST"));
    }
}
