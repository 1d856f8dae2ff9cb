//! Where a pod's streams are: its container and its node. Upstream: `streamLocation` of pkg/registry/core/pod.

use std::fmt::Write;

use ::api::codec::json;
use ::api::status::{GroupResource, Status};
use ::api::value::Value;

use crate::admission::lookup;
use crate::api::Api;
use crate::context::Context;
use crate::served::Served;
use crate::verbs::get;

/// Where a node's kubelet listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub host: String,
    pub port: u16,
    /// Its kubelet takes WebSockets in all their forms; else what it speaks is SPDY.
    pub takes_web_sockets: bool,
}

/// What a kubelet declares that [takes WebSockets](Node::takes_web_sockets).
const WEB_SOCKETS: &str = "ExtendWebSocketsToKubelet";

/// The kubelet's port where a node does not say.
const KUBELET_PORT: u16 = 10_250;
/// The kinds of addresses a node has, the best first: kubeadm's `--kubelet-preferred-address-types`.
const ADDRESS_TYPES: [&str; 5] = ["InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"];
/// Where a pod has its containers.
const CONTAINERS: [&str; 3] = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];

// === impl Node ===

impl Node {
    fn of(node: &Value) -> Option<Node> {
        let addresses = node.array_at("status.addresses");
        let of_type = |wanted: &&str| addresses.iter().find(|one| one.str_at("type") == *wanted);
        let host = ADDRESS_TYPES.iter().find_map(of_type)?.str_at("address").to_owned();
        let port = node.i64_at("status.daemonEndpoints.kubeletEndpoint.Port").filter(|port| *port > 0);
        Some(Node {
            host,
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(KUBELET_PORT),
            takes_web_sockets: node
                .array_at("status.declaredFeatures")
                .iter()
                .any(|one| one.as_str() == Some(WEB_SOCKETS)),
        })
    }
}

/// The pod that a request is about.
///
/// # Errors
/// 404 where there is none.
pub async fn pod(api: &Api, context: &Context, served: &Served) -> Result<Value, Status> {
    let info = &context.info;
    let entry = get::read(api, served, &info.namespace, &info.name, "").await?;
    json::parse(&entry.value).map_err(Status::internal)
}

/// The container that is meant: the one named, or the only one.
///
/// # Errors
/// 400 in upstream's words.
pub fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let name = pod.str_at("metadata.name");
    let all = || CONTAINERS.iter().flat_map(|list| pod.array_at(list)).map(|one| one.str_at("name"));
    if !asked.is_empty() {
        return match all().any(|one| one == asked) {
            true => Ok(asked.to_owned()),
            false => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
        };
    }
    let must = format!("a container name must be specified for pod {name}");
    match pod.array_at("spec.containers") {
        [] => Err(Status::bad_request(must)),
        [one] => Ok(one.str_at("name").to_owned()),
        _ => Err(Status::bad_request(format!("{must}, choose one of: [{}]", all().collect::<Vec<_>>().join(" ")))),
    }
}

/// The node of a pod; none where it has none yet.
///
/// # Errors
/// The node is gone or says no address.
pub fn node(api: &Api, pod: &Value) -> Result<Option<Node>, Status> {
    match pod.str_at("spec.nodeName") {
        "" => Ok(None),
        name => by_name(api, name).map(Some),
    }
}

/// Where a node's kubelet is.
///
/// # Errors
/// 404 where there is no such node; 500 where it says no address.
pub fn by_name(api: &Api, name: &str) -> Result<Node, Status> {
    let of = GroupResource { group: "", resource: "nodes" };
    let node = lookup::get(api, "", "nodes", "", name).ok_or_else(|| Status::not_found(of, name))?;
    let nowhere = || Status::new(500, "", "no preferred addresses found; known addresses: []");
    Node::of(&node).ok_or_else(nowhere)
}

/// A path with parameters, escaped.
pub fn target(path: &str, params: &[(&str, String)]) -> String {
    let mut target = path.to_owned();
    for (at, (name, value)) in params.iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => target.push(char::from(byte)),
                // Writing to a string does not fail.
                other => drop(write!(target, "%{other:02X}")),
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tree(text: &str) -> Value {
        json::parse(text.as_bytes()).unwrap()
    }

    const ONE: &str =
        r#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"}],"initContainers":[{"name":"i"}]}}"#;
    const TWO: &str = r#"{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a"},{"name":"b"}],"initContainers":[{"name":"i"}]}}"#;

    #[rstest]
    #[case(ONE, "", Ok("a"))]
    #[case(ONE, "i", Ok("i"))]
    #[case(ONE, "x", Err("container x is not valid for pod p"))]
    #[case(TWO, "", Err("a container name must be specified for pod p, choose one of: [i a b]"))]
    #[case(TWO, "b", Ok("b"))]
    fn containers(#[case] pod: &str, #[case] asked: &str, #[case] expected: Result<&str, &str>) {
        let found = container(&tree(pod), asked).map_err(|status| status.message);
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn nodes() {
        let node = tree(
            r#"{"status":{"addresses":[{"type":"Hostname","address":"n"},{"type":"InternalIP","address":"fd00::1"}],
                "daemonEndpoints":{"kubeletEndpoint":{"Port":1234}},"declaredFeatures":["ExtendWebSocketsToKubelet"]}}"#,
        );
        let expected = Node { host: "fd00::1".to_owned(), port: 1234, takes_web_sockets: true };
        assert_eq!(Node::of(&node), Some(expected));
        assert_eq!(Node::of(&tree("{}")), None);
    }

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(
            target("/x", &[("command", "a b&c=é".to_owned()), ("tty", "1".to_owned())]),
            "/x?command=a%20b%26c%3D%C3%A9&tty=1"
        );
    }
}
