use rstest::rstest;
use serde_json::json;

use super::*;
use crate::kinds::testing::{create, object, tree, update};

fn definition(changes: serde_json::Value) -> Value {
    let mut definition = object(
        false,
        json!({"metadata": {"name": "things.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
    );
    for (path, value) in changes.as_object().unwrap() {
        definition.set(&format!("spec.{path}"), tree(value.clone()));
    }
    definition
}

fn with_schema(schema: serde_json::Value) -> Value {
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    definition(json!({"versions": [version]}))
}

fn said(definition: Value) -> String {
    create(&RULES, false, definition).err().unwrap_or_default().join("; ")
}

#[rstest]
#[case(json!({}), "")]
#[case(json!({"group": "example"}),
    r#"metadata.name: Invalid value: "things.example.com": must be spec.names.plural+"."+spec.group; spec.group: Invalid value: "example": should be a domain with at least one dot"#)]
#[case(json!({"scope": "Galaxy"}),
    r#"spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced""#)]
#[case(json!({"versions": [{"name": "v1", "served": true, "storage": true}]}),
    "spec.versions[0].schema.openAPIV3Schema: Required value")]
#[case(json!({"names.listKind": "Thing"}),
    r#"spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same"#)]
#[case(json!({"conversion": {"strategy": "Webhook"}}),
    "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook; spec.conversion.conversionReviewVersions: Required value")]
#[case(json!({"preserveUnknownFields": true}),
    "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead")]
fn definitions(#[case] changes: serde_json::Value, #[case] expected: &str) {
    assert_eq!(said(definition(changes)), expected);
}

#[rstest]
#[case(json!({"type": "object", "properties": {"spec": {}}}),
    "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields")]
#[case(json!({"type": "object", "properties": {"a": {"type": "array"}}}),
    "spec.validation.openAPIV3Schema.properties[a].items: Required value: must be specified")]
#[case(json!({"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": true,
    "anyOf": [{"type": "integer"}, {"type": "string"}]}}}), "")]
#[case(json!({"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"type": "string"}]}}}),
    "spec.validation.openAPIV3Schema.properties[a].anyOf[0].type: Forbidden: must be empty to be structural")]
#[case(json!({"type": "object", "oneOf": [{"properties": {"a": {"pattern": "x"}}}]}),
    "spec.validation.openAPIV3Schema.properties[a]: Required value: because it is defined in spec.validation.openAPIV3Schema.oneOf[0].properties[a]")]
#[case(json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
    "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified")]
#[case(json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}}),
    "spec.validation.openAPIV3Schema.properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property")]
#[case(json!({"type": "object", "properties": {"a": {"type": "text"}}}),
    r#"spec.validation.openAPIV3Schema.properties[a].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string""#)]
#[case(json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}},
    "additionalProperties": false}}}),
    "spec.validation.openAPIV3Schema.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive")]
#[case(json!({"type": "object", "x-kubernetes-validations": [{"rule": " "}]}),
    "spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule: Required value: rule is not specified")]
fn schemas(#[case] schema: serde_json::Value, #[case] expected: &str) {
    assert_eq!(said(with_schema(schema)), expected);
}

#[test]
fn versions_that_differ_are_named() {
    let version = |name: &str, stored: bool, kind: &str| {
        json!({"name": name, "served": true, "storage": stored, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"a": {"type": kind}}}}})
    };
    let two = definition(json!({"versions": [version("v1", true, "string"), version("v1", true, "x")]}));
    let said = create(&RULES, false, two).unwrap_err();
    assert!(said[0].starts_with("spec.versions[1].schema.openAPIV3Schema.properties[a].type: Unsupported value"));
    assert!(said[1].ends_with("must contain unique version names"));
    assert!(said[2].ends_with("must have exactly one version marked as storage version"));
}

#[rstest]
#[case(json!({"scale": {"specReplicasPath": ".status.a"}}),
    r#"spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": should be a json path under .spec; spec.subresources.scale.statusReplicasPath: Required value"#)]
fn scales(#[case] subresources: serde_json::Value, #[case] expected: &str) {
    let version = json!({"name": "v1", "served": true, "storage": true, "subresources": subresources,
        "schema": {"openAPIV3Schema": {"type": "object"}}});
    assert_eq!(said(definition(json!({"versions": [version]}))), expected);
}

#[test]
fn defaults_and_stored_versions() {
    let created = create(&RULES, false, definition(json!({}))).unwrap();
    assert_eq!(created.str_at("spec.names.singular"), "thing");
    assert_eq!(created.str_at("spec.names.listKind"), "ThingList");
    assert_eq!(created.str_at("spec.conversion.strategy"), "None");
    assert_eq!(created.array_at("status.storedVersions"), ["v1".into()]);

    let version =
        json!({"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let said = update(&RULES, false, definition(json!({"versions": [version]})), created).unwrap_err();
    assert_eq!(
        said,
        [
            r#"status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"#
        ]
    );
}

#[test]
fn protected_groups_need_approval() {
    let mut definition = definition(json!({"group": "things.k8s.io"}));
    definition.set("metadata.name", "things.things.k8s.io");
    assert_eq!(
        said(definition.clone()),
        r#"metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111"#
    );
    definition.at_or_insert("metadata.annotations").make_object().insert(APPROVAL, "https://example.com/1");
    assert_eq!(said(definition), "");
}
