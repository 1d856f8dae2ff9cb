//! Merging an applied configuration into the live object.

use super::{Atom, Fields, List, Type};
use crate::managed::{PathElement, zip};
use crate::value::{Map, Value};

/// `config` over `live`: nothing is removed, leaves are the configuration's. Lists follow the
/// order of the configuration, with the items that only the live object has where they were.
///
/// Both have been validated.
pub fn merge(of: Type<'_>, live: &Value, config: &Value) -> Value {
    match of.atom(Some(config)) {
        Atom::Scalar(_) => config.clone(),
        Atom::List(list) => match (live.as_array(), config) {
            (Some(live), Value::Array(config)) if !list.is_atomic() && list.in_step(live, config) => {
                Value::Array(live.iter().zip(config).map(|(live, config)| merge(list.item, live, config)).collect())
            }
            (Some(live), Value::Array(config)) if !list.is_atomic() && live.len() + config.len() > 0 => {
                Value::Array(merge_items(list, live, config))
            }
            // Null is no list: it leaves the live one.
            (Some(items), Value::Null) if !list.is_atomic() && !items.is_empty() => live.clone(),
            _ => config.clone(),
        },
        Atom::Map(fields) => match (live.as_object(), config) {
            (Some(live), Value::Object(config)) if !fields.atomic && live.len() + config.len() > 0 => {
                Value::Object(merge_fields(fields, live, config))
            }
            (Some(map), Value::Null) if !fields.atomic && !map.is_empty() => live.clone(),
            _ => config.clone(),
        },
    }
}

fn merge_fields(fields: Fields<'_>, live: &Map, config: &Map) -> Map {
    let mut merged = Map::with_capacity(live.len().max(config.len()));
    let mut walk = fields.walk();
    for (key, live, config) in zip(live, config) {
        let value = match (live, config, walk.field(key)) {
            (Some(live), Some(config), Some(of)) => merge(of, live, config),
            (_, Some(config), _) => config.clone(),
            (Some(live), None, _) => live.clone(),
            (None, None, _) => continue,
        };
        merged.push_unchecked(key.clone(), value);
    }
    merged
}

/// Goes through both lists at once. What they share comes in the configuration's order; an item
/// of the live list alone comes where the walk meets it.
fn merge_items(list: List<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let elements = |items: &[Value]| -> Vec<PathElement> {
        let name = |(at, item): (usize, &Value)| list.element(item).unwrap_or(PathElement::Index(at as i64));
        items.iter().enumerate().map(name).collect()
    };
    let (lefts, rights) = (elements(live), elements(config));
    let (left_index, right_index) = (index(&lefts), index(&rights));
    let find = |index: &[(&PathElement, usize)], element: &PathElement| {
        let start = index.partition_point(|(one, _)| *one < element);
        let count = index[start..].iter().take_while(|(one, _)| *one == element).count();
        (count > 0).then(|| (index[start].1, count))
    };
    // An item that the live list has more than once is not merged with: the configuration's replaces it.
    let merge_one = |at: usize| match find(&left_index, &rights[at]) {
        Some((place, 1)) => merge(list.item, &live[place], &config[at]),
        _ => config[at].clone(),
    };
    let mut shared = rights.iter().filter(|element| find(&left_index, element).is_some());
    let mut next_shared = shared.next();
    let mut merged = vec![false; rights.len()];
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let (mut l, mut r) = (0, 0);
    while l < lefts.len() || r < rights.len() {
        if l < lefts.len() && r < rights.len() {
            let element = &lefts[l];
            if *element == rights[r] {
                merged[r] = true;
                out.push(merge_one(r));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if find(&right_index, element).is_some() && next_shared.is_some_and(|next| next != element) {
                l += 1;
                continue;
            }
        }
        if l < lefts.len() {
            match find(&right_index, &lefts[l]) {
                None => {
                    out.push(live[l].clone());
                    l += 1;
                    continue;
                }
                Some((place, _)) if merged[place] => l += 1,
                Some(_) => {}
            }
        }
        if r < rights.len() {
            merged[r] = true;
            out.push(merge_one(r));
            if next_shared == Some(&rights[r]) {
                next_shared = shared.next();
            }
            r += 1;
        }
    }
    out
}

/// Elements and their first places, sorted.
fn index(elements: &[PathElement]) -> Vec<(&PathElement, usize)> {
    let mut index: Vec<(&PathElement, usize)> = elements.iter().zip(0..).collect();
    index.sort();
    index
}
