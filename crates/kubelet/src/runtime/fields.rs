//! The downward API: a pod's own fields and resources as text, for variables and volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::{
    pod::PodExt,
    quantity::{Quantity, ResourceList, list},
    status::sorted_ips,
};

/// What the node knows and the pod's object does not.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The node's addresses.
    pub host_ips: &'a [String],
    /// The pod's addresses, newer than its status.
    pub pod_ips: &'a [String],
    /// What pods may use altogether: the limit of who has none.
    pub allocatable: &'a ResourceList,
}

/// A field's text.
///
/// # Errors
/// Where the field is none that may be asked for.
pub fn field(pod: &Pod, path: &str, node: Node<'_>) -> Result<String, String> {
    let spec = crate::pod::spec(pod);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    if let Some((path, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match path {
            "metadata.annotations" => &pod.metadata.annotations,
            "metadata.labels" => &pod.metadata.labels,
            _ => return Err(format!("fieldPath {:?} does not support subscript", format!("{path}['{key}']"))),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "spec.nodeName" => text(&spec.node_name),
        "spec.serviceAccountName" => text(&spec.service_account_name),
        "status.hostIP" => node.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => node.host_ips.join(","),
        "status.podIP" => sorted_ips(node.pod_ips, node.host_ips).into_iter().next().unwrap_or_default(),
        "status.podIPs" => sorted_ips(node.pod_ips, node.host_ips).join(","),
        "metadata.annotations" => lines(pod.metadata.annotations.as_ref()),
        "metadata.labels" => lines(pod.metadata.labels.as_ref()),
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `key="value"` a line, sorted, quoted as Go quotes.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", go_quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Go's `strconv.Quote`.
pub fn go_quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A container's request or limit in units of the divisor, rounded up. Without a limit the node's allocatable counts.
///
/// # Errors
/// Where the container or the resource is none that may be asked for.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    node: Node<'_>,
) -> Result<String, String> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match (named, own) {
        (Some(name), _) => {
            let mut all = pod.containers().iter().chain(pod.init_containers());
            all.find(|container| container.name == name).ok_or_else(|| format!("container {name} not found"))?
        }
        (None, Some(own)) => own,
        (None, None) => return Err("containerName is required".into()),
    };
    let path = selector.resource.as_str();
    let unsupported = || format!("unsupported container resource : {path}");
    let (kind, name) = path.split_once('.').ok_or_else(unsupported)?;
    let common = ["cpu", "memory", "ephemeral-storage"].contains(&name);
    if !common && !name.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let amount = match kind {
        "requests" => get(&list(resources.and_then(|own| own.requests.as_ref())), name),
        "limits" => {
            let own = get(&list(resources.and_then(|own| own.limits.as_ref())), name);
            if own.is_zero() && common { default_limit(pod, name, node) } else { own }
        }
        _ => return Err(unsupported()),
    };
    let divisor = selector.divisor.as_ref().map(Quantity::from).filter(|divisor| !divisor.is_zero());
    let divisor = divisor.unwrap_or_else(|| Quantity::units(1));
    let (amount, divisor) = match name {
        "cpu" => (amount.milli_value(), divisor.milli_value()),
        _ => (amount.value(), divisor.value()),
    };
    Ok(((i128::from(amount) + i128::from(divisor) - 1) / i128::from(divisor.max(1))).to_string())
}

fn default_limit(pod: &Pod, name: &str, node: Node<'_>) -> Quantity {
    let own = list(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.limits.as_ref()));
    own.get(name).copied().filter(|own| !own.is_zero()).unwrap_or_else(|| get(node.allocatable, name))
}

fn get(list: &ResourceList, name: &str) -> Quantity {
    list.get(name).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "1", "b": "x\"y"}, "annotations": {"k": "v"}},
            "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": [{"name": "c", "resources": {
                "requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1500m"}}}]},
        }))
        .unwrap()
    }

    #[rstest]
    #[case("metadata.labels", "a=\"1\"\nb=\"x\\\"y\"")]
    #[case("metadata.labels['a']", "1")]
    #[case("metadata.annotations['none']", "")]
    #[case("spec.nodeName", "n")]
    #[case("status.podIPs", "10.0.0.1,fd00::1")]
    #[case("status.hostIP", "192.0.2.1")]
    fn fields(#[case] path: &str, #[case] expected: &str) {
        let node = Node {
            host_ips: &["192.0.2.1".into()],
            pod_ips: &["fd00::1".into(), "10.0.0.1".into()],
            allocatable: &ResourceList::new(),
        };
        assert_eq!(field(&pod(), path, node).unwrap(), expected);
    }

    #[rstest]
    #[case("requests.cpu", "1m", "250")]
    #[case("requests.cpu", "0", "1")]
    #[case("limits.cpu", "0", "2")]
    #[case("requests.memory", "1Mi", "32")]
    #[case("limits.memory", "1Mi", "64")]
    #[case("limits.memory", "0", "67108864")]
    fn resources(#[case] path: &str, #[case] divisor: &str, #[case] expected: &str) {
        let allocatable = ResourceList::from([("memory".to_owned(), Quantity::bytes(64 << 20))]);
        let node = Node { host_ips: &[], pod_ips: &[], allocatable: &allocatable };
        let selector =
            serde_json::from_value(json!({"containerName": "c", "resource": path, "divisor": divisor})).unwrap();
        assert_eq!(resource(&pod(), None, &selector, node).unwrap(), expected);
    }
}
