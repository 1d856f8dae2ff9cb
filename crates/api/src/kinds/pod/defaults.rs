//! Defaults of pods and of pod templates.
//!
//! A template gets what every PodSpec gets; some defaults are a Pod's alone, so that templates
//! (and their hashes) don't move when a release adds one.
//!
//! Upstream: `pkg/apis/core/v1/defaults.go`.

use super::image;
use crate::kinds::read::{Read, default_to, default_zero, each_mut, with_mut};
use crate::kinds::resources;
use crate::value::{Map, Value};

const TERMINATION_GRACE_SECONDS: i64 = 30;
/// `0644`.
const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;
/// The three lists of containers in a PodSpec.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A whole Pod.
pub fn pod(pod: &mut Value) {
    pod.at_or_insert("spec").make_object();
    with_mut(pod, "spec", |spec| {
        pod_spec(spec);
        if spec.int("terminationGracePeriodSeconds") < 0 {
            spec.set("terminationGracePeriodSeconds", 1i64);
        }
        default_to(spec, "enableServiceLinks", true);
        let host_network = spec.flag("hostNetwork");
        for list in ["containers", "initContainers"] {
            each_mut(spec, list, |container| {
                requests_from_limits(container);
                if host_network {
                    each_mut(container, "ports", |port| {
                        let number = port.int("containerPort");
                        default_zero(port, "hostPort", number);
                    });
                }
            });
        }
    });
    with_mut(pod, "status", status);
}

/// A PodTemplateSpec at `path`, if it is there.
pub fn template(object: &mut Value, path: &str) {
    with_mut(object, path, |template| {
        template.at_or_insert("spec").make_object();
        with_mut(template, "spec", pod_spec);
    });
}

/// Keeps `podIP` and `podIPs` in step; the single one wins.
fn status(status: &mut Value) {
    let single = status.str_at("podIP").to_owned();
    let first = status.array_at("podIPs").first().map(|ip| ip.str_at("ip").to_owned());
    match (single.is_empty(), first) {
        (false, first) if first.as_deref() != Some(single.as_str()) => {
            let ip: Map = [("ip", single.as_str())].into_iter().collect();
            status.set("podIPs", vec![ip]);
        }
        (true, Some(first)) => status.set("podIP", first),
        _ => {}
    }
}

/// Requests that are missing are what the limits say. Only in Pods.
fn requests_from_limits(container: &mut Value) {
    let Some(limits) = container.at("resources.limits").as_object().cloned() else { return };
    let requests = container.at_or_insert("resources.requests").make_object();
    for (resource, limit) in limits {
        if !requests.contains_key(&resource) {
            requests.insert(resource, limit);
        }
    }
}

fn pod_spec(spec: &mut Value) {
    default_zero(spec, "restartPolicy", "Always");
    default_to(spec, "terminationGracePeriodSeconds", TERMINATION_GRACE_SECONDS);
    default_zero(spec, "dnsPolicy", "ClusterFirst");
    // The deprecated name stays in step; the new one wins.
    let account = match spec.str_at("serviceAccountName") {
        "" => spec.str_at("serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !account.is_empty() {
        spec.set("serviceAccountName", account.as_str());
        spec.set("serviceAccount", account);
    }
    default_to(spec, "securityContext", Map::new());
    default_zero(spec, "schedulerName", "default-scheduler");
    for list in CONTAINER_LISTS {
        each_mut(spec, list, container);
    }
    each_mut(spec, "volumes", volume);
    resources::round(spec, &["overhead", "resources.limits", "resources.requests"]);
}

fn container(container: &mut Value) {
    each_mut(container, "ports", |port| default_zero(port, "protocol", "TCP"));
    each_mut(container, "env", |env| {
        with_mut(env, "valueFrom.fieldRef", field_ref);
        with_mut(env, "valueFrom.fileKeyRef", |file| default_to(file, "optional", false));
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        with_mut(container, probe, |probe| {
            default_zero(probe, "timeoutSeconds", 1i64);
            default_zero(probe, "periodSeconds", 10i64);
            default_zero(probe, "successThreshold", 1i64);
            default_zero(probe, "failureThreshold", 3i64);
            with_mut(probe, "httpGet", http_get);
            with_mut(probe, "grpc", |grpc| default_to(grpc, "service", ""));
        });
    }
    for hook in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
        with_mut(container, hook, http_get);
    }
    resources::round(container, &["resources.limits", "resources.requests"]);
    default_zero(container, "terminationMessagePath", "/dev/termination-log");
    default_zero(container, "terminationMessagePolicy", "File");
    let policy = image::default_pull_policy(container.str_at("image"));
    default_zero(container, "imagePullPolicy", policy);
}

fn http_get(action: &mut Value) {
    default_zero(action, "path", "/");
    default_zero(action, "scheme", "HTTP");
}

fn field_ref(reference: &mut Value) {
    default_zero(reference, "apiVersion", "v1");
}

fn volume(volume: &mut Value) {
    let has_source =
        volume.as_object().is_some_and(|map| map.iter().any(|(key, value)| key != "name" && !value.is_null()));
    if !has_source {
        volume.set("emptyDir", Map::new());
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        with_mut(volume, source, |source| default_to(source, "defaultMode", FILE_MODE));
    }
    with_mut(volume, "downwardAPI", downward_items);
    with_mut(volume, "projected", |projected| {
        each_mut(projected, "sources", |source| {
            with_mut(source, "downwardAPI", downward_items);
            with_mut(source, "serviceAccountToken", |token| default_to(token, "expirationSeconds", TOKEN_SECONDS));
            with_mut(source, "podCertificate", |certificate| {
                default_to(certificate, "maxExpirationSeconds", 86_400i64)
            });
        });
    });
    with_mut(volume, "hostPath", |host_path| default_to(host_path, "type", ""));
    with_mut(volume, "image", |source| {
        let policy = image::default_pull_policy(source.str_at("reference"));
        default_zero(source, "pullPolicy", policy);
    });
    with_mut(volume, "ephemeral.volumeClaimTemplate.spec", |claim| default_to(claim, "volumeMode", "Filesystem"));
    for (path, value) in STATIC_SOURCES {
        if let Some((source, field)) = path.split_once('.') {
            with_mut(volume, source, |source| default_zero(source, field, *value));
        }
    }
    with_mut(volume, "azureDisk", |disk| default_to(disk, "readOnly", false));
}

/// Defaults that volume sources have in upstream's types.
const STATIC_SOURCES: &[(&str, &str)] = &[
    ("iscsi.iscsiInterface", "default"),
    ("rbd.pool", "rbd"),
    ("rbd.user", "admin"),
    ("rbd.keyring", "/etc/ceph/keyring"),
    ("azureDisk.cachingMode", "ReadWrite"),
    ("azureDisk.fsType", "ext4"),
    ("azureDisk.kind", "Shared"),
    ("scaleIO.storageMode", "ThinProvisioned"),
    ("scaleIO.fsType", "xfs"),
];

fn downward_items(source: &mut Value) {
    each_mut(source, "items", |item| with_mut(item, "fieldRef", field_ref));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[test]
    fn a_bare_pod_gets_what_upstream_gives_it() {
        let mut bare = tree(json!({"spec": {"containers": [{"name": "a", "image": "nginx"}]}}));
        pod(&mut bare);
        let expected = tree(json!({"spec": {
            "containers": [{"name": "a", "image": "nginx", "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
        }}));
        assert_eq!(bare, expected);
        let mut again = bare.clone();
        pod(&mut again);
        assert_eq!(again, bare, "defaulting twice changes nothing");
    }

    #[test]
    fn limits_become_requests_in_pods_but_not_in_templates() {
        let spec = json!({"containers": [{"name": "a", "image": "a:1", "resources": {"limits": {"cpu": "1"}}}]});
        let mut whole = tree(json!({"spec": spec}));
        pod(&mut whole);
        assert_eq!(whole.array_at("spec.containers")[0].str_at("resources.requests.cpu"), "1");
        let mut templated = tree(json!({"template": {"spec": spec}}));
        template(&mut templated, "template");
        assert!(templated.array_at("template.spec.containers")[0].at("resources.requests").is_null());
        assert!(templated.at("template.spec.enableServiceLinks").is_null());
    }

    #[test]
    fn volumes_probes_and_ports() {
        let mut filled = tree(json!({"spec": {"hostNetwork": true, "serviceAccount": "sa",
            "volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "x"}}, {"name": "h", "hostPath": {"path": "/"}}],
            "containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}}}]}}));
        pod(&mut filled);
        let volumes = filled.array_at("spec.volumes");
        assert!(volumes[0].has("emptyDir"));
        assert_eq!(volumes[1].int("configMap.defaultMode"), 420);
        assert_eq!(volumes[2].at("hostPath.type").as_str(), Some(""));
        let container = &filled.array_at("spec.containers")[0];
        assert_eq!(container.array_at("ports")[0].int("hostPort"), 80);
        assert_eq!(container.int("livenessProbe.periodSeconds"), 10);
        assert_eq!(container.str_at("livenessProbe.httpGet.path"), "/");
        assert_eq!(container.str_at("imagePullPolicy"), "IfNotPresent");
        assert_eq!(filled.str_at("spec.serviceAccountName"), "sa");
    }
}
