//! Volume sources that pods and PersistentVolumes share.

use super::paths;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{dns_label, dns_subdomain, number, one_of};
use crate::kinds::read::Read;
use crate::names;
use crate::value::Value;

pub const ISCSI_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
const CSI_DRIVER_BYTES_MAX: usize = 63;
const TENANT_BYTES_MAX: usize = 64;

/// Reports each of the fields that is empty.
pub fn required_fields(source: &Value, fields: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    for field in fields.iter().filter(|field| !source.filled(field)) {
        errors.required(&at.child(field), "");
    }
}

/// Reports fields of a reference, if there is one, that are empty.
pub fn reference_fields(source: &Value, reference: &str, fields: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    if source.has(reference) {
        required_fields(source.at(reference), fields, &at.child(reference), errors);
    }
}

pub fn host_path(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !source.filled("path") {
        return errors.required(&at.child("path"), "");
    }
    paths::no_backsteps(source.str_at("path"), &at.child("path"), errors);
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if source.has("type") {
        one_of(source.str_at("type"), &TYPES, &at.child("type"), errors);
    }
}

pub fn git_repo(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["repository"], at, errors);
    paths::descending(source.str_at("directory"), &at.child("directory"), errors);
}

fn partition(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let partition = source.int("partition");
    if !(0..=255).contains(&partition) {
        errors.invalid(&at.child("partition"), partition, "must be between 1 and 255, inclusive");
    }
}

pub fn gce_persistent_disk(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["pdName"], at, errors);
    partition(source, at, errors);
}

pub fn aws_elastic_block_store(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["volumeID"], at, errors);
    partition(source, at, errors);
}

pub fn nfs(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["server", "path"], at, errors);
    let path = source.str_at("path");
    if !path.starts_with('/') {
        errors.invalid(&at.child("path"), path, "must be an absolute path");
    }
}

pub fn iscsi(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    iscsi_saying(source, "must be valid format starting with iqn, eui, or naa", at, errors);
}

/// As [`iscsi`], of a PersistentVolume: says less about names.
pub fn iscsi_persistent(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    iscsi_saying(source, "must be valid format", at, errors);
    reference_fields(source, "secretRef", &["name"], at, errors);
}

fn iscsi_saying(source: &Value, starts: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["targetPortal", "iqn"], at, errors);
    let judge = |name: &str, at: &Path<'_>, errors: &mut FieldErrors| {
        if !["iqn", "eui", "naa"].iter().any(|start| name.starts_with(start)) {
            errors.invalid(at, name, starts);
        } else if !is_initiator(name) {
            errors.invalid(at, name, "must be valid format");
        }
    };
    if source.filled("iqn") {
        judge(source.str_at("iqn"), &at.child("iqn"), errors);
    }
    number(source.int("lun"), &at.child("lun"), names::in_range(source.int("lun"), 0, 255), errors);
    if (source.flag("chapAuthDiscovery") || source.flag("chapAuthSession")) && !source.has("secretRef") {
        errors.required(&at.child("secretRef"), "");
    }
    if source.has("initiatorName") {
        judge(source.str_at("initiatorName"), &at.child("initiatorname"), errors);
    }
}

/// `iqn.2015-02.example.com:test`, `eui.` and 16, or `naa.` and 32 letters or digits.
fn is_initiator(name: &str) -> bool {
    let of_length = |rest: Option<&str>, length: usize| {
        rest.is_some_and(|rest| rest.len() == length + 1 && rest.bytes().skip(1).all(|b| b.is_ascii_alphanumeric()))
    };
    if name.starts_with("eui") {
        return of_length(name.strip_prefix("eui"), 16);
    }
    if name.starts_with("naa") {
        return of_length(name.strip_prefix("naa"), 32);
    }
    let Some((authority, rest)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else { return false };
    let dated = authority.as_bytes();
    let digits =
        |range: std::ops::Range<usize>| dated.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    digits(0..4)
        && dated.get(4) == Some(&b'-')
        && digits(5..7)
        && dated.get(7) == Some(&b'.')
        && dated.len() > 8
        && dated[8..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !rest.is_empty()
        && !rest.contains([',', ';', '*', '&', '$', '|'])
        && !rest.contains(char::is_whitespace)
}

pub fn glusterfs(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["endpoints", "path"], at, errors);
}

pub fn flocker(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match (source.filled("datasetName"), source.filled("datasetUUID")) {
        (false, false) => errors.required(at, "one of datasetName and datasetUUID is required"),
        (true, true) => {
            errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
        }
        _ => {}
    }
    let name = source.str_at("datasetName");
    if name.contains('/') {
        errors.invalid(&at.child("datasetName"), name, "must not contain '/'");
    }
}

pub fn rbd(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["monitors", "image"], at, errors);
}

pub fn cinder(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["volumeID"], at, errors);
    reference_fields(source, "secretRef", &["name"], at, errors);
}

pub fn cephfs(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["monitors"], at, errors);
}

pub fn quobyte(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = source.str_at("registry");
    if registry.is_empty() {
        errors.required(&at.child("registry"), PAIRS);
    } else if source.str_at("tenant").len() > TENANT_BYTES_MAX {
        errors.required(&at.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_port(pair)) {
            errors.invalid(&at.child("registry"), registry, PAIRS);
        }
    }
    required_fields(source, &["volume"], at, errors);
}

fn is_host_port(pair: &str) -> bool {
    match pair.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(_, port)| port.starts_with(':')),
        None => pair.matches(':').count() == 1,
    }
}

pub fn fc(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (names, ids) = (source.filled("targetWWNs"), source.filled("wwids"));
    let target = at.child("targetWWNs");
    if !names && !ids {
        errors.required(&target, "must specify either targetWWNs or wwids, but not both");
    }
    if names && ids {
        let message = "targetWWNs and wwids can not be specified simultaneously";
        errors.invalid(&target, source.at("targetWWNs"), message);
    }
    if names {
        match source.i64_at("lun") {
            None => errors.required(&at.child("lun"), "lun is required if targetWWNs is specified"),
            Some(lun) => number(lun, &at.child("lun"), names::in_range(lun, 0, 255), errors),
        }
    }
}

pub fn flex_volume(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["driver"], at, errors);
    for (key, _) in source.entries("options") {
        let namespace = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let message = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid(&at.child("options").key(key), key, message);
        }
    }
}

pub fn azure_file(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["secretName", "shareName"], at, errors);
}

pub fn azure_disk(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["diskName", "diskURI"], at, errors);
    if source.has("cachingMode") {
        one_of(source.str_at("cachingMode"), &["None", "ReadOnly", "ReadWrite"], &at.child("cachingMode"), errors);
    }
    if source.has("kind") {
        let (kind, uri) = (source.str_at("kind"), source.str_at("diskURI"));
        one_of(kind, &["Dedicated", "Managed", "Shared"], &at.child("kind"), errors);
        const MANAGED: &str =
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
        const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
        let (start, example) = if kind == "Managed" { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
        if !uri.starts_with(start) {
            errors.not_supported(&at.child("diskURI"), uri, &[example]);
        }
    }
}

pub fn vsphere_volume(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["volumePath"], at, errors);
}

pub fn photon_persistent_disk(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["pdID"], at, errors);
}

pub fn portworx_volume(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["volumeID"], at, errors);
}

pub fn scale_io(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    required_fields(source, &["gateway", "system", "volumeName"], at, errors);
}

pub fn storageos(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match source.str_at("volumeName") {
        "" => errors.required(&at.child("volumeName"), ""),
        name => dns_label(name, &at.child("volumeName"), errors),
    }
    if source.filled("volumeNamespace") {
        dns_label(source.str_at("volumeNamespace"), &at.child("volumeNamespace"), errors);
    }
    reference_fields(source, "secretRef", &["name"], at, errors);
}

pub fn local(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match source.str_at("path") {
        "" => errors.required(&at.child("path"), ""),
        path => paths::no_backsteps(path, &at.child("path"), errors),
    }
}

pub fn csi_driver_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    driver_named(name, names::dns1123_subdomain(&name.to_lowercase()), at, errors);
}

/// The same where upstream declares it: the message differs.
pub fn driver_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    driver_named(name, names::dns1123_subdomain_caseless(name), at, errors);
}

fn driver_named(name: &str, complaints: names::Complaints, at: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    if name.len() > CSI_DRIVER_BYTES_MAX {
        errors.too_long(at, CSI_DRIVER_BYTES_MAX);
    }
    errors.invalid_each(at, name, complaints);
}

/// A secret in a namespace, both named.
pub fn secret_reference(reference: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match reference.str_at("name") {
        "" => errors.required(&at.child("name"), ""),
        name => dns_subdomain(name, &at.child("name"), errors),
    }
    match reference.str_at("namespace") {
        "" => errors.required(&at.child("namespace"), ""),
        namespace => dns_label(namespace, &at.child("namespace"), errors),
    }
}
