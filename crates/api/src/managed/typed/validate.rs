//! Whether a tree fits its type: what upstream checks of an applied configuration first.

use super::{Atom, Dotted, Fields, List, Problems, Scalar, Type};
use crate::managed::{PathElement, Set};
use crate::patch::gofmt::{Plain, Syntax, type_of};
use crate::value::{Map, Value};

/// Whether lists may hold several items of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// In live objects.
    Allowed,
    /// In applied ones.
    Forbidden,
}

/// Checks fields, kinds of values, and the keys of list items.
///
/// # Errors
/// All that is wrong; of an object with several unknown fields the first.
pub fn validate(of: Type<'_>, value: &Value, duplicates: Duplicates) -> Result<(), Problems> {
    match of.atom(Some(value)) {
        Atom::Scalar(scalar) => check_scalar(scalar, value, ""),
        Atom::List(list) => match value {
            Value::Array(items) => check_items(list, items, duplicates),
            Value::Null => Ok(()),
            other => Err(Problems::one(format!("expected list, got {}", wrapped(other)))),
        },
        Atom::Map(fields) => match value {
            Value::Object(map) => check_fields(fields, map, duplicates),
            Value::Null => Ok(()),
            other => Err(Problems::one(format!("expected map, got {}", wrapped(other)))),
        },
    }
}

fn check_fields(fields: Fields<'_>, map: &Map, duplicates: Duplicates) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut walk = fields.walk();
    for (key, value) in map.iter() {
        let Some(of) = walk.field(key) else {
            problems.extend(Problems::one("field not declared in schema").under(&Dotted(key)).0);
            break;
        };
        if let Err(found) = validate(of, value, duplicates) {
            problems.extend(found.under(&Dotted(key)).0);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

fn check_items(list: List<'_>, items: &[Value], duplicates: Duplicates) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut seen = Set::new();
    let look_for_duplicates = !list.is_atomic()
        && duplicates == Duplicates::Forbidden
        && (items.len() > List::PAIRWISE_MAX || !list.all_differ(items));
    for (at, item) in items.iter().enumerate() {
        if look_for_duplicates || !(list.is_atomic() || list.tells(item)) {
            let element = match list.element(item) {
                Ok(element) => element,
                Err(why) => {
                    problems.extend(Problems::one(format!("element {at}: {why}")).0);
                    break;
                }
            };
            let entry = seen.entry(element);
            if look_for_duplicates && entry.member {
                problems.extend(Problems::one(format!("duplicate entries for key {}", entry.element)).0);
            }
            entry.member = true;
        }
        if let Err(found) = validate(list.item, item, duplicates) {
            let element = list.element(item).unwrap_or(PathElement::Index(at as i64));
            problems.extend(found.under(&element).0);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

pub(super) fn check_scalar(scalar: Scalar, value: &Value, side: &str) -> Result<(), Problems> {
    let why = match (scalar, value) {
        (_, Value::Null)
        | (Scalar::Numeric, Value::Int(_) | Value::Float(_))
        | (Scalar::String, Value::String(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Untyped, Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Bool(_) | Value::Json(_)) => {
            return Ok(());
        }
        (Scalar::Numeric, other) => format!("expected numeric (int or float), got {}", type_of(other)),
        (Scalar::String, other) => {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", Syntax(other))
        }
        (Scalar::Boolean, other) => format!("expected boolean, got {}", wrapped(other)),
        (Scalar::Untyped, other) => format!("expected any scalar, got {}", wrapped(other)),
    };
    Err(Problems::one(format!("{side}{why}")))
}

/// A value within upstream's holder of it.
fn wrapped(value: &Value) -> String {
    format!("&{{{}}}", Plain(value))
}
