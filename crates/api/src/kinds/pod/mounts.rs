//! Where a container mounts its volumes and puts its block devices.

use super::paths;
use super::volume::Mountable;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::one_of;
use crate::kinds::read::Read;
use crate::value::Value;

pub fn volume_mounts(container: &Value, volumes: &Mountable<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let mounts = container.array_at("volumeMounts");
    let devices = container.array_at("volumeDevices");
    for (index, mount) in mounts.iter().enumerate() {
        let here = at.index(index);
        let (name, path) = (mount.str_at("name"), mount.str_at("mountPath"));
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        }
        if !volumes.iter().any(|(known, _)| *known == name) {
            errors.not_found(&here.child("name"), name);
        }
        if path.is_empty() {
            errors.required(&here.child("mountPath"), "");
        }
        if mounts[..index].iter().any(|earlier| earlier.str_at("mountPath") == path) {
            errors.invalid(&here.child("mountPath"), path, "must be unique");
        }
        if devices.iter().any(|device| device.str_at("name") == name) {
            errors.invalid(&here.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device.str_at("devicePath") == path) {
            errors.invalid(&here.child("mountPath"), path, "must not already exist as a path in volumeDevices");
        }
        // From here on upstream's paths lack the index.
        if mount.filled("subPath") {
            paths::descending(mount.str_at("subPath"), &at.child("subPath"), errors);
        }
        if mount.filled("subPathExpr") {
            let expression = mount.str_at("subPathExpr");
            if mount.filled("subPath") {
                let message = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&here.child("subPathExpr"), expression, message);
            }
            paths::descending(expression, &at.child("subPathExpr"), errors);
        }
        if mount.has("mountPropagation") {
            propagation(mount, container, &at.child("mountPropagation"), errors);
        }
        if mount.has("recursiveReadOnly") {
            recursive_read_only(mount, &at.child("recursiveReadOnly"), errors);
        }
    }
}

fn propagation(mount: &Value, container: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let mode = mount.str_at("mountPropagation");
    one_of(mode, &["Bidirectional", "HostToContainer", "None"], at, errors);
    if mode == "Bidirectional" && !container.flag("securityContext.privileged") {
        errors.forbidden(at, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(mount: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match mount.str_at("recursiveReadOnly") {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.flag("readOnly") {
                errors.forbidden(at, "may only be specified when readOnly is true");
            }
            if !matches!(mount.str_at("mountPropagation"), "" | "None") {
                errors.forbidden(at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        other => errors.not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

pub fn volume_devices(container: &Value, volumes: &Mountable<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let mounts = container.array_at("volumeMounts");
    let devices = container.array_at("volumeDevices");
    for (index, device) in devices.iter().enumerate() {
        let at = at.index(index);
        let (at_name, at_path) = (at.child("name"), at.child("devicePath"));
        let (name, path) = (device.str_at("name"), device.str_at("devicePath"));
        if name.is_empty() {
            errors.required(&at_name, "");
        }
        if !name.is_empty() && devices[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.invalid(&at_name, name, "must be unique");
        }
        match volumes.iter().find(|(known, _)| *known == name) {
            Some((_, volume)) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
                const MESSAGE: &str =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&at_name, name, MESSAGE);
            }
            Some(_) => {}
            None => errors.not_found(&at_name, name),
        }
        if path.is_empty() {
            errors.required(&at_path, "");
        }
        if devices[..index].iter().any(|earlier| earlier.str_at("devicePath") == path) {
            errors.invalid(&at_path, path, "must be unique");
        }
        if paths::has_backsteps(path) {
            errors.invalid(&at_path, path, "can not contain backsteps ('..')");
        }
        if mounts.iter().any(|mount| mount.str_at("name") == name) {
            errors.invalid(&at_name, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.str_at("mountPath") == path) {
            errors.invalid(&at_path, path, "must not already exist as a path in volumeMounts");
        }
    }
}
