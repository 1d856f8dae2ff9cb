//! Roles and their bindings.

use super::Rules;
use super::read::{Read, as_internal, default_zero, each_mut};
use crate::field::{FieldErrors, Path};
use crate::meta::{self, NameRule};
use crate::names;
use crate::selector::LabelSelector;
use crate::value::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

const BASE: Rules = Rules { name: NameRule::PathSegment, allow_create_on_update: true, ..Rules::DEFAULT };

pub const ROLE: Rules = Rules {
    validate: |role, errors| validate_rules(role, true, errors),
    validate_update: |role, _, errors| validate_rules(role, true, errors),
    ..BASE
};

pub const CLUSTER_ROLE: Rules = Rules {
    validate: validate_cluster_role,
    validate_update: |role, _, errors| validate_cluster_role(role, errors),
    ..BASE
};

pub const ROLE_BINDING: Rules = Rules {
    defaults: default_binding,
    validate: |binding, errors| validate_binding(binding, true, errors),
    validate_update: |new, old, errors| {
        validate_binding(new, true, errors);
        same_role(new, old, errors);
    },
    ..BASE
};

pub const CLUSTER_ROLE_BINDING: Rules = Rules {
    defaults: default_binding,
    validate: |binding, errors| validate_binding(binding, false, errors),
    validate_update: |new, old, errors| {
        validate_binding(new, false, errors);
        same_role(new, old, errors);
    },
    ..BASE
};

// === Roles ===

fn validate_cluster_role(role: &Value, errors: &mut FieldErrors) {
    validate_rules(role, false, errors);
    if role.has("aggregationRule") {
        let at = Path::new("aggregationRule.clusterRoleSelectors");
        let selectors = role.array_at("aggregationRule.clusterRoleSelectors");
        if selectors.is_empty() {
            errors.required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (index, selector) in selectors.iter().enumerate() {
            meta::label_selector(selector, &at.index(index), errors);
            if LabelSelector::from_object(selector).is_err() {
                errors.invalid(&at.index(index), Value::Null, "invalid label selector.");
            }
        }
    }
}

fn validate_rules(role: &Value, namespaced: bool, errors: &mut FieldErrors) {
    let at = Path::new("rules");
    for (index, rule) in role.array_at("rules").iter().enumerate() {
        validate_rule(rule, namespaced, &at.index(index), errors);
    }
}

fn validate_rule(rule: &Value, namespaced: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    if !rule.filled("verbs") {
        errors.required(&at.child("verbs"), "");
    }
    let urls = rule.at("nonResourceURLs");
    if rule.filled("nonResourceURLs") {
        let at = at.child("nonResourceURLs");
        if namespaced {
            errors.invalid(&at, urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|field| rule.filled(field)) {
            errors.invalid(&at, urls, "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if !rule.filled("apiGroups") {
        errors.required(&at.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if !rule.filled("resources") {
        errors.required(&at.child("resources"), "resource rules must supply at least one resource");
    }
}

// === Bindings ===

fn default_binding(binding: &mut Value) {
    default_zero(binding, "roleRef.apiGroup", GROUP);
    each_mut(binding, "subjects", |subject| {
        if matches!(subject.str_at("kind"), "User" | "Group") {
            default_zero(subject, "apiGroup", GROUP);
        }
    });
}

fn validate_binding(binding: &Value, namespaced: bool, errors: &mut FieldErrors) {
    let at = Path::new("roleRef");
    let role = binding.at("roleRef");
    let (group, kind, name) = (role.str_at("apiGroup"), role.str_at("kind"), role.str_at("name"));
    if group != GROUP {
        errors.not_supported(&at.child("apiGroup"), group, &[GROUP]);
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&kind) {
        errors.not_supported(&at.child("kind"), kind, kinds);
    }
    match name {
        "" => errors.required(&at.child("name"), ""),
        name => errors.invalid_each(&at.child("name"), name, names::path_segment(name, false)),
    }
    let at = Path::new("subjects");
    for (index, subject) in binding.array_at("subjects").iter().enumerate() {
        validate_subject(subject, namespaced, &at.index(index), errors);
    }
}

fn same_role(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let (role, zero) = (new.at("roleRef"), || Value::from(""));
    if role != old.at("roleRef") {
        let fields = [("APIGroup", "apiGroup", zero()), ("Kind", "kind", zero()), ("Name", "name", zero())];
        errors.invalid(&Path::new("roleRef"), as_internal(role, &fields), meta::IMMUTABLE);
    }
}

fn validate_subject(subject: &Value, namespaced: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let (name, group) = (subject.str_at("name"), subject.str_at("apiGroup"));
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    }
    match subject.str_at("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.invalid_each(&at.child("name"), name, names::dns1123_subdomain(name));
            }
            if !group.is_empty() {
                errors.not_supported(&at.child("apiGroup"), group, &[""]);
            }
            if !namespaced && subject.str_at("namespace").is_empty() {
                errors.required(&at.child("namespace"), "");
            }
        }
        "User" | "Group" if group != GROUP => errors.not_supported(&at.child("apiGroup"), group, &[GROUP]),
        "User" | "Group" => {}
        other => errors.not_supported(&at.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), "")]
    #[case(json!({}),
        "rules[0].verbs: Required value; \
         rules[0].apiGroups: Required value: resource rules must supply at least one api group; \
         rules[0].resources: Required value: resource rules must supply at least one resource")]
    #[case(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}),
        r#"rules[0].nonResourceURLs: Invalid value: ["/healthz"]: namespaced rules cannot apply to non-resource URLs"#)]
    fn roles(#[case] rule: serde_json::Value, #[case] expected: &str) {
        let role = object(true, json!({"metadata": {"name": "system:a"}, "rules": [rule]}));
        assert_eq!(create(&ROLE, true, role).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn urls_and_resources_do_not_mix() {
        let role = object(
            false,
            json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}],
                "aggregationRule": {}}),
        );
        assert_eq!(
            create(&CLUSTER_ROLE, false, role).unwrap_err(),
            [
                r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs"#,
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
            ]
        );
    }

    #[rstest]
    #[case(json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}), "")]
    #[case(json!({"roleRef": {"kind": "Pod", "name": "a/b"}}),
        r#"roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole"; roleRef.name: Invalid value: "a/b": may not contain '/'"#)]
    #[case(json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": ""}]}),
        "subjects[0].name: Required value")]
    #[case(json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "Robot", "name": "x"}]}),
        r#"subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group""#)]
    fn bindings(#[case] fields: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&ROLE_BINDING, true, object(true, fields)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let binding = |name| object(false, json!({"roleRef": {"kind": "ClusterRole", "name": name}}));
        let said = update(&CLUSTER_ROLE_BINDING, false, binding("b"), binding("a")).unwrap_err();
        assert_eq!(
            said,
            [
                r#"roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"b"}: field is immutable"#
            ]
        );
    }
}
