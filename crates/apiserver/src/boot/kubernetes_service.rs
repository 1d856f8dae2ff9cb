//! The `kubernetes` Service: how pods reach the API.

use std::net::IpAddr;

use api::value::Value;
use client::{Client, ClientError, Resource, WriteOptions};

use crate::bootstrap::objects;
use crate::settings::Settings;

const SERVICES: Resource = Resource::fixed("", "v1", "services", "Service", true);
const ENDPOINTS: Resource = Resource::fixed("", "v1", "endpoints", "Endpoints", true);
const ENDPOINT_SLICES: Resource = Resource::fixed("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
/// The port that pods use, whatever the server listens on.
const PORT: u16 = 443;

/// Creates the Service at the first address of the range.
pub async fn ensure_service(client: &Client, settings: &Settings) -> Result<(), ClientError> {
    let Some(ip) = settings.service_cluster_ip_range.nth(1) else { return Ok(()) };
    super::ensure(client, SERVICES, objects::kubernetes_service(ip, PORT, settings.secure_port, 0)).await
}

/// Points the Service at this server. A server that is not alone adds its address to those of the others.
///
/// # Errors
/// The request that failed.
pub async fn publish_endpoints(client: &Client, settings: &Settings) -> Result<(), ClientError> {
    if settings.advertise_address.is_loopback() {
        tracing::info!("the API is reachable from this machine only: the kubernetes Service gets no endpoints");
        return Ok(());
    }
    let addresses: &[IpAddr] = &[settings.advertise_address];
    put(client, &ENDPOINTS, objects::kubernetes_endpoints(addresses, settings.secure_port), "subsets").await?;
    let slice = objects::kubernetes_endpoint_slice(addresses, settings.secure_port);
    put(client, &ENDPOINT_SLICES, slice, "endpoints").await
}

/// Creates or replaces an object whose content lies in one field (and, for slices, in `ports`).
async fn put(client: &Client, resource: &Resource, wanted: Value, field: &str) -> Result<(), ClientError> {
    let api = client.namespaced(resource, "default");
    let options = WriteOptions::default();
    let Some(existing) = api.get_opt(wanted.str_at("metadata.name")).await? else {
        return api.create_tree(wanted, &options).await.map(drop);
    };
    let existing = existing.tree()?;
    let mut new = existing.clone();
    for key in [field, "ports"] {
        if let Some(value) = wanted.field(key) {
            new.set(key, value.clone());
        }
    }
    match new == existing {
        true => Ok(()),
        false => api.update(new, &options).await.map(drop),
    }
}
