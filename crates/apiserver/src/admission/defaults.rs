//! Small plugins that fill something in.
//!
//! Upstream: `plugin/pkg/admission/{defaulttolerationseconds,storage,network/defaultingressclass}`.

use api::status::Status;
use api::value::{Map, Value};

use super::{Attributes, lookup};
use crate::api::Api;

/// Pods stay this long on a node that is not ready or out of reach, unless they say otherwise.
const TOLERATION_SECONDS: i64 = 300;
const NODE_TROUBLES: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// DefaultTolerationSeconds.
pub fn toleration_seconds(
    _: &Api,
    attributes: &Attributes<'_>,
    pod: &mut Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    if !attributes.is("", "pods") {
        return Ok(());
    }
    let mut tolerations = pod.array_at("spec.tolerations").to_vec();
    let before = tolerations.len();
    for key in NODE_TROUBLES {
        let tolerates = |one: &Value| {
            matches!(one.str_at("effect"), "" | "NoExecute")
                && (one.str_at("key") == key || one.str_at("key").is_empty())
        };
        if !tolerations[..before].iter().any(tolerates) {
            let mut toleration = Map::new();
            toleration.insert("key", key);
            toleration.insert("operator", "Exists");
            toleration.insert("effect", "NoExecute");
            toleration.insert("tolerationSeconds", TOLERATION_SECONDS);
            tolerations.push(toleration.into());
        }
    }
    if tolerations.len() > before {
        pod.set("spec.tolerations", tolerations);
    }
    Ok(())
}

/// DefaultStorageClass.
pub fn storage_class(
    api: &Api,
    attributes: &Attributes<'_>,
    claim: &mut Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
    let chosen = claim.at("spec").field("storageClassName").is_some()
        || claim.at("metadata.annotations").field(ANNOTATION).is_some();
    if !attributes.is("", "persistentvolumeclaims") || chosen {
        return Ok(());
    }
    let classes = lookup::all(api, "storage.k8s.io", "storageclasses");
    if let Some(class) = lookup::default_by_annotation(classes, "storageclass.kubernetes.io/is-default-class") {
        claim.set("spec.storageClassName", class.str_at("metadata.name"));
    }
    Ok(())
}

/// DefaultIngressClass.
pub fn ingress_class(
    api: &Api,
    attributes: &Attributes<'_>,
    ingress: &mut Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    const ANNOTATION: &str = "kubernetes.io/ingress.class";
    let chosen = ingress.at("spec").field("ingressClassName").is_some()
        || ingress.at("metadata.annotations").field(ANNOTATION).is_some();
    if !attributes.is("networking.k8s.io", "ingresses") || chosen {
        return Ok(());
    }
    let classes = lookup::all(api, "networking.k8s.io", "ingressclasses");
    if let Some(class) = lookup::default_by_annotation(classes, "ingressclass.kubernetes.io/is-default-class") {
        ingress.set("spec.ingressClassName", class.str_at("metadata.name"));
    }
    Ok(())
}

/// StorageObjectInUseProtection.
pub fn in_use_protection(
    _: &Api,
    attributes: &Attributes<'_>,
    object: &mut Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    let finalizer = match (attributes.served.group(), attributes.served.plural(), attributes.subresource) {
        ("", "persistentvolumeclaims", "") => "kubernetes.io/pvc-protection",
        ("", "persistentvolumes", "") => "kubernetes.io/pv-protection",
        ("storage.k8s.io", "volumeattributesclasses", "") => "kubernetes.io/vac-protection",
        _ => return Ok(()),
    };
    let mut finalizers = object.array_at("metadata.finalizers").to_vec();
    if !finalizers.iter().any(|one| one.as_str() == Some(finalizer)) {
        finalizers.push(finalizer.into());
        object.set("metadata.finalizers", finalizers);
    }
    Ok(())
}
