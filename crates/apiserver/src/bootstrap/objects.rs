//! Namespaces, priority classes, the `kubernetes` Service and what aggregated servers are told
//! about authentication.
//!
//! Upstream: pkg/controlplane/controller/{systemnamespaces,kubernetesservice,
//! clusterauthenticationtrust}, pkg/controlplane/reconcilers.

use std::net::IpAddr;

use api::codec::json;
use api::value::{Map, Value};

use super::rows;

pub(super) const PRIORITY_CLASSES: &str = include_str!("../../tables/bootstrap-priority-classes.jsonl");

/// Namespaces that exist from the start and come back when deleted.
pub const NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

/// How aggregated servers verify the front proxy and clients: content of the ConfigMap
/// `kube-system/extension-apiserver-authentication`.
#[derive(Clone, Debug, Default)]
pub struct AuthenticationTrust {
    /// PEM bundle of `--client-ca-file`.
    pub client_ca: String,
    /// PEM bundle of `--requestheader-client-ca-file`; the header lists matter only with it.
    pub request_header_ca: String,
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    pub group_headers: Vec<String>,
    pub extra_header_prefixes: Vec<String>,
    pub allowed_names: Vec<String>,
}

/// The classes of pods that must not be moved off a cluster or a node.
pub fn priority_classes() -> impl Iterator<Item = Value> {
    rows(PRIORITY_CLASSES)
}

/// A namespace, as it is created.
pub fn namespace(name: &str) -> Value {
    let mut namespace = Value::object();
    namespace.set("kind", "Namespace");
    namespace.set("apiVersion", "v1");
    namespace.set("metadata.name", name);
    namespace
}

/// Since when the server would notice the use of legacy service-account tokens: what upstream's controller that
/// cleans them up starts from.
pub fn legacy_token_tracking(now: jiff::Timestamp) -> Value {
    let mut map = Value::object();
    map.set("kind", "ConfigMap");
    map.set("apiVersion", "v1");
    map.set("metadata.name", "kube-apiserver-legacy-service-account-token-tracking");
    map.set("metadata.namespace", "kube-system");
    map.set("data.since", now.strftime("%Y-%m-%d").to_string());
    map
}

/// The Service `default/kubernetes`, as it is created: it has no selector.
pub fn kubernetes_service(cluster_ip: IpAddr, port: u16, target_port: u16, node_port: u16) -> Value {
    let mut service = Value::object();
    service.set("kind", "Service");
    service.set("apiVersion", "v1");
    service.set("metadata.name", "kubernetes");
    service.set("metadata.namespace", "default");
    service.set("metadata.labels.component", "apiserver");
    service.set("metadata.labels.provider", "kubernetes");
    let mut https = https_port(port);
    https.set("targetPort", i64::from(target_port));
    if node_port > 0 {
        https.set("nodePort", i64::from(node_port));
    }
    service.set("spec.ports", vec![https]);
    service.set("spec.clusterIP", cluster_ip.to_string());
    service.set("spec.type", if node_port > 0 { "NodePort" } else { "ClusterIP" });
    service.set("spec.sessionAffinity", "None");
    service.set("spec.ipFamilyPolicy", "SingleStack");
    service
}

/// The Endpoints `default/kubernetes`: the addresses of all servers. Marked so that the
/// mirroring controller leaves it alone.
pub fn kubernetes_endpoints(addresses: &[IpAddr], port: u16) -> Value {
    let mut endpoints = Value::object();
    endpoints.set("kind", "Endpoints");
    endpoints.set("apiVersion", "v1");
    endpoints.set("metadata.name", "kubernetes");
    endpoints.set("metadata.namespace", "default");
    endpoints.at_or_insert("metadata.labels").make_object().insert("endpointslice.kubernetes.io/skip-mirror", "true");
    let mut subset = Value::object();
    let address = |ip: &IpAddr| {
        let mut address = Value::object();
        address.set("ip", ip.to_string());
        address
    };
    subset.set("addresses", addresses.iter().map(address).collect::<Vec<_>>());
    subset.set("ports", vec![https_port(port)]);
    endpoints.set("subsets", if addresses.is_empty() { Vec::new() } else { vec![subset] });
    endpoints
}

/// The EndpointSlice `default/kubernetes` that goes with the Endpoints: all IPv6, or the IPv4 ones.
pub fn kubernetes_endpoint_slice(addresses: &[IpAddr], port: u16) -> Value {
    let v6 = !addresses.is_empty() && addresses.iter().all(IpAddr::is_ipv6);
    let mut slice = Value::object();
    slice.set("kind", "EndpointSlice");
    slice.set("apiVersion", "discovery.k8s.io/v1");
    slice.set("metadata.name", "kubernetes");
    slice.set("metadata.namespace", "default");
    slice.at_or_insert("metadata.labels").make_object().insert("kubernetes.io/service-name", "kubernetes");
    slice.set("addressType", if v6 { "IPv6" } else { "IPv4" });
    let endpoint = |ip: &IpAddr| {
        let mut endpoint = Value::object();
        endpoint.set("addresses", vec![ip.to_string()]);
        endpoint.set("conditions.ready", true);
        endpoint
    };
    let family = addresses.iter().filter(|ip| ip.is_ipv6() == v6);
    slice.set("endpoints", family.map(endpoint).collect::<Vec<_>>());
    slice.set("ports", vec![https_port(port)]);
    slice
}

fn https_port(port: u16) -> Value {
    let mut https = Value::object();
    https.set("name", "https");
    https.set("protocol", "TCP");
    https.set("port", i64::from(port));
    https
}

/// The ConfigMap `kube-system/extension-apiserver-authentication`, as it is created. With other
/// servers on the same cluster the caller merges bundles and lists; `existing` holds theirs.
pub fn authentication_config_map(trust: &AuthenticationTrust, existing: Option<&Value>) -> Value {
    let theirs = |key: &str| existing.map_or("", |map| map.at("data").get(key).as_str().unwrap_or_default());
    let mut data = Map::new();
    let mut put = |key: &'static str, text: String| {
        if !text.is_empty() {
            data.insert(key, text);
        }
    };
    put("client-ca-file", merge_bundles(theirs("client-ca-file"), &trust.client_ca));
    if !trust.request_header_ca.is_empty() {
        const CA: &str = "requestheader-client-ca-file";
        put(CA, merge_bundles(theirs(CA), &trust.request_header_ca));
        for (key, own, always) in [
            ("requestheader-username-headers", &trust.username_headers, true),
            ("requestheader-uid-headers", &trust.uid_headers, false),
            ("requestheader-group-headers", &trust.group_headers, true),
            ("requestheader-extra-headers-prefix", &trust.extra_header_prefixes, true),
            ("requestheader-allowed-names", &trust.allowed_names, true),
        ] {
            let merged = merge_lists(theirs(key), own);
            if always || !merged.is_empty() {
                put(key, String::from_utf8_lossy(&json::to_vec(&Value::from(merged))).into_owned());
            }
        }
    }
    data.sort();
    let mut map = existing.cloned().unwrap_or_else(|| {
        let mut map = Value::object();
        map.set("kind", "ConfigMap");
        map.set("apiVersion", "v1");
        map.set("metadata.name", "extension-apiserver-authentication");
        map.set("metadata.namespace", "kube-system");
        map
    });
    map.set("data", data);
    map
}

/// The certificates of both PEM bundles, each once.
fn merge_bundles(theirs: &str, own: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let mut blocks: Vec<&str> = Vec::new();
    for block in theirs.split_inclusive(END).chain(own.split_inclusive(END)) {
        let block = block.trim();
        if block.ends_with(END) && !blocks.contains(&block) {
            blocks.push(block);
        }
    }
    blocks.iter().map(|block| format!("{block}\n")).collect()
}

/// The names of their JSON list and of ours, each once.
fn merge_lists(theirs: &str, own: &[String]) -> Vec<String> {
    let theirs = json::parse(theirs.as_bytes()).unwrap_or_default();
    let theirs = theirs.as_array().unwrap_or_default().iter().filter_map(Value::as_str).map(String::from);
    let mut names: Vec<String> = Vec::new();
    for name in theirs.chain(own.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::parse;

    #[test]
    fn service_and_endpoints_have_upstreams_shape() {
        let service = kubernetes_service([10, 96, 0, 1].into(), 443, 6443, 0);
        let expected = r#"{"kind":"Service","apiVersion":"v1","metadata":{"name":"kubernetes","namespace":"default",
            "labels":{"component":"apiserver","provider":"kubernetes"}},"spec":{"ports":[{"name":"https","protocol":"TCP",
            "port":443,"targetPort":6443}],"clusterIP":"10.96.0.1","type":"ClusterIP","sessionAffinity":"None",
            "ipFamilyPolicy":"SingleStack"}}"#;
        assert_eq!(service, parse(expected).unwrap());
        let endpoints = kubernetes_endpoints(&[[192, 168, 0, 2].into()], 6443);
        assert_eq!(endpoints.array_at("subsets")[0].array_at("addresses")[0].str_at("ip"), "192.168.0.2");
        let slice = kubernetes_endpoint_slice(&[[192, 168, 0, 2].into(), "::1".parse().unwrap()], 6443);
        assert_eq!((slice.str_at("addressType"), slice.array_at("endpoints").len()), ("IPv4", 1));
    }

    #[test]
    fn trust_is_merged_with_what_other_servers_wrote() {
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let trust = AuthenticationTrust {
            client_ca: pem("A"),
            request_header_ca: pem("B"),
            username_headers: vec!["X-Remote-User".into()],
            allowed_names: vec!["front-proxy-client".into()],
            ..AuthenticationTrust::default()
        };
        let first = authentication_config_map(&trust, None);
        assert_eq!(first.at("data").get("client-ca-file").as_str(), Some(pem("A").as_str()));
        assert_eq!(first.at("data").get("requestheader-allowed-names").as_str(), Some(r#"["front-proxy-client"]"#));
        assert_eq!(first.at("data").get("requestheader-group-headers").as_str(), Some("[]"));
        assert!(first.at("data").get("requestheader-uid-headers").is_null());
        assert_eq!(authentication_config_map(&trust, Some(&first)), first);
        let other = AuthenticationTrust { client_ca: pem("C"), ..trust };
        let both = authentication_config_map(&other, Some(&first));
        assert_eq!(both.at("data").get("client-ca-file").as_str(), Some((pem("A") + &pem("C")).as_str()));
    }
}
