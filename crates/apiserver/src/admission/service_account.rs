//! ServiceAccount: every pod acts as one, and gets its token mounted.
//!
//! Upstream: `plugin/pkg/admission/serviceaccount`.

use std::sync::{Arc, LazyLock};

use api::status::Status;
use api::value::{Map, Value};

use super::{Attributes, lookup};
use crate::api::Api;
use crate::lifecycle::meta;

const MIRROR: &str = "kubernetes.io/config.mirror";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and a little: the kubelet renews, old clients that never re-read get a warning first.
const TOKEN_SECONDS: i64 = 3607;

fn is_mirror(pod: &Value) -> bool {
    pod.at("metadata.annotations").field(MIRROR).is_some()
}

pub fn mutate(api: &Api, attributes: &Attributes<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), Status> {
    if !attributes.is("", "pods") || is_mirror(pod) {
        return Ok(());
    }
    if pod.str_at("spec.serviceAccountName").is_empty() {
        pod.set("spec.serviceAccountName", "default");
        pod.set("spec.serviceAccount", "default");
    }
    let account = account_of(api, attributes, pod)?;
    let wants_token = pod
        .at("spec.automountServiceAccountToken")
        .as_bool()
        .or_else(|| account.at("automountServiceAccountToken").as_bool())
        .unwrap_or(true);
    if wants_token {
        mount_token(pod);
    }
    let secrets = account.array_at("imagePullSecrets");
    if pod.array_at("spec.imagePullSecrets").is_empty() && !secrets.is_empty() {
        let names = secrets.iter().map(|secret| Map::from_iter([("name", secret.str_at("name"))]));
        pod.set("spec.imagePullSecrets", names.collect::<Vec<_>>());
    }
    Ok(())
}

pub fn validate(api: &Api, attributes: &Attributes<'_>, pod: Option<&Value>, _: Option<&Value>) -> Result<(), Status> {
    let Some(pod) = pod.filter(|_| attributes.is("", "pods")) else { return Ok(()) };
    if is_mirror(pod) {
        return mirror(attributes, pod);
    }
    if pod.str_at("spec.serviceAccountName").is_empty() {
        let (namespace, name) = (attributes.namespace, pod.str_at("metadata.name"));
        return Err(attributes.forbidden(&format!("no service account specified for pod {namespace}/{name}")));
    }
    account_of(api, attributes, pod).map(drop)
}

/// Mirror pods may refer to nothing that the API server would have to vouch for.
fn mirror(attributes: &Attributes<'_>, pod: &Value) -> Result<(), Status> {
    if !pod.str_at("spec.serviceAccountName").is_empty() {
        return Err(attributes.forbidden("a mirror pod may not reference service accounts"));
    }
    let volumes = pod.array_at("spec.volumes");
    if volumes.iter().any(|volume| volume.field("secret").is_some()) {
        return Err(attributes.forbidden("a mirror pod may not reference secrets"));
    }
    let projects = |volume: &Value| {
        volume.array_at("projected.sources").iter().any(|source| source.field("serviceAccountToken").is_some())
    };
    if volumes.iter().any(projects) {
        return Err(attributes.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

fn account_of(api: &Api, attributes: &Attributes<'_>, pod: &Value) -> Result<Arc<Value>, Status> {
    let (namespace, name) = (attributes.namespace, pod.str_at("spec.serviceAccountName"));
    lookup::again(api, "", "serviceaccounts", namespace, name).ok_or_else(|| {
        attributes.forbidden(&format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        ))
    })
}

/// Mounts the projected token into every container that has nothing else there.
fn mount_token(pod: &mut Value) {
    let existing = pod.array_at("spec.volumes").iter().map(|volume| volume.str_at("name"));
    let existing = existing.into_iter().find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let has_volume = existing.is_some();
    let name = existing.unwrap_or_else(|| meta::generate_name(VOLUME_PREFIX, &mut rand::rng()));
    let mut needed = false;
    for containers in ["spec.initContainers", "spec.containers"] {
        let Some(containers) = pod.at_mut(containers).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            if container.array_at("volumeMounts").iter().any(|mount| mount.str_at("mountPath") == MOUNT_PATH) {
                continue;
            }
            let mut mount = Map::new();
            mount.insert("name", name.as_str());
            mount.insert("readOnly", true);
            mount.insert("mountPath", MOUNT_PATH);
            push(container, "volumeMounts", mount);
            needed = true;
        }
    }
    if needed && !has_volume {
        push(pod.at_or_insert("spec"), "volumes", token_volume(&name));
    }
}

fn push(object: &mut Value, list: &str, item: Map) {
    let list = object.at_or_insert(list);
    match list.as_array_mut() {
        Some(items) => items.push(item.into()),
        None => *list = vec![item].into(),
    }
}

fn token_volume(name: &str) -> Map {
    static VOLUME: LazyLock<Map> = LazyLock::new(nameless_token_volume);
    let mut volume = VOLUME.clone();
    volume.insert("name", name);
    volume
}

fn nameless_token_volume() -> Map {
    let mut token = Value::object();
    token.set("serviceAccountToken.expirationSeconds", TOKEN_SECONDS);
    token.set("serviceAccountToken.path", "token");
    let mut authority = Value::object();
    authority.set("configMap.name", "kube-root-ca.crt");
    authority.set("configMap.items", vec![Map::from_iter([("key", "ca.crt"), ("path", "ca.crt")])]);
    let mut namespace = Value::object();
    let mut item = Value::object();
    item.set("path", "namespace");
    item.set("fieldRef.apiVersion", "v1");
    item.set("fieldRef.fieldPath", "metadata.namespace");
    namespace.set("downwardAPI.items", vec![item]);
    let mut volume = Value::object();
    volume.set("name", "");
    volume.set("projected.sources", vec![token, authority, namespace]);
    volume.set("projected.defaultMode", 0o644);
    volume.as_object().cloned().unwrap_or_default()
}
