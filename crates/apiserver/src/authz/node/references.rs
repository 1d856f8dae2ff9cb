//! What pods and volumes refer to.
//!
//! Upstream: VisitPodSecretNames, VisitPodConfigmapNames (pkg/api/v1/pod/util.go),
//! VisitPVSecretNames (pkg/api/v1/persistentvolume/util.go), resourceclaim.PodClaims.

use api::value::Value;
use smol_str::SmolStr;

use super::graph::{PodReferences, Vertex, VolumeReferences};

/// Volume sources of a pod that name a secret, and where in the source.
const POD_VOLUME_SECRETS: [(&str, &str); 10] = [
    ("azureFile", "secretName"),
    ("cephfs", "secretRef.name"),
    ("cinder", "secretRef.name"),
    ("flexVolume", "secretRef.name"),
    ("rbd", "secretRef.name"),
    ("secret", "secretName"),
    ("scaleIO", "secretRef.name"),
    ("iscsi", "secretRef.name"),
    ("storageos", "secretRef.name"),
    ("csi", "nodePublishSecretRef.name"),
];

/// Volume sources of a persistent volume that name a secret (besides `azureFile`, which has fields
/// of its own); those marked true take the claim's namespace when the reference has none.
const VOLUME_SECRETS: [(&str, &str, bool); 10] = [
    ("cephfs", "secretRef", true),
    ("cinder", "secretRef", false),
    ("flexVolume", "secretRef", true),
    ("rbd", "secretRef", true),
    ("scaleIO", "secretRef", true),
    ("iscsi", "secretRef", true),
    ("storageos", "secretRef", false),
    ("csi", "nodePublishSecretRef", false),
    ("csi", "nodeStageSecretRef", false),
    ("csi", "nodeExpandSecretRef", false),
];

/// Kubelets make these for static pods; they must not widen what a node may read.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What a pod on a node refers to; `None` while it has no node.
pub fn of_pod(pod: &Value) -> Option<PodReferences> {
    let node = pod.str_at("spec.nodeName");
    if node.is_empty() {
        return None;
    }
    let mirror = pod.at("metadata.annotations").as_object().is_some_and(|annotations| annotations.contains_key(MIRROR));
    let objects = if mirror { Vec::new() } else { referenced(pod) };
    Some(PodReferences { node: node.into(), objects })
}

/// Whether a container, a volume or a pull secret names a Secret.
pub fn names_secret(pod: &Value) -> bool {
    referenced(pod).iter().any(|(vertex, _)| *vertex == Vertex::Secret)
}

/// Whether a container or a volume names a ConfigMap.
pub fn names_config_map(pod: &Value) -> bool {
    referenced(pod).iter().any(|(vertex, _)| *vertex == Vertex::ConfigMap)
}

fn referenced(pod: &Value) -> Vec<(Vertex, SmolStr)> {
    let mut objects = Vec::new();
    let mut add = |vertex, name: &str| {
        if !name.is_empty() {
            objects.push((vertex, name.into()));
        }
    };
    add(Vertex::ServiceAccount, pod.str_at("spec.serviceAccountName"));
    for secret in pod.array_at("spec.imagePullSecrets") {
        add(Vertex::Secret, secret.str_at("name"));
    }
    for list in ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"] {
        pod.array_at(list).iter().for_each(|container| of_container(container, &mut add));
    }
    for volume in pod.array_at("spec.volumes") {
        of_pod_volume(pod, volume, &mut add);
    }
    of_claims(pod, &mut add);
    objects
}

fn of_container(container: &Value, add: &mut impl FnMut(Vertex, &str)) {
    for source in container.array_at("envFrom") {
        add(Vertex::Secret, source.str_at("secretRef.name"));
        add(Vertex::ConfigMap, source.str_at("configMapRef.name"));
    }
    for variable in container.array_at("env") {
        add(Vertex::Secret, variable.str_at("valueFrom.secretKeyRef.name"));
        add(Vertex::ConfigMap, variable.str_at("valueFrom.configMapKeyRef.name"));
    }
}

fn of_pod_volume(pod: &Value, volume: &Value, add: &mut impl FnMut(Vertex, &str)) {
    for (source, path) in POD_VOLUME_SECRETS {
        if let Some(source) = volume.field(source) {
            add(Vertex::Secret, source.str_at(path));
        }
    }
    for source in volume.array_at("projected.sources") {
        add(Vertex::Secret, source.str_at("secret.name"));
        add(Vertex::ConfigMap, source.str_at("configMap.name"));
    }
    add(Vertex::ConfigMap, volume.str_at("configMap.name"));
    if volume.field("persistentVolumeClaim").is_some() {
        add(Vertex::Claim, volume.str_at("persistentVolumeClaim.claimName"));
    } else if volume.field("ephemeral").is_some() {
        add(Vertex::Claim, &format!("{}-{}", pod.str_at("metadata.name"), volume.str_at("name")));
    }
}

/// Resource claims: named, made from a template (then the status says how they are called), or
/// made for extended resources.
fn of_claims(pod: &Value, add: &mut impl FnMut(Vertex, &str)) {
    for claim in pod.array_at("spec.resourceClaims") {
        if claim.field("resourceClaimName").is_some() {
            add(Vertex::ResourceClaim, claim.str_at("resourceClaimName"));
        } else if claim.field("resourceClaimTemplateName").is_some() {
            let mut statuses = pod.array_at("status.resourceClaimStatuses").iter();
            if let Some(status) = statuses.find(|status| status.get("name") == claim.get("name")) {
                add(Vertex::ResourceClaim, status.str_at("resourceClaimName"));
            }
        }
    }
    add(Vertex::ResourceClaim, pod.str_at("status.extendedResourceClaimStatus.resourceClaimName"));
}

/// What a bound persistent volume refers to; `None` while it is unbound.
pub fn of_volume(volume: &Value) -> Option<VolumeReferences> {
    let claim = volume.at("spec").field("claimRef")?;
    let claim_namespace: SmolStr = claim.str_at("namespace").into();
    let mut secrets = Vec::new();
    let mut add = |namespace: &str, name: &str, inherits: bool| {
        let namespace = if namespace.is_empty() && inherits { claim_namespace.as_str() } else { namespace };
        if !name.is_empty() {
            secrets.push((namespace.into(), name.into()));
        }
    };
    for (source, field, inherits) in VOLUME_SECRETS {
        let reference = volume.at("spec").get(source).get(field);
        add(reference.str_at("namespace"), reference.str_at("name"), inherits);
    }
    let azure = volume.at("spec.azureFile");
    add(azure.str_at("secretNamespace"), azure.str_at("secretName"), true);
    Some(VolumeReferences { claim: claim.str_at("name").into(), claim_namespace, secrets })
}
