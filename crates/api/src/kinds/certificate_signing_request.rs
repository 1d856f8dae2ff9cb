//! CertificateSigningRequest.
//!
//! That a request is signed by the key it is for has to be checked by who signs it: see
//! [`super::pem`] for how far these rules look.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::diff::diff;
use super::read::{Read, copy, same};
use super::{Context, Rules, StatusRule, Subresource, pem, signer};
use crate::field::{FieldErrors, Path};
use crate::meta::NameRule;
use crate::time::Time;
use crate::value::{Map, Value};

const SPEC: Path<'static> = Path::new("spec");
const CONDITIONS: Path<'static> = Path::new("status.conditions");
const CERTIFICATE: Path<'static> = Path::new("status.certificate");
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub const RULES: Rules = Rules {
    name: NameRule::Own(|_, _| Vec::new()),
    status: StatusRule::Separate,
    prepare_create: |request, context| take_requester(request, context),
    prepare_update: |new, old, _| copy(new, old, "spec"),
    validate: |request, errors| validate(request, None, errors),
    validate_update: |new, old, errors| validate_update(new, old, Part::None, errors),
    subresources: &[
        Subresource {
            name: "status",
            prepare: |new, old, context| {
                copy(new, old, "spec");
                keep_conditions(new, old, "Approved");
                keep_conditions(new, old, "Denied");
                fill_times(new, old, context);
            },
            validate: |new, old, errors| validate_update(new, old, Part::Certificate, errors),
            generation: false,
        },
        Subresource {
            name: "approval",
            prepare: |new, old, context| {
                fill_times(new, old, context);
                let conditions = new.at("status.conditions").clone();
                copy(new, old, "spec");
                copy(new, old, "status");
                match conditions.is_null() {
                    true => drop(new.remove("status.conditions")),
                    false => new.set("status.conditions", conditions),
                }
            },
            validate: |new, old, errors| validate_update(new, old, Part::Approval, errors),
            generation: false,
        },
    ],
    selectable: &[("spec.signerName", |request| request.str_at("spec.signerName").into())],
    ..Rules::DEFAULT
};

/// Which part of the status a write may change.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    None,
    Certificate,
    Approval,
}

// === Preparation ===

/// The request is made in the name of who makes it.
fn take_requester(request: &mut Value, context: &Context<'_>) {
    for field in ["username", "uid", "groups", "extra"] {
        request.remove(&format!("spec.{field}"));
    }
    let user = context.user;
    if !user.name.is_empty() {
        request.set("spec.username", user.name.as_str());
    }
    if !user.uid.is_empty() {
        request.set("spec.uid", user.uid.as_str());
    }
    if !user.groups.is_empty() {
        request.set("spec.groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        let extra: Map = user.extra.iter().map(|(key, values)| (key.as_str(), Value::from(values.clone()))).collect();
        request.set("spec.extra", extra);
    }
}

fn of_type<'a>(request: &'a Value, kind: &str) -> Vec<&'a Value> {
    request.array_at("status.conditions").iter().filter(|condition| condition.str_at("type") == kind).collect()
}

/// Puts back conditions that this write may not change, if none came or went.
fn keep_conditions(new: &mut Value, old: &Value, kind: &str) {
    let kept: Vec<Value> = of_type(old, kind).into_iter().cloned().collect();
    if of_type(new, kind).len() == kept.len() {
        let mut kept = kept.into_iter();
        super::read::each_mut(new, "status.conditions", |condition| {
            if condition.str_at("type") == kind
                && let Some(old) = kept.next()
            {
                *condition = old;
            }
        });
    }
}

fn fill_times(new: &mut Value, old: &Value, context: &Context<'_>) {
    let now: Value = Time::from_unix(context.now.as_second(), 0).to_text().into();
    super::read::each_mut(new, "status.conditions", |condition| {
        if !condition.has("lastUpdateTime") {
            condition.set("lastUpdateTime", now.clone());
        }
        if !condition.has("lastTransitionTime") {
            let alike = |old: &&Value| {
                old.str_at("type") == condition.str_at("type")
                    && old.str_at("status") == condition.str_at("status")
                    && old.has("lastTransitionTime")
            };
            let since = old.array_at("status.conditions").iter().find(alike);
            condition.set("lastTransitionTime", since.map_or(&now, |old| old.at("lastTransitionTime")).clone());
        }
    });
}

// === Validation ===

fn validate(request: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let spec = request.at("spec");
    if let Some(complaint) = request_complaint(spec.str_at("request")) {
        errors.invalid(&SPEC.child("request"), spec.at("request"), complaint);
    }
    validate_usages(spec, old, errors);
    let (name, at) = (spec.str_at("signerName"), SPEC.child("signerName"));
    let legacy = |request: &Value| request.str_at("spec.signerName") == LEGACY_SIGNER;
    match legacy(request) && !old.is_some_and(legacy) {
        true => errors.invalid(&at, name, "the legacy signerName is not allowed via this API version"),
        false => signer::name(name, &at, errors),
    }
    if let Some(seconds) = spec.i64_at("expirationSeconds").filter(|seconds| *seconds < 600) {
        let message = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&SPEC.child("expirationSeconds"), seconds, message);
    }
    validate_conditions(request, old, errors);
    let certificate = request.str_at("status.certificate");
    let kept = old.is_some_and(|old| {
        let stored = old.str_at("status.certificate");
        stored == certificate || certificate_complaint(stored).is_some()
    });
    if let Some(complaint) = certificate_complaint(certificate).filter(|_| !kept) {
        errors.invalid(&CERTIFICATE, "<certificate data>", complaint);
    }
}

fn text_of(base64: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(base64).unwrap_or_default()).into_owned()
}

fn request_complaint(request: &str) -> Option<&'static str> {
    match pem::decode(&text_of(request)) {
        Some((block, _)) if block.label == "CERTIFICATE REQUEST" => {
            (!pem::is_sequence(&block.bytes)).then_some("asn1: structure error: tags don't match")
        }
        _ => Some("PEM block type must be CERTIFICATE REQUEST"),
    }
}

fn certificate_complaint(certificate: &str) -> Option<String> {
    if certificate.is_empty() {
        return None;
    }
    let text = text_of(certificate);
    let blocks = pem::blocks(&text);
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found \"{}\"", block.label));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        if !pem::is_sequence(&block.bytes) {
            return Some("x509: malformed certificate".to_owned());
        }
    }
    blocks.is_empty().then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

fn validate_usages(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let at = SPEC.child("usages");
    let usages: Vec<&str> = spec.strings("usages").collect();
    if usages.is_empty() {
        errors.required(&at, "");
    }
    let stored: Vec<&str> = old.map(|old| old.strings("spec.usages").collect()).unwrap_or_default();
    let repeats = |usages: &[&str], index: usize| usages[..index].contains(&usages[index]);
    if !stored.iter().any(|usage| !USAGES.contains(usage)) {
        for (index, usage) in usages.iter().enumerate().filter(|(_, usage)| !USAGES.contains(usage)) {
            errors.not_supported(&at.index(index), *usage, &USAGES);
        }
    }
    if !(0..stored.len()).any(|index| repeats(&stored, index)) {
        for index in (0..usages.len()).filter(|index| repeats(&usages, *index)) {
            errors.duplicate(&at.index(index), usages[index]);
        }
    }
}

fn validate_conditions(request: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let conditions = request.array_at("status.conditions");
    let types = |request: &Value| -> Vec<String> {
        request.array_at("status.conditions").iter().map(|condition| condition.str_at("type").to_owned()).collect()
    };
    let stored = old.map(types).unwrap_or_default();
    let has = |types: &[String], kind: &str| types.iter().any(|one| one == kind);
    let repeats = |types: &[String], index: usize| types[..index].contains(&types[index]);
    let may_contradict = has(&stored, "Approved") && has(&stored, "Denied");
    let may_repeat = (0..stored.len()).any(|index| repeats(&stored, index));
    let types = types(request);
    for (index, condition) in conditions.iter().enumerate() {
        let at = CONDITIONS.index(index);
        let (kind, status) = (types[index].as_str(), condition.str_at("status"));
        if kind.is_empty() && !has(&stored, "") {
            errors.required(&at.child("type"), "");
        }
        let allowed: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        super::formats::required_one_of(status, allowed, &at.child("status"), errors);
        let opposite = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "-",
        };
        if !may_contradict && has(&types[..index], opposite) {
            errors.invalid(&CONDITIONS, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if !may_repeat && repeats(&types, index) {
            errors.duplicate(&at.child("type"), kind);
        }
    }
}

fn validate_update(new: &Value, old: &Value, part: Part, errors: &mut FieldErrors) {
    validate(new, Some(old), errors);
    for kind in ["Approved", "Denied", "Failed"] {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            errors.forbidden(&CONDITIONS, format!("updates may not remove a condition of type \"{kind}\""));
        }
    }
    for kind in ["Approved", "Denied"].iter().filter(|_| part != Part::Approval) {
        let list = |request: &Value| Value::Array(of_type(request, kind).into_iter().cloned().collect());
        let (new, old) = (list(new), list(old));
        let count = |list: &Value| list.as_array().map_or(0, <[Value]>::len);
        if count(&new) > count(&old) {
            errors.forbidden(&CONDITIONS, format!("updates may not add a condition of type \"{kind}\""));
        } else if count(&new) == count(&old) && !same(&new, &old) {
            let message = format!("updates may not modify a condition of type \"{kind}\"\n{}", diff(&old, &new));
            errors.forbidden(&CONDITIONS, message);
        }
    }
    let certificate = "status.certificate";
    if new.str_at(certificate) != old.str_at(certificate) {
        if part != Part::Certificate {
            errors.forbidden(&CERTIFICATE, "updates may not set certificate content");
        } else if old.filled(certificate) {
            errors.forbidden(&CERTIFICATE, "updates may not modify existing certificate content");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::strategy;
    use crate::kinds::testing::{create, object, said, tree};
    use crate::user::UserInfo;

    fn request(changes: serde_json::Value) -> Value {
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
        let spec = json!({"request": STANDARD.encode(pem), "signerName": "example.com/a", "usages": ["client auth"]});
        let mut request = object(false, json!({"spec": spec}));
        for (path, value) in changes.as_object().unwrap() {
            request.set(path, tree(value.clone()));
        }
        request
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"spec.request": "eA=="}),
        r#"spec.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST"#)]
    #[case(json!({"spec.usages": []}), "spec.usages: Required value")]
    #[case(json!({"spec.usages": ["any", "any"]}), r#"spec.usages[1]: Duplicate value: "any""#)]
    #[case(json!({"spec.signerName": LEGACY_SIGNER}),
        r#"spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version"#)]
    #[case(json!({"spec.expirationSeconds": 10}),
        "spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 600 seconds (10 minutes)")]
    fn requests(#[case] changes: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&RULES, false, request(changes)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_request_is_its_makers() {
        let created = create(&RULES, false, request(json!({"spec.username": "somebody else"}))).unwrap();
        assert_eq!(created.str_at("spec.username"), "tester");
        assert!(created.strings("spec.groups").any(|group| group == "system:authenticated"));
    }

    fn write(subresource: &str, mut new: Value, old: &Value) -> Result<Value, Vec<String>> {
        let user = UserInfo::authenticated("tester", &[]);
        let context = Context { user: &user, now: jiff::Timestamp::UNIX_EPOCH };
        strategy::before_subresource_update(&RULES, subresource, false, &mut new, old, &context)
            .map_err(|errors| said(&errors))?;
        Ok(new)
    }

    #[test]
    fn approval_sets_conditions_and_status_the_certificate() {
        let old = create(&RULES, false, request(json!({}))).unwrap();
        let mut approved = old.clone();
        approved.set("status.conditions", tree(json!([{"type": "Approved", "status": "True"}])));
        assert_eq!(
            write("status", approved.clone(), &old).unwrap_err(),
            [r#"status.conditions: Forbidden: updates may not add a condition of type "Approved""#]
        );
        let approved = write("approval", approved, &old).unwrap();
        let condition = &approved.array_at("status.conditions")[0];
        assert_eq!(condition.str_at("lastTransitionTime"), "1970-01-01T00:00:00Z");

        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let mut issued = approved.clone();
        issued.set("status.certificate", STANDARD.encode(pem));
        let issued = write("status", issued, &approved).unwrap();
        let mut other = issued.clone();
        other.set("status.certificate", STANDARD.encode(pem.replace("MAA=", "MAMCAQE=")));
        assert_eq!(
            write("status", other, &issued).unwrap_err(),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
    }

    #[test]
    fn no_request_is_both_approved_and_denied() {
        let old = create(&RULES, false, request(json!({}))).unwrap();
        let mut both = old.clone();
        let conditions = json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "False"}]);
        both.set("status.conditions", tree(conditions));
        assert_eq!(
            write("approval", both, &old).unwrap_err(),
            [
                r#"status.conditions[1].status: Unsupported value: "False": supported values: "True""#,
                r#"status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#
            ]
        );
    }
}
