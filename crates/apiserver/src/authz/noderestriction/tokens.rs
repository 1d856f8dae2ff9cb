//! Service account tokens: only for own pods, and only for audiences that the pod asks for.

use api::status::Status;
use api::value::Value;

use super::{Context, quoted};

/// In-tree volume sources and the CSI drivers that they are migrated to.
const MIGRATED: [(&str, &str); 7] = [
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
    ("portworxVolume", "pxd.portworx.com"),
];

pub(super) fn token(context: &Context<'_>) -> Result<(), Status> {
    let request = context.written();
    let bound = request.at("spec.boundObjectRef");
    let to_pod =
        bound.str_at("apiVersion") == "v1" && bound.str_at("kind") == "Pod" && !bound.str_at("name").is_empty();
    context.require(to_pod, || "node requested token not bound to a pod".into())?;
    let uid = bound.str_at("uid");
    context.require(!uid.is_empty(), || "node requested token with a pod binding without a uid".into())?;
    let pod = context.get("", "pods", context.request.namespace, bound.str_at("name"))?;
    context.require(uid == pod.str_at("metadata.uid"), || {
        format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        )
    })?;
    context.require(pod.str_at("spec.nodeName") == context.node, || {
        "node requested token bound to a pod scheduled on a different node".into()
    })?;
    audience(context, request, &pod)
}

fn audience(context: &Context<'_>, request: &Value, pod: &Value) -> Result<(), Status> {
    let audience = match request.array_at("spec.audiences") {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return context.deny("node may only request 0 or 1 audiences"),
    };
    let mut errors = Vec::new();
    for volume in pod.array_at("spec.volumes") {
        match mentions(context, pod, volume, audience) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        let error = crate::authz::aggregate(&errors);
        return context.deny(format!("error validating audience {}: {error}", quoted(audience)));
    }
    let allowed = context.may("request-serviceaccounts-token-audience", audience, context.request.name);
    context.require(allowed, || {
        format!("{} is not authorized to request tokens for audience {}", context.request.user.name, quoted(audience))
    })
}

/// Whether a volume of the pod, or the CSI driver behind it, asks for tokens of that audience.
fn mentions(context: &Context<'_>, pod: &Value, volume: &Value, audience: &str) -> Result<bool, String> {
    let tokens = volume.array_at("projected.sources").iter().filter_map(|source| source.field("serviceAccountToken"));
    if tokens.into_iter().any(|token| token.str_at("audience") == audience) {
        return Ok(true);
    }
    let driver = if volume.at("ephemeral").field("volumeClaimTemplate").is_some() {
        let claim = format!("{}-{}", pod.str_at("metadata.name"), volume.str_at("name"));
        driver_of_claim(context, &claim)?
    } else if let Some(claim) = volume.field("persistentVolumeClaim") {
        driver_of_claim(context, claim.str_at("claimName"))?
    } else {
        driver_of_source(volume)
    };
    if driver.is_empty() {
        return Ok(false);
    }
    let driver = context.get("storage.k8s.io", "csidrivers", "", &driver).map_err(|status| status.message)?;
    Ok(driver.array_at("spec.tokenRequests").iter().any(|token| token.str_at("audience") == audience))
}

fn driver_of_claim(context: &Context<'_>, name: &str) -> Result<String, String> {
    let said = |status: Status| status.message;
    let claim = context.get("", "persistentvolumeclaims", context.request.namespace, name).map_err(said)?;
    let volume = context.get("", "persistentvolumes", "", claim.str_at("spec.volumeName")).map_err(said)?;
    Ok(driver_of_source(volume.at("spec")))
}

/// The CSI driver of a volume source, of a pod's or of a persistent volume; empty if it has none.
fn driver_of_source(source: &Value) -> String {
    let own = source.str_at("csi.driver");
    let migrated = MIGRATED.iter().find(|(name, _)| source.field(name).is_some());
    if own.is_empty() { migrated.map_or("", |(_, driver)| driver) } else { own }.to_owned()
}
