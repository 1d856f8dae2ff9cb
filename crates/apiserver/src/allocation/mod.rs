//! Cluster IPs and node ports: taken and given back in the Service's own transaction.
//!
//! An address that is taken is an `IPAddress` object, a port a bit in the node ports'
//! `RangeAllocation`, both where upstream keeps them, so that servers of both kinds can share an etcd. Two
//! Services that want the same one conflict in the store and the loser chooses again: there is
//! nothing to repair after a crash.
//!
//! Upstream: `pkg/registry/core/service/storage/alloc.go`, `…/ipallocator`, `…/portallocator`.

mod addresses;
mod families;
mod ports;

use api::field::{FieldErrors, Path};
use api::status::Status;
use api::value::Value;

use crate::api::Api;
use crate::companions::Companion;
use crate::settings::Cidr;

/// Brings the address fields of a Service in line with each other.
///
/// # Errors
/// 422 for families that this cluster does not have.
pub fn prepare_service(new: &mut Value, old: Option<&Value>, range: Cidr) -> Result<(), Status> {
    if let Some(old) = old {
        families::keep_allocated(new, old);
    }
    families::normalize_cluster_ips(new, old);
    families::fill(new, old, range)?;
    match old {
        None => can_own_address(new),
        Some(_) => Ok(()),
    }
}

/// A Service that wants a certain address must have a name that an IPAddress can point to. Upstream finds out while it
/// takes the address, before it looks at the rest.
fn can_own_address(service: &Value) -> Result<(), Status> {
    let ips = service.at("spec.clusterIPs");
    let Some(ip) = service.array_at("spec.clusterIPs").first().and_then(Value::as_str).filter(|ip| *ip != "None")
    else {
        return Ok(());
    };
    let name = service.str_at("metadata.name");
    let mut errors = FieldErrors::new();
    let at = Path::new("spec.parentRef.name");
    match name {
        "" => errors.required(&at, ""),
        name => errors.invalid_each(&at, name, api::names::path_segment(name, false)),
    }
    if errors.is_empty() {
        return Ok(());
    }
    let why = errors.into_status("networking.k8s.io", "IPAddress", ip).message;
    Err(invalid(service, &Path::new("spec.clusterIPs"), ips.clone(), format!("failed to allocate IP {ip}: {why}")))
}

/// Chooses what a Service takes, writes it into `new`, and gives the changes that go with it.
pub async fn of_service(
    api: &Api,
    new: Option<&mut Value>,
    old: Option<&Value>,
    dry_run: bool,
) -> Result<Vec<Companion>, Status> {
    let mut companions = Vec::new();
    match new {
        Some(new) => {
            addresses::allocate(api, new, old, &mut companions)?;
            ports::allocate(api, new, old, &mut companions)?;
        }
        None => {
            let Some(old) = old else { return Ok(companions) };
            addresses::release(old, &mut companions);
            ports::release(api, old, &mut companions)?;
        }
    }
    if dry_run {
        companions.clear();
    }
    Ok(companions)
}

fn is_external_name(service: &Value) -> bool {
    service.str_at("spec.type") == "ExternalName"
}

/// Errors about a Service, as upstream's validation words them.
fn invalid(service: &Value, path: &Path<'_>, value: impl Into<Value>, why: String) -> Status {
    let mut errors = FieldErrors::new();
    errors.invalid(path, value, why);
    errors.into_status("", "Service", service.str_at("metadata.name"))
}
