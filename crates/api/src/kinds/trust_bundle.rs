//! ClusterTrustBundle and PodCertificateRequest.
//!
//! How far these rules look into certificates: see [`super::pem`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::formats::dns_subdomain;
use super::read::{Read, copy, same};
use super::{Rules, StatusRule, Subresource, pem, signer};
use crate::field::{FieldErrors, Path};
use crate::meta::{self, NameRule};
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const CONDITIONS: Path<'static> = Path::new("status.conditions");
const CHAIN: Path<'static> = Path::new("status.certificateChain");
const BUNDLE_BYTES_MAX: usize = 1 << 20;
const UID_BYTES_MAX: usize = 128;
const KEY_BYTES_MAX: usize = 10 << 10;
const CHAIN_BYTES_MAX: usize = 100 << 10;
const SECONDS_MIN: i64 = 60 * 60;
const SECONDS_MAX: i64 = 91 * 24 * 60 * 60;
/// For certificates of Kubernetes' own signers.
const KUBERNETES_SECONDS_MAX: i64 = 24 * 60 * 60;
const OUTCOMES: [&str; 3] = ["Issued", "Denied", "Failed"];

pub const CLUSTER_TRUST_BUNDLE: Rules = Rules {
    name: NameRule::Own(|_, _| Vec::new()),
    validate: |bundle, errors| validate_bundle(bundle, true, errors),
    validate_update: |new, old, errors| {
        let (text, name) = ("spec.trustBundle", "spec.signerName");
        validate_bundle(new, new.at(text) != old.at(text), errors);
        meta::immutable(new.at(name), old.at(name), &SPEC.child("signerName"), errors);
    },
    selectable: &[("spec.signerName", |bundle| bundle.str_at("spec.signerName").into())],
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

pub const POD_CERTIFICATE_REQUEST: Rules = Rules {
    status: StatusRule::Separate,
    validate: validate_request,
    validate_update: |new, old, errors| meta::immutable(new.at("spec"), old.at("spec"), &SPEC, errors),
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        validate: validate_status,
        ..Subresource::STATUS
    }],
    selectable: &[
        ("spec.signerName", |request| request.str_at("spec.signerName").into()),
        ("spec.podName", |request| request.str_at("spec.podName").into()),
        ("spec.nodeName", |request| request.str_at("spec.nodeName").into()),
    ],
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

// === ClusterTrustBundle ===

fn validate_bundle(bundle: &Value, judge_text: bool, errors: &mut FieldErrors) {
    let (name, signer) = (bundle.str_at("metadata.name"), bundle.str_at("spec.signerName"));
    if !name.is_empty() {
        errors.invalid_each(&Path::new("metadata.name"), name, signer::bundle_name_of_signer(name, signer));
    }
    if !signer.is_empty() {
        signer::name(signer, &SPEC.child("signerName"), errors);
    }
    if judge_text {
        validate_anchors(bundle.str_at("spec.trustBundle"), &SPEC.child("trustBundle"), errors);
    }
}

fn validate_anchors(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if text.len() > BUNDLE_BYTES_MAX {
        return errors.too_long(at, BUNDLE_BYTES_MAX);
    }
    let blocks = pem::blocks(text);
    let before = errors.len();
    for (index, block) in blocks.iter().enumerate() {
        let complaint = if block.label != "CERTIFICATE" {
            format!("has bad block type: {}", block.label)
        } else if block.has_headers {
            "has PEM block headers".to_owned()
        } else if !pem::is_sequence(&block.bytes) {
            "does not parse as X.509".to_owned()
        } else if !pem::is_authority(&block.bytes) {
            "does not have the CA bit set".to_owned()
        } else {
            continue;
        };
        errors.invalid(at, "<value omitted>", format!("entry {index} {complaint}"));
    }
    if errors.grew_since(before) {
        return;
    }
    if blocks.is_empty() {
        errors.invalid(at, "<value omitted>", "at least one trust anchor must be provided");
    }
    for (index, block) in blocks.iter().enumerate() {
        let alike: Vec<String> = (0..blocks.len())
            .filter(|other| blocks[*other].bytes == block.bytes)
            .map(|other| other.to_string())
            .collect();
        if alike.len() > 1 && alike[0] == index.to_string() {
            let message = format!("duplicate trust anchor (indices [{}])", alike.join(" "));
            errors.invalid(at, "<value omitted>", message);
        }
    }
}

// === PodCertificateRequest ===

fn validate_request(request: &Value, errors: &mut FieldErrors) {
    let spec = request.at("spec");
    let signer = spec.str_at("signerName");
    signer::name(signer, &SPEC.child("signerName"), errors);
    signer::user_annotations(spec.at("unverifiedUserAnnotations"), &SPEC.child("unverifiedUserAnnotations"), errors);
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        dns_subdomain(spec.str_at(name), &SPEC.child(name), errors);
        match spec.len_at(uid) {
            0 => errors.invalid(&SPEC.child(uid), "", "must not be empty"),
            1..=UID_BYTES_MAX => {}
            _ => errors.too_long(&SPEC.child(uid), UID_BYTES_MAX),
        }
    }
    let at = SPEC.child("maxExpirationSeconds");
    let Some(seconds) = spec.i64_at("maxExpirationSeconds") else {
        return errors.required(&at, "must be set");
    };
    let max = if signer::is_kubernetes(signer) { KUBERNETES_SECONDS_MAX } else { SECONDS_MAX };
    if !(SECONDS_MIN..=max).contains(&seconds) {
        errors.invalid(&at, seconds, format!("must be in the range [{SECONDS_MIN}, {max}]"));
    }
    let bytes = |field: &str| STANDARD.decode(spec.str_at(field)).unwrap_or_default();
    match ["stubPKCS10Request", "pkixPublicKey", "proofOfPossession"].map(|field| spec.filled(field)) {
        [true, false, false] => {
            let (stub, at) = (bytes("stubPKCS10Request"), SPEC.child("stubPKCS10Request"));
            if stub.len() > KEY_BYTES_MAX {
                errors.too_long(&at, KEY_BYTES_MAX);
            } else if !pem::is_sequence(&stub) {
                errors.invalid_omitted(&at, "must be a valid PKCS#10 CSR");
            }
        }
        [false, true, true] => {
            for field in ["pkixPublicKey", "proofOfPossession"] {
                if bytes(field).len() > KEY_BYTES_MAX {
                    return errors.too_long(&SPEC.child(field), KEY_BYTES_MAX);
                }
            }
            if !pem::is_sequence(&bytes("pkixPublicKey")) {
                let message = "must be a valid PKIX-serialized public key";
                errors.invalid(&SPEC.child("pkixPublicKey"), spec.at("pkixPublicKey"), message);
            }
        }
        _ => {
            let message = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set";
            errors.invalid_omitted(&SPEC, message);
        }
    }
}

fn outcome(request: &Value) -> Option<&str> {
    let conditions = request.array_at("status.conditions").iter();
    conditions.map(|condition| condition.str_at("type")).find(|kind| OUTCOMES.contains(kind))
}

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let before = errors.len();
    let conditions = new.array_at("status.conditions");
    let mut known = 0;
    for (index, condition) in conditions.iter().enumerate() {
        // Upstream puts a dot before this index.
        let index = format!("[{index}]");
        let at = CONDITIONS.child(&index);
        let (kind, status) = (condition.str_at("type"), condition.str_at("status"));
        if !OUTCOMES.contains(&kind) {
            errors.not_supported(&at.child("type"), kind, &OUTCOMES);
            continue;
        }
        known += 1;
        if known > 1 {
            let message = "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"";
            errors.invalid(&at.child("type"), kind, message);
        }
        if status != "True" {
            errors.not_supported(&at.child("status"), status, &["True"]);
        }
    }
    meta::conditions(conditions, &CONDITIONS, errors);
    if errors.grew_since(before) {
        return;
    }
    let (status, old_status) = (new.at("status"), old.at("status"));
    let others = ["certificateChain", "notBefore", "notAfter", "beginRefreshAt"];
    let complaint = match (outcome(old), outcome(new)) {
        (Some(_), _) if !same(status, old_status) => {
            "immutable after PodCertificateRequest is issued, denied, or failed"
        }
        (Some(_), _) => "",
        (None, Some("Issued")) => return validate_issued(status, errors),
        (None, Some(_)) if others.iter().any(|field| status.filled(field)) => {
            "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
        }
        (None, None) if !same(status, old_status) => {
            "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\""
        }
        _ => "",
    };
    if !complaint.is_empty() {
        errors.invalid_omitted(&Path::new("status"), complaint);
    }
}

fn validate_issued(status: &Value, errors: &mut FieldErrors) {
    let chain = status.str_at("certificateChain");
    if chain.len() > CHAIN_BYTES_MAX {
        return errors.too_long(&CHAIN, CHAIN_BYTES_MAX);
    }
    let blocks = pem::blocks(chain);
    let complaint = match blocks.first() {
        None => "issued certificate chain must contain at least one certificate",
        Some(_) if blocks.iter().any(|block| block.label != "CERTIFICATE") => {
            "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
        }
        Some(leaf) if !pem::is_sequence(&leaf.bytes) => "leaf certificate does not parse as valid X.509",
        Some(_) => "",
    };
    if !complaint.is_empty() {
        return errors.invalid(&CHAIN, chain, complaint);
    }
    for (field, message) in [
        ("notBefore", "must be present and consistent with the issued certificate"),
        ("notAfter", "must be present and consistent with the issued certificate"),
        ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    ] {
        if !status.has(field) {
            errors.required(&Path::new("status").child(field), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    fn block(label: &str, bytes: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
    }

    /// A sequence that says it is an authority's certificate.
    fn authority(mark: u8) -> Vec<u8> {
        let inner = [0x06, 0x03, 0x55, 0x1d, 0x13, 0x04, 0x05, 0x30, 0x03, 0x01, 0x01, 0xff, 0x02, 0x01, mark];
        [vec![0x30, inner.len() as u8], inner.to_vec()].concat()
    }

    #[rstest]
    #[case("a", "", block("CERTIFICATE", &authority(1)), "")]
    #[case("example.com:a:b", "example.com/a", block("CERTIFICATE", &authority(1)), "")]
    #[case("b", "example.com/a", block("CERTIFICATE", &authority(1)),
        r#"metadata.name: Invalid value: "b": ClusterTrustBundle for signerName example.com/a must be named with prefix example.com:a:"#)]
    #[case(
        "a",
        "",
        String::new(),
        r#"spec.trustBundle: Invalid value: "<value omitted>": at least one trust anchor must be provided"#
    )]
    #[case("a", "", block("KEY", &[0x30, 0]),
        r#"spec.trustBundle: Invalid value: "<value omitted>": entry 0 has bad block type: KEY"#)]
    #[case("a", "", block("CERTIFICATE", &[0x30, 0]),
        r#"spec.trustBundle: Invalid value: "<value omitted>": entry 0 does not have the CA bit set"#)]
    #[case("a", "", [1, 2, 1].map(|mark| block("CERTIFICATE", &authority(mark))).concat(),
        r#"spec.trustBundle: Invalid value: "<value omitted>": duplicate trust anchor (indices [0 2])"#)]
    fn bundles(#[case] name: &str, #[case] signer: &str, #[case] text: String, #[case] expected: &str) {
        let spec = json!({"signerName": signer, "trustBundle": text});
        let bundle = object(false, json!({"metadata": {"name": name}, "spec": spec}));
        let said = create(&CLUSTER_TRUST_BUNDLE, false, bundle).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[rstest]
    #[case(json!({"stubPKCS10Request": "MAA="}), "")]
    #[case(json!({}), "spec: Invalid value: exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set")]
    #[case(json!({"stubPKCS10Request": "MAA=", "maxExpirationSeconds": 1}),
        "spec.maxExpirationSeconds: Invalid value: 1: must be in the range [3600, 7862400]")]
    #[case(json!({"stubPKCS10Request": "MAA=", "podUID": ""}),
        r#"spec.podUID: Invalid value: "": must not be empty"#)]
    fn pod_certificates(#[case] changes: serde_json::Value, #[case] expected: &str) {
        let mut spec = json!({"signerName": "example.com/a", "podName": "p", "podUID": "1", "nodeName": "n",
            "nodeUID": "2", "serviceAccountName": "s", "serviceAccountUID": "3", "maxExpirationSeconds": 3600});
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let request = object(true, json!({"spec": spec}));
        let said = create(&POD_CERTIFICATE_REQUEST, true, request).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }
}
