//! Views: the fields of API objects that this crate reads, decoded straight from an object's JSON.
//!
//! What Go would read as a zero value is the type's default here, and `null` is accepted wherever Go accepts it.

use client::{ClientError, MetaExt, View};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// A namespaced object's name. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Empty for what is cluster-scoped.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// A Service, as the proxy and DNS see it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ServiceView {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub spec: ServiceSpec,
    #[serde(deserialize_with = "nullable")]
    pub status: ServiceStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ServiceSpec {
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    #[serde(rename = "clusterIP", deserialize_with = "nullable")]
    pub cluster_ip: String,
    #[serde(rename = "clusterIPs", deserialize_with = "nullable")]
    pub cluster_ips: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<ServicePortSpec>,
    #[serde(deserialize_with = "nullable")]
    pub session_affinity: String,
    pub session_affinity_config: Option<SessionAffinityConfig>,
    #[serde(rename = "externalIPs", deserialize_with = "nullable")]
    pub external_ips: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub load_balancer_source_ranges: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub external_traffic_policy: String,
    #[serde(deserialize_with = "nullable")]
    pub internal_traffic_policy: String,
    #[serde(deserialize_with = "nullable")]
    pub health_check_node_port: u16,
    #[serde(deserialize_with = "nullable")]
    pub external_name: String,
    #[serde(deserialize_with = "nullable")]
    pub publish_not_ready_addresses: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ServicePortSpec {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub protocol: Protocol,
    #[serde(deserialize_with = "nullable")]
    pub port: u16,
    #[serde(deserialize_with = "nullable")]
    pub node_port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    pub client_ip: Option<ClientIpConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ClientIpConfig {
    pub timeout_seconds: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ServiceStatus {
    #[serde(deserialize_with = "nullable")]
    pub load_balancer: LoadBalancerStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct LoadBalancerStatus {
    #[serde(deserialize_with = "nullable")]
    pub ingress: Vec<LoadBalancerIngress>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct LoadBalancerIngress {
    #[serde(deserialize_with = "nullable")]
    pub ip: String,
    /// `VIP` (also when absent) or `Proxy`.
    #[serde(deserialize_with = "nullable")]
    pub ip_mode: String,
}

/// A transport protocol, upper case on the wire, lower case in rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// An EndpointSlice, as the proxy and DNS see it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct EndpointSliceView {
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(deserialize_with = "nullable")]
    pub address_type: String,
    #[serde(deserialize_with = "nullable")]
    pub endpoints: Vec<EndpointSpec>,
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<EndpointPortSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct EndpointSpec {
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub conditions: EndpointConditions,
    #[serde(deserialize_with = "nullable")]
    pub hostname: String,
    #[serde(deserialize_with = "nullable")]
    pub node_name: String,
    #[serde(deserialize_with = "nullable")]
    pub hints: EndpointHints,
    pub target_ref: Option<TargetRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct EndpointConditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct EndpointHints {
    #[serde(deserialize_with = "nullable")]
    pub for_zones: Vec<Named>,
    #[serde(deserialize_with = "nullable")]
    pub for_nodes: Vec<Named>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Named {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TargetRef {
    #[serde(deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct EndpointPortSpec {
    /// Absent is not empty: a port without a name serves no Service port.
    pub name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub protocol: Protocol,
    pub port: Option<u16>,
}

/// A Node, as the proxy and the pod network see it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeView {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub spec: NodeSpec,
    #[serde(deserialize_with = "nullable")]
    pub status: NodeStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeSpec {
    #[serde(rename = "podCIDR", deserialize_with = "nullable")]
    pub pod_cidr: String,
    #[serde(rename = "podCIDRs", deserialize_with = "nullable")]
    pub pod_cidrs: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub taints: Vec<Taint>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Taint {
    #[serde(deserialize_with = "nullable")]
    pub key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeStatus {
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<NodeAddress>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeAddress {
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub address: String,
}

// === impls ===

impl ObjectName {
    #[allow(missing_docs)]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ObjectName {
        ObjectName { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

macro_rules! views {
    ($($view:ty = $kind:literal;)*) => {$(
        impl View for $view {
            fn decode(bytes: &[u8]) -> Result<Self, ClientError> {
                let decoded: Result<Self, serde_json::Error> = serde_json::from_slice(bytes);
                let decode = |error: serde_json::Error| ClientError::Decode { what: $kind.into(), why: error.to_string() };
                let mut view = decoded.map_err(decode)?;
                view.metadata.managed_fields = None;
                Ok(view)
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
        }

        impl $view {
            /// The object's name with its namespace.
            pub fn object_name(&self) -> ObjectName {
                ObjectName::new(self.namespace(), self.name())
            }
        }
    )*};
}

views! {
    ServiceView = "Service";
    EndpointSliceView = "EndpointSlice";
    NodeView = "Node";
}

impl ServiceView {
    /// Whether the Service has cluster IPs at all (not headless, not of type ExternalName).
    pub fn has_cluster_ip(&self) -> bool {
        self.spec.kind != "ExternalName" && !matches!(self.spec.cluster_ip.as_str(), "" | "None")
    }

    /// All cluster IPs; older objects have only `clusterIP`.
    pub fn cluster_ips(&self) -> &[String] {
        if self.spec.cluster_ips.is_empty() {
            std::slice::from_ref(&self.spec.cluster_ip)
        } else {
            &self.spec.cluster_ips
        }
    }

    /// Whether this is a headless Service: names of its endpoints, no address of its own.
    pub fn is_headless(&self) -> bool {
        self.spec.kind != "ExternalName" && self.spec.cluster_ip == "None"
    }
}

/// The label that ties an EndpointSlice to its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

impl EndpointSliceView {
    /// The Service that the slice belongs to.
    pub fn service(&self) -> Option<ObjectName> {
        let name = self.label(SERVICE_NAME_LABEL).filter(|name| !name.is_empty())?;
        Some(ObjectName::new(self.namespace(), name))
    }
}

impl NodeView {
    /// The pod ranges; older objects have only `podCIDR`.
    pub fn pod_cidrs(&self) -> Vec<&str> {
        match self.spec.pod_cidrs.is_empty() {
            true => Some(self.spec.pod_cidr.as_str()).filter(|cidr| !cidr.is_empty()).into_iter().collect(),
            false => self.spec.pod_cidrs.iter().map(String::as_str).collect(),
        }
    }
}

impl Protocol {
    /// As nftables writes it.
    pub fn lower(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// Reads `null` as the default, as Go does.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_reads_like_absent() {
        let json = r#"{"metadata":{"name":"a","labels":null},"spec":{"ports":null,"clusterIPs":null,"clusterIP":"10.0.0.1"},"status":null}"#;
        let service: ServiceView = serde_json::from_str(json).unwrap();
        assert_eq!(service.cluster_ips(), ["10.0.0.1"]);
        assert!(service.has_cluster_ip());
    }

    #[test]
    fn a_slice_names_its_service() {
        let json = r#"{"metadata":{"name":"a-x","namespace":"n","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4",
            "endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true},"nodeName":null}],
            "ports":[{"name":"","port":80,"protocol":"TCP"},{"port":null,"name":null}]}"#;
        let slice: EndpointSliceView = serde_json::from_str(json).unwrap();
        assert_eq!(slice.service(), Some(ObjectName::new("n", "a")));
        assert_eq!((slice.ports[0].name.as_deref(), slice.ports[1].name.as_deref()), (Some(""), None));
    }
}
