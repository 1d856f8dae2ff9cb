//! What happens to a pod before it is judged: fields of features that are off go, label keys
//! move into selectors, the status gets its first values.
//!
//! Upstream: `pkg/registry/core/pod/strategy.go`, `pkg/api/pod/util.go`.

use super::{aggregate, annotations};
use crate::kinds::read::{Read, copy, each_mut, with_mut};
use crate::value::{Map, Value};

/// Fields of a PodSpec that belong to features that are off in v1.37.
const DISABLED: [&str; 2] = ["schedulingGroup", "evictionResponders"];

pub fn create(pod: &mut Value) {
    pod.set("status", Map::new());
    pod.set("status.phase", "Pending");
    with_mut(pod, "spec", drop_disabled_fields);
    if pod.filled("spec.schedulingGates") {
        let condition: Map = [
            ("type", "PodScheduled"),
            ("status", "False"),
            ("reason", "SchedulingGated"),
            ("message", "Scheduling is blocked due to non-empty scheduling gates"),
        ]
        .into_iter()
        .collect();
        let mut condition = Value::from(condition);
        condition.set("lastProbeTime", Value::Null);
        condition.set("lastTransitionTime", Value::Null);
        pod.set("status.conditions", vec![condition]);
    }
    let labels = pod.at("metadata.labels").clone();
    with_mut(pod, "spec", |spec| label_keys_to_selectors(spec, &labels));
    app_armor_fields(pod);
    with_mut(pod, "spec", aggregate::default_pod_level);
    let class = aggregate::qos_class(pod.at("spec"));
    pod.set("status.qosClass", class);
}

pub fn update(new: &mut Value, old: &Value) {
    if !new.has("spec.resources") && old.has("spec.resources") {
        // A client that doesn't know the field.
        copy(new, old, "spec.resources");
    }
    with_mut(new, "spec", drop_disabled_fields);
}

/// Of a pod's spec or a template's.
pub fn drop_disabled_fields(spec: &mut Value) {
    for field in DISABLED {
        spec.remove(field);
    }
    for list in super::defaults::CONTAINER_LISTS {
        each_mut(spec, list, |container| {
            container.remove("lifecycle.stopSignal");
            each_mut(container, "volumeMounts", |mount| drop(mount.remove("bindMountOptions")));
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                with_mut(container, probe, |probe| {
                    probe.remove("grpc.mode");
                    probe.remove("httpGet.protocol");
                });
            }
            for hook in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
                with_mut(container, hook, |action| drop(action.remove("protocol")));
            }
        });
    }
    each_mut(spec, "volumes", |volume| {
        volume.remove("emptyDir.mode");
        for source in ["secret", "configMap", "downwardAPI", "projected"] {
            with_mut(volume, source, |source| {
                source.remove("defaultUser");
                each_mut(source, "items", |item| drop(item.remove("user")));
            });
        }
    });
}

/// `matchLabelKeys` and `mismatchLabelKeys` become requirements with the pod's own values.
fn label_keys_to_selectors(spec: &mut Value, labels: &Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    for kind in ["podAffinity", "podAntiAffinity"] {
        each_mut(spec, &format!("affinity.{kind}.{PREFERRED}"), |weighted| {
            with_mut(weighted, "podAffinityTerm", |term| merge_label_keys(term, labels));
        });
        each_mut(spec, &format!("affinity.{kind}.{REQUIRED}"), |term| merge_label_keys(term, labels));
    }
    each_mut(spec, "topologySpreadConstraints", |constraint| merge_label_keys(constraint, labels));
}

fn merge_label_keys(term: &mut Value, labels: &Value) {
    if !term.has("labelSelector") {
        return;
    }
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys: Vec<String> = term.strings(list).map(str::to_owned).collect();
        for key in keys {
            let Some(value) = labels.get(&key).as_str() else { continue };
            let mut requirement = Value::object();
            requirement.set("key", key);
            requirement.set("operator", operator);
            requirement.set("values", vec![value]);
            let expressions = term.at_or_insert("labelSelector.matchExpressions");
            match expressions.as_array_mut() {
                Some(list) => list.push(requirement),
                None => *expressions = Value::Array(vec![requirement]),
            }
        }
    }
}

/// AppArmor profiles in annotations move to the fields where those are not set.
fn app_armor_fields(pod: &mut Value) {
    if !pod.filled("metadata.annotations") || pod.str_at("spec.os.name") == "windows" {
        return;
    }
    let of_pod = pod.at("spec.securityContext.appArmorProfile").clone();
    let found = pod.at("metadata.annotations").clone();
    for list in super::defaults::CONTAINER_LISTS {
        each_mut(pod, &format!("spec.{list}"), |container| {
            let annotation = found.get(&format!("{}{}", annotations::APP_ARMOR, container.str_at("name")));
            let profile = annotation.as_str().and_then(app_armor_profile);
            if let Some(profile) = profile.filter(|profile| *profile != of_pod)
                && !container.has("securityContext.appArmorProfile")
            {
                container.set("securityContext.appArmorProfile", profile);
            }
        });
    }
}

fn app_armor_profile(annotation: &str) -> Option<Value> {
    let mut profile = Value::object();
    match annotation {
        "unconfined" => profile.set("type", "Unconfined"),
        "runtime/default" => profile.set("type", "RuntimeDefault"),
        other => {
            let path = other.strip_prefix("localhost/").filter(|path| !path.is_empty() && path.trim() == *path)?;
            profile.set("type", "Localhost");
            profile.set("localhostProfile", path);
        }
    }
    Some(profile)
}
