//! Names of certificate signers and of the trust bundles that belong to them.
//!
//! Upstream: `pkg/apis/core/validation/names.go`.

use crate::field::{FieldErrors, Path, go_quote};
use crate::meta::ANNOTATIONS_BYTES_MAX;
use crate::names::{self, Complaints, LABEL_BYTES_MAX, SUBDOMAIN_BYTES_MAX};
use crate::value::{Key, Value};

/// A domain, `/`, and a namespace and a name joined by a dot.
const SIGNER_BYTES_MAX: usize = SUBDOMAIN_BYTES_MAX + 1 + LABEL_BYTES_MAX + 1 + SUBDOMAIN_BYTES_MAX;

/// Whether the Kubernetes project keeps this name for itself.
pub fn is_kubernetes(signer: &str) -> bool {
    let host = signer.split('/').next().unwrap_or_default();
    host == "kubernetes.io" || host.ends_with(".kubernetes.io")
}

/// `example.com/signer-name`.
pub fn name(signer: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if signer.is_empty() {
        return errors.required(at, "");
    }
    let (domain, path) = match signer.split_once('/') {
        Some((domain, path)) if !path.contains('/') => (domain, path),
        _ => {
            const MESSAGE: &str = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            return errors.invalid(at, signer, MESSAGE);
        }
    };
    if domain.len() > SUBDOMAIN_BYTES_MAX {
        errors.too_long(at, SUBDOMAIN_BYTES_MAX);
    }
    first_bad_label(domain, names::dns1123_label, at, errors);
    if !domain.contains('.') {
        errors.invalid(at, domain, "should be a domain with at least two segments separated by dots");
    }
    first_bad_label(path, names::dns1123_subdomain, at, errors);
    if signer.len() > SIGNER_BYTES_MAX {
        errors.too_long(at, SIGNER_BYTES_MAX);
    }
}

fn first_bad_label(text: &str, judge: fn(&str) -> Complaints, at: &Path<'_>, errors: &mut FieldErrors) {
    let bad = text.split('.').map(|label| (label, judge(label))).find(|(_, complaints)| !complaints.is_empty());
    if let Some((label, complaints)) = bad {
        for complaint in complaints {
            errors.invalid(at, text, format!("validating label {}: {complaint}", go_quote(label)));
        }
    }
}

/// What a requester may say to the signer beside the request: keys with a domain.
pub fn user_annotations(annotations: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let Some(annotations) = annotations.as_object() else { return };
    for key in annotations.keys() {
        let key = key.to_lowercase();
        match names::label_key(&key) {
            complaints if !complaints.is_empty() => errors.invalid_each(at, &key, complaints),
            _ if !key.contains('/') => {
                errors.invalid(at, key, "must be a domain-prefixed key (such as \"acme.io/foo\")");
            }
            _ => {}
        }
    }
    let size = |(key, value): (&Key, &Value)| key.len() + value.as_str().unwrap_or_default().len();
    if annotations.iter().map(size).sum::<usize>() > ANNOTATIONS_BYTES_MAX {
        errors.too_long(at, ANNOTATIONS_BYTES_MAX);
    }
}

/// A trust bundle's name, which starts with its signer's where it has one.
pub fn bundle_name_complaints(name: &str) -> Complaints {
    match name.rfind(':') {
        None => names::dns1123_subdomain(name),
        Some(at) => names::dns1123_subdomain(&name[at + 1..]),
    }
}

/// The same, against the signer that the bundle says it belongs to.
pub fn bundle_name_of_signer(name: &str, signer: &str) -> Complaints {
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()],
            false => names::dns1123_subdomain(name),
        };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => names::dns1123_subdomain(rest),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}
