//! Which requests are meant: rules over operations and resources, match conditions.

use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{one_of, qualified_name};
use crate::kinds::read::{Read, default_to, each_mut};
use crate::meta;
use crate::names;
use crate::value::{Map, Value};

const CONDITIONS_MAX: usize = 64;
pub const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];

// === Defaults ===

/// What selects all where nothing is said: for webhooks and match resources.
pub fn default_selectors(object: &mut Value) {
    default_to(object, "matchPolicy", "Equivalent");
    default_to(object, "namespaceSelector", Map::new());
    default_to(object, "objectSelector", Map::new());
}

pub fn default_rules(object: &mut Value, list: &str) {
    each_mut(object, list, |rule| default_to(rule, "scope", "*"));
}

/// For the match resources at `path`, if there are any.
pub fn default_match_resources(object: &mut Value, path: &str) {
    crate::kinds::read::with_mut(object, path, |resources| {
        default_selectors(resources);
        default_rules(resources, "resourceRules");
        default_rules(resources, "excludeResourceRules");
    });
}

// === Rules ===

pub fn rule(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let lone = |list: &str, what: &str, errors: &mut FieldErrors| {
        let at = at.child(list);
        if !rule.filled(list) {
            errors.required(&at, "");
        }
        if rule.len_at(list) > 1 && rule.strings(list).any(|one| one == "*") {
            errors.invalid(&at, rule.at(list), format!("if '*' is present, must not specify other {what}"));
        }
    };
    lone("operations", "operations", errors);
    for (index, operation) in rule.strings("operations").enumerate() {
        one_of(operation, &OPERATIONS, &at.child("operations").index(index), errors);
    }
    lone("apiGroups", "API groups", errors);
    lone("apiVersions", "API versions", errors);
    for (index, _) in rule.strings("apiVersions").enumerate().filter(|(_, version)| version.is_empty()) {
        errors.required(&at.child("apiVersions").index(index), "");
    }
    resources(rule, &at.child("resources"), errors);
    if rule.has("scope") {
        one_of(rule.str_at("scope"), &["*", "Cluster", "Namespaced"], &at.child("scope"), errors);
    }
}

fn resources(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let resources: Vec<&str> = rule.strings("resources").collect();
    if resources.is_empty() {
        errors.required(at, "");
    }
    // What `x/*` and `*/x` before already cover.
    let (mut whole, mut everywhere): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut plain = false;
    for (index, text) in resources.iter().enumerate() {
        let at = at.index(index);
        if text.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let Some((resource, sub)) = text.split_once('/') else {
            plain = *text != "*";
            continue;
        };
        for covering in [(whole.contains(&resource), resource, "*"), (everywhere.contains(&sub), "*", sub)] {
            if let (true, resource, sub) = covering {
                let message = format!("if '{resource}/{sub}' is present, must not specify {text}");
                errors.invalid(&at, *text, message);
            }
        }
        if sub == "*" {
            whole.push(resource);
        }
        if resource == "*" {
            everywhere.push(sub);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        errors.invalid(at, rule.at("resources"), "if '*/*' is present, must not specify other resources");
    }
    if resources.contains(&"*") && plain {
        let message = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(at, rule.at("resources"), message);
    }
}

fn named_rule(rule: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let names: Vec<&str> = rule.strings("resourceNames").collect();
    for (index, name) in names.iter().enumerate() {
        let at = at.child("resourceNames");
        let at = at.index(index);
        errors.invalid_each(&at, name, names::path_segment(name, false));
        if names[..index].contains(name) {
            errors.duplicate(&at, *name);
        }
    }
    self::rule(rule, at, errors);
}

/// Rules and selectors of policies and bindings.
pub fn match_resources(resources: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if resources.is_null() {
        return;
    }
    match resources.has("matchPolicy") {
        true => match_policy(resources, at, errors),
        false => errors.required(&at.child("matchPolicy"), ""),
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        match resources.has(selector) {
            true => meta::label_selector(resources.at(selector), &at.child(selector), errors),
            false => errors.required(&at.child(selector), ""),
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in resources.array_at(list).iter().enumerate() {
            named_rule(rule, &at.child(list).index(index), errors);
        }
    }
}

pub fn match_policy(object: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if object.has("matchPolicy") {
        one_of(object.str_at("matchPolicy"), &MATCH_POLICIES, &at.child("matchPolicy"), errors);
    }
}

// === Match conditions ===

pub fn match_conditions(conditions: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(at, conditions.len(), CONDITIONS_MAX);
    }
    for (index, condition) in conditions.iter().enumerate() {
        let at = at.index(index);
        if condition.str_at("expression").trim().is_empty() {
            errors.required(&at.child("expression"), "");
        }
        match condition.str_at("name") {
            "" => errors.required(&at.child("name"), ""),
            name => {
                qualified_name(name, &at.child("name"), errors);
                if conditions[..index].iter().any(|earlier| earlier.str_at("name") == name) {
                    errors.duplicate(&at.child("name"), name);
                }
            }
        }
    }
}
