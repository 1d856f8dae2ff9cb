//! RuntimeClass.

use super::Rules;
use super::formats::dns_label;
use super::pod::scheduling::tolerations;
use super::pod::spec::overhead;
use super::read::{Read, as_internal};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::value::Value;

pub const RULES: Rules = Rules {
    validate,
    validate_update: |new, old, errors| {
        validate(new, errors);
        meta::fixed(new.at("handler"), old.at("handler"), &Path::new("handler"), errors);
    },
    warnings: |class, _| {
        let warning = |key: &str| {
            super::pod::warnings::deprecated_node_label(key).map(|why| format!("scheduling.nodeSelector: {why}"))
        };
        class.entries("scheduling.nodeSelector").filter_map(|(key, _)| warning(key)).collect()
    },
    allow_create_on_update: true,
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

fn validate(class: &Value, errors: &mut FieldErrors) {
    match class.str_at("handler") {
        "" => errors.required(&Path::new("handler"), ""),
        handler => dns_label(handler, &Path::new("handler"), errors),
    }
    if class.has("overhead") {
        overhead(class.at("overhead.podFixed"), &Path::new("overhead"), errors);
    }
    let at = Path::new("scheduling");
    meta::labels(class.at("scheduling.nodeSelector"), &at.child("nodeSelector"), errors);
    let (list, at) = (class.array_at("scheduling.tolerations"), at.child("tolerations"));
    tolerations(list, &at, errors);
    let key = |one: &Value| ["key", "operator", "value", "effect"].map(|field| one.str_at(field).to_owned());
    for (index, toleration) in list.iter().enumerate() {
        if list[..index].iter().any(|earlier| key(earlier) == key(toleration)) {
            let text = || Value::from("");
            let fields = [
                ("Key", "key", text()),
                ("Operator", "operator", text()),
                ("Value", "value", text()),
                ("Effect", "effect", text()),
                ("TolerationSeconds", "tolerationSeconds", Value::Null),
            ];
            errors.duplicate(&at.index(index), as_internal(toleration, &fields));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"handler": "runc"}), "")]
    #[case(json!({}), "handler: Required value")]
    #[case(json!({"handler": "r", "overhead": {"podFixed": {"cpu": "-1"}}}),
        r#"overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0"#)]
    #[case(json!({"handler": "r", "scheduling": {"tolerations": [{"operator": "Exists"}, {"operator": "Exists"}]}}),
        r#"scheduling.tolerations[1]: Duplicate value: {"Key":"","Operator":"Exists","Value":"","Effect":"","TolerationSeconds":null}"#)]
    fn classes(#[case] fields: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&RULES, false, object(false, fields)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn a_class_keeps_its_handler() {
        let class = |handler| object(false, json!({"handler": handler}));
        let said = update(&RULES, false, class("b"), class("a")).unwrap_err();
        assert_eq!(said, ["handler: Invalid value: null: field is immutable"]);
    }
}
