//! Whom a proxied request is for. Upstream: the `ResourceLocation`s of pkg/registry/core/{pod,service,node}.

use std::net::IpAddr;

use ::api::codec::json;
use ::api::status::{GroupResource, Status};
use ::api::value::Value;
use rand::Rng;
use rand::seq::SliceRandom;

use crate::admission::lookup;
use crate::api::Api;
use crate::context::Context;
use crate::streams::dial::{Peer, anyone};
use crate::streams::location;

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

/// The label that tells an EndpointSlice's service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

// === impl Named ===

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Option<Named<'a>> {
        let parts: Vec<&str> = text.split(':').collect();
        let named = match parts.as_slice() {
            [name] => Named { scheme: "", name, port: "" },
            [name, port] => Named { scheme: "", name, port },
            [scheme, name, port] => Named { scheme, name, port },
            _ => return None,
        };
        let good = !named.name.is_empty() && matches!(named.scheme, "" | "http" | "https");
        good.then_some(named)
    }

    /// The other side at an address, spoken with as was asked for.
    fn peer(&self, host: String, port: &str) -> Peer {
        let tls = (self.scheme == "https").then(anyone);
        let usual = if tls.is_some() { "443" } else { "80" };
        Peer { host, port: if port.is_empty() { usual } else { port }.to_owned(), tls }
    }
}

/// The server that a request is for.
///
/// # Errors
/// In upstream's words, why there is none.
pub async fn find(api: &Api, context: &Context) -> Result<Peer, Status> {
    let info = &context.info;
    let kind = info.resource.trim_end_matches('s');
    let invalid = || Status::bad_request(format!("invalid {kind} request \"{}\"", info.name));
    let named = Named::parse(&info.name).ok_or_else(invalid)?;
    match kind {
        "pod" => pod(api, &info.namespace, named),
        "service" => service(api, &info.namespace, named),
        _ => node(api, named).await,
    }
}

fn object(api: &Api, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let of = GroupResource { group: "", resource: plural };
    lookup::get(api, "", plural, namespace, name).ok_or_else(|| Status::not_found(of, name))
}

fn pod(api: &Api, namespace: &str, named: Named<'_>) -> Result<Peer, Status> {
    let pod = object(api, "pods", namespace, named.name)?;
    let first = || {
        let ports = pod.array_at("spec.containers").iter().find_map(|one| one.array_at("ports").first());
        ports.and_then(|port| port.i64_at("containerPort")).map(|port| port.to_string()).unwrap_or_default()
    };
    let port = if named.port.is_empty() { first() } else { named.port.to_owned() };
    let address = addresses(&pod).next().unwrap_or_default();
    match address.parse() {
        Ok(ip) if is_global_unicast(ip) => Ok(named.peer(address.to_owned(), &port)),
        _ => Err(Status::bad_request("address not allowed")),
    }
}

async fn node(api: &Api, named: Named<'_>) -> Result<Peer, Status> {
    let node = location::by_name(api, named.name)?;
    let addresses = tokio::net::lookup_host((node.host.as_str(), 0)).await;
    let addresses = addresses.map_err(|error| Status::bad_request(format!("lookup {}: {error}", node.host)))?;
    if addresses.into_iter().any(|address| !is_global_unicast(address.ip())) {
        return Err(Status::bad_request("address not allowed"));
    }
    match named.port {
        // The kubelet itself is spoken with as its own port demands, whatever scheme is named.
        port if port.is_empty() || port == node.port.to_string() => api.kubelets.peer(&node),
        port => Ok(named.peer(node.host, port)),
    }
}

fn service(api: &Api, namespace: &str, named: Named<'_>) -> Result<Peer, Status> {
    let name = named.name;
    let port = match named.port.parse::<i64>() {
        Err(_) => named.port.to_owned(),
        Ok(number) => {
            let service = object(api, "services", namespace, name)?;
            let port = service.array_at("spec.ports").iter().find(|port| port.i64_at("port") == Some(number));
            let none = || Status::unavailable(format!("no service port {number} found for service \"{name}\""));
            port.ok_or_else(none)?.str_at("name").to_owned()
        }
    };
    let mut slices = slices(api, namespace, name);
    // One's own family first, otherwise in any order.
    slices.shuffle(&mut rand::rng());
    let family = if api.settings.service_cluster_ip_range.to_string().contains(':') { "IPv6" } else { "IPv4" };
    slices.sort_by_key(|slice| slice.str_at("addressType") != family);
    let found = slices.iter().find_map(|slice| endpoint(api, namespace, slice, &port));
    let (address, port) =
        found.ok_or_else(|| Status::unavailable(format!("no endpoints available for service \"{name}\"")))?;
    Ok(named.peer(address, &port.to_string()))
}

/// The slices of a service.
fn slices(api: &Api, namespace: &str, service: &str) -> Vec<Value> {
    let catalog = api.catalog.load();
    let Some(served) = catalog.stored("discovery.k8s.io", "endpointslices") else { return Vec::new() };
    let all = api.store.snapshot(served.prefix());
    let start = served.key(namespace, "");
    let slices = all.range(&start, None).filter_map(|entry| json::parse(&entry.value).ok());
    slices.filter(|slice| slice.at("metadata.labels").get(SERVICE_NAME).as_str() == Some(service)).collect()
}

/// A ready endpoint of a slice that has a port, beginning anywhere, and the port's number.
fn endpoint(api: &Api, namespace: &str, slice: &Value, port: &str) -> Option<(String, i64)> {
    let mut ports = slice.array_at("ports").iter().filter(|one| one.str_at("name") == port);
    let number = ports.find_map(|one| one.i64_at("port"))?;
    let endpoints = slice.array_at("endpoints");
    let start = rand::rng().random_range(0..endpoints.len().max(1));
    let (before, after) = endpoints.split_at_checked(start)?;
    let ready = |one: &&Value| one.at("conditions.ready").as_bool() != Some(false);
    let address = after.iter().chain(before).filter(ready).find_map(|one| {
        let address = one.array_at("addresses").first()?.as_str()?;
        is_of_pod(api, namespace, one.at("targetRef"), address).then(|| address.to_owned())
    })?;
    Some((address, number))
}

/// Whether an address really is one of the pod that it is said to be of: nobody may send the server elsewhere.
fn is_of_pod(api: &Api, namespace: &str, target: &Value, address: &str) -> bool {
    if target.str_at("namespace") != namespace {
        return false;
    }
    let pod = lookup::get(api, "", "pods", namespace, target.str_at("name"));
    pod.is_some_and(|pod| addresses(&pod).any(|one| one == address))
}

/// A pod's addresses; those who know only one kind write only `podIP`.
fn addresses(pod: &Value) -> impl Iterator<Item = &str> {
    let all = pod.array_at("status.podIPs");
    let only = all.is_empty().then(|| pod.str_at("status.podIP")).filter(|address| !address.is_empty());
    all.iter().map(|one| one.str_at("ip")).chain(only)
}

/// Go's `net.IP.IsGlobalUnicast`.
fn is_global_unicast(address: IpAddr) -> bool {
    let narrow = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(narrow || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("web", Some(("", "web", "")))]
    #[case("web:", Some(("", "web", "")))]
    #[case("web:80", Some(("", "web", "80")))]
    #[case("https:web:tls", Some(("https", "web", "tls")))]
    #[case(":web:80", Some(("", "web", "80")))]
    #[case("ftp:web:80", None)]
    #[case(":80", None)]
    #[case("a:b:c:d", None)]
    fn names(#[case] text: &str, #[case] expected: Option<(&str, &str, &str)>) {
        assert_eq!(Named::parse(text).map(|named| (named.scheme, named.name, named.port)), expected);
    }

    #[rstest]
    #[case("10.0.0.1", true)]
    #[case("127.0.0.1", false)]
    #[case("169.254.1.1", false)]
    #[case("255.255.255.255", false)]
    #[case("224.0.0.1", false)]
    #[case("fd00::1", true)]
    #[case("fe80::1", false)]
    #[case("::", false)]
    fn addresses(#[case] address: &str, #[case] allowed: bool) {
        assert_eq!(is_global_unicast(address.parse().unwrap()), allowed);
    }
}
