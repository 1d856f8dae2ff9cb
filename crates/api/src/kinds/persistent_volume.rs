//! PersistentVolume.
//!
//! Upstream: `pkg/apis/core/validation` (`ValidatePersistentVolumeSpec` …),
//! `pkg/volume/validation`.

use super::diff::diff;
use super::formats::one_of;
use super::persistent_volume_claim::access_modes;
use super::pod::scheduling::node_selector;
use super::pod::volume_sources as sources;
use super::pod::warnings::node_selector_term;
use super::read::{Read, copy, default_to, default_zero, same};
use super::resources::{self, quantity};
use super::{Context, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::time::Time;
use crate::value::{Map, Value};
use crate::{meta, names};

const SPEC: Path<'static> = Path::new("spec");
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const TRANSITION: &str = "status.lastPhaseTransitionTime";

pub const RULES: Rules = Rules {
    defaults: |volume| {
        default_zero(volume, "status.phase", "Pending");
        default_zero(volume, "spec.persistentVolumeReclaimPolicy", "Retain");
        default_to(volume, "spec.volumeMode", "Filesystem");
        if volume.has("spec.hostPath") {
            default_to(volume, "spec.hostPath.type", "");
        }
        resources::round(volume, &["spec.capacity"]);
    },
    status: StatusRule::Separate,
    prepare_create: |volume, context| {
        volume.set("status.phase", "Pending");
        volume.set(TRANSITION, now(context));
    },
    validate,
    validate_update: |new, old, errors| {
        validate(new, errors);
        validate_update(new, old, errors);
    },
    subresources: &[Subresource {
        prepare: prepare_status,
        validate: |new, _, errors| {
            if new.str_at("metadata.resourceVersion").is_empty() {
                errors.required(&Path::new("resourceVersion"), "");
            }
        },
        ..Subresource::STATUS
    }],
    warnings: |volume, _| warnings(volume),
    ..Rules::DEFAULT
};

fn now(context: &Context<'_>) -> Value {
    Time::from_unix(context.now.as_second(), 0).to_text().into()
}

fn prepare_status(new: &mut Value, old: &Value, context: &Context<'_>) {
    copy(new, old, "spec");
    let moved = new.str_at("status.phase") != old.str_at("status.phase");
    if !moved && !new.has(TRANSITION) {
        copy(new, old, TRANSITION);
    } else if moved && (!new.has(TRANSITION) || new.at(TRANSITION) == old.at(TRANSITION)) {
        new.set(TRANSITION, now(context));
    }
}

// === The volume's source ===

type Judge = fn(&Value, &Path<'_>, &mut FieldErrors);

/// JSON name, name in the complaint about a second source, name in paths below, judge.
const SOURCES: &[(&str, &str, &str, Judge)] = &[
    ("hostPath", "hostPath", "hostPath", sources::host_path),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk", sources::gce_persistent_disk),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore", sources::aws_elastic_block_store),
    ("glusterfs", "glusterfs", "glusterfs", glusterfs),
    ("flocker", "flocker", "flocker", sources::flocker),
    ("nfs", "nfs", "nfs", sources::nfs),
    ("rbd", "rbd", "rbd", sources::rbd),
    ("quobyte", "quobyte", "quobyte", sources::quobyte),
    ("cephfs", "cephFS", "cephfs", sources::cephfs),
    ("iscsi", "iscsi", "iscsi", sources::iscsi_persistent),
    ("cinder", "cinder", "cinder", |source, at, errors| {
        sources::required_fields(source, &["volumeID"], at, errors);
        sources::reference_fields(source, "secretRef", &["name", "namespace"], at, errors);
    }),
    ("fc", "fc", "fc", sources::fc),
    ("flexVolume", "flexVolume", "flexVolume", sources::flex_volume),
    ("azureFile", "azureFile", "azureFile", |source, at, errors| {
        sources::azure_file(source, at, errors);
        if source.at("secretNamespace").as_str() == Some("") {
            errors.required(&at.child("secretNamespace"), "");
        }
    }),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume", sources::vsphere_volume),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk", sources::photon_persistent_disk),
    ("portworxVolume", "portworxVolume", "portworxVolume", sources::portworx_volume),
    ("azureDisk", "azureDisk", "azureDisk", sources::azure_disk),
    ("scaleIO", "scaleIO", "scaleIO", sources::scale_io),
    ("local", "local", "local", sources::local),
    ("storageos", "storageos", "storageos", |source, at, errors| {
        sources::storageos(source, at, errors);
        if source.has("secretRef") && !source.filled("secretRef.namespace") {
            errors.required(&at.child("secretRef.namespace"), "");
        }
    }),
    ("csi", "csi", "csi", csi),
];

fn glusterfs(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::glusterfs(source, at, errors);
    let at = at.child("endpointsNamespace");
    match source.at("endpointsNamespace").as_str() {
        None => {}
        Some("") => errors.invalid(&at, "", "if the endpointnamespace is set, it must be a valid namespace name"),
        Some(namespace) => errors.invalid_each(&at, namespace, names::dns1123_label(namespace)),
    }
}

fn csi(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    sources::csi_driver_name(source.str_at("driver"), &at.child("driver"), errors);
    sources::required_fields(source, &["volumeHandle"], at, errors);
    for secret in
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    {
        if source.has(secret) {
            sources::secret_reference(source.at(secret), &at.child(secret), errors);
        }
    }
}

fn source(spec: &Value, name: &str, at_spec: &Path<'_>, errors: &mut FieldErrors) {
    let mut found = 0;
    for (field, second, shown, judge) in SOURCES {
        let source = spec.at(field);
        if source.is_null() {
            continue;
        }
        // A flex volume is judged even as a second one.
        if found > 0 && *field != "flexVolume" {
            errors.forbidden(&at_spec.child(second), "may not specify more than 1 volume type");
            continue;
        }
        found += 1;
        let at = at_spec.child(shown);
        judge(source, &at, errors);
        let portal = source.str_at("targetPortal");
        if *field == "iscsi" && source.has("initiatorName") && name.len() + 1 + portal.len() > 64 {
            errors.invalid(&at.child("targetportal"), portal, sources::ISCSI_TOO_LONG);
        }
        if *field == "local" && !spec.has("nodeAffinity") {
            errors.required(&at_spec.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if found == 0 {
        errors.required(at_spec, "must specify a volume type");
    }
}

// === The rest ===

fn validate(volume: &Value, errors: &mut FieldErrors) {
    validate_spec(volume.at("spec"), volume.str_at("metadata.name"), &SPEC, errors);
    mount_options(volume, errors);
}

fn validate_spec(spec: &Value, name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    modes(spec, at, errors);
    capacity(spec, &at.child("capacity"), errors);
    let policy = spec.str_at("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        one_of(policy, &["Delete", "Recycle", "Retain"], &at.child("persistentVolumeReclaimPolicy"), errors);
    }
    if spec.has("nodeAffinity") {
        let at = at.child("nodeAffinity.required");
        match spec.has("nodeAffinity.required") {
            true => node_selector(spec.at("nodeAffinity.required"), &at, errors),
            false => errors.required(&at, "must specify required node constraints"),
        }
    }
    source(spec, name, at, errors);
    no_recycled_root(spec, at, errors);
    let class = spec.str_at("storageClassName");
    if !class.is_empty() {
        errors.invalid_each(&at.child("storageClassName"), class, names::dns1123_subdomain(class));
    }
    if spec.has("volumeMode") {
        one_of(spec.str_at("volumeMode"), &["Block", "Filesystem"], &at.child("volumeMode"), errors);
    }
    if let Some(class) = spec.at("volumeAttributesClassName").as_str() {
        let at_class = at.child("volumeAttributesClassName");
        match class {
            "" => errors.required(&at_class, "an empty string is disallowed"),
            class => errors.invalid_each(&at_class, class, names::dns1123_subdomain(class)),
        }
        if !spec.has("csi") {
            errors.required(&at.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

/// The spec of a volume that stands in a VolumeAttachment, with nothing behind it.
pub fn validate_inline(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    for field in ["claimRef", "capacity"] {
        if spec.filled(field) {
            errors.forbidden(&at.child(field), INLINE);
        }
    }
    if !spec.has("csi") {
        errors.required(&at.child("csi"), "has to be specified in the context of inline volumes");
    }
    modes(spec, at, errors);
    let policy = "persistentVolumeReclaimPolicy";
    if !matches!(spec.str_at(policy), "" | "Retain") {
        errors.forbidden(&at.child(policy), "may only be Retain in the context of inline volumes");
    }
    if spec.has("nodeAffinity") {
        errors.forbidden(&at.child("nodeAffinity"), INLINE);
    }
    source(spec, "", at, errors);
    no_recycled_root(spec, at, errors);
    if spec.filled("storageClassName") {
        errors.forbidden(&at.child("storageClassName"), INLINE);
    }
    if spec.has("volumeMode") && spec.str_at("volumeMode") != "Filesystem" {
        let message = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.forbidden(&at.child("volumeMode"), message);
    }
}

fn modes(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !spec.filled("accessModes") {
        errors.required(&at.child("accessModes"), "");
    }
    access_modes(spec, &at.child("accessModes"), errors);
}

/// Recycling empties the volume: not a node's root.
fn no_recycled_root(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (path, policy) = (spec.str_at("hostPath.path"), "persistentVolumeReclaimPolicy");
    let is_root = path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."));
    if is_root && spec.str_at(policy) == "Recycle" {
        errors.forbidden(&at.child(policy), "may not be 'recycle' for a hostPath mount of '/'");
    }
}

fn capacity(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let capacity = spec.at("capacity");
    if !spec.filled("capacity") {
        errors.required(at, "");
    }
    if capacity.get("storage").is_null() || spec.len_at("capacity") > 1 {
        errors.not_supported(at, capacity, &["storage"]);
    }
    for (resource, amount) in spec.entries("capacity") {
        let (at, amount) = (at.key(resource), quantity(amount));
        if amount.value() < 0 {
            errors.invalid(&at, amount.value(), "must be a valid resource quantity");
        }
        if amount.sign() <= 0 {
            errors.invalid(&at, amount.to_string(), "must be greater than zero");
        }
    }
}

/// The annotation works with some types of volumes.
fn mount_options(volume: &Value, errors: &mut FieldErrors) {
    const MOUNTED: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let takes_options = MOUNTED.iter().any(|source| volume.at("spec").has(source));
    if !takes_options && !volume.entry("metadata.annotations", MOUNT_OPTIONS).is_null() {
        let at = Path::new("metadata.annotations");
        errors.forbidden(&at.child(MOUNT_OPTIONS), "may not specify mount options for this volume type");
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let expand = "spec.csi.controllerExpandSecretRef";
    let sources_of = |volume: &Value, without_expand: bool| -> Value {
        let mut spec: Map = SOURCES
            .iter()
            .map(|(field, ..)| (*field, volume.at("spec").at(field).clone()))
            .filter(|(_, source)| !source.is_null())
            .collect();
        if let (true, Some(csi)) = (without_expand, spec.get_mut("csi")) {
            csi.remove("controllerExpandSecretRef");
        }
        spec.into()
    };
    let may_expand = old.has("spec.csi") && !old.has(expand);
    let (source, old_source) = (sources_of(new, may_expand), sources_of(old, false));
    if !same(&source, &old_source) {
        let message =
            format!("spec.persistentvolumesource is immutable after creation\n{}", diff(&old_source, &source));
        errors.forbidden(&SPEC.child("persistentvolumesource"), message);
    }
    let mode = "spec.volumeMode";
    meta::immutable(new.at(mode), old.at(mode), &Path::new("volumeMode"), errors);
    let affinity = "spec.nodeAffinity";
    if old.has(affinity) && !same_affinity(new.at(affinity), old.at(affinity)) {
        let message = "field is immutable, except for updating from beta label to GA";
        errors.invalid(&Path::new("nodeAffinity"), new.at(affinity), message);
    }
    let class = "spec.volumeAttributesClassName";
    if old.has(class) && !new.has(class) {
        errors.forbidden(&Path::new(class), "update from non-nil value to nil is forbidden");
    }
}

/// Labels of nodes may be brought up to date.
fn same_affinity(new: &Value, old: &Value) -> bool {
    const SUCCESSORS: [(&str, &str); 5] = [
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    match (new, old) {
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| same_affinity(new, old))
        }
        (Value::Object(_), Value::Object(_)) if old.has("key") => {
            let mut renamed = old.clone();
            if SUCCESSORS.contains(&(old.str_at("key"), new.str_at("key"))) {
                renamed.set("key", new.at("key").clone());
            }
            same(new, &renamed)
        }
        (Value::Object(new), Value::Object(old)) if new.keys().eq(old.keys()) => {
            new.values().zip(old.values()).all(|(new, old)| same_affinity(new, old))
        }
        _ => same(new, old),
    }
}

fn warnings(volume: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, newer) in [
        ("volume.beta.kubernetes.io/storage-class", ("v1.8", "storageClassName")),
        (MOUNT_OPTIONS, ("v1.31", "mountOptions")),
    ] {
        if !volume.entry("metadata.annotations", key).is_null() {
            let (since, attribute) = newer;
            warnings.push(format!(
                "metadata.annotations[{key}]: deprecated since {since}; use \"{attribute}\" attribute instead"
            ));
        }
    }
    if volume.str_at("spec.persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    let terms = "spec.nodeAffinity.required.nodeSelectorTerms";
    for (index, term) in volume.array_at(terms).iter().enumerate() {
        node_selector_term(term, false, &Path::new(terms).index(index), &mut warnings);
    }
    for (source, shown, why) in [
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if volume.at("spec").has(source) {
            warnings.push(format!("spec.{shown}: {why}"));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    fn volume(changes: serde_json::Value) -> Value {
        let mut volume = object(
            false,
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}}),
        );
        for (path, value) in changes.as_object().unwrap() {
            let value = crate::kinds::testing::tree(value.clone());
            match value.is_null() {
                true => drop(volume.remove(path)),
                false => volume.set(path, value),
            }
        }
        volume
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"spec.accessModes": null}), "spec.accessModes: Required value")]
    #[case(json!({"spec.accessModes": ["Some"]}),
        r#"spec.accessModes: Unsupported value: "Some": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod""#)]
    #[case(json!({"spec.capacity": {"cpu": "1"}}),
        r#"spec.capacity: Unsupported value: {"cpu":"1"}: supported values: "storage""#)]
    #[case(json!({"spec.capacity": {"storage": "0"}}),
        r#"spec.capacity[storage]: Invalid value: "0": must be greater than zero"#)]
    #[case(json!({"spec.hostPath": null}), "spec: Required value: must specify a volume type")]
    #[case(json!({"spec.nfs": {"server": "s", "path": "/p"}}),
        "spec.nfs: Forbidden: may not specify more than 1 volume type")]
    #[case(json!({"spec.hostPath": null, "spec.local": {"path": "/a"}}),
        "spec.nodeAffinity: Required value: Local volume requires node affinity")]
    #[case(json!({"spec.hostPath": {"path": "/."}, "spec.persistentVolumeReclaimPolicy": "Recycle"}),
        "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'")]
    #[case(json!({"spec.hostPath": null, "spec.csi": {"driver": "d", "volumeHandle": "h",
        "nodePublishSecretRef": {"name": "n"}}}), "spec.csi.nodePublishSecretRef.namespace: Required value")]
    #[case(json!({"spec.volumeAttributesClassName": "v"}),
        "spec.csi: Required value: has to be specified when using volumeAttributesClassName")]
    fn volumes(#[case] changes: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&RULES, false, volume(changes)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_new_volume_is_pending_since_now() {
        let created = create(&RULES, false, volume(json!({}))).unwrap();
        assert_eq!(created.str_at("status.phase"), "Pending");
        assert_eq!(created.str_at(TRANSITION), "1970-01-01T00:00:00Z");
        assert_eq!(created.str_at("spec.persistentVolumeReclaimPolicy"), "Retain");
    }

    #[test]
    fn the_source_stays() {
        let said = update(&RULES, false, volume(json!({"spec.hostPath.path": "/b"})), volume(json!({}))).unwrap_err();
        assert!(
            said[0].starts_with("spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable")
        );
        assert!(update(&RULES, false, volume(json!({"spec.claimRef": {"name": "c"}})), volume(json!({}))).is_ok());
    }

    #[test]
    fn affinity_may_only_follow_renamed_labels() {
        let on = |key: &str| {
            let term = json!({"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]});
            volume(json!({"spec.nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}))
        };
        let (beta, stable) = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone");
        assert!(update(&RULES, false, on(stable), on(beta)).is_ok());
        assert!(update(&RULES, false, on(beta), on(stable)).is_err());
    }
}
