//! Strategic merge patch, as upstream's `apimachinery/pkg/util/strategicpatch` applies it
//! (`StrategicMergeMapPatch`).
//!
//! A merge patch that knows the types: lists with a patch strategy merge by a field or as sets,
//! and directives in the patch steer the rest.
//!
//! | in the patch | what it does |
//! |---|---|
//! | `$patch: replace` in an object | the object is replaced by what else the patch holds |
//! | `$patch: delete` in an object | the object is emptied; in a list: the item is removed |
//! | `$retainKeys: […]` | fields not named are removed from the current object |
//! | `$deleteFromPrimitiveList/F: […]` | these items leave the list `F` |
//! | `$setElementOrder/F: […]` | the order of the list `F` after merging |
//!
//! `meta` reads the schema, `list` merges lists, `order` puts them in order; [`check_types`] words
//! what is wrong with the outcome.

mod convert;
mod list;
mod meta;
mod order;

pub use convert::{check_types, shown};

use super::{gofmt, unprocessable};
use crate::schema::{Schema, StructId};
use crate::status::Status;
use crate::value::{Key, Map, Value};
use meta::{Meta, Strategy};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const ELEMENT_ORDER: &str = "$setElementOrder";

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is no object.
    #[error("json: cannot unmarshal {0} into Go value of type map[string]interface {{}}")]
    NotAnObject(&'static str),
    /// A `$deleteFromPrimitiveList` that names no list.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$retainKeys` is no list, or misses a field that the patch sets.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// A `$setElementOrder` that names no list.
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    /// A list of lists was to be merged.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// Everything else; upstream answers these with code 500 and no reason.
    #[error("{0}")]
    Other(String),
}

/// Applies `patch` to `current`, an object of the type `of`.
///
/// `current` is in the version that the patch was written for, with the fields that Go's encoder
/// writes for it. Types without a schema have no strategic merge patch: callers answer 415.
///
/// # Errors
/// See [`Error`]; the object is then lost.
pub fn apply(current: Value, patch: Value, schema: &Schema, of: StructId) -> Result<Value, Error> {
    let patch = match patch {
        Value::Object(patch) => patch,
        Value::Null => return Ok(current),
        Value::Array(_) => return Err(Error::NotAnObject("array")),
        Value::String(_) => return Err(Error::NotAnObject("string")),
        Value::Bool(_) => return Err(Error::NotAnObject("bool")),
        Value::Int(_) | Value::Float(_) => return Err(Error::NotAnObject("number")),
        Value::Json(_) => match patch.opened().into_owned() {
            Value::Object(patch) => patch,
            _ => Map::new(),
        },
    };
    let mut current = current;
    merge_map(current.make_object(), patch, Meta::root(schema, of))?;
    Ok(current)
}

/// Merges one object.
fn merge_map(original: &mut Map, mut patch: Map, meta: Meta<'_>) -> Result<(), Error> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => *original = patch,
            Some("delete") => *original = Map::new(),
            _ => {
                patch.insert(DIRECTIVE, directive.clone());
                return Err(bad_patch_type(&directive, &Value::Object(patch)));
            }
        }
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    order::merge_ordered_lists(original, &mut patch, meta)?;
    for (key, value) in patch {
        match key.starts_with(DELETE_FROM_LIST) {
            true => delete_from_list(original, &key, value, meta)?,
            false => merge_field(original, key, value, meta)?,
        }
    }
    Ok(())
}

fn merge_field(original: &mut Map, key: Key, value: Value, meta: Meta<'_>) -> Result<(), Error> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    match (original.get_mut(&key), value) {
        (Some(Value::Object(current)), Value::Object(patch)) => {
            let field = meta.field(&key)?;
            match field.strategy {
                Strategy::Replace => *current = patch,
                _ => merge_map(current, patch, field.of)?,
            }
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            let field = meta.list(&key)?;
            *current = list::merge(std::mem::take(current), patch, &field)?.items;
        }
        (Some(_), value) => match new_value(value) {
            Some(value) => drop(original.insert(key, value)),
            None => drop(original.remove(&key)),
        },
        (None, value) => {
            if let Some(value) = new_value(value) {
                original.push_unchecked(key, value);
            }
        }
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/F`: works on what is there, and only where it is a list.
fn delete_from_list(original: &mut Map, directive: &str, value: Value, meta: Meta<'_>) -> Result<(), Error> {
    let key = named_list(directive, DELETE_FROM_LIST).ok_or(Error::PrimitiveList)?;
    if value.is_null() {
        original.remove(key);
        return Ok(());
    }
    if let (Some(Value::Array(current)), Value::Array(items)) = (original.get_mut(key), value) {
        let field = meta.list(key)?;
        *current = list::delete(std::mem::take(current), items, &field)?;
    }
    Ok(())
}

/// The list that a directive's name ends with.
fn named_list<'a>(directive: &'a str, prefix: &str) -> Option<&'a str> {
    directive.strip_prefix(prefix)?.strip_prefix('/')
}

/// Empties `original` of all that `$retainKeys` does not name.
fn retain_keys(original: &mut Map, patch: &mut Map) -> Result<(), Error> {
    let Some(names) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let names = names.as_array().ok_or(Error::RetainKeys)?;
    let named = |key: &str| names.iter().any(|name| name.as_str() == Some(key));
    let missing = patch.iter().any(|(key, value)| {
        !value.is_null() && !key.starts_with(DELETE_FROM_LIST) && !key.starts_with(ELEMENT_ORDER) && !named(key)
    });
    if missing {
        return Err(Error::RetainKeys);
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// What a patch's value becomes where there is nothing to merge it with: without nulls and
/// without objects that hold `$patch`.
fn new_value(mut value: Value) -> Option<Value> {
    discard_nulls(&mut value);
    strip_directives(&mut value).then_some(value)
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|_, value| {
            discard_nulls(value);
            !value.is_null()
        }),
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// An item of a new list: as [`new_value`], but its nulls stay.
fn new_item(mut value: Value) -> Option<Value> {
    strip_directives(&mut value).then_some(value)
}

/// Whether the value is to be kept at all.
fn strip_directives(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => return false,
        Value::Object(fields) => fields.retain(|_, value| strip_directives(value)),
        Value::Array(items) => items.retain_mut(strip_directives),
        _ => {}
    }
    true
}

// === errors ===

fn bad_patch_type(directive: &Value, holder: &Value) -> Error {
    let directive = match directive {
        Value::String(text) => text.to_string(),
        other => format!("%!s({}={})", gofmt::type_of(other), gofmt::Plain(other)),
    };
    Error::Other(format!("unknown patch type: {directive} in map: {}", gofmt::Plain(holder)))
}

fn no_merge_key(item: &Value, key: &str) -> Error {
    Error::Other(format!("map: {} does not contain declared merge key: {key}", gofmt::Plain(item)))
}

fn bad_argument(expected: &str, actual: &Value) -> Error {
    let actual = match actual {
        Value::Null => "%!s(<nil>)",
        other => gofmt::type_of(other),
    };
    Error::Other(format!("expected a {expected}, but received a {actual}"))
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        match error {
            Error::NotAnObject(_) | Error::PrimitiveList | Error::RetainKeys | Error::ElementOrder => {
                Status::bad_request(error.to_string())
            }
            Error::ListOfLists => unprocessable(),
            Error::Other(why) => Status::new(500, "", why),
        }
    }
}

#[cfg(test)]
mod tests;
