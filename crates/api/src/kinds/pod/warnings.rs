//! What people are told about pods that are valid but odd.
//!
//! Upstream: `pkg/api/pod/warnings.go`, `pkg/api/node/util.go`.

use super::spec::each_container;
use crate::field::{Path, go_quote};
use crate::kinds::read::Read;
use crate::kinds::{ip, persistent_volume_claim, resources};
use crate::names;
use crate::value::{Map, Value};

const DEPRECATED_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

const DEPRECATED_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

const DEPRECATED_VOLUMES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// What to use instead of a node label that is going away.
pub fn deprecated_node_label(key: &str) -> Option<&'static str> {
    DEPRECATED_NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

/// About a pod (at the root) or a template (anywhere else).
pub fn warnings(pod: &Value, at: &Path<'_>, is_template: bool) -> Vec<String> {
    let mut said = Vec::new();
    let spec = pod.at("spec");
    let at_spec = at.child("spec");
    scheduling(spec, &at_spec, &mut said);
    let annotations = at.child("metadata.annotations");
    let annotated = pod.entries("metadata.annotations").next().is_some();
    for (key, why) in DEPRECATED_ANNOTATIONS.iter().filter(|_| annotated) {
        if !pod.entry("metadata.annotations", key).is_null() {
            said.push(format!("{}: {why}", annotations.key(key)));
        }
    }
    volumes(spec, &at_spec.child("volumes"), &mut said);
    super::warnings_paths::overlaps(spec.array_at("volumes"), &mut said);
    duplicates(spec, &at_spec, &mut said);
    fractions(spec, &["overhead"], &at_spec, &mut said);
    if annotated && !spec.has("securityContext.seccompProfile") {
        let key = "seccomp.security.alpha.kubernetes.io/pod";
        if !pod.entry("metadata.annotations", key).is_null() {
            said.push(format!("{}: {SECCOMP}", annotations.key(key)));
        }
    }
    each_container(spec, &at_spec, |container, at_container| {
        if annotated {
            container_annotations(pod, container, &annotations, is_template, &mut said);
        }
        let resources = container.at("resources");
        fractions(resources, &["limits", "requests"], &at_container.child("resources"), &mut said);
        hidden_variables(container, &at_container.child("env"), &mut said);
    });
    ports(spec, &at_spec, &mut said);
    if spec.int("terminationGracePeriodSeconds") < 0 {
        let at = at_spec.child("terminationGracePeriodSeconds");
        said.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    pod_affinity(spec, &at_spec, &mut said);
    let at_servers = at_spec.child("dnsConfig.nameservers");
    for (index, server) in spec.strings("dnsConfig.nameservers").enumerate() {
        said.extend(ip::ip_warning(server, &at_servers.index(index)));
    }
    let at_aliases = at_spec.child("hostAliases");
    for (index, alias) in spec.array_at("hostAliases").iter().enumerate() {
        said.extend(ip::ip_warning(alias.str_at("ip"), &at_aliases.index(index).child("ip")));
    }
    said
}

// === Scheduling ===

fn scheduling(spec: &Value, at: &Path<'_>, said: &mut Vec<String>) {
    for (key, _) in spec.entries("nodeSelector") {
        if let Some(why) = deprecated_node_label(key) {
            said.push(format!("{}: {why}", at.child("nodeSelector").key(key)));
        }
    }
    let required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    for (index, term) in spec.array_at(required).iter().enumerate() {
        node_selector_term(term, false, &at.child(required).index(index), said);
    }
    let preferred = "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in spec.array_at(preferred).iter().enumerate() {
        let at = at.child(preferred);
        node_selector_term(term.at("preference"), true, &at.index(index).child("preference"), said);
    }
    let at = at.child("topologySpreadConstraints");
    for (index, constraint) in spec.array_at("topologySpreadConstraints").iter().enumerate() {
        let at = at.index(index);
        let key = constraint.str_at("topologyKey");
        if let Some(why) = deprecated_node_label(key) {
            said.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        if !constraint.has("labelSelector") {
            said.push(format!("{}: {NULL_SELECTOR}", at.child("labelSelector")));
        }
    }
}

/// About one term of a node selector.
pub fn node_selector_term(term: &Value, judge_values: bool, at: &Path<'_>, said: &mut Vec<String>) {
    let at = at.child("matchExpressions");
    for (index, expression) in term.array_at("matchExpressions").iter().enumerate() {
        let at = at.index(index);
        let key = expression.str_at("key");
        if let Some(why) = deprecated_node_label(key) {
            said.push(format!("{}: {key} is {why}", at.child("key")));
        }
        for (index, value) in expression.strings("values").enumerate().filter(|_| judge_values) {
            for complaint in names::label_value(value) {
                said.push(format!("{}: {value} is invalid, {complaint}", at.child("values").index(index)));
            }
        }
    }
}

fn pod_affinity(spec: &Value, at: &Path<'_>, said: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.at("affinity").at(kind);
        let at = at.child("affinity");
        let at = at.child(kind);
        for (list, selector) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", "labelSelector"),
            ("preferredDuringSchedulingIgnoredDuringExecution", "podAffinityTerm.labelSelector"),
        ] {
            for (index, term) in affinity.array_at(list).iter().enumerate() {
                if !term.has(selector) {
                    said.push(format!("{}: {NULL_SELECTOR}", at.child(list).index(index).child(selector)));
                }
            }
        }
    }
}

// === Volumes, names, amounts ===

fn volumes(spec: &Value, at: &Path<'_>, said: &mut Vec<String>) {
    for (index, volume) in spec.array_at("volumes").iter().enumerate() {
        let at = at.index(index);
        // A volume has a name and one source.
        for (name, _) in volume.as_object().into_iter().flat_map(Map::iter).filter(|(_, value)| !value.is_null()) {
            if let Some((_, shown, why)) = DEPRECATED_VOLUMES.iter().find(|(source, ..)| source == name) {
                said.push(format!("{}: {why}", at.child(shown)));
            }
        }
        if volume.has("ephemeral") {
            let claim = "ephemeral.volumeClaimTemplate.spec";
            said.extend(persistent_volume_claim::spec_warnings(volume.at(claim), &at.child(claim)));
        }
    }
}

fn duplicates(spec: &Value, at: &Path<'_>, said: &mut Vec<String>) {
    for (list, key) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let items = spec.array_at(list);
        for (index, item) in items.iter().enumerate() {
            let text = item.str_at(key);
            if items[..index].iter().any(|earlier| earlier.str_at(key) == text) {
                let at = at.child(list);
                said.push(format!("{}: duplicate {key} {}", at.index(index).child(key), go_quote(text)));
            }
        }
    }
    for (index, secret) in spec.array_at("imagePullSecrets").iter().enumerate() {
        if secret.str_at("name").is_empty() {
            let at = at.child("imagePullSecrets");
            said.push(format!("{}: invalid empty name \"\"", at.index(index).child("name")));
        }
    }
}

/// Parts of a byte make no sense.
fn fractions(object: &Value, lists: &[&str], at: &Path<'_>, said: &mut Vec<String>) {
    for resource in ["memory", "ephemeral-storage"] {
        for list in lists {
            let amount = object.entry(list, resource);
            let quantity = resources::quantity(amount);
            if !amount.is_null() && quantity.milli_value() % 1000 != 0 {
                let at = at.child(list);
                said.push(format!(
                    "{}: fractional byte value \"{quantity}\" is invalid, must be an integer",
                    at.key(resource)
                ));
            }
        }
    }
}

fn container_annotations(pod: &Value, container: &Value, at: &Path<'_>, is_template: bool, said: &mut Vec<String>) {
    let name = container.str_at("name");
    let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
    if !container.has("securityContext.seccompProfile") && !pod.entry("metadata.annotations", &key).is_null() {
        said.push(format!("{}: {SECCOMP}", at.key(&key)));
    }
    let key = format!("{}{name}", super::annotations::APP_ARMOR);
    let annotation = pod.entry("metadata.annotations", &key).as_str();
    // Pods get the annotation's profile as a field instead.
    if let Some(annotation) = annotation.filter(|_| is_template && !container.has("securityContext.appArmorProfile")) {
        let profile = pod.at("spec.securityContext.appArmorProfile");
        let (kind, local) = (profile.str_at("type"), profile.str_at("localhostProfile"));
        let agrees = match annotation {
            "unconfined" => kind == "Unconfined",
            "runtime/default" => kind == "RuntimeDefault",
            other => other
                .strip_prefix("localhost/")
                .is_some_and(|path| !path.is_empty() && kind == "Localhost" && local == path),
        };
        if !agrees {
            let why = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
            said.push(format!("{}: {why}", at.key(&key)));
        }
    }
}

fn hidden_variables(container: &Value, at: &Path<'_>, said: &mut Vec<String>) {
    let variables = container.array_at("env");
    for (index, variable) in variables.iter().enumerate() {
        let (name, value) = (variable.str_at("name"), variable.str_at("value"));
        if !variables[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            continue;
        }
        // A value that has the earlier one in it extends it.
        let reference = format!("$({name})");
        if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
            said.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                at.index(index),
                go_quote(name)
            ));
        }
    }
}

// === Ports ===

fn ports(spec: &Value, at: &Path<'_>, said: &mut Vec<String>) {
    let mut seen: Vec<Port<'_>> = Vec::new();
    let mut about_names = Vec::new();
    for list in super::defaults::CONTAINER_LISTS {
        for (container, one) in spec.array_at(list).iter().enumerate() {
            for (index, value) in one.array_at("ports").iter().enumerate() {
                let port = Port { list, container, index, value };
                port_conflicts(&port, &seen, at, said);
                let name = value.str_at("name");
                // Earlier ones of the name have been told of.
                let other = seen.iter().find(|earlier| !name.is_empty() && earlier.value.str_at("name") == name);
                if let Some(other) = other {
                    let (field, other) = (port.field(at), other.field(at));
                    about_names.push(format!(
                        "{field}: duplicate port name {} with {other}, services and probes that select ports by name \
                         will use {other}",
                        go_quote(name)
                    ));
                }
                seen.push(port);
            }
        }
    }
    said.extend(about_names);
}

/// A container's port and where it stands.
struct Port<'a> {
    list: &'a str,
    container: usize,
    index: usize,
    value: &'a Value,
}

impl Port<'_> {
    /// `spec.containers[0].ports[1]`.
    fn field(&self, at: &Path<'_>) -> String {
        format!("{at}.{}[{}].ports[{}]", self.list, self.container, self.index)
    }
}

fn port_conflicts(of: &Port<'_>, seen: &[Port<'_>], at: &Path<'_>, said: &mut Vec<String>) {
    let port = of.value;
    let (ip, host) = (port.str_at("hostIP"), port.int("hostPort"));
    let (number, protocol) = (port.int("containerPort"), port.str_at("protocol"));
    if !ip.is_empty() && host == 0 {
        said.push(format!(
            "{}: hostIP set without hostPort: {{Name:{} HostPort:{host} ContainerPort:{number} \
             Protocol:{protocol} HostIP:{ip}}}",
            of.field(at),
            port.str_at("name")
        ));
    }
    for earlier in seen {
        let other = earlier.value;
        if other.int("containerPort") != number || other.str_at("protocol") != protocol {
            continue;
        }
        let (other_ip, other_host) = (other.str_at("hostIP"), other.int("hostPort"));
        let relation = if ip == other_ip && host == other_host {
            "duplicate"
        } else if host == 0 || other_host == 0 {
            "overlapping"
        } else if host == other_host && ip.is_empty() != other_ip.is_empty() {
            "dangerously ambiguous"
        } else {
            continue;
        };
        said.push(format!("{}: {relation} port definition with {}", of.field(at), earlier.field(at)));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[rstest]
    #[case(json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
        r#"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#)]
    #[case(json!({"topologySpreadConstraints": [{"topologyKey": "a"}]}),
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod")]
    #[case(json!({"volumes": [{"name": "v", "configMap": {"name": "m",
        "items": [{"path": "a"}, {"path": "a/b"}]}}]}),
        r#"volume "v" (ConfigMap "m"): overlapping paths: "a/b" with "a""#)]
    #[case(json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
        {"secret": {"name": "s", "items": [{"path": "t"}]}}]}}]}),
        r#"volume "v" (Projected): overlapping paths: "t" (Secret "s") with "t" (ServiceAccountToken)"#)]
    #[case(json!({"imagePullSecrets": [{"name": "s"}, {"name": "s"}]}),
        r#"spec.imagePullSecrets[1].name: duplicate name "s""#)]
    #[case(json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}]}), "")]
    #[case(json!({"containers": [{"env": [{"name": "A"}, {"name": "A"}]}]}),
        r#"spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#)]
    #[case(json!({"containers": [{"resources": {"limits": {"memory": "1500m"}}}]}),
        r#"spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer"#)]
    #[case(json!({"containers": [{"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 1}]}]}),
        r#"spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]; spec.containers[0].ports[1]: duplicate port name "a" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]"#)]
    fn specs(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let pod = tree(json!({"metadata": {}, "spec": spec}));
        assert_eq!(warnings(&pod, &Path::ROOT, false).join("; "), expected);
    }
}
