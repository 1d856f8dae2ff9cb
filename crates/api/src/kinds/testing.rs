//! What the kinds' tests share.

use super::{Context, Rules, strategy};
use crate::codec::json;
use crate::field::FieldErrors;
use crate::user::UserInfo;
use crate::value::{Map, Value};

/// A tree from `serde_json::json!`.
pub fn tree(value: serde_json::Value) -> Value {
    json::parse(value.to_string().as_bytes()).expect("a test's JSON")
}

/// An object named `a` (in namespace `ns` where asked) with the given fields beside metadata.
pub fn object(namespaced: bool, fields: serde_json::Value) -> Value {
    let mut object = tree(fields);
    let metadata = object.at_or_insert("metadata");
    if metadata.is_null() {
        *metadata = Map::new().into();
    }
    if metadata.str_at("name").is_empty() {
        metadata.set("name", "a");
    }
    metadata.set("resourceVersion", "1");
    if namespaced {
        metadata.set("namespace", "ns");
    }
    object
}

/// Each error as `field: message`.
pub fn said(errors: &FieldErrors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Defaults and creates; gives the object or what was said against it.
pub fn create(rules: &Rules, namespaced: bool, mut object: Value) -> Result<Value, Vec<String>> {
    (rules.defaults)(&mut object);
    let user = UserInfo::authenticated("tester", &[]);
    let context = Context { user: &user, now: jiff::Timestamp::UNIX_EPOCH };
    strategy::before_create(rules, namespaced, &mut object, &context).map_err(|errors| said(&errors))?;
    Ok(object)
}

/// Defaults both and updates; gives the object or what was said against it.
pub fn update(rules: &Rules, namespaced: bool, mut new: Value, mut old: Value) -> Result<Value, Vec<String>> {
    (rules.defaults)(&mut new);
    (rules.defaults)(&mut old);
    let user = UserInfo::authenticated("tester", &[]);
    let context = Context { user: &user, now: jiff::Timestamp::UNIX_EPOCH };
    strategy::before_update(rules, namespaced, &mut new, &old, &context).map_err(|errors| said(&errors))?;
    Ok(new)
}
