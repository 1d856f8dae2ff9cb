//! Merging two lists: scalars as a set, objects by a field.

use super::meta::{FieldMeta, Strategy};
use super::{DIRECTIVE, Error, bad_patch_type, merge_map, no_merge_key, order};
use crate::value::{Map, Value};

/// A merged list, and the order of the current one that [`order`] goes by.
pub(super) struct Merged {
    pub items: Vec<Value>,
    /// The items of the current list (their merge keys, where there is one) as upstream still
    /// sees them after merging: its merge shifts and appends in the very array that it later
    /// reads the old order from, so an item that took the place of a deleted one has an order.
    pub server_order: Vec<Value>,
}

/// Merges `patch` into `original` as the field's strategy says.
pub(super) fn merge(original: Vec<Value>, patch: Vec<Value>, field: &FieldMeta<'_>) -> Result<Merged, Error> {
    if field.strategy != Strategy::Merge {
        let server_order = original.iter().map(|item| order::rank_value(item, field.merge_key).clone()).collect();
        return Ok(Merged { items: patch, server_order });
    }
    if original.is_empty() && patch.is_empty() {
        return Ok(Merged { items: original, server_order: Vec::new() });
    }
    match element_is_object(&original, &patch)? {
        false => {
            let server_order = original.clone();
            let patch_order = patch.clone();
            let merged = deduplicate(original.into_iter().chain(patch).collect());
            let items = order::arrange(merged, &patch_order, &server_order, "")?;
            Ok(Merged { items, server_order })
        }
        true => merge_objects(original, patch, field),
    }
}

/// `$deleteFromPrimitiveList`. On a list of objects it merges instead, as upstream's does.
pub(super) fn delete(original: Vec<Value>, items: Vec<Value>, field: &FieldMeta<'_>) -> Result<Vec<Value>, Error> {
    if original.is_empty() && items.is_empty() {
        return Ok(original);
    }
    match element_is_object(&original, &items)? {
        false => Ok(original.into_iter().filter(|item| !items.contains(item)).collect()),
        true => Ok(merge_objects(original, items, field)?.items),
    }
}

fn merge_objects(original: Vec<Value>, patch: Vec<Value>, field: &FieldMeta<'_>) -> Result<Merged, Error> {
    let key = field.merge_key;
    if key.is_empty() {
        let why = format!("cannot merge lists without merge key for {}", field.of.kind());
        return Err(Error::Other(why));
    }
    let mut list = Backed::new(original, key);
    let (patch, replace) = carry_out_directives(&mut list, patch, key)?;
    let patch_order: Vec<Value>;
    let mut merged;
    let current_order: Vec<Value>;
    if replace {
        current_order = patch.iter().map(|item| item.get(key).clone()).collect();
        patch_order = Vec::new();
        merged = patch;
    } else {
        current_order = list.backing[..list.items.len()].to_vec();
        patch_order = patch
            .iter()
            .map(|item| match item.as_object().and_then(|item| item.get(key)) {
                Some(value) => Ok(value.clone()),
                None => Err(no_merge_key(item, key)),
            })
            .collect::<Result<_, Error>>()?;
        for (item, value) in patch.into_iter().zip(&patch_order) {
            match list.items.iter_mut().find(|candidate| has_key(candidate, key, value)) {
                Some(found) => merge_map(found.make_object(), into_map(item), field.of)?,
                None => list.append(item, value),
            }
        }
        merged = std::mem::take(&mut list.items);
    }
    if let Some(item) = merged.iter().find(|item| !item.as_object().is_some_and(|item| item.contains_key(key))) {
        return Err(no_merge_key(item, key));
    }
    merged = order::arrange(merged, &patch_order, &current_order, key)?;
    Ok(Merged { items: merged, server_order: list.view() })
}

/// Removes the items that the patch deletes; gives the items left to merge, and whether they are
/// to replace the list.
fn carry_out_directives(list: &mut Backed, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, bool), Error> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.as_object().and_then(|item| item.get(DIRECTIVE)) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => match item.as_object().and_then(|item| item.get(key)) {
                Some(value) => list.remove(key, value),
                None => return Err(no_merge_key(&item, key)),
            },
            Some("replace") => replace = true,
            Some("merge") => return Err(Error::Other("merging lists cannot yet be specified in the patch".into())),
            _ => return Err(bad_patch_type(directive, &item)),
        }
    }
    Ok((rest, replace))
}

/// A list with the merge keys of the array that backs it upstream, of the list's first length.
struct Backed {
    items: Vec<Value>,
    backing: Vec<Value>,
    length: usize,
}

impl Backed {
    fn new(items: Vec<Value>, key: &str) -> Backed {
        let backing: Vec<Value> = items.iter().map(|item| item.get(key).clone()).collect();
        Backed { length: items.len(), items, backing }
    }

    /// Removes all items with this merge key: the rest moves up, the last place keeps what it had.
    fn remove(&mut self, key: &str, value: &Value) {
        while let Some(at) = self.items.iter().position(|item| has_key(item, key, value)) {
            self.items.remove(at);
            let end = self.items.len();
            self.backing[at..=end].rotate_left(1);
            if end > at {
                self.backing[end] = self.backing[end - 1].clone();
            }
        }
    }

    fn append(&mut self, item: Value, value: &Value) {
        if let Some(place) = self.backing.get_mut(self.items.len()) {
            *place = value.clone();
        }
        self.items.push(item);
    }

    fn view(mut self) -> Vec<Value> {
        self.backing.truncate(self.length);
        self.backing
    }
}

fn has_key(item: &Value, key: &str, value: &Value) -> bool {
    item.as_object().and_then(|item| item.get(key)) == Some(value)
}

fn into_map(value: Value) -> Map {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Drops later duplicates by moving the last item into their place.
fn deduplicate(mut items: Vec<Value>) -> Vec<Value> {
    let mut i = 0;
    while i < items.len() {
        let mut j = i + 1;
        while j < items.len() {
            match items[i] == items[j] {
                true => drop(items.swap_remove(j)),
                false => j += 1,
            }
        }
        i += 1;
    }
    items
}

/// Whether the items are objects. All must be of one kind.
pub(super) fn element_is_object(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    use super::gofmt::{Plain, type_of};
    let mut items = original.iter().chain(patch);
    let first = items.next().ok_or_else(|| Error::Other("no elements in any of the given slices".into()))?;
    match first {
        Value::Array(_) => return Err(Error::ListOfLists),
        Value::Null => return Err(Error::Other("lists with null elements are not supported".into())),
        _ => {}
    }
    if items.any(|item| type_of(item) != type_of(first)) {
        let (original, patch) = (Value::Array(original.to_vec()), Value::Array(patch.to_vec()));
        let why = format!("list element types are not identical: [{} {}]", Plain(&original), Plain(&patch));
        return Err(Error::Other(why));
    }
    Ok(matches!(first, Value::Object(_)))
}
