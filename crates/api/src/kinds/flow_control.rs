//! FlowSchema and PriorityLevelConfiguration.
//!
//! Upstream: `pkg/apis/flowcontrol/validation`.

use super::formats::{dns_subdomain, required_one_of};
use super::read::{Read, copy, default_to, default_zero, same, with_go_names, with_mut};
use super::{Context, Rules, Subresource};
use crate::codec::json;
use crate::field::{FieldErrors, Path};
use crate::names;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";
const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;
/// How many bits of a flow's hash there are for shuffling.
const HASH_BITS_MAX: f64 = 60.0;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

const EXEMPT_SCHEMA: &str = r#"{"priorityLevelConfiguration":{"name":"exempt"},"matchingPrecedence":1,"rules":[{"subjects":[{"kind":"Group","group":{"name":"system:masters"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}"#;
const CATCH_ALL_SCHEMA: &str = r#"{"priorityLevelConfiguration":{"name":"catch-all"},"matchingPrecedence":10000,"distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"Group","group":{"name":"system:unauthenticated"}},{"kind":"Group","group":{"name":"system:authenticated"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}"#;
const CATCH_ALL_LEVEL: &str = r#"{"type":"Limited","limited":{"nominalConcurrencyShares":5,"limitResponse":{"type":"Reject"},"lendablePercent":0}}"#;

pub const FLOW_SCHEMA: Rules = Rules {
    defaults: |schema| default_zero(schema, "spec.matchingPrecedence", 1000i64),
    validate: validate_schema,
    validate_update: |new, _, errors| validate_schema(new, errors),
    subresources: &[STATUS],
    ..Rules::WITH_STATUS
};

pub const PRIORITY_LEVEL: Rules = Rules {
    defaults: |level| {
        with_mut(level, "spec.exempt", |exempt| {
            default_to(exempt, "nominalConcurrencyShares", 0i64);
            default_to(exempt, "lendablePercent", 0i64);
        });
        with_mut(level, "spec.limited", |limited| {
            default_to(limited, "nominalConcurrencyShares", 30i64);
            default_to(limited, "lendablePercent", 0i64);
            with_mut(limited, "limitResponse.queuing", |queuing| {
                default_zero(queuing, "handSize", 8i64);
                default_zero(queuing, "queues", 64i64);
                default_zero(queuing, "queueLengthLimit", 50i64);
            });
        });
    },
    validate: validate_level,
    validate_update: |new, _, errors| validate_level(new, errors),
    subresources: &[STATUS],
    ..Rules::WITH_STATUS
};

const STATUS: Subresource =
    Subresource { prepare: prepare_status, validate: |new, _, errors| conditions(new, errors), ..Subresource::STATUS };

/// Metadata stays too, but for who manages what.
fn prepare_status(new: &mut Value, old: &Value, _: &Context<'_>) {
    let managed = new.at("metadata.managedFields").clone();
    copy(new, old, "metadata");
    match managed.is_null() {
        true => drop(new.remove("metadata.managedFields")),
        false => new.set("metadata.managedFields", managed),
    }
    copy(new, old, "spec");
}

fn conditions(object: &Value, errors: &mut FieldErrors) {
    let conditions = object.array_at("status.conditions");
    let at = Path::new("status.conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let at = at.index(index);
        let kind = condition.str_at("type");
        if conditions[..index].iter().any(|earlier| earlier.str_at("type") == kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        if kind.is_empty() {
            errors.required(&at.child("type"), "");
        }
    }
}

/// Objects that every server needs are what they are.
fn is_fixed(spec: &Value, text: &str) -> bool {
    json::parse(text.as_bytes()).is_ok_and(|fixed| same(spec, &fixed))
}

// === FlowSchema ===

fn validate_schema(schema: &Value, errors: &mut FieldErrors) {
    let (name, spec) = (schema.str_at("metadata.name"), schema.at("spec"));
    let (precedence, at) = (spec.int("matchingPrecedence"), SPEC.child("matchingPrecedence"));
    if precedence <= 0 {
        errors.invalid(&at, precedence, "must be a positive value");
    }
    if precedence > PRECEDENCE_MAX {
        errors.invalid(&at, precedence, format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && name != EXEMPT {
        errors.invalid(&at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = spec.at("distinguisherMethod");
    if !method.is_null() && !matches!(method.str_at("type"), "ByNamespace" | "ByUser") {
        errors.not_supported(
            &SPEC.child("distinguisherMethod.type"),
            with_go_names(method),
            &["ByNamespace", "ByUser"],
        );
    }
    let at = SPEC.child("priorityLevelConfiguration.name");
    match spec.str_at("priorityLevelConfiguration.name") {
        "" => errors.required(&at, "must reference a priority level"),
        level => dns_subdomain(level, &at, errors),
    }
    for (index, rule) in spec.array_at("rules").iter().enumerate() {
        validate_rule(rule, &SPEC.child("rules").index(index), errors);
    }
    let fixed = match name {
        EXEMPT => is_fixed(spec, EXEMPT_SCHEMA),
        CATCH_ALL => is_fixed(spec, CATCH_ALL_SCHEMA),
        _ => true,
    };
    if !fixed {
        errors.invalid(&SPEC, spec, format!("spec of '{name}' must equal the fixed value"));
    }
    conditions(schema, errors);
}

fn validate_rule(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !rule.filled("subjects") {
        errors.required(&at.child("subjects"), "subjects must contain at least one value");
    }
    for (index, subject) in rule.array_at("subjects").iter().enumerate() {
        validate_subject(subject, &at.child("subjects").index(index), errors);
    }
    if !rule.filled("resourceRules") && !rule.filled("nonResourceRules") {
        errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (index, rule) in rule.array_at("resourceRules").iter().enumerate() {
        validate_resources(rule, &at.child("resourceRules").index(index), errors);
    }
    for (index, rule) in rule.array_at("nonResourceRules").iter().enumerate() {
        validate_urls(rule, &at.child("nonResourceRules").index(index), errors);
    }
}

fn validate_subject(subject: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const KINDS: [(&str, &str); 3] = [("serviceAccount", "ServiceAccount"), ("user", "User"), ("group", "Group")];
    let kind = subject.str_at("kind");
    let Some((own, _)) = KINDS.iter().find(|(_, name)| *name == kind) else {
        return errors.not_supported(&at.child("kind"), kind, &["Group", "ServiceAccount", "User"]);
    };
    let (named, at_own) = (subject.at(own), at.child(own));
    if named.is_null() {
        errors.required(&at_own, format!("{own} is required when subject kind is '{kind}'"));
    } else {
        match named.str_at("name") {
            "" => errors.required(&at_own.child("name"), ""),
            name if *own == "serviceAccount" && name != "*" => dns_subdomain(name, &at_own.child("name"), errors),
            _ => {}
        }
        if *own == "serviceAccount" {
            let at = at_own.child("namespace");
            match named.str_at("namespace") {
                "" => errors.required(&at, "must specify namespace for service account"),
                namespace => errors.invalid_each(&at, namespace, names::dns1123_label(namespace)),
            }
        }
    }
    for (field, name) in KINDS.iter().filter(|(field, _)| field != own && subject.has(field)) {
        errors.forbidden(&at.child(field), format!("{field} is forbidden when subject kind is not '{name}'"));
    }
}

/// A list that is to be filled, in which `*` stands alone. Says whether it is a list of others.
fn listed(rule: &Value, list: &str, missing: &str, what: &str, at: &Path<'_>, errors: &mut FieldErrors) -> bool {
    let wildcard = rule.strings(list).any(|one| one == "*");
    if !rule.filled(list) {
        errors.required(&at.child(list), missing);
    } else if wildcard && rule.len_at(list) > 1 {
        let message = format!("if '*' is present, must not specify other {what}");
        errors.invalid(&at.child(list), rule.at(list), message);
    }
    !wildcard
}

fn validate_verbs(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let others = listed(rule, "verbs", "verbs must contain at least one value", "verbs", at, errors);
    if others && rule.strings("verbs").any(|verb| !VERBS.contains(&verb)) {
        errors.not_supported(&at.child("verbs"), rule.at("verbs"), &VERBS);
    }
}

fn validate_resources(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    validate_verbs(rule, at, errors);
    listed(rule, "apiGroups", "resource rules must supply at least one api group", "api groups", at, errors);
    listed(rule, "resources", "resource rules must supply at least one resource", "resources", at, errors);
    if !rule.filled("namespaces") && rule.flag("clusterScope") {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    if listed(rule, "namespaces", missing, "namespaces", at, errors) {
        for (index, namespace) in rule.strings("namespaces").enumerate() {
            for complaint in names::dns1123_label(namespace) {
                let message = format!("each member of this list must be '*' or a DNS-1123 label; {complaint}");
                errors.invalid(&at.child("namespaces").index(index), namespace, message);
            }
        }
    }
}

fn validate_urls(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    validate_verbs(rule, at, errors);
    let (list, missing) = ("nonResourceURLs", "nonResourceURLs must contain at least one value");
    if listed(rule, list, missing, "non-resource URLs", at, errors) {
        for (index, path) in rule.strings(list).enumerate() {
            let complaint = if path.is_empty() {
                "must not be empty"
            } else if path == "/" {
                continue;
            } else if !path.starts_with('/') {
                "must start with slash"
            } else if path.contains(' ') {
                "must not contain white-space"
            } else if path.contains("//") {
                "must not contain double slash"
            } else if path.matches('*').count() > 1 || (path.contains('*') && !path.ends_with("/*")) {
                "wildcard can only do suffix matching"
            } else {
                continue;
            };
            errors.invalid(&at.child(list).index(index), path, complaint);
        }
    }
}

// === PriorityLevelConfiguration ===

fn validate_level(level: &Value, errors: &mut FieldErrors) {
    const ROUND_TRIP: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
    if !level.entry("metadata.annotations", ROUND_TRIP).is_null() {
        errors.forbidden(&Path::new("metadata.annotations"), format!("annotation '{ROUND_TRIP}' is forbidden"));
    }
    let (name, spec) = (level.str_at("metadata.name"), level.at("spec"));
    let kind = spec.str_at("type");
    let at = SPEC.child("type");
    if (name == EXEMPT) != (kind == "Exempt") {
        errors.invalid(&at, kind, "must be 'Exempt' if and only if `name` is 'exempt'");
    }
    match kind {
        "Exempt" => {
            if spec.has("limited") {
                errors.forbidden(&SPEC.child("limited"), "");
            }
            shares(spec.at("exempt"), &SPEC.child("exempt"), errors);
        }
        "Limited" => {
            if spec.has("exempt") {
                errors.forbidden(&SPEC.child("exempt"), "");
            }
            match spec.has("limited") {
                true => validate_limited(spec.at("limited"), &SPEC.child("limited"), errors),
                false => errors.required(&SPEC.child("limited"), ""),
            }
        }
        other => {
            required_one_of(other, &["Exempt", "Limited"], &at, errors);
            for field in ["exempt", "limited"].into_iter().filter(|field| spec.has(field)) {
                errors.forbidden(&SPEC.child(field), "");
            }
        }
    }
    if name == EXEMPT && (kind != "Exempt" || spec.has("limited")) {
        let message = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
        errors.invalid(&SPEC, spec, message);
    }
    if name == CATCH_ALL && !is_fixed(spec, CATCH_ALL_LEVEL) {
        errors.invalid(&SPEC, spec, "spec of 'catch-all' must equal the fixed value");
    }
    conditions(level, errors);
}

fn shares(part: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (shares, lendable) = ("nominalConcurrencyShares", "lendablePercent");
    if part.int(shares) < 0 {
        errors.invalid(&at.child(shares), part.int(shares), "must be a non-negative integer");
    }
    if !(0..=100).contains(&part.int(lendable)) {
        errors.invalid(&at.child(lendable), part.int(lendable), "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(limited: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    shares(limited, at, errors);
    let (response, at_response) = (limited.at("limitResponse"), at.child("limitResponse"));
    let (queuing, at_queuing) = (response.at("queuing"), at_response.child("queuing"));
    match response.str_at("type") {
        "Reject" if !queuing.is_null() => errors.forbidden(&at_queuing, ""),
        "Reject" => {}
        "Queue" if queuing.is_null() => errors.required(&at_queuing, ""),
        "Queue" => validate_queuing(queuing, &at_queuing, errors),
        other => {
            required_one_of(other, &["Queue", "Reject"], &at_response.child("type"), errors);
            if !queuing.is_null() {
                errors.forbidden(&at_queuing, "");
            }
        }
    }
    let borrowing = limited.int("borrowingLimitPercent");
    if borrowing < 0 {
        let message = "if specified, must be a non-negative integer";
        errors.invalid(&at.child("borrowingLimitPercent"), borrowing, message);
    }
}

fn validate_queuing(queuing: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (length, queues, hand) = (queuing.int("queueLengthLimit"), queuing.int("queues"), queuing.int("handSize"));
    if length <= 0 {
        errors.invalid(&at.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&at.child("queues"), queues, "must be positive");
    } else if queues > QUEUES_MAX {
        errors.invalid(&at.child("queues"), queues, format!("must not be greater than {QUEUES_MAX}"));
    }
    let at = at.child("handSize");
    if hand <= 0 {
        errors.invalid(&at, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&at, hand, format!("should not be greater than queues ({queues})"));
    } else if ((queues as f64).log2() * hand as f64).ceil() > HASH_BITS_MAX {
        let message = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        );
        errors.invalid(&at, hand, message);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[rstest]
    #[case("a", json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "p"}}),
        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1")]
    #[case("a", json!({"priorityLevelConfiguration": {"name": ""}}),
        "spec.priorityLevelConfiguration.name: Required value: must reference a priority level")]
    #[case("a", json!({"priorityLevelConfiguration": {"name": "p"}, "rules": [{
        "subjects": [{"kind": "User", "user": {"name": "u"}, "group": {"name": "g"}}],
        "resourceRules": [{"verbs": ["sing"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["a"]}]}]}),
        r#"spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'; spec.rules[0].resourceRules[0].verbs: Unsupported value: ["sing"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"; spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash"#)]
    fn schemas(#[case] name: &str, #[case] spec: serde_json::Value, #[case] expected: &str) {
        let schema = object(false, json!({"metadata": {"name": name}, "spec": spec}));
        assert_eq!(create(&FLOW_SCHEMA, false, schema).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn fixed_objects_are_accepted_as_they_are() {
        for (name, text, rules) in [
            (EXEMPT, EXEMPT_SCHEMA, &FLOW_SCHEMA),
            (CATCH_ALL, CATCH_ALL_SCHEMA, &FLOW_SCHEMA),
            (CATCH_ALL, CATCH_ALL_LEVEL, &PRIORITY_LEVEL),
        ] {
            let mut fixed = object(false, json!({"metadata": {"name": name}}));
            fixed.set("spec", json::parse(text.as_bytes()).unwrap());
            assert_eq!(create(rules, false, fixed).err(), None);
        }
    }

    #[rstest]
    #[case("a", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}), "")]
    #[case("a", json!({"type": "Exempt"}),
        r#"spec.type: Invalid value: "Exempt": must be 'Exempt' if and only if `name` is 'exempt'"#)]
    #[case("a", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
        "queuing": {"queues": 1024, "handSize": 7}}}}),
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and handSize 7 should not be greater than 60")]
    #[case("a", json!({"type": "Limited"}), "spec.limited: Required value")]
    fn levels(#[case] name: &str, #[case] spec: serde_json::Value, #[case] expected: &str) {
        let level = object(false, json!({"metadata": {"name": name}, "spec": spec}));
        assert_eq!(create(&PRIORITY_LEVEL, false, level).err().unwrap_or_default().join("; "), expected);
    }
}
