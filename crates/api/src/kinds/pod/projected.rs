//! Projected volumes and the downward API's files.

use super::{env, paths, volume};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{dns_label, one_of};
use crate::kinds::read::Read;
use crate::kinds::signer;
use crate::meta;
use crate::names;
use crate::value::Value;

const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const CERTIFICATE_SECONDS_MIN: i64 = 3600;
/// 91 days.
const CERTIFICATE_SECONDS_MAX: i64 = 91 * 86_400;
/// A day, for Kubernetes' own signers.
const OWN_CERTIFICATE_SECONDS_MAX: i64 = 86_400;
const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Paths that sources have claimed so far.
#[derive(Default)]
struct Claimed<'a>(Vec<&'a str>);

pub fn downward_api(source: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    paths::file_mode(source, "defaultMode", at, errors);
    for file in source.array_at("items") {
        downward_file(file, at, errors);
    }
}

fn downward_file(file: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !file.filled("path") {
        errors.required(&at.child("path"), "");
    }
    paths::local(file.str_at("path"), &at.child("path"), errors);
    if file.has("fieldRef") {
        env::field_ref(file.at("fieldRef"), &FILE_FIELDS, &at.child("fieldRef"), errors);
        if file.has("resourceFieldRef") {
            errors.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if file.has("resourceFieldRef") {
        env::resource_field_ref(file.at("resourceFieldRef"), true, &at.child("resourceFieldRef"), errors);
    } else {
        errors.required(at, "one of fieldRef and resourceFieldRef is required");
    }
    paths::file_mode(file, "mode", at, errors);
}

pub fn volume(projected: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    paths::file_mode(projected, "defaultMode", at, errors);
    let mut claimed = Claimed::default();
    let sources = at.child("sources");
    for (index, source) in projected.array_at("sources").iter().enumerate() {
        let here = sources.index(index);
        let kinds =
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
        let count = kinds.iter().filter(|kind| source.has(kind)).count();
        for kind in ["secret", "configMap"].into_iter().filter(|kind| source.has(kind)) {
            keys(source.at(kind), at, &here.child(kind), &mut claimed, errors);
        }
        for file in source.array_at("downwardAPI.items") {
            downward_file(file, &here.child("downwardAPI"), errors);
            claimed.claim(file.str_at("path"), None, at, errors);
        }
        if source.has("serviceAccountToken") {
            token(source.at("serviceAccountToken"), at, &here.child("serviceAccountToken"), errors);
        }
        if source.has("clusterTrustBundle") {
            trust_bundle(source.at("clusterTrustBundle"), &here.child("clusterTrustBundle"), errors);
            claimed.claim_even_empty(source.str_at("clusterTrustBundle.path"), at, errors);
        }
        if source.has("podCertificate") {
            certificate(source.at("podCertificate"), at, &here.child("podCertificate"), &mut claimed, errors);
        }
        if count > 1 {
            errors.forbidden(&here, "may not specify more than 1 volume type per source");
        }
    }
}

fn keys<'a>(source: &'a Value, root: &Path<'_>, at: &Path<'_>, claimed: &mut Claimed<'a>, errors: &mut FieldErrors) {
    if !source.filled("name") {
        errors.required(&at.child("name"), "");
    }
    let items = at.child("items");
    for (index, item) in source.array_at("items").iter().enumerate() {
        volume::key_to_path(item, &items.index(index), errors);
        claimed.claim(item.str_at("path"), Some(source.str_at("name")), root, errors);
    }
}

fn token(token: &Value, root: &Path<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let expiration = at.child("expirationSeconds");
    match token.i64_at("expirationSeconds") {
        None => errors.required(&expiration, ""),
        Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
            errors.invalid(&expiration, seconds, "may not specify a duration less than 10 minutes");
        }
        Some(seconds) if seconds > TOKEN_SECONDS_MAX => {
            errors.invalid(&expiration, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        Some(_) => {}
    }
    match token.str_at("path") {
        "" => errors.required(&root.child("path"), ""),
        path => paths::local(path, &root.child("path"), errors),
    }
}

fn trust_bundle(bundle: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match (bundle.has("name"), bundle.has("signerName")) {
        (true, true) => errors.invalid(at, bundle, "only one of name and signerName may be used"),
        (true, false) => {
            let name = bundle.str_at("name");
            if name.is_empty() {
                errors.required(&at.child("name"), "must be a valid object name");
            }
            for complaint in signer::bundle_name_complaints(name) {
                errors.invalid(&at.child("name"), name, format!("not a valid clustertrustbundlename: {complaint}"));
            }
            if bundle.has("labelSelector") {
                let message = "labelSelector must be unset if name is specified";
                errors.invalid(&at.child("labelSelector"), bundle.at("labelSelector"), message);
            }
        }
        (false, true) => {
            let signer = bundle.str_at("signerName");
            if signer.is_empty() {
                errors.required(&at.child("signerName"), "must be a valid signer name");
            }
            signer::name(signer, &at.child("signerName"), errors);
            meta::label_selector(bundle.at("labelSelector"), &at.child("labelSelector"), errors);
        }
        (false, false) => errors.required(at, "either name or signerName must be specified"),
    }
    if !bundle.filled("path") {
        errors.required(&at.child("path"), "");
    }
    paths::local(bundle.str_at("path"), &at.child("path"), errors);
}

fn certificate<'a>(
    certificate: &'a Value,
    root: &Path<'_>,
    at: &Path<'_>,
    claimed: &mut Claimed<'a>,
    errors: &mut FieldErrors,
) {
    let signer_name = certificate.str_at("signerName");
    signer::name(signer_name, &at.child("signerName"), errors);
    signer::user_annotations(certificate.at("userAnnotations"), &at.child("userAnnotations"), errors);
    one_of(certificate.str_at("keyType"), &KEY_TYPES, &at.child("keyType"), errors);
    if let Some(seconds) = certificate.i64_at("maxExpirationSeconds") {
        let at = at.child("maxExpirationSeconds");
        let max = match signer::is_kubernetes(signer_name) {
            true => OWN_CERTIFICATE_SECONDS_MAX,
            false => CERTIFICATE_SECONDS_MAX,
        };
        if seconds < CERTIFICATE_SECONDS_MIN {
            errors.invalid(&at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
        }
        if seconds > max {
            errors.invalid(&at, seconds, format!("if provided, maxExpirationSeconds must be <= {max}"));
        }
    }
    let fields = ["credentialBundlePath", "keyPath", "certificateChainPath"];
    for field in fields.into_iter().filter(|field| certificate.filled(field)) {
        let path = certificate.str_at(field);
        paths::local(path, &at.child(field), errors);
        claimed.claim(path, None, root, errors);
    }
    if fields.iter().all(|field| !certificate.filled(field)) {
        errors.required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
}

impl<'a> Claimed<'a> {
    /// Reports a path that another source has; names the source where upstream does.
    fn claim(&mut self, path: &'a str, source: Option<&str>, at: &Path<'_>, errors: &mut FieldErrors) {
        if path.is_empty() {
            return;
        }
        match self.0.contains(&path) {
            true => errors.invalid(at, source.unwrap_or(path), "conflicting duplicate paths"),
            false => self.0.push(path),
        }
    }

    fn claim_even_empty(&mut self, path: &'a str, at: &Path<'_>, errors: &mut FieldErrors) {
        match self.0.contains(&path) {
            true => errors.invalid(at, path, "conflicting duplicate paths"),
            false => self.0.push(path),
        }
    }
}

/// `fileKeyRef` of an environment variable.
pub fn file_key_ref(reference: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match reference.str_at("key") {
        "" => errors.required(&at.child("key"), ""),
        key => errors.invalid_each(&at.child("key"), key, names::relaxed_env_var_name(key)),
    }
    match reference.str_at("volumeName") {
        "" => errors.required(&at.child("volumeName"), ""),
        name => dns_label(name, &at.child("volumeName"), errors),
    }
    match reference.str_at("path") {
        "" => errors.required(&at.child("path"), ""),
        path => paths::no_backsteps(path, &at.child("path"), errors),
    }
}
