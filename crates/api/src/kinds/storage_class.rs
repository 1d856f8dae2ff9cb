//! StorageClass and VolumeAttributesClass.

use super::Rules;
use super::formats::qualified_name;
use super::pod::warnings::deprecated_node_label;
use super::read::{Read, default_to};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

const PARAMETERS: Path<'static> = Path::new("parameters");
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 << 10;

pub const STORAGE_CLASS: Rules = Rules {
    defaults: |class| {
        default_to(class, "reclaimPolicy", "Delete");
        default_to(class, "volumeBindingMode", "Immediate");
    },
    validate,
    validate_update: |new, old, errors| {
        validate(new, errors);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            meta::fixed(new.at(field), old.at(field), &Path::new(field), errors);
        }
    },
    warnings: |class, _| {
        let mut warnings = Vec::new();
        let at = Path::new("allowedTopologies");
        for (index, term) in class.array_at("allowedTopologies").iter().enumerate() {
            let at = at.index(index);
            for (index, expression) in term.array_at("matchLabelExpressions").iter().enumerate() {
                if let Some(why) = deprecated_node_label(expression.str_at("key")) {
                    let at = at.child("matchLabelExpressions");
                    warnings.push(format!("{}: {why}", at.index(index).child("key")));
                }
            }
        }
        warnings
    },
    ..Rules::DEFAULT
};

pub const VOLUME_ATTRIBUTES_CLASS: Rules = Rules {
    validate: validate_attributes,
    validate_update: |new, old, errors| {
        for field in ["driverName", "parameters"] {
            if new.at(field) != old.at(field) {
                errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
            }
        }
        validate_attributes(new, errors);
    },
    ..Rules::DEFAULT
};

fn validate_attributes(class: &Value, errors: &mut FieldErrors) {
    provisioner(class.str_at("driverName"), &Path::new("driverName"), errors);
    parameters(class, errors);
    if class.len_at("parameters") == 0 {
        errors.required(&PARAMETERS, "must contain at least one key/value pair");
    }
}

fn validate(class: &Value, errors: &mut FieldErrors) {
    provisioner(class.str_at("provisioner"), &Path::new("provisioner"), errors);
    parameters(class, errors);
    let policy = class.str_at("reclaimPolicy");
    if !matches!(policy, "" | "Delete" | "Retain") {
        errors.not_supported(&Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    let (mode, at) = (class.at("volumeBindingMode"), Path::new("volumeBindingMode"));
    match mode.as_str() {
        None => errors.required(&at, ""),
        Some("Immediate" | "WaitForFirstConsumer") => {}
        Some(other) => errors.not_supported(&at, other, &["Immediate", "WaitForFirstConsumer"]),
    }
    topologies(class.array_at("allowedTopologies"), &Path::new("allowedTopologies"), errors);
}

fn provisioner(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    match name {
        "" => errors.required(at, ""),
        name => qualified_name(&name.to_lowercase(), at, errors),
    }
}

fn parameters(class: &Value, errors: &mut FieldErrors) {
    if class.len_at("parameters") > PARAMETERS_MAX {
        return errors.too_long(&PARAMETERS, PARAMETERS_MAX);
    }
    let mut size = 0;
    for (key, value) in class.entries("parameters") {
        if key.is_empty() {
            errors.invalid(&PARAMETERS, "", "field can not be empty.");
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > PARAMETERS_BYTES_MAX {
        errors.too_long(&PARAMETERS, PARAMETERS_BYTES_MAX);
    }
}

fn topologies(terms: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    type Term<'a> = Vec<(&'a str, Vec<&'a str>)>;
    let mut seen: Vec<Term<'_>> = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let at = at.index(index);
        let at = at.child("matchLabelExpressions");
        let mut requirements: Term<'_> = Vec::new();
        for (index, requirement) in term.array_at("matchLabelExpressions").iter().enumerate() {
            let at = at.index(index);
            let key = requirement.str_at("key");
            let mut values = topology_values(requirement, &at, errors);
            meta::label_key(key, &at.child("key"), errors);
            if requirements.iter().any(|(other, _)| *other == key) {
                errors.duplicate(&at.child("key"), key);
                requirements.retain(|(other, _)| *other != key);
            }
            values.sort_unstable();
            values.dedup();
            requirements.push((key, values));
        }
        requirements.sort_unstable();
        if seen.contains(&requirements) || requirements.is_empty() {
            errors.duplicate(&at, "");
        }
        seen.push(requirements);
    }
}

fn topology_values<'a>(requirement: &'a Value, at: &Path<'_>, errors: &mut FieldErrors) -> Vec<&'a str> {
    let values: Vec<&str> = requirement.strings("values").collect();
    let at = at.child("values");
    if values.is_empty() {
        errors.required(&at, "");
    }
    for (index, value) in values.iter().enumerate() {
        if values[..index].contains(value) {
            errors.duplicate(&at.index(index), *value);
        }
    }
    values
}

/// Warnings about node labels in a label selector.
pub fn selector_warnings(selector: &Value, at: &Path<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, expression) in selector.array_at("matchExpressions").iter().enumerate() {
        let key = expression.str_at("key");
        if let Some(why) = deprecated_node_label(key) {
            let at = at.child("matchExpressions");
            warnings.push(format!("{}: {key} is {why}", at.index(index).child("key")));
        }
    }
    for (label, _) in selector.entries("matchLabels") {
        if let Some(why) = deprecated_node_label(label) {
            let at = at.child("matchLabels");
            warnings.push(format!("{}: {why}", at.child(label)));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"provisioner": "Kubernetes.io/no-provisioner"}), "")]
    #[case(json!({}), "provisioner: Required value")]
    #[case(json!({"provisioner": "p", "reclaimPolicy": "Recycle", "volumeBindingMode": "Later"}),
        r#"reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"; volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer""#)]
    #[case(json!({"provisioner": "p", "allowedTopologies": [
        {"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]},
        {"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}]}),
        r#"allowedTopologies[1].matchLabelExpressions: Duplicate value: """#)]
    #[case(json!({"provisioner": "p", "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone"}]}]}),
        "allowedTopologies[0].matchLabelExpressions[0].values: Required value")]
    fn classes(#[case] fields: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&STORAGE_CLASS, false, object(false, fields)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_class_stays_as_it_is() {
        let class =
            |provisioner: &str, key: &str| object(false, json!({"provisioner": provisioner, "parameters": {key: "1"}}));
        let said = update(&STORAGE_CLASS, false, class("a", "x"), class("b", "y")).unwrap_err();
        assert_eq!(
            said,
            [
                "parameters: Invalid value: null: field is immutable",
                "provisioner: Invalid value: null: field is immutable"
            ]
        );
    }

    #[test]
    fn attributes_stay_as_they_are() {
        let class = |key: &str| object(false, json!({"driverName": "d", "parameters": {key: "1"}}));
        let said = update(&VOLUME_ATTRIBUTES_CLASS, false, class("a"), class("b")).unwrap_err();
        assert_eq!(said, ["parameters: Forbidden: updates to parameters are forbidden."]);
        let said = create(&VOLUME_ATTRIBUTES_CLASS, false, object(false, json!({"driverName": "d"}))).unwrap_err();
        assert_eq!(said, ["parameters: Required value: must contain at least one key/value pair"]);
    }
}
