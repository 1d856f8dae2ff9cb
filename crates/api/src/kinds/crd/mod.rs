//! CustomResourceDefinition: names, versions, conversion; schemas are in [`schema`].
//!
//! What versions have alike counts as said once, for all of them: errors then name
//! `spec.validation` and so on, as upstream's do. Expressions and whether defaults fit their
//! schema are the apiserver's to judge.
//!
//! Upstream: `k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation`.

mod schema;
mod structural;
#[cfg(test)]
mod tests;
mod versions;

use crate::field::{FieldErrors, Path};
use crate::kinds::admission::webhooks::{default_service, review_versions, service_port_and_path, url};
use crate::kinds::read::{Read, copy, default_zero};
use crate::kinds::{Rules, Subresource};
use crate::meta::{self, NameRule};
use crate::names;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const STORED: Path<'static> = Path::new("status.storedVersions");
const APPROVAL: &str = "api-approved.kubernetes.io";

pub const RULES: Rules = Rules {
    name: NameRule::Own(|name, prefix| NameRule::Subdomain.complaints(name, prefix)),
    defaults,
    prepare_create: |definition, _| store_version(definition),
    prepare_update: |new, _, _| store_version(new),
    validate: |definition, errors| validate(definition, None, errors),
    validate_update: |new, old, errors| {
        validate(new, Some(old), errors);
        if is_established(old) {
            for field in ["scope", "names.kind"] {
                meta::immutable(new.at("spec").at(field), old.at("spec").at(field), &SPEC.child(field), errors);
            }
        }
        for field in ["group", "names.plural"] {
            meta::immutable(new.at("spec").at(field), old.at("spec").at(field), &SPEC.child(field), errors);
        }
    },
    subresources: &[Subresource {
        prepare: |new, old, _| copy(new, old, "spec"),
        validate: |new, _, errors| {
            names_of(new.at("status.acceptedNames"), &Path::new("status.acceptedNames"), errors);
        },
        ..Subresource::STATUS
    }],
    warnings: |definition, _| versions::warnings(definition.at("spec")),
    allow_unconditional_update: false,
    ..Rules::WITH_STATUS
};

fn defaults(definition: &mut Value) {
    let kind = definition.str_at("spec.names.kind").to_owned();
    if !kind.is_empty() {
        default_zero(definition, "spec.names.singular", kind.to_lowercase());
        default_zero(definition, "spec.names.listKind", format!("{kind}List"));
    }
    if !definition.has("spec.conversion") {
        definition.set("spec.conversion.strategy", "None");
    }
    default_service(definition, "spec.conversion.webhook.clientConfig");
    if !definition.filled("status.storedVersions") {
        store_version(definition);
    }
}

/// The version in which objects are stored is among those that were ever stored.
fn store_version(definition: &mut Value) {
    let versions = definition.array_at("spec.versions").iter();
    let Some(name) = versions.filter(|version| version.flag("storage")).map(|one| one.str_at("name").to_owned()).next()
    else {
        return;
    };
    if definition.strings("status.storedVersions").all(|stored| stored != name) {
        let stored = definition.at_or_insert("status.storedVersions");
        match stored.as_array_mut() {
            Some(list) => list.push(name.into()),
            None => *stored = vec![name].into(),
        }
    }
}

fn is_established(definition: &Value) -> bool {
    let mut conditions = definition.array_at("status.conditions").iter();
    conditions.any(|condition| condition.str_at("type") == "Established" && condition.str_at("status") == "True")
}

fn validate(definition: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let spec = definition.at("spec");
    let name = definition.str_at("metadata.name");
    if old.is_none() && !name.is_empty() && name != format!("{}.{}", spec.str_at("names.plural"), spec.str_at("group"))
    {
        errors.invalid(&Path::new("metadata.name"), name, r#"must be spec.names.plural+"."+spec.group"#);
    }
    validate_spec(spec, old.map(|old| old.at("spec")), errors);
    names_of(definition.at("status.acceptedNames"), &Path::new("status.acceptedNames"), errors);
    stored_versions(definition, errors);
    approval(definition, old, errors);
    let preserved = |definition: &Value| definition.flag("spec.preserveUnknownFields");
    if preserved(definition) && !old.is_some_and(preserved) {
        let message = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                       spec.versions[*].schema instead";
        errors.invalid(&SPEC.child("preserveUnknownFields"), true, message);
    }
}

fn validate_spec(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let (group, at) = (spec.str_at("group"), SPEC.child("group"));
    let complaints = names::dns1123_subdomain(group);
    if group.is_empty() {
        errors.required(&at, "");
    } else if !complaints.is_empty() {
        errors.invalid(&at, group, complaints.join(","));
    } else if !group.contains('.') {
        errors.invalid(&at, group, "should be a domain with at least one dot");
    }
    match spec.str_at("scope") {
        "" => errors.required(&SPEC.child("scope"), ""),
        "Cluster" | "Namespaced" => {}
        other => errors.not_supported(&SPEC.child("scope"), other, &["Cluster", "Namespaced"]),
    }
    versions::validate(spec, old, errors);
    // `spec.version` of old, which upstream still fills in.
    let first = spec.array_at("versions").first().map_or("", |version| version.str_at("name"));
    let complaints = names::dns1035_label(first);
    if !first.is_empty() && !complaints.is_empty() {
        errors.invalid(&SPEC.child("version"), first, complaints.join(","));
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        if !spec.at("names").filled(field) {
            errors.required(&SPEC.child("names").child(field), "");
        }
    }
    names_of(spec.at("names"), &SPEC.child("names"), errors);
    versions::validate_shared(spec, errors);
    conversion(spec, old, errors);
}

/// Names that are there must be labels.
fn names_of(names: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let joined = |text: &str| {
        let complaints = names::dns1035_label(text);
        (!complaints.is_empty()).then(|| complaints.join(","))
    };
    for (field, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = names.str_at(field);
        let complaint = if mixed { joined(&name.to_lowercase()) } else { joined(name) };
        if let Some(complaint) = complaint.filter(|_| !name.is_empty()) {
            let start = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.invalid(&at.child(field), name, format!("{start}{complaint}"));
        }
    }
    let list = |field: &str, errors: &mut FieldErrors| {
        for (index, name) in names.strings(field).enumerate() {
            if let Some(complaint) = joined(name) {
                errors.invalid(&at.child(field).index(index), name, complaint);
            }
        }
    };
    list("shortNames", errors);
    let kind = names.str_at("kind");
    if !kind.is_empty() && kind == names.str_at("listKind") {
        errors.invalid(&at.child("listKind"), kind, "kind and listKind may not be the same");
    }
    list("categories", errors);
}

fn stored_versions(definition: &Value, errors: &mut FieldErrors) {
    let stored: Vec<&str> = definition.strings("status.storedVersions").collect();
    let shown = definition.at("status.storedVersions");
    if stored.is_empty() {
        return errors.invalid(&STORED, shown, "must have at least one stored version");
    }
    let versions = definition.array_at("spec.versions");
    for version in versions.iter().filter(|version| version.flag("storage")) {
        let name = version.str_at("name");
        if !stored.contains(&name) {
            errors.invalid(&STORED, shown, format!("must have the storage version {name}"));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version.str_at("name") == *name) {
            let message = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name} and removes \
                 {name} from status.storedVersions"
            );
            errors.invalid(&STORED.index(index), *name, message);
        }
    }
}

/// Kubernetes' own groups need to say who approved them.
fn approval(definition: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    #[derive(PartialEq)]
    enum State {
        Missing,
        Invalid,
        Approved,
        Bypassed,
    }
    let group = definition.str_at("spec.group");
    let within = |domain: &str| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !within("k8s.io") && !within("kubernetes.io") {
        return;
    }
    let text_of =
        |definition: &Value| definition.entry("metadata.annotations", APPROVAL).as_str().unwrap_or_default().to_owned();
    let state = |text: &str| match text {
        "" => State::Missing,
        text if text.starts_with("unapproved") => State::Bypassed,
        text if text.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && !rest.split('/').next().unwrap_or_default().is_empty()
        }) =>
        {
            State::Approved
        }
        _ => State::Invalid,
    };
    let text = text_of(definition);
    if old.is_some_and(|old| state(&text_of(old)) == state(&text)) {
        return;
    }
    let at = Path::new("metadata.annotations");
    let (wanted, see) = (format!("\"{APPROVAL}\""), "see https://github.com/kubernetes/enhancements/pull/1111");
    match state(&text) {
        State::Missing => {
            errors
                .required(&at.key(APPROVAL), format!("protected groups must have approval annotation {wanted}, {see}"));
        }
        State::Invalid => {
            let message = format!(
                "protected groups must have approval annotation {wanted} with either a URL or a reason starting with \
                 \"unapproved\", {see}"
            );
            errors.invalid(&at.key(APPROVAL), text, message);
        }
        State::Approved | State::Bypassed => {}
    }
}

fn conversion(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let (conversion, at) = (spec.at("conversion"), SPEC.child("conversion"));
    let strategy = conversion.str_at("strategy");
    if strategy != "None" && spec.flag("preserveUnknownFields") {
        errors.invalid(&at.child("strategy"), strategy, "must be None if spec.preserveUnknownFields is true");
    }
    match strategy {
        "" => errors.required(&at.child("strategy"), ""),
        "None" | "Webhook" => {}
        other => errors.not_supported(&at.child("strategy"), other, &["None", "Webhook"]),
    }
    let (client, at_client) = (conversion.at("webhook.clientConfig"), at.child("webhookClientConfig"));
    let list = "conversionReviewVersions";
    let at_versions = at.child(list);
    let webhook = conversion.at("webhook");
    if strategy != "Webhook" {
        const UNUSED: &str = "should not be set when strategy is not set to Webhook";
        if !client.is_null() {
            errors.forbidden(&at_client, UNUSED);
        }
        if webhook.filled(list) {
            errors.forbidden(&at_versions, UNUSED);
        }
        return;
    }
    match (client.has("url"), client.has("service")) {
        _ if client.is_null() => errors.required(&at_client, "required when strategy is set to Webhook"),
        (true, false) => url(client.str_at("url"), &at_client.child("url"), errors),
        (false, true) => {
            let (service, at) = (client.at("service"), at_client.child("service"));
            // Upstream mixes the two names up.
            for (field, shown) in [("namespace", "name"), ("name", "namespace")] {
                if !service.filled(field) {
                    errors.required(&at.child(shown), "");
                }
            }
            service_port_and_path(service, &at, errors);
        }
        _ => errors.required(&at_client, "exactly one of url or service is required"),
    }
    if !webhook.filled(list) {
        return errors.required(&at_versions, "");
    }
    let known = |conversion: &Value| {
        let versions = conversion.at("webhook");
        !versions.filled(list) || versions.strings(list).any(|one| matches!(one, "v1" | "v1beta1"))
    };
    let strict = old.is_none_or(|old| known(old.at("conversion")));
    review_versions(webhook, list, strict, &at, errors);
}
