//! The trees of claims and volumes after each step of a binding. None where nothing changes.

use api::value::{Map, Value};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::read::{BIND_COMPLETED, BOUND_BY_CONTROLLER, is_bound_to, volume_spec};
use client::MetaExt;

/// The volume names the claim.
pub fn volume_names_claim(tree: &Value, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Value> {
    let by_us = !is_bound_to(volume, claim);
    let named = volume_spec(volume).claim_ref.as_ref().and_then(|one| one.uid.as_deref()) == Some(claim.uid());
    if named && !by_us {
        return None;
    }
    let mut tree = tree.clone();
    let reference = Map::from_iter([
        ("kind", "PersistentVolumeClaim"),
        ("namespace", claim.namespace()),
        ("name", claim.name()),
        ("uid", claim.uid()),
        ("apiVersion", "v1"),
        ("resourceVersion", claim.metadata.resource_version.as_deref().unwrap_or_default()),
    ]);
    tree.set("spec.claimRef", reference);
    if by_us {
        annotate(&mut tree, BOUND_BY_CONTROLLER);
    }
    Some(tree)
}

/// The claim names the volume.
pub fn claim_names_volume(tree: &Value, volume: &str) -> Option<Value> {
    let named = tree.str_at("spec.volumeName") == volume;
    let done = tree.at("metadata.annotations").field(BIND_COMPLETED).is_some();
    if named && done {
        return None;
    }
    let mut tree = tree.clone();
    if !named {
        tree.set("spec.volumeName", volume);
        annotate(&mut tree, BOUND_BY_CONTROLLER);
    }
    annotate(&mut tree, BIND_COMPLETED);
    Some(tree)
}

/// The volume no longer names its claim, or no longer by its UID where the user named it.
pub fn unbound(tree: &Value) -> Value {
    let mut tree = tree.clone();
    if tree.at("metadata.annotations").field(BOUND_BY_CONTROLLER).is_some() {
        tree.remove("spec.claimRef");
        if let Some(annotations) = tree.at_mut("metadata.annotations").and_then(Value::as_object_mut) {
            annotations.remove(BOUND_BY_CONTROLLER);
        }
    } else {
        tree.remove("spec.claimRef.uid");
    }
    tree
}

/// The claim's status in a phase, with what it has of its volume.
pub fn claim_status(tree: &Value, phase: &str, volume: Option<&Value>) -> Option<Value> {
    let mut new = tree.clone();
    let changes_phase = tree.str_at("status.phase") != phase;
    new.set("status.phase", phase);
    match volume {
        None => {
            for field in ["accessModes", "capacity", "currentVolumeAttributesClassName"] {
                new.remove(&format!("status.{field}"));
            }
        }
        Some(volume) => {
            copy(&mut new, "status.accessModes", volume.at("spec.accessModes"));
            if changes_phase {
                copy(&mut new, "status.capacity", volume.at("spec.capacity"));
                if tree.str_at("status.phase") == "Pending" {
                    let class = volume.at("spec.volumeAttributesClassName");
                    copy(&mut new, "status.currentVolumeAttributesClassName", class);
                }
            }
        }
    }
    (new.at("status") != tree.at("status")).then_some(new)
}

/// The volume's status in a phase.
pub fn volume_status(tree: &Value, phase: &str, message: &str) -> Option<Value> {
    if tree.str_at("status.phase") == phase {
        return None;
    }
    let mut tree = tree.clone();
    tree.set("status.phase", phase);
    match message {
        "" => drop(tree.remove("status.message")),
        message => tree.set("status.message", message),
    }
    Some(tree)
}

fn copy(tree: &mut Value, path: &str, value: &Value) {
    match value {
        Value::Null => drop(tree.remove(path)),
        value => tree.set(path, value.clone()),
    }
}

/// Sets an annotation to `yes`.
fn annotate(tree: &mut Value, key: &'static str) {
    tree.at_or_insert("metadata.annotations").make_object().insert(key, "yes");
}

#[cfg(test)]
mod tests {
    use client::{View, json};

    use super::*;

    #[test]
    fn both_sides_name_each_other_once() {
        let claim_text = r#"{"metadata":{"name":"c","namespace":"x","uid":"u","resourceVersion":"7"},"spec":{},"status":{"phase":"Pending"}}"#;
        let volume_text =
            r#"{"metadata":{"name":"v"},"spec":{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"}}}"#;
        let claim = PersistentVolumeClaim::decode(claim_text.as_bytes()).unwrap();
        let volume = PersistentVolume::decode(volume_text.as_bytes()).unwrap();
        let tree = json::parse(volume_text.as_bytes()).unwrap();
        let named = volume_names_claim(&tree, &volume, &claim).unwrap();
        assert_eq!(named.str_at("spec.claimRef.resourceVersion"), "7");
        let again = PersistentVolume::decode(&json::write(&named)).unwrap();
        assert_eq!(volume_names_claim(&named, &again, &claim), None);
        assert!(unbound(&named).at("spec.claimRef").is_null());

        let bound = claim_names_volume(&json::parse(claim_text.as_bytes()).unwrap(), "v").unwrap();
        assert_eq!(claim_names_volume(&bound, "v"), None);
        let status = claim_status(&bound, "Bound", Some(&named)).unwrap();
        assert_eq!(
            status.at("status"),
            &json::parse(br#"{"phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"}}"#).unwrap()
        );
        assert_eq!(claim_status(&status, "Bound", Some(&named)), None);
        assert_eq!(
            claim_status(&status, "Lost", None).unwrap().at("status"),
            &json::parse(br#"{"phase":"Lost"}"#).unwrap()
        );
    }

    #[test]
    fn a_users_own_wish_is_kept_when_the_claim_took_another() {
        let tree = json::parse(br#"{"spec":{"claimRef":{"name":"c","uid":"u"}}}"#).unwrap();
        assert_eq!(unbound(&tree), json::parse(br#"{"spec":{"claimRef":{"name":"c"}}}"#).unwrap());
    }
}
