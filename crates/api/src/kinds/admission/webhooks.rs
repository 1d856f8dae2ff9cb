//! Webhook configurations, and how any webhook is reached.

use super::matching::{FAILURE_POLICIES, default_rules, default_selectors, match_conditions, match_policy, rule};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{fully_qualified_name, one_of};
use crate::kinds::read::{Read, default_to, each_mut};
use crate::kinds::{Generation, Rules};
use crate::meta;
use crate::names;
use crate::value::Value;

const WEBHOOKS: Path<'static> = Path::new("webhooks");
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];

pub const VALIDATING: Rules = Rules {
    defaults: |configuration| each_mut(configuration, "webhooks", default_webhook),
    generation: Generation::Content,
    validate: |configuration, errors| validate(configuration, Strictness::FULL, errors),
    validate_update: |new, old, errors| validate(new, Strictness::of(old), errors),
    ..super::BASE
};

pub const MUTATING: Rules = Rules {
    defaults: |configuration| {
        each_mut(configuration, "webhooks", |webhook| {
            default_webhook(webhook);
            default_to(webhook, "reinvocationPolicy", "Never");
        });
    },
    ..VALIDATING
};

fn default_webhook(webhook: &mut Value) {
    default_to(webhook, "failurePolicy", "Fail");
    default_selectors(webhook);
    default_rules(webhook, "rules");
    default_to(webhook, "timeoutSeconds", 10i64);
    default_service(webhook, "clientConfig");
}

/// The port of the service that a client configuration names.
pub fn default_service(object: &mut Value, client: &str) {
    let service = format!("{client}.service");
    if object.has(&service) {
        default_to(object, &format!("{service}.port"), 443i64);
    }
}

/// What the stored configuration lets pass, new ones must not have.
#[derive(Clone, Copy)]
struct Strictness {
    no_side_effects: bool,
    known_version: bool,
    unique_names: bool,
}

// === impl Strictness ===

impl Strictness {
    const FULL: Strictness = Strictness { no_side_effects: true, known_version: true, unique_names: true };

    fn of(old: &Value) -> Strictness {
        let webhooks = old.array_at("webhooks");
        let names: Vec<&str> = webhooks.iter().map(|webhook| webhook.str_at("name")).collect();
        Strictness {
            no_side_effects: webhooks.iter().all(|webhook| NO_SIDE_EFFECTS.contains(&webhook.str_at("sideEffects"))),
            known_version: webhooks.iter().all(|webhook| {
                let versions = "admissionReviewVersions";
                !webhook.filled(versions) || webhook.strings(versions).any(|one| REVIEW_VERSIONS.contains(&one))
            }),
            unique_names: !(1..names.len()).any(|at| names[..at].contains(&names[at])),
        }
    }
}

fn validate(configuration: &Value, strictness: Strictness, errors: &mut FieldErrors) {
    let webhooks = configuration.array_at("webhooks");
    for (index, webhook) in webhooks.iter().enumerate() {
        let at = WEBHOOKS.index(index);
        validate_webhook(webhook, strictness, &at, errors);
        review_versions(webhook, "admissionReviewVersions", strictness.known_version, &at, errors);
        let name = webhook.str_at("name");
        let repeated = webhooks[..index].iter().any(|earlier| earlier.str_at("name") == name);
        if strictness.unique_names && !name.is_empty() && repeated {
            errors.duplicate(&at.child("name"), name);
        }
    }
}

fn validate_webhook(webhook: &Value, strictness: Strictness, at: &Path<'_>, errors: &mut FieldErrors) {
    fully_qualified_name(webhook.str_at("name"), &at.child("name"), errors);
    for (index, one) in webhook.array_at("rules").iter().enumerate() {
        rule(one, &at.child("rules").index(index), errors);
    }
    if webhook.has("failurePolicy") {
        one_of(webhook.str_at("failurePolicy"), &FAILURE_POLICIES, &at.child("failurePolicy"), errors);
    }
    match_policy(webhook, at, errors);
    let effects: &[&str] = if strictness.no_side_effects { &NO_SIDE_EFFECTS } else { &SIDE_EFFECTS };
    match webhook.at("sideEffects").as_str() {
        None => errors.required(&at.child("sideEffects"), format!("must specify one of {}", effects.join(", "))),
        Some(effect) => one_of(effect, effects, &at.child("sideEffects"), errors),
    }
    if let Some(seconds) = webhook.i64_at("timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
        let message = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&at.child("timeoutSeconds"), seconds, message);
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        meta::label_selector(webhook.at(selector), &at.child(selector), errors);
    }
    if webhook.has("reinvocationPolicy") {
        let policies = ["IfNeeded", "Never"];
        one_of(webhook.str_at("reinvocationPolicy"), &policies, &at.child("reinvocationPolicy"), errors);
    }
    client(webhook.at("clientConfig"), &at.child("clientConfig"), errors);
    match_conditions(webhook.array_at("matchConditions"), &at.child("matchConditions"), errors);
}

/// The review versions that a webhook understands.
pub fn review_versions(object: &Value, list: &str, known_version: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let versions: Vec<&str> = object.strings(list).collect();
    let at = at.child(list);
    if versions.is_empty() {
        return errors.required(&at, format!("must specify one of {}", REVIEW_VERSIONS.join(", ")));
    }
    for (index, version) in versions.iter().enumerate() {
        match versions[..index].contains(version) {
            true => errors.invalid(&at.index(index), *version, "duplicate version"),
            false => errors.invalid_each(&at.index(index), version, names::dns1035_label(version)),
        }
    }
    if known_version && !versions.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        let message = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.invalid(&at, object.at(list), message);
    }
}

// === How a webhook is reached ===

/// A URL or a service, not both.
pub fn client(client: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match (client.has("url"), client.has("service")) {
        (true, false) => url(client.str_at("url"), &at.child("url"), errors),
        (false, true) => service(client.at("service"), &at.child("service"), errors),
        _ => errors.required(at, "exactly one of url or service is required"),
    }
}

/// An https URL of host and path.
pub fn url(url: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
        _ => ("", rest),
    };
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if !scheme.eq_ignore_ascii_case("https") {
        errors.invalid(at, scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        errors.invalid(at, "", format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        errors.invalid(at, user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        errors.invalid(at, fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        errors.invalid(at, query, "query parameters are not permitted in the URL");
    }
}

fn service(service: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    // Upstream mixes the two names up.
    for (field, shown) in [("namespace", "name"), ("name", "namespace")] {
        if !service.filled(field) {
            errors.required(&at.child(shown), "");
        }
    }
    service_port_and_path(service, at, errors);
}

/// The part that is judged alike for webhooks of admission and of conversion.
pub fn service_port_and_path(service: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let complaints = names::port_number(service.int("port"));
    if !complaints.is_empty() {
        let message = format!("port is not valid: {}", complaints.join(", "));
        errors.invalid(&at.child("port"), service.int("port"), message);
    }
    let (path, at) = (service.str_at("path"), at.child("path"));
    match path {
        "" | "/" => return,
        "//" => return errors.invalid(&at, path, "segment[0] may not be empty"),
        _ => {}
    }
    if !path.starts_with('/') {
        errors.invalid(&at, path, "must start with a '/'");
    }
    let steps = path.char_indices().nth(1).map_or("", |(at, _)| &path[at..]);
    for (index, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&at, path, format!("segment[{index}] may not be empty"));
            continue;
        }
        for complaint in names::dns1123_subdomain(step) {
            errors.invalid(&at, path, format!("segment[{index}]: {complaint}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, tree, update};

    fn configuration(changes: serde_json::Value) -> Value {
        let mut webhook = tree(json!({"name": "a.example.com", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://example.com/a"},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}));
        for (path, value) in changes.as_object().unwrap() {
            webhook.set(path, tree(value.clone()));
        }
        let mut configuration = object(false, json!({}));
        configuration.set("webhooks", vec![webhook]);
        configuration
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({"name": "a"}),
        r#"webhooks[0].name: Invalid value: "a": should be a domain with at least three segments separated by dots"#)]
    #[case(json!({"sideEffects": "Some"}),
        r#"webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun""#)]
    #[case(json!({"timeoutSeconds": 31}),
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds")]
    #[case(json!({"clientConfig": {}}),
        "webhooks[0].clientConfig: Required value: exactly one of url or service is required")]
    #[case(json!({"clientConfig": {"url": "http://me@example.com/?q"}}),
        r#"webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]; webhooks[0].clientConfig.url: Invalid value: "me": user information is not permitted in the URL; webhooks[0].clientConfig.url: Invalid value: "q": query parameters are not permitted in the URL"#)]
    #[case(json!({"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "a//b"}}}),
        r#"webhooks[0].clientConfig.service.path: Invalid value: "a//b": must start with a '/'; webhooks[0].clientConfig.service.path: Invalid value: "a//b": segment[0] may not be empty; webhooks[0].clientConfig.service.path: Invalid value: "a//b": segment[1] may not be empty"#)]
    #[case(json!({"admissionReviewVersions": ["v2"]}),
        r#"webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1"#)]
    #[case(json!({"rules": [{"operations": ["*", "CREATE"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["*/*", "pods"]}]}),
        r#"webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations; webhooks[0].rules[0].resources: Invalid value: ["*/*","pods"]: if '*/*' is present, must not specify other resources"#)]
    #[case(json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["pods/*", "pods/status"]}]}),
        r#"webhooks[0].rules[0].resources[1]: Invalid value: "pods/status": if 'pods/*' is present, must not specify pods/status"#)]
    #[case(json!({"matchConditions": [{"name": "", "expression": " "}]}),
        "webhooks[0].matchConditions[0].expression: Required value; webhooks[0].matchConditions[0].name: Required value")]
    fn configurations(#[case] changes: serde_json::Value, #[case] expected: &str) {
        let said = create(&VALIDATING, false, configuration(changes)).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[test]
    fn defaults_and_generation() {
        let created = create(&MUTATING, false, configuration(json!({}))).unwrap();
        let webhook = &created.array_at("webhooks")[0];
        assert_eq!(webhook.str_at("failurePolicy"), "Fail");
        assert_eq!(webhook.array_at("rules")[0].str_at("scope"), "*");
        assert_eq!(webhook.str_at("reinvocationPolicy"), "Never");
        let updated = update(&MUTATING, false, configuration(json!({"timeoutSeconds": 5})), created).unwrap();
        assert_eq!(updated.i64_at("metadata.generation"), Some(2));
    }

    #[test]
    fn what_is_stored_may_stay() {
        let old = configuration(json!({"sideEffects": "Unknown"}));
        assert!(update(&VALIDATING, false, old.clone(), old).is_ok());
    }
}
