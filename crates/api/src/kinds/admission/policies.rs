//! Admission policies in expressions, and their bindings.

use super::matching::{FAILURE_POLICIES, default_match_resources, match_conditions, match_resources};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{one_of, qualified_name, required_one_of};
use crate::kinds::read::{Read, copy, default_to, same};
use crate::kinds::{Generation, Rules, StatusRule, Subresource};
use crate::meta;
use crate::names;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const AUDIT_ANNOTATIONS_MAX: usize = 20;
const AUDIT_EXPRESSION_BYTES_MAX: usize = 5 << 10;
/// Mutation can't be of what is deleted.
const MUTABLE_OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];

pub const VALIDATING: Rules = Rules {
    defaults: default_policy,
    generation: Generation::Spec,
    status: StatusRule::Separate,
    validate: |policy, errors| validate_validating(policy, None, errors),
    validate_update: |new, old, errors| validate_validating(new, Some(old), errors),
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        validate: |new, _, errors| validate_status(new.at("status"), errors),
        ..Subresource::STATUS
    }],
    ..super::BASE
};

pub const MUTATING: Rules = Rules {
    defaults: default_policy,
    generation: Generation::Spec,
    validate: |policy, errors| validate_mutating(policy, None, errors),
    validate_update: |new, old, errors| validate_mutating(new, Some(old), errors),
    ..super::BASE
};

pub const VALIDATING_BINDING: Rules = Rules {
    defaults: |binding| default_match_resources(binding, "spec.matchResources"),
    generation: Generation::Spec,
    validate: validate_validating_binding,
    validate_update: |new, _, errors| validate_validating_binding(new, errors),
    ..super::BASE
};

pub const MUTATING_BINDING: Rules = Rules {
    validate: validate_mutating_binding,
    validate_update: |new, _, errors| validate_mutating_binding(new, errors),
    ..VALIDATING_BINDING
};

fn default_policy(policy: &mut Value) {
    default_to(policy, "spec.failurePolicy", "Fail");
    default_match_resources(policy, "spec.matchConstraints");
}

// === Policies ===

/// What policies of both sorts share, up to what they do.
fn common(spec: &Value, old: Option<&Value>, mutating: bool, errors: &mut FieldErrors) {
    one_of(spec.str_at("failurePolicy"), &FAILURE_POLICIES, &SPEC.child("failurePolicy"), errors);
    if spec.has("paramKind") {
        param_kind(spec.at("paramKind"), &SPEC.child("paramKind"), errors);
    }
    let at = SPEC.child("matchConstraints");
    if spec.has("matchConstraints") {
        match_resources(spec.at("matchConstraints"), &at, errors);
        if !spec.filled("matchConstraints.resourceRules") {
            errors.required(&at.child("resourceRules"), "");
        }
        if mutating {
            mutable_operations(spec.at("matchConstraints"), &at, errors);
        }
    } else {
        errors.required(&at, "");
    }
    let unchanged = |old: &Value| {
        ["paramKind", "matchConditions"].iter().all(|field| same(spec.at(field), old.at("spec").at(field)))
    };
    if !old.is_some_and(unchanged) {
        match_conditions(spec.array_at("matchConditions"), &SPEC.child("matchConditions"), errors);
    }
    for (index, variable) in spec.array_at("variables").iter().enumerate() {
        let at = SPEC.child("variables");
        let at = at.index(index);
        match variable.str_at("name") {
            name if name.trim().is_empty() => errors.required(&at.child("name"), "name is not specified"),
            name if !is_identifier(name) => {
                errors.invalid(&at.child("name"), name, "must be a valid CEL identifier");
            }
            _ => {}
        }
        if variable.str_at("expression").trim().is_empty() {
            errors.required(&at.child("expression"), "expression is not specified");
        }
    }
}

fn mutable_operations(resources: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for rule in resources.array_at("resourceRules") {
        for operation in rule.strings("operations") {
            one_of(operation, &MUTABLE_OPERATIONS, &at.child("resourceRules.operations"), errors);
        }
    }
}

fn param_kind(kind: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let (version, at_version) = (kind.str_at("apiVersion"), at.child("apiVersion"));
    let joined = |complaints: names::Complaints| (!complaints.is_empty()).then(|| complaints.join(","));
    if version.is_empty() {
        errors.required(&at_version, "");
    } else if version.matches('/').count() > 1 {
        errors.invalid(&at_version, version, format!("unexpected GroupVersion string: {version}"));
    } else {
        let (group, name) = version.split_once('/').unwrap_or(("", version));
        if let Some(complaint) = joined(names::dns1123_subdomain(group)).filter(|_| !group.is_empty()) {
            errors.invalid(&at_version, group, complaint);
        }
        if name.is_empty() {
            errors.invalid(&at_version, version, "version must be specified");
        } else if let Some(complaint) = joined(names::dns1035_label(name)) {
            errors.invalid(&at_version, name, complaint);
        }
    }
    let name = kind.str_at("kind");
    if name.is_empty() {
        errors.required(&at.child("kind"), "");
    } else if let Some(complaint) = joined(names::dns1035_label(&name.to_lowercase())) {
        let message = format!("may have mixed case, but should otherwise match: {complaint}");
        errors.invalid(&at.child("kind"), name, message);
    }
}

fn validate_validating(policy: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let spec = policy.at("spec");
    common(spec, old, false, errors);
    if !spec.filled("validations") && !spec.filled("auditAnnotations") {
        for field in ["validations", "auditAnnotations"] {
            let message = "validations or auditAnnotations must contain at least one item";
            errors.required(&SPEC.child(field), message);
        }
        return;
    }
    for (index, validation) in spec.array_at("validations").iter().enumerate() {
        validate_validation(validation, &SPEC.child("validations").index(index), errors);
    }
    let (annotations, at) = (spec.array_at("auditAnnotations"), SPEC.child("auditAnnotations"));
    if annotations.len() > AUDIT_ANNOTATIONS_MAX {
        let message = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        errors.invalid(&at, spec.at("auditAnnotations"), message);
    }
    for (index, annotation) in annotations.iter().enumerate() {
        let at = at.index(index);
        let (name, key) = (policy.str_at("metadata.name"), annotation.str_at("key"));
        match name {
            "" => errors.invalid(&at.child("key"), key, "requires metadata.name be non-empty"),
            name => qualified_name(&format!("{name}/{key}"), &at.child("key"), errors),
        }
        match annotation.str_at("valueExpression").trim().len() {
            0 => errors.required(&at.child("valueExpression"), "valueExpression is not specified"),
            1..=AUDIT_EXPRESSION_BYTES_MAX => {}
            _ => {
                let message = format!("must not exceed {AUDIT_EXPRESSION_BYTES_MAX} bytes in length");
                errors.required(&at.child("valueExpression"), message);
            }
        }
        if annotations[..index].iter().any(|earlier| earlier.str_at("key") == key) {
            errors.duplicate(&at.child("key"), key);
        }
    }
}

fn validate_validation(validation: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if validation.str_at("expression").trim().is_empty() {
        errors.required(&at.child("expression"), "expression is not specified");
    }
    for field in ["messageExpression", "message"] {
        let text = validation.str_at(field);
        if !text.is_empty() && text.trim().is_empty() {
            errors.invalid(&at.child(field), text, "must be non-empty if specified");
        } else if field == "message" && text.trim().contains(['\n', '\r']) {
            errors.invalid(&at.child(field), text, "must not contain line breaks");
        }
    }
    if validation.has("reason") {
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        one_of(validation.str_at("reason"), &reasons, &at.child("reason"), errors);
    }
}

fn validate_mutating(policy: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let spec = policy.at("spec");
    common(spec, old, true, errors);
    let at = SPEC.child("mutations");
    if !spec.filled("mutations") {
        errors.required(&at, "mutations must contain at least one item");
    }
    for (index, mutation) in spec.array_at("mutations").iter().enumerate() {
        validate_mutation(mutation, &at.index(index), errors);
    }
    let policies = ["IfNeeded", "Never"];
    required_one_of(spec.str_at("reinvocationPolicy"), &policies, &SPEC.child("reinvocationPolicy"), errors);
}

fn validate_mutation(mutation: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let kind = mutation.str_at("patchType");
    let (own, other) = match kind {
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        _ => {
            return required_one_of(kind, &["ApplyConfiguration", "JSONPatch"], &at.child("patchType"), errors);
        }
    };
    let at_own = at.child(own);
    if !mutation.has(own) {
        errors.required(&at_own, format!("must be specified when patchType is {kind}"));
    } else if mutation.at(own).str_at("expression").trim().is_empty() {
        errors.required(&at_own.child("expression"), "");
    }
    if mutation.has(other) {
        let message = format!("must not be specified when patchType is {kind}");
        errors.invalid(&at.child(other), format!("{{{other}}}"), message);
    }
}

fn validate_status(status: &Value, errors: &mut FieldErrors) {
    let list = "typeChecking.expressionWarnings";
    let at = Path::new("status");
    for (index, warning) in status.array_at(list).iter().enumerate() {
        let at = at.child(list);
        let at = at.index(index);
        for field in ["warning", "fieldRef"] {
            if warning.str_at(field).trim().is_empty() {
                errors.required(&at.child(field), "");
            }
        }
    }
    meta::conditions(status.array_at("conditions"), &at.child("conditions"), errors);
}

fn is_identifier(name: &str) -> bool {
    const RESERVED: [&str; 20] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
    ];
    names::c_identifier(name).is_empty() && !RESERVED.contains(&name) && name != "while"
}

// === Bindings ===

fn validate_binding(spec: &Value, errors: &mut FieldErrors) {
    match spec.str_at("policyName") {
        "" => errors.required(&SPEC.child("policyName"), ""),
        name => errors.invalid_each(&SPEC.child("policyName"), name, names::dns1123_subdomain(name)),
    }
    if spec.has("paramRef") {
        param_reference(spec.at("paramRef"), &SPEC.child("paramRef"), errors);
    }
    match_resources(spec.at("matchResources"), &SPEC.child("matchResources"), errors);
}

fn param_reference(reference: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, has_selector) = (reference.str_at("name"), reference.has("selector"));
    if !name.is_empty() {
        errors.invalid_each(&at.child("name"), name, names::path_segment(name, false));
        if has_selector {
            errors.forbidden(&at.child("name"), EXCLUSIVE);
        }
    }
    if has_selector {
        meta::label_selector(reference.at("selector"), &at.child("selector"), errors);
        if !name.is_empty() {
            errors.forbidden(&at.child("selector"), EXCLUSIVE);
        }
    }
    if name.is_empty() && !has_selector {
        errors.required(at, "one of name or selector must be specified");
    }
    let action = reference.str_at("parameterNotFoundAction");
    required_one_of(action, &["Deny", "Allow"], &at.child("parameterNotFoundAction"), errors);
}

fn validate_validating_binding(binding: &Value, errors: &mut FieldErrors) {
    let spec = binding.at("spec");
    validate_binding(spec, errors);
    let actions: Vec<&str> = spec.strings("validationActions").collect();
    let at = SPEC.child("validationActions");
    for (index, action) in actions.iter().enumerate() {
        one_of(action, &["Audit", "Deny", "Warn"], &at.index(index), errors);
        if actions[..index].contains(action) {
            errors.duplicate(&at.index(index), *action);
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let message = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                       API response and headers serves no purpose)";
        errors.invalid(&at, spec.at("validationActions"), message);
    }
    if actions.is_empty() {
        errors.required(&at, "");
    }
}

fn validate_mutating_binding(binding: &Value, errors: &mut FieldErrors) {
    let spec = binding.at("spec");
    validate_binding(spec, errors);
    mutable_operations(spec.at("matchResources"), &SPEC.child("matchResources"), errors);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, tree};

    fn policy(changes: serde_json::Value) -> Value {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let mut policy = object(false, json!({"spec": {"matchConstraints": {"resourceRules": [rule]}}}));
        for (path, value) in changes.as_object().unwrap() {
            policy.set(&format!("spec.{path}"), tree(value.clone()));
        }
        policy
    }

    #[rstest]
    #[case(json!({"validations": [{"expression": "true"}]}), "")]
    #[case(json!({}),
        "spec.validations: Required value: validations or auditAnnotations must contain at least one item; spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item")]
    #[case(json!({"validations": [{"expression": "", "message": "a\nb", "reason": "Other"}]}),
        r#"spec.validations[0].expression: Required value: expression is not specified; spec.validations[0].message: Invalid value: "a\nb": must not contain line breaks; spec.validations[0].reason: Unsupported value: "Other": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge""#)]
    #[case(json!({"validations": [{"expression": "true"}], "variables": [{"name": "if", "expression": "1"}]}),
        r#"spec.variables[0].name: Invalid value: "if": must be a valid CEL identifier"#)]
    #[case(json!({"validations": [{"expression": "true"}], "paramKind": {"apiVersion": "a/b/c", "kind": "K"}}),
        r#"spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#)]
    #[case(json!({"validations": [{"expression": "true"}], "matchConstraints": {}}),
        "spec.matchConstraints.resourceRules: Required value")]
    fn validating(#[case] changes: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&VALIDATING, false, policy(changes)).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!({"reinvocationPolicy": "Never", "mutations": [{"patchType": "JSONPatch",
        "jsonPatch": {"expression": "[]"}}]}), "")]
    #[case(json!({"reinvocationPolicy": "Never", "mutations": [{"patchType": "JSONPatch", "applyConfiguration": {}}]}),
        r#"spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch; spec.mutations[0].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch"#)]
    #[case(json!({}),
        "spec.mutations: Required value: mutations must contain at least one item; spec.reinvocationPolicy: Required value")]
    fn mutating(#[case] changes: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&MUTATING, false, policy(changes)).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!({"policyName": "p", "validationActions": ["Deny"]}), "")]
    #[case(json!({"validationActions": ["Deny", "Warn"]}),
        r#"spec.policyName: Required value; spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"#)]
    #[case(json!({"policyName": "p", "paramRef": {"parameterNotFoundAction": "Skip"}}),
        r#"spec.paramRef: Required value: one of name or selector must be specified; spec.paramRef.parameterNotFoundAction: Unsupported value: "Skip": supported values: "Deny", "Allow"; spec.validationActions: Required value"#)]
    fn bindings(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let binding = object(false, json!({"spec": spec}));
        assert_eq!(create(&VALIDATING_BINDING, false, binding).err().unwrap_or_default().join("; "), expected);
    }
}
