//! The order of merged lists: `$setElementOrder` before the patch's order before the current one.

use super::list::{self, element_is_object};
use super::meta::Meta;
use super::{DIRECTIVE, ELEMENT_ORDER, Error, bad_argument, gofmt, named_list, new_item, no_merge_key};
use crate::value::{Key, Map, Value};

/// Merges the lists that the patch gives an order for, and takes them out of the patch.
pub(super) fn merge_ordered_lists(original: &mut Map, patch: &mut Map, meta: Meta<'_>) -> Result<(), Error> {
    let directives: Vec<Key> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = into_list(patch.remove(&directive).unwrap_or_default())?;
        let key = named_list(&directive, ELEMENT_ORDER).ok_or(Error::ElementOrder)?;
        merge_ordered_list(original, patch, key, &order, meta)?;
    }
    Ok(())
}

fn merge_ordered_list(
    original: &mut Map,
    patch: &mut Map,
    key: &str,
    order: &[Value],
    meta: Meta<'_>,
) -> Result<(), Error> {
    let current = original.get_mut(key).map(|value| into_list(std::mem::take(value))).transpose()?;
    let patch_list = patch.get(key).map(as_list).transpose()?;
    let field = meta.list(key)?;
    check_order(patch_list.unwrap_or_default(), order, field.merge_key)?;
    let patch_list = patch.remove(key).map(into_list).transpose()?;
    let objects = |current: &[Value], patch: &[Value]| match (current, patch) {
        ([], []) => None,
        _ => Some(element_is_object(current, patch)),
    };
    let nothing: &[Value] = &[];
    let kind = objects(current.as_deref().unwrap_or(nothing), patch_list.as_deref().unwrap_or(nothing));
    // Items that can't be told apart have no order; upstream sees that last.
    let nameless = match kind {
        Some(Ok(true)) => current.iter().flatten().find(|item| !has(item, field.merge_key)),
        _ => None,
    };
    let nameless = nameless.map(|item| no_merge_key(item, field.merge_key));
    let (merged, server_order) = match (current, patch_list) {
        (None, None) => return Ok(()),
        (Some(current), None) => {
            let ranks = current.iter().map(|item| rank_value(item, field.merge_key).clone()).collect();
            (current, ranks)
        }
        (None, Some(patch)) => (patch.into_iter().filter_map(new_item).collect(), Vec::new()),
        (Some(current), Some(patch)) => {
            let merged = list::merge(current, patch, &field)?;
            (merged.items, merged.server_order)
        }
    };
    let order_values = match (kind, field.merge_key) {
        (None, _) => return Err(Error::Other("no elements in any of the given slices".into())),
        (Some(Err(error)), _) => return Err(error),
        (Some(Ok(true)), "") if !merged.is_empty() || order.iter().any(|item| item.as_object().is_some()) => {
            // Upstream panics here: objects without a merge key have no order to look up.
            return Err(Error::Other(format!("cannot order list without merge key: {key}")));
        }
        (Some(Ok(false)), _) | (_, "") => order.to_vec(),
        (Some(Ok(true)), merge_key) => merge_keys(order, merge_key)?,
    };
    if let Some(item) = merged.iter().find(|item| !field.merge_key.is_empty() && !has(item, field.merge_key)) {
        return Err(no_merge_key(item, field.merge_key));
    }
    if let Some(error) = nameless {
        return Err(error);
    }
    let merged = arrange(merged, &order_values, &server_order, field.merge_key)?;
    original.insert(key, merged);
    Ok(())
}

/// The items of the patch must stand in `$setElementOrder`, in its order.
fn check_order(patch: &[Value], order: &[Value], merge_key: &str) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    if let Some(item) = patch.iter().find(|item| !merge_key.is_empty() && item.as_object().is_none()) {
        return Err(bad_argument("map[string]interface {}", item));
    }
    let deletes = |item: &Value| item.get(DIRECTIVE).as_str() == Some("delete");
    let mut items = patch.iter().filter(|item| merge_key.is_empty() || !deletes(item)).peekable();
    let mut place = 0;
    while let Some(item) = items.peek() {
        let Some(expected) = order.get(place) else {
            let (patch, order) = (Value::Array(patch.to_vec()), Value::Array(order.to_vec()));
            let (patch, order) = (gofmt::Plain(&patch), gofmt::Plain(&order));
            let why = format!("The order in patch list:\n{patch}\n doesn't match {ELEMENT_ORDER} list:\n{order}\n");
            return Err(Error::Other(why));
        };
        if has(item, DIRECTIVE) {
            items.next();
            continue;
        }
        if same(item, expected, merge_key)? {
            items.next();
        }
        place += 1;
    }
    Ok(())
}

fn same(item: &Value, expected: &Value, merge_key: &str) -> Result<bool, Error> {
    if merge_key.is_empty() {
        return Ok(item == expected);
    }
    for one in [item, expected] {
        match one.as_object() {
            None => return Err(bad_argument("map[string]interface {}", one)),
            Some(fields) if !fields.contains_key(merge_key) => return Err(no_merge_key(one, merge_key)),
            Some(_) => {}
        }
    }
    Ok(item.get(merge_key) == expected.get(merge_key))
}

/// Puts the items in order: those named in `patch_order` in its order, the server's own in
/// `server_order`, and the two interleaved as the server's order allows.
pub(super) fn arrange(
    items: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: &str,
) -> Result<Vec<Value>, Error> {
    let find = |order: &[Value], item: &Value| {
        let value = rank_value(item, merge_key);
        order.iter().position(|one| one == value)
    };
    let (mut ours, mut server_only) = (Vec::new(), Vec::new());
    for item in items {
        match find(patch_order, &item) {
            rank @ Some(_) => ours.push((rank, item)),
            None => server_only.push((find(server_order, &item), item)),
        }
    }
    stable_sort(&mut ours);
    stable_sort(&mut server_only);
    let mut arranged = Vec::with_capacity(ours.len() + server_only.len());
    let mut ours = ours.into_iter().peekable();
    let mut server_only = server_only.into_iter().peekable();
    loop {
        let server_first = match (server_only.peek(), ours.peek()) {
            (None, None) => return Ok(arranged),
            (_, None) => true,
            (None, _) => false,
            (Some((server_rank, _)), Some((_, item))) => match (server_rank, find(server_order, item)) {
                (Some(left), Some(right)) => *left < right,
                _ => false,
            },
        };
        arranged.extend(if server_first { server_only.next() } else { ours.next() }.map(|(_, item)| item));
    }
}

/// What an item is told apart by.
pub(super) fn rank_value<'a>(item: &'a Value, merge_key: &str) -> &'a Value {
    if merge_key.is_empty() { item } else { item.get(merge_key) }
}

type Ranked = (Option<usize>, Value);

/// Go's `sort.SliceStable`. Upstream's comparison calls an item without a rank less than any
/// other, in both directions, so that the outcome depends on the algorithm.
fn stable_sort(items: &mut [Ranked]) {
    /// Items that Go sorts by insertion before it merges.
    const BLOCK: usize = 20;
    for block in items.chunks_mut(BLOCK) {
        insertion_sort(block);
    }
    let mut size = BLOCK;
    while size < items.len() {
        for pair in items.chunks_mut(2 * size).filter(|pair| pair.len() > size) {
            merge_halves(pair, size);
        }
        size *= 2;
    }
}

fn less(a: &Ranked, b: &Ranked) -> bool {
    match (a.0, b.0) {
        (Some(a), Some(b)) => a < b,
        _ => true,
    }
}

fn insertion_sort(items: &mut [Ranked]) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && less(&items[at], &items[at - 1]) {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Go's `symMerge` of two sorted halves, the second from `middle`.
fn merge_halves(items: &mut [Ranked], middle: usize) {
    let length = items.len();
    if middle == 1 {
        let place = partition(1, length, |at| less(&items[at], &items[0]));
        items[..place].rotate_left(1);
        return;
    }
    if length - middle == 1 {
        let place = partition(0, middle, |at| !less(&items[middle], &items[at]));
        items[place..].rotate_right(1);
        return;
    }
    let half = length / 2;
    let sum = half + middle;
    let (low, high) = if middle > half { (sum - length, half) } else { (0, middle) };
    let start = partition(low, high, |at| !less(&items[sum - 1 - at], &items[at]));
    let end = sum - start;
    if start < middle && middle < end {
        items[start..end].rotate_left(middle - start);
    }
    if 0 < start && start < half {
        merge_halves(&mut items[..half], start);
    }
    if half < end && end < length {
        merge_halves(&mut items[half..], end - half);
    }
}

/// Binary search for the first index that is not `before`.
fn partition(mut low: usize, mut high: usize, before: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = (low + high) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn has(item: &Value, key: &str) -> bool {
    item.as_object().is_some_and(|item| item.contains_key(key))
}

fn merge_keys(items: &[Value], key: &str) -> Result<Vec<Value>, Error> {
    let one = |item: &Value| match item.as_object() {
        None => Err(bad_argument("map[string]interface {}", item)),
        Some(fields) => fields.get(key).cloned().ok_or_else(|| no_merge_key(item, key)),
    };
    items.iter().map(one).collect()
}

fn as_list(value: &Value) -> Result<&[Value], Error> {
    value.as_array().ok_or_else(|| bad_argument("[]interface {}", value))
}

fn into_list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(bad_argument("[]interface {}", &other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_stably_where_all_have_a_rank(ranks in prop::collection::vec(0usize..30, 0..90)) {
            let mut items: Vec<Ranked> =
                ranks.iter().enumerate().map(|(at, rank)| (Some(*rank), Value::Int(at as i64))).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(rank, _)| *rank);
            stable_sort(&mut items);
            prop_assert_eq!(items, expected);
        }
    }
}
