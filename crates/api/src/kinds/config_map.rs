//! ConfigMap and Secret: bags of keys, which become files' names.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Rules;
use super::read::{Read, default_zero, same};
use crate::field::{FieldErrors, Path};
use crate::names;
use crate::value::Value;

/// All values of a ConfigMap or Secret together.
const DATA_BYTES_MAX: usize = 1 << 20;

pub const CONFIG_MAP: Rules = Rules {
    validate: validate_config_map,
    validate_update: |new, old, errors| {
        immutable(new, old, &["data", "binaryData"], errors);
        validate_config_map(new, errors);
    },
    ..Rules::DEFAULT
};

pub const SECRET: Rules = Rules {
    defaults: secret_defaults,
    prepare_update: |new, old, _| {
        if new.str_at("type").is_empty() {
            super::read::copy(new, old, "type");
        }
    },
    validate: validate_secret,
    validate_update: |new, old, errors| {
        crate::meta::immutable(new.at("type"), old.at("type"), &Path::new("type"), errors);
        immutable(new, old, &["data"], errors);
        validate_secret(new, errors);
    },
    selectable: &[("type", |secret| secret.str_at("type").into())],
    ..Rules::DEFAULT
};

// === ConfigMap ===

fn validate_config_map(object: &Value, errors: &mut FieldErrors) {
    let (data, binary) = (Path::new("data"), Path::new("binaryData"));
    let mut size = 0;
    for (key, value) in object.entries("data") {
        errors.invalid_each(&data.key(key), key, names::config_map_key(key));
        if object.at("binaryData").as_object().is_some_and(|map| map.contains_key(key)) {
            errors.invalid(&data.key(key), key, "duplicate of key present in binaryData");
        }
        size += value.as_str().unwrap_or_default().len();
    }
    for (key, value) in object.entries("binaryData") {
        errors.invalid_each(&binary.key(key), key, names::config_map_key(key));
        size += decoded_len(value);
    }
    if size > DATA_BYTES_MAX {
        // Upstream means the object itself; this is how it writes that.
        errors.too_long(&Path::ROOT.key(""), DATA_BYTES_MAX);
    }
}

fn immutable(new: &Value, old: &Value, fields: &[&str], errors: &mut FieldErrors) {
    const MESSAGE: &str = "field is immutable when `immutable` is set";
    if !old.flag("immutable") {
        return;
    }
    if !new.flag("immutable") {
        errors.forbidden(&Path::new("immutable"), MESSAGE);
    }
    for field in fields {
        if !same(new.at(field), old.at(field)) {
            errors.forbidden(&Path::new(field), MESSAGE);
        }
    }
}

// === Secret ===

/// `stringData` is for writing only: it ends up in `data`.
fn secret_defaults(secret: &mut Value) {
    default_zero(secret, "type", "Opaque");
    let Some(Value::Object(plain)) = secret.remove("stringData") else { return };
    if plain.is_empty() {
        return;
    }
    let data = secret.at_or_insert("data").make_object();
    for (key, value) in plain {
        data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()));
    }
    data.sort();
}

fn validate_secret(secret: &Value, errors: &mut FieldErrors) {
    let at = Path::new("data");
    let mut size = 0;
    for (key, value) in secret.entries("data") {
        errors.invalid_each(&at.key(key), key, names::config_map_key(key));
        size += decoded_len(value);
    }
    if size > DATA_BYTES_MAX {
        errors.too_long(&at, DATA_BYTES_MAX);
    }
    let has = |key: &str| secret.at("data").as_object().is_some_and(|map| map.contains_key(key));
    match secret.str_at("type") {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            if secret.entry("metadata.annotations", NAME).as_str().unwrap_or_default().is_empty() {
                errors.required(&Path::new("metadata.annotations").key(NAME), "");
            }
        }
        "kubernetes.io/dockercfg" => docker_config(secret, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker_config(secret, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.required(&at.key("username"), "");
            errors.required(&at.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if decoded_len(secret.entry("data", "ssh-privatekey")) == 0 => {
            errors.required(&at.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)) {
                errors.required(&at.key(key), "");
            }
        }
        _ => {}
    }
}

/// The content must be a JSON object.
fn docker_config(secret: &Value, key: &str, errors: &mut FieldErrors) {
    const REDACTED: &str = "<secret contents redacted>";
    let path = Path::new("data");
    let Some(text) = secret.entry("data", key).as_str() else {
        return errors.required(&path.key(key), "");
    };
    let content = STANDARD.decode(text).unwrap_or_default();
    match crate::codec::json::parse(&content) {
        Ok(Value::Object(_) | Value::Null) => {}
        Ok(other) => {
            let found = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let message = format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
            errors.invalid(&path.key(key), REDACTED, message);
        }
        Err(_) if content.is_empty() => errors.invalid(&path.key(key), REDACTED, "unexpected end of JSON input"),
        Err(error) => errors.invalid(&path.key(key), REDACTED, error.to_string()),
    }
}

fn decoded_len(base64: &Value) -> usize {
    let text = base64.as_str().unwrap_or_default().trim_end_matches('=');
    text.len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"data": {"a": "b"}}), "")]
    #[case(json!({"data": {"..": "b"}}), "data[..]: Invalid value: \"..\": must not be '..'")]
    #[case(json!({"data": {"a": "b"}, "binaryData": {"a": "Yg=="}}),
        r#"data[a]: Invalid value: "a": duplicate of key present in binaryData"#)]
    #[case(json!({"data": {"a": "x".repeat((1 << 20) + 1)}}), "[]: Too long: may not be more than 1048576 bytes")]
    fn config_maps(#[case] fields: serde_json::Value, #[case] expected: &str) {
        let said = create(&CONFIG_MAP, true, object(true, fields)).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[test]
    fn an_immutable_config_map_stays() {
        let old = object(true, json!({"data": {"a": "b"}, "immutable": true}));
        let new = object(true, json!({"data": {"a": "c"}}));
        assert_eq!(
            update(&CONFIG_MAP, true, new, old.clone()).unwrap_err(),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
        let mut relabeled = old.clone();
        relabeled.set("metadata.labels.a", "b");
        assert!(update(&CONFIG_MAP, true, relabeled, old).is_ok());
    }

    #[rstest]
    #[case("kubernetes.io/tls", json!({}), "data[tls.crt]: Required value; data[tls.key]: Required value")]
    #[case("kubernetes.io/basic-auth", json!({}), "data[username]: Required value; data[password]: Required value")]
    #[case("kubernetes.io/basic-auth", json!({"username": ""}), "")]
    #[case("kubernetes.io/ssh-auth", json!({"ssh-privatekey": ""}), "data[ssh-privatekey]: Required value")]
    #[case("kubernetes.io/dockerconfigjson", json!({}), "data[.dockerconfigjson]: Required value")]
    #[case("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="}), "")]
    #[case("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": ""}),
        r#"data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input"#)]
    #[case("kubernetes.io/service-account-token", json!({}),
        "metadata.annotations[kubernetes.io/service-account.name]: Required value")]
    #[case("anything", json!({}), "")]
    fn secret_types(#[case] kind: &str, #[case] data: serde_json::Value, #[case] expected: &str) {
        let said = create(&SECRET, true, object(true, json!({"type": kind, "data": data}))).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }

    #[test]
    fn string_data_becomes_data() {
        let created =
            create(&SECRET, true, object(true, json!({"stringData": {"b": "x"}, "data": {"b": "Yg==", "a": "YQ=="}})));
        let created = created.unwrap();
        assert_eq!(created.str_at("data.b"), "eA==");
        assert!(!created.has("stringData"));
        assert_eq!(created.str_at("type"), "Opaque");
    }
}
