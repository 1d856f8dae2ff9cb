//! Volumes of a pod: their names and every kind of source.
//!
//! Upstream: `pkg/apis/core/validation` (`ValidateVolumes` and below), with its odd paths.

use super::paths;
use super::projected;
use super::volume_sources as sources;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{dns_label, one_of};
use crate::kinds::persistent_volume_claim;
use crate::kinds::read::Read;
use crate::meta;
use crate::names;
use crate::value::Value;

pub(super) type Judge = fn(&Value, &Path<'_>, &mut FieldErrors);

/// JSON name, name in the complaint about a second source, name in paths below, judge.
const SOURCES: &[(&str, &str, &str, Judge)] = &[
    ("hostPath", "hostPath", "hostPath", sources::host_path),
    ("gitRepo", "gitRepo", "gitRepo", sources::git_repo),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk", sources::gce_persistent_disk),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore", sources::aws_elastic_block_store),
    ("secret", "secret", "secret", secret),
    ("nfs", "nfs", "nfs", sources::nfs),
    ("iscsi", "iscsi", "iscsi", sources::iscsi),
    ("glusterfs", "glusterfs", "glusterfs", sources::glusterfs),
    ("flocker", "flocker", "flocker", sources::flocker),
    ("persistentVolumeClaim", "persistentVolumeClaim", "persistentVolumeClaim", |claim, at, errors| {
        sources::required_fields(claim, &["claimName"], at, errors);
    }),
    ("rbd", "rbd", "rbd", sources::rbd),
    ("cinder", "cinder", "cinder", sources::cinder),
    ("cephfs", "cephFS", "cephfs", sources::cephfs),
    ("quobyte", "quobyte", "quobyte", sources::quobyte),
    ("downwardAPI", "downwarAPI", "downwardAPI", projected::downward_api),
    ("fc", "fc", "fc", sources::fc),
    ("flexVolume", "flexVolume", "flexVolume", sources::flex_volume),
    ("configMap", "configMap", "configMap", config_map),
    ("azureFile", "azureFile", "azureFile", sources::azure_file),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume", sources::vsphere_volume),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk", sources::photon_persistent_disk),
    ("portworxVolume", "portworxVolume", "portworxVolume", sources::portworx_volume),
    ("azureDisk", "azureDisk", "azureDisk", sources::azure_disk),
    ("storageos", "storageos", "storageos", sources::storageos),
    ("projected", "projected", "projected", projected::volume),
    ("scaleIO", "scaleIO", "scaleIO", sources::scale_io),
    ("csi", "csi", "csi", csi),
    ("ephemeral", "ephemeral", "ephemeral", ephemeral),
    ("image", "image", "image", image),
];

/// What containers may mount: the volumes that are sound, by name.
pub type Mountable<'a> = Vec<(&'a str, &'a Value)>;

/// Judges the volumes. The pod's name decides what its ephemeral volumes' claims are called;
/// templates have none.
pub fn validate<'a>(spec: &'a Value, pod_name: &str, at: &Path<'_>, errors: &mut FieldErrors) -> Mountable<'a> {
    let volumes = spec.array_at("volumes");
    let created: Vec<String> = volumes
        .iter()
        .filter(|volume| volume.has("ephemeral") && !pod_name.is_empty())
        .map(|volume| format!("{pod_name}-{}", volume.str_at("name")))
        .collect();
    let mut sound: Mountable<'a> = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = at.index(index);
        let name = volume.str_at("name");
        let before = errors.len();
        source(volume, pod_name, &at, errors);
        match name {
            "" => errors.required(&at.child("name"), ""),
            name => dns_label(name, &at.child("name"), errors),
        }
        if sound.iter().any(|(known, _)| *known == name) {
            errors.duplicate(&at.child("name"), name);
        }
        if !errors.grew_since(before) {
            sound.push((name, volume));
        }
        let claim = volume.str_at("persistentVolumeClaim.claimName");
        if volume.has("persistentVolumeClaim") && created.iter().any(|one| one == claim) {
            const MESSAGE: &str = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&at.child("persistentVolumeClaim.claimName"), claim, MESSAGE);
        }
    }
    sound
}

fn source(volume: &Value, pod_name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut found = 0;
    if volume.has("emptyDir") {
        found += 1;
        if crate::kinds::resources::quantity(volume.at("emptyDir.sizeLimit")).sign() < 0 {
            errors.forbidden(&at.child("emptyDir.sizeLimit"), "SizeLimit field must be a valid resource quantity");
        }
    }
    let name = volume.str_at("name");
    for (field, second, shown, judge) in SOURCES {
        let source = volume.at(field);
        if source.is_null() {
            continue;
        }
        if found > 0 {
            errors.forbidden(&at.child(second), "may not specify more than 1 volume type");
            continue;
        }
        found += 1;
        judge(source, &at.child(shown), errors);
        match *field {
            "iscsi" if source.has("initiatorName") && name.len() + 1 + source.str_at("targetPortal").len() > 64 => {
                errors.invalid(&at.child("name"), name, sources::ISCSI_TOO_LONG);
            }
            "ephemeral" if !pod_name.is_empty() && !name.is_empty() => {
                let claim = format!("{pod_name}-{name}");
                for complaint in names::dns1123_subdomain(&claim) {
                    errors.invalid(&at.child("name"), name, format!("PVC name \"{claim}\": {complaint}"));
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.required(at, "must specify a volume type");
    }
}

// === Sources that only pods have ===

fn secret(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::required_fields(source, &["secretName"], at, errors);
    keys_to_paths(source, at, errors);
}

fn config_map(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::required_fields(source, &["name"], at, errors);
    keys_to_paths(source, at, errors);
}

fn keys_to_paths(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    paths::file_mode(source, "defaultMode", at, errors);
    let items = at.child("items");
    for (index, item) in source.array_at("items").iter().enumerate() {
        key_to_path(item, &items.index(index), errors);
    }
}

pub(super) fn key_to_path(item: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::required_fields(item, &["key", "path"], at, errors);
    paths::local(item.str_at("path"), &at.child("path"), errors);
    paths::file_mode(item, "mode", at, errors);
}

fn csi(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::csi_driver_name(source.str_at("driver"), &at.child("driver"), errors);
    if source.has("nodePublishSecretRef") {
        let name = source.str_at("nodePublishSecretRef.name");
        match name.is_empty() {
            true => errors.required(&at.child("nodePublishSecretRef.name"), ""),
            false => errors.invalid_each(&at.child("name"), name, names::dns1123_subdomain(name)),
        }
    }
}

fn ephemeral(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at = at.child("volumeClaimTemplate");
    if !source.has("volumeClaimTemplate") {
        return errors.required(&at, "");
    }
    let template = source.at("volumeClaimTemplate");
    let metadata = at.child("metadata");
    meta::annotations(template.at("metadata.annotations"), &metadata.child("annotations"), errors);
    meta::labels(template.at("metadata.labels"), &metadata.child("labels"), errors);
    for (field, value) in template.entries("metadata") {
        let zero = crate::kinds::read::is_empty(value);
        if !matches!(field.as_str(), "annotations" | "labels") && !zero {
            errors.forbidden(&metadata.child(field), "cannot be set");
        }
    }
    persistent_volume_claim::validate_spec(template.at("spec"), &at.child("spec"), errors);
}

fn image(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::required_fields(source, &["reference"], at, errors);
    pull_policy(source.str_at("pullPolicy"), &at.child("pullPolicy"), errors);
}

pub(super) fn pull_policy(policy: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    match policy {
        "" => errors.required(at, ""),
        policy => one_of(policy, &["Always", "IfNotPresent", "Never"], at, errors),
    }
}
