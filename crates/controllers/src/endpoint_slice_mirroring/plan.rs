//! Which slices mirror an Endpoints object: one for each set of ports and address family.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use crate::endpoints::plan::repack;

/// Most addresses of a subset that are mirrored; upstream's `--mirroring-max-endpoints-per-subset`.
pub const ADDRESSES_MAX: usize = 1000;

/// A slice as it should be.
#[derive(Debug, Default, PartialEq)]
pub struct Mirrored {
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// The ports.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// The slices, and how many addresses are not mirrored: invalid ones, and too many.
#[derive(Debug, Default, PartialEq)]
pub struct Mirror {
    /// The slices.
    pub slices: Vec<Mirrored>,
    /// Addresses that are none.
    pub invalid: usize,
    /// Addresses beyond [`ADDRESSES_MAX`].
    pub skipped: usize,
}

/// Mirrors an Endpoints object.
pub fn mirror(endpoints: &Endpoints) -> Mirror {
    let mut mirror = Mirror::default();
    for subset in repack(endpoints.subsets.as_deref().unwrap_or_default()) {
        let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        };
        let ports: Vec<EndpointPort> = subset.ports.iter().flatten().map(port).collect();
        let mut families = [("IPv4", Vec::new()), ("IPv6", Vec::new())];
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let rest = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let mut taken = 0;
        for (address, is_ready) in ready.chain(rest) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                mirror.invalid += 1;
                continue;
            };
            if taken == ADDRESSES_MAX {
                mirror.skipped += 1;
                continue;
            }
            taken += 1;
            families[usize::from(ip.is_ipv6())].1.push(endpoint(address, ip, is_ready));
        }
        for (family, endpoints) in families.into_iter().filter(|(_, endpoints)| !endpoints.is_empty()) {
            mirror.slices.push(Mirrored { family, ports: ports.clone(), endpoints });
        }
    }
    mirror
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(is_ready), ..EndpointConditions::default() }),
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::View;

    #[test]
    fn one_slice_for_each_family_and_set_of_ports() {
        let json = br#"{"metadata":{"name":"a"},"subsets":[
            {"addresses":[{"ip":"10.0.0.1"},{"ip":"fd00::1"},{"ip":"x"}],"notReadyAddresses":[{"ip":"10.0.0.2"}],"ports":[{"port":80}]},
            {"addresses":[{"ip":"10.0.0.3"}],"ports":[{"port":81}]}]}"#;
        let mirror = mirror(&Endpoints::decode(json).unwrap());
        assert_eq!((mirror.invalid, mirror.skipped), (1, 0));
        let ready = |one: &Endpoint| one.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
        let mut short: Vec<_> = mirror
            .slices
            .iter()
            .map(|one| {
                (
                    one.family,
                    one.ports[0].port,
                    one.endpoints.len(),
                    one.endpoints.iter().filter(|one| ready(one)).count(),
                )
            })
            .collect();
        short.sort_unstable();
        assert_eq!(short, [("IPv4", Some(80), 2, 1), ("IPv4", Some(81), 1, 1), ("IPv6", Some(80), 1, 1)]);
    }
}
