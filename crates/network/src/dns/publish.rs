//! The server as a Service: what clients know as the cluster's DNS address leads to this node.
//!
//! The Service has no selector, so that no controller touches its slices. Every node with a server keeps a slice of
//! its own; `trafficDistribution` asks for the nearest.

use client::{Api, Client, ClientError, ObjectKey, WriteOptions, resources};
use std::net::{IpAddr, SocketAddr};

use api::value::Value;

/// Where the Service lives.
pub const NAMESPACE: &str = "kube-system";
/// The Service's name; tools look for it.
pub const SERVICE: &str = "kube-dns";
/// Who keeps the slices.
const MANAGED_BY: &str = "dns.xebec";

/// What is published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The well-known address.
    pub cluster_ip: IpAddr,
    /// The node's name.
    pub node: String,
    /// Where this node's server listens; a node's own address, as an endpoint must not be loopback.
    pub endpoint: SocketAddr,
}

// === impl Publication ===

impl Publication {
    /// Makes the Service and this node's slice, or brings them up to date.
    ///
    /// # Errors
    /// What the server says; trying again is right.
    pub async fn publish(&self, client: &Client) -> Result<(), ClientError> {
        let services = client.namespaced(&resources::SERVICES, NAMESPACE);
        ensure(&services, SERVICE, self.service()?, false).await?;
        let slices = client.namespaced(&resources::ENDPOINT_SLICES, NAMESPACE);
        ensure(&slices, &self.slice_name(), self.slice()?, true).await
    }

    /// Removes this node's slice; the Service stays for the others.
    ///
    /// # Errors
    /// What the server says.
    pub async fn withdraw(&self, client: &Client) -> Result<(), ClientError> {
        let slices = client.namespaced(&resources::ENDPOINT_SLICES, NAMESPACE);
        match slices.delete(&self.slice_name(), &client::DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The key of this node's slice.
    pub fn slice_key(&self) -> ObjectKey {
        ObjectKey::new(NAMESPACE, self.slice_name())
    }

    fn slice_name(&self) -> String {
        format!("{SERVICE}-{}", self.node)
    }

    fn service(&self) -> Result<Value, ClientError> {
        let ip = self.cluster_ip.to_string();
        client::json::to_tree(&serde_json::json!({
            "metadata": {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
            },
            "spec": {
                "clusterIP": ip,
                "clusterIPs": [ip],
                "trafficDistribution": "PreferSameNode",
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        }))
    }

    fn slice(&self) -> Result<Value, ClientError> {
        let port = self.endpoint.port();
        client::json::to_tree(&serde_json::json!({
            "metadata": {
                "name": self.slice_name(),
                "namespace": NAMESPACE,
                "labels": {
                    "kubernetes.io/service-name": SERVICE,
                    "endpointslice.kubernetes.io/managed-by": MANAGED_BY,
                },
            },
            "addressType": if self.endpoint.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": [{
                "addresses": [self.endpoint.ip().to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": self.node,
                "hints": {"forNodes": [{"name": self.node}]},
            }],
            "ports": [
                {"name": "dns", "port": port, "protocol": "UDP"},
                {"name": "dns-tcp", "port": port, "protocol": "TCP"},
            ],
        }))
    }
}

/// Creates an object, or, where it is there and `update` says so, gives its parts the wanted values.
async fn ensure(api: &Api, name: &str, wanted: Value, update: bool) -> Result<(), ClientError> {
    let Some(stored) = api.get_opt(name).await? else {
        return match api.create_tree(wanted, &WriteOptions::default()).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        };
    };
    if !update {
        return Ok(());
    }
    let mut changed = false;
    let tree = client::json::edit(stored.bytes(), |tree| {
        for part in ["endpoints", "ports"] {
            if tree.at(part) != wanted.at(part) {
                tree.set(part, wanted.at(part).clone());
                changed = true;
            }
        }
    })?;
    if changed {
        api.update(tree, &WriteOptions::default()).await?;
    }
    Ok(())
}
