//! Cluster IPs. Each that is taken is an `IPAddress` object named like it.

use std::net::IpAddr;

use api::codec::json;
use api::field::Path;
use api::status::Status;
use api::value::Value;
use rand::Rng;

use super::{invalid, is_external_name};
use crate::api::Api;
use crate::companions::Companion;
use crate::settings::Cidr;

/// Where `IPAddress` objects lie.
const ADDRESS_PREFIX: &str = "/registry/ipaddresses/";
/// The lower part of the range is left to those who choose their address: a sixteenth of it, within these bounds.
const STATIC_BAND: (u128, u128) = (16, 256);

pub fn allocate(
    api: &Api,
    service: &mut Value,
    old: Option<&Value>,
    companions: &mut Vec<Companion>,
) -> Result<(), Status> {
    if is_external_name(service) {
        if let Some(old) = old {
            release(old, companions);
        }
        return Ok(());
    }
    let had = old.is_some_and(|old| !is_external_name(old) && !old.str_at("spec.clusterIP").is_empty());
    if had || service.str_at("spec.clusterIP") == "None" {
        return Ok(());
    }
    let range = api.settings.service_cluster_ip_range;
    let wanted = service.array_at("spec.clusterIPs").first().and_then(Value::as_str).unwrap_or_default().to_owned();
    let wanted = if wanted.is_empty() { service.str_at("spec.clusterIP").to_owned() } else { wanted };
    let taken = |ip: IpAddr| api.store.get(&key(ip)).is_some();
    let ip = match wanted.as_str() {
        "" => free(range, taken).ok_or_else(|| {
            let name = service.str_at("metadata.name");
            Status::internal(format!("failed to allocate a serviceIP for Service \"{name}\": range is full"))
        })?,
        text => named(range, text, taken).map_err(|why| {
            let ips = Value::from(vec![text]);
            invalid(service, &Path::new("spec.clusterIPs"), ips, format!("failed to allocate IP {text}: {why}"))
        })?,
    };
    service.set("spec.clusterIP", ip.to_string());
    service.set("spec.clusterIPs", vec![ip.to_string()]);
    companions.push(Companion { key: key(ip).into(), expected: Some(0), value: Some(object(api, ip, service)) });
    Ok(())
}

/// Gives a Service's addresses back.
pub fn release(service: &Value, companions: &mut Vec<Companion>) {
    let ips = service.array_at("spec.clusterIPs").iter().filter_map(Value::as_str);
    for ip in ips.filter_map(|ip| ip.parse::<IpAddr>().ok()) {
        companions.push(Companion { key: key(ip).into(), expected: None, value: None });
    }
}

fn key(ip: IpAddr) -> String {
    format!("{ADDRESS_PREFIX}{ip}")
}

/// Checks an address that the client chose.
fn named(range: Cidr, text: &str, taken: impl Fn(IpAddr) -> bool) -> Result<IpAddr, String> {
    let outside = || format!("the provided IP ({text}) is not in the valid range. The range of valid IPs is {range}");
    let ip: IpAddr = text.parse().map_err(|_| outside())?;
    if !range.contains(ip) || Some(ip) == range.nth(0) || (ip.is_ipv4() && Some(ip) == range.nth(range.size() - 1)) {
        return Err(outside());
    }
    if taken(ip) { Err("provided IP is already allocated".to_owned()) } else { Ok(ip) }
}

/// A free address: from a random place in the upper band on, then in the lower one.
fn free(range: Cidr, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    // Base and broadcast address are never given away.
    let end = if range.base.is_ipv4() { range.size() - 1 } else { range.size() };
    let band = match range.size() {
        small if small <= STATIC_BAND.0 => 1,
        size => (size / 16).clamp(STATIC_BAND.0, STATIC_BAND.1),
    };
    if band < end {
        let start = rand::rng().random_range(band..end);
        let upper = (start..end).chain(band..start).filter_map(|offset| range.nth(offset));
        if let Some(ip) = upper.into_iter().find(|ip| !taken(*ip)) {
            return Some(ip);
        }
    }
    (1..band.min(end)).filter_map(|offset| range.nth(offset)).find(|ip| !taken(*ip))
}

fn object(api: &Api, ip: IpAddr, service: &Value) -> bytes::Bytes {
    let mut address = Value::object();
    address.set("kind", "IPAddress");
    address.set("apiVersion", "networking.k8s.io/v1");
    address.set("metadata.name", ip.to_string());
    address.set("metadata.uid", uuid::Uuid::new_v4().to_string());
    address.set("metadata.generation", 1);
    address.set("metadata.creationTimestamp", crate::lifecycle::meta::rfc3339(api.clock.now()));
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let labels =
        [("ipaddress.kubernetes.io/ip-family", family), ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io")];
    address.set("metadata.labels", labels.into_iter().collect::<api::value::Map>());
    address.set("spec.parentRef.group", "");
    address.set("spec.parentRef.resource", "services");
    address.set("spec.parentRef.namespace", service.str_at("metadata.namespace"));
    address.set("spec.parentRef.name", service.str_at("metadata.name"));
    let mut bytes = Vec::new();
    json::write(&address, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn range() -> Cidr {
        "10.0.0.0/28".parse().unwrap()
    }

    #[test]
    fn every_address_but_base_and_broadcast_is_given_once() {
        let mut taken = HashSet::new();
        while let Some(ip) = free(range(), |ip| taken.contains(&ip)) {
            assert!(taken.insert(ip), "{ip} given twice");
        }
        assert_eq!(taken.len(), 14);
    }

    #[test]
    fn the_lower_band_is_left_for_those_who_choose() {
        let range: Cidr = "10.96.0.0/16".parse().unwrap();
        for _ in 0..200 {
            let ip = free(range, |_| false).unwrap();
            assert!(ip >= "10.96.1.0".parse::<IpAddr>().unwrap(), "{ip}");
        }
    }

    #[test]
    fn a_chosen_address_must_be_inside_and_free() {
        assert_eq!(named(range(), "10.0.0.5", |_| false), Ok("10.0.0.5".parse().unwrap()));
        assert_eq!(named(range(), "10.0.0.5", |_| true), Err("provided IP is already allocated".to_owned()));
        for outside in ["10.0.0.0", "10.0.0.15", "10.0.1.1", "x"] {
            let why = named(range(), outside, |_| false).unwrap_err();
            assert!(why.ends_with("The range of valid IPs is 10.0.0.0/28"), "{why}");
        }
    }
}
