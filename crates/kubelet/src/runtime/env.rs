//! A container's variables: `envFrom`, `env` with its references and sources, and the services'.
//!
//! Upstream: `makeEnvironmentVariables`. Pure: whoever calls has fetched what [`needs`] names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};

use super::{expand::expand, fields};
use crate::pod::PodExt;

/// Objects that a container's variables come from, in the pod's namespace.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Names of config maps.
    pub config_maps: BTreeSet<String>,
    /// Names of secrets.
    pub secrets: BTreeSet<String>,
}

/// What variables are made of. Objects that are not there are absent.
pub struct Sources<'a> {
    /// By name.
    pub config_maps: &'a BTreeMap<String, Arc<ConfigMap>>,
    /// By name.
    pub secrets: &'a BTreeMap<String, Arc<Secret>>,
    /// Of the services.
    pub services: &'a BTreeMap<String, String>,
    /// What the node knows.
    pub node: fields::Node<'a>,
    /// Where a volume of the pod is, for `fileKeyRef`.
    pub volume: &'a dyn Fn(&str) -> Option<PathBuf>,
}

/// Which objects are needed.
pub fn needs(container: &Container) -> Needs {
    let mut needs = Needs::default();
    for from in container.env_from.iter().flatten() {
        needs.config_maps.extend(from.config_map_ref.iter().map(|source| source.name.clone()));
        needs.secrets.extend(from.secret_ref.iter().map(|source| source.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        needs.config_maps.extend(source.config_map_key_ref.iter().map(|key| key.name.clone()));
        needs.secrets.extend(source.secret_key_ref.iter().map(|key| key.name.clone()));
    }
    needs
}

/// The variables, names sorted.
///
/// # Errors
/// Where something that is not optional is missing, in upstream's words.
pub fn build(pod: &Pod, container: &Container, sources: &Sources<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut own = BTreeMap::new();
    env_from(container, sources, &mut own)?;
    for variable in container.env.iter().flatten() {
        let written = variable.value.as_deref().unwrap_or_default();
        let value = if !written.is_empty() {
            expand(written, &|name| own.get(name).or_else(|| sources.services.get(name)).cloned())
        } else if let Some(source) = &variable.value_from {
            match from_source(pod, container, source, sources)? {
                Some(value) => value,
                None => continue,
            }
        } else {
            String::new()
        };
        own.insert(variable.name.clone(), value);
    }
    for (name, value) in sources.services {
        own.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(own)
}

fn env_from(container: &Container, sources: &Sources<'_>, own: &mut BTreeMap<String, String>) -> Result<(), String> {
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            match sources.config_maps.get(&source.name) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    own.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if source.optional == Some(true) => {}
                None => return Err(not_found("configmap", &source.name)),
            }
        } else if let Some(source) = &from.secret_ref {
            match sources.secrets.get(&source.name) {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    own.extend(data.map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))));
                }
                None if source.optional == Some(true) => {}
                None => return Err(not_found("secret", &source.name)),
            }
        }
    }
    Ok(())
}

/// `None` where the variable is left out: its source is optional and missing.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources<'_>,
) -> Result<Option<String>, String> {
    let namespace = pod.namespace();
    if let Some(field) = &source.field_ref {
        fields::field(pod, &field.field_path, sources.node).map(Some)
    } else if let Some(resource) = &source.resource_field_ref {
        fields::resource(pod, Some(container), resource, sources.node).map(Some)
    } else if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        match sources.config_maps.get(&key.name) {
            None if optional => Ok(None),
            None => Err(not_found("configmap", &key.name)),
            Some(map) => match map.data.as_ref().and_then(|data| data.get(&key.key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)),
            },
        }
    } else if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        match sources.secrets.get(&key.name) {
            None if optional => Ok(None),
            None => Err(not_found("secret", &key.name)),
            Some(secret) => match secret.data.as_ref().and_then(|data| data.get(&key.key)) {
                Some(value) => Ok(Some(text(&value.0))),
                None if optional => Ok(None),
                None => Err(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)),
            },
        }
    } else if let Some(key) = &source.file_key_ref {
        let volume = &key.volume_name;
        let root = (sources.volume)(volume)
            .ok_or_else(|| format!("cannot find the volume {volume:?} referenced by FileKeyRef"))?;
        let path = crate::volumes::subpath::resolve(&root, &key.path).map_err(|error| error.to_string())?;
        let value = std::fs::read_to_string(&path).ok().and_then(|text| in_file(&text, &key.key).ok());
        match value.ok_or("couldn't parse env file")? {
            value if !value.is_empty() => Ok(Some(value)),
            _ if key.optional == Some(true) => Ok(None),
            _ => Err(format!(
                "environment variable key {:?} not found in file {:?}",
                key.key,
                path.display().to_string()
            )),
        }
    } else {
        Ok(Some(String::new()))
    }
}

fn not_found(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} not found")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A key of a file of `NAME='value'` lines; empty where it is not there. Upstream: pkg/kubelet/util/env.
///
/// # Errors
/// Where a line up to the key is not of this form.
pub fn in_file(text: &str, key: &str) -> Result<String, String> {
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let bad = |why: &str| Err(format!("invalid environment variable format at line {}: {why}", at + 1));
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { return bad("missing '='") };
        if name.trim_end_matches([' ', '\t']).is_empty() {
            return bad("empty variable name");
        }
        if name.ends_with([' ', '\t']) {
            return bad("whitespace before '=' is not allowed");
        }
        if value.starts_with([' ', '\t']) {
            if name == key {
                return Ok(String::new());
            }
            continue;
        }
        let Some(mut rest) = value.strip_prefix('\'') else { return bad("value must be enclosed in single quotes") };
        let mut whole = String::new();
        let after = loop {
            if let Some((last, after)) = rest.split_once('\'') {
                whole.push_str(last);
                break after;
            }
            whole.push_str(rest);
            whole.push('\n');
            let Some((_, next)) = lines.next() else {
                return Err(format!(
                    "invalid environment variable format starting at line {}: unclosed single quote",
                    at + 1
                ));
            };
            rest = next;
        };
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with('#') {
            return bad("unexpected content after closing quote");
        }
        if name == key {
            return Ok(whole);
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::ResourceList;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn built(container: Value) -> Result<BTreeMap<String, String>, String> {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}}))
                .unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {}, "data": {"k": "v", "data-1": "x"}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"metadata": {}, "data": {"s": "cw=="}})).unwrap();
        build(
            &pod,
            &container,
            &Sources {
                config_maps: &BTreeMap::from([("map".to_owned(), Arc::new(map))]),
                secrets: &BTreeMap::from([("secret".to_owned(), Arc::new(secret))]),
                services: &BTreeMap::from([
                    ("SVC".to_owned(), "10.0.0.1".to_owned()),
                    ("A".to_owned(), "service".to_owned()),
                ]),
                node: fields::Node { host_ips: &[], pod_ips: &[], allocatable: &ResourceList::new() },
                volume: &|_| None,
            },
        )
    }

    #[test]
    fn later_variables_see_earlier_ones() {
        let own = built(json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "map"}}, {"secretRef": {"name": "secret"}}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(P_k)-$(SVC)-$(LATER)"}, {"name": "LATER", "value": "z"},
                    {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "data-1"}}}]}))
        .unwrap();
        let expected = [
            ("A", "1"),
            ("B", "1-v-10.0.0.1-$(LATER)"),
            ("K", "x"),
            ("LATER", "z"),
            ("P_data-1", "x"),
            ("P_k", "v"),
            ("SVC", "10.0.0.1"),
            ("s", "s"),
        ];
        assert_eq!(own, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[rstest]
    #[case(json!({"configMapKeyRef": {"name": "map", "key": "none"}}), "couldn't find key none in ConfigMap ns/map")]
    #[case(json!({"secretKeyRef": {"name": "secret", "key": "none"}}), "couldn't find key none in Secret ns/secret")]
    #[case(json!({"configMapKeyRef": {"name": "none", "key": "k"}}), "configmap \"none\" not found")]
    #[case(json!({"secretKeyRef": {"name": "none", "key": "k"}}), "secret \"none\" not found")]
    #[case(json!({"fieldRef": {"fieldPath": "spec.x"}}), "unsupported fieldPath: spec.x")]
    fn what_is_missing_is_told(#[case] source: Value, #[case] expected: &str) {
        assert_eq!(built(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]})).unwrap_err(), expected);
    }

    #[test]
    fn what_is_optional_is_left_out() {
        let own = built(
            json!({"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}}],
            "envFrom": [{"configMapRef": {"name": "none", "optional": true}}]}),
        );
        assert!(!own.unwrap().contains_key("X"));
    }

    #[rstest]
    #[case("A='1'\nB='2' # c\n", "B", Ok("2"))]
    #[case("# c\n\n  A='x\ny'\n", "A", Ok("x\ny"))]
    #[case("A= 'x'\n", "A", Ok(""))]
    #[case("A='1'\n", "Z", Ok(""))]
    #[case("A=1\n", "A", Err("invalid environment variable format at line 1: value must be enclosed in single quotes"))]
    #[case("A ='1'\n", "A", Err("invalid environment variable format at line 1: whitespace before '=' is not allowed"))]
    #[case("A='1\n", "A", Err("invalid environment variable format starting at line 1: unclosed single quote"))]
    fn files(#[case] text: &str, #[case] key: &str, #[case] expected: Result<&str, &str>) {
        assert_eq!(in_file(text, key), expected.map(str::to_owned).map_err(str::to_owned));
    }
}
