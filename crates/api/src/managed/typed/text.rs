//! FieldsV1 of a whole tree, written without a set in between: what a new object's creator and an applier own.
//!
//! The two forms differ in what is a member: [`created`] writes what [`compare`](super::compare) finds gained since the
//! empty object, [`applied`] what [`to_set`](super::to_set) lists. Trees that these two know more about (items that can't
//! be told apart, fields without a type) have no text here.

use smol_str::SmolStr;

use super::{Atom, Fields, List, Type};
use crate::managed::request::STRIPPED;
use crate::managed::{Filter, PathElement, Set, element};
use crate::value::{Map, Value};

/// The fields of a new object that its creator owns; `empty` is the empty struct of its kind. None where it takes a
/// closer look.
pub fn created(of: Type<'_>, empty: &Value, object: &Value, filter: &Filter) -> Option<SmolStr> {
    write(of, Scope::Created, Some(empty), object, filter)
}

/// The fields that who applies this configuration comes to own. None where it takes a closer look.
pub fn applied(of: Type<'_>, config: &Value, filter: &Filter) -> Option<SmolStr> {
    write(of, Scope::Applied, None, config, filter)
}

fn write(of: Type<'_>, scope: Scope, empty: Option<&Value>, tree: &Value, filter: &Filter) -> Option<SmolStr> {
    let without = match filter {
        Filter::All => None,
        Filter::Without(fields) => Some(fields),
        Filter::Only(_) => return None,
    };
    let mut writer = Writer { scope, out: Vec::with_capacity(512), order: Vec::new() };
    writer.out.push(b'{');
    writer.children(Below::of(of, tree), empty, Marks { stripped: Some(&STRIPPED), without })?;
    writer.out.push(b'}');
    Some(SmolStr::from(String::from_utf8_lossy(&writer.out)))
}

/// What is a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Whatever the empty object does not have.
    Created,
    /// Leaves, items, keys of maps.
    Applied,
}

/// What lies below a value and has path elements of its own.
enum Below<'a> {
    /// Nothing could.
    Leaf,
    /// It is a list of items that has none.
    NoItems,
    Fields(Fields<'a>, &'a Map),
    Items(List<'a>, &'a [Value]),
}

/// Fields that are nobody's: the parts of two sets that concern the place at hand.
#[derive(Clone, Copy, Default)]
struct Marks<'m> {
    /// No members, though what lies below them may be.
    stripped: Option<&'m Set>,
    /// Neither they nor what lies below them.
    without: Option<&'m Set>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Stripped,
    Without,
}

struct Writer {
    scope: Scope,
    out: Vec<u8>,
    /// Where the fields of the objects that are being written stand: by name, one object after the other.
    order: Vec<u16>,
}

/// One path element's value.
struct Child<'a> {
    of: Type<'a>,
    old: Option<&'a Value>,
    value: &'a Value,
    /// Whether a list's item or a map's key, which are members by themselves.
    listed: bool,
    stripped: bool,
    below: Marks<'a>,
}

// === impl Below ===

impl<'a> Below<'a> {
    fn of(of: Type<'a>, value: &'a Value) -> Below<'a> {
        match (of.atom(Some(value)), value) {
            (Atom::List(list), Value::Array(items)) if !list.is_atomic() => match items.as_slice() {
                [] => Below::NoItems,
                items => Below::Items(list, items),
            },
            (Atom::Map(fields), Value::Object(map)) if !fields.atomic && !map.is_empty() => Below::Fields(fields, map),
            _ => Below::Leaf,
        }
    }
}

// === impl Marks ===

impl<'m> Marks<'m> {
    /// What is marked below a field, and how the field itself is.
    fn at(self, name: &str) -> (Marks<'m>, Mark) {
        let find = |set: Option<&'m Set>| set.and_then(|set| set.field(name));
        let (stripped, without) = (find(self.stripped), find(self.without));
        let mark = match (stripped, without) {
            (_, Some(entry)) if entry.member => Mark::Without,
            (Some(entry), _) if entry.member => Mark::Stripped,
            _ => Mark::None,
        };
        let below =
            Marks { stripped: stripped.map(|entry| &entry.children), without: without.map(|entry| &entry.children) };
        (below, mark)
    }
}

// === impl Writer ===

impl Writer {
    fn children(&mut self, below: Below<'_>, old: Option<&Value>, marks: Marks<'_>) -> Option<()> {
        match below {
            Below::Leaf | Below::NoItems => Some(()),
            Below::Fields(fields, map) => self.fields(fields, old.and_then(Value::as_object), map, marks),
            // The empty object has no items.
            Below::Items(list, items) => self.items(list, items),
        }
    }

    /// Fields in their names' order.
    fn fields(&mut self, fields: Fields<'_>, old: Option<&Map>, map: &Map, marks: Marks<'_>) -> Option<()> {
        let entries = map.entries();
        let first = self.order.len();
        self.order.extend(0..u16::try_from(entries.len()).ok()?);
        let sorted = entries.is_sorted_by(|(a, _), (b, _)| a.as_str() <= b.as_str());
        if !sorted {
            self.order[first..].sort_unstable_by_key(|&at| entries[usize::from(at)].0.as_str());
        }
        for place in first..first + entries.len() {
            let (key, value) = &entries[usize::from(self.order[place])];
            let named = fields.named(key);
            let of = named.or(fields.element)?;
            let (below, mark) = marks.at(key);
            let old = old.and_then(|old| old.get(key));
            let child = Child { of, old, value, listed: named.is_none(), stripped: mark == Mark::Stripped, below };
            let start = self.out.len();
            self.child(child, |out| PathElement::write_field_key(key, out))?;
            // What is nobody's has to fit its type, too.
            if mark == Mark::Without {
                self.out.truncate(start);
            }
        }
        self.order.truncate(first);
        Some(())
    }

    fn items(&mut self, list: List<'_>, items: &[Value]) -> Option<()> {
        let mut keyed: Vec<(PathElement, &Value)> = Vec::with_capacity(items.len());
        for item in items {
            keyed.push((list.element(item).ok()?, item));
        }
        keyed.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if keyed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        for (element, value) in keyed {
            let of = list.item;
            let child = Child { of, old: None, value, listed: true, stripped: false, below: Marks::default() };
            self.child(child, |out| element.write_key(out))?;
        }
        Some(())
    }

    /// One entry, if it is a member or holds any.
    fn child(&mut self, child: Child<'_>, write_key: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
        let Child { of, old, value, listed, stripped, below: marks } = child;
        let below = Below::of(of, value);
        let is_bare = matches!(below, Below::Leaf | Below::NoItems);
        let member = !stripped
            && match (self.scope, old) {
                (Scope::Created, None) => true,
                (Scope::Created, Some(old)) => is_bare && !has_fields(old) && !element::equal(old, value),
                (Scope::Applied, _) => listed || matches!(below, Below::Leaf),
            };
        let start = self.out.len();
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        write_key(&mut self.out);
        self.out.extend_from_slice(b":{");
        let inside = self.out.len();
        if member && !is_bare {
            self.out.extend_from_slice(b"\".\":{}");
        }
        let before = self.out.len();
        self.children(below, old, marks)?;
        if self.out.len() == before {
            match member {
                // Nothing counts below it.
                true => self.out.truncate(inside),
                false => {
                    self.out.truncate(start);
                    return Some(());
                }
            }
        }
        self.out.push(b'}');
        Some(())
    }
}

fn has_fields(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use crate::managed::fields;
    use crate::managed::typed::{compare, to_set};
    use crate::schema::{self, Shape};
    use crate::testing::{item_schema, json, of_shape};
    use proptest::prelude::*;

    fn filters() -> impl Strategy<Value = Filter> {
        let without = |paths: &[&[&str]]| Filter::Without(Set::of_fields(paths));
        prop_oneof![
            Just(Filter::All),
            Just(without(&[&["labels"], &["pointer", "name"], &["items"]])),
            Just(without(&[&["mergingList"], &["retaining"]])),
        ]
    }

    /// What the creator owns, by way of the sets.
    fn gained(of: Type<'_>, empty: &Value, object: &Value, filter: &Filter) -> Option<SmolStr> {
        let (mut gained, _) = compare(of, empty, object).ok()?.filtered(filter).split();
        gained.subtract(&STRIPPED);
        Some(fields::text(&gained))
    }

    /// What the applier owns, by way of the sets.
    fn listed(of: Type<'_>, config: &Value, filter: &Filter) -> SmolStr {
        let mut set = to_set(of, config);
        filter.apply(&mut set);
        fields::text(&set.difference(&STRIPPED))
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_the_sets(
            object in of_shape(&item_schema().0, &Shape::Struct(item_schema().1), 4),
            filter in filters(),
        ) {
            let (schema, id) = item_schema();
            let of = Type::of(&schema, id);
            let empty = decode::zero(&schema, id);
            if let Some(text) = created(of, &empty, &object, &filter) {
                prop_assert_eq!(Some(text), gained(of, &empty, &object, &filter));
            }
            if let Some(text) = applied(of, &object, &filter) {
                prop_assert_eq!(text, listed(of, &object, &filter));
            }
        }
    }

    #[test]
    fn a_pod_is_written_as_its_sets_are() {
        let pod = json(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"b":"1","a":"2"},"finalizers":["y","x"]},
                "spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[
                    {"name":"b","image":"i","ports":[{"containerPort":81},{"containerPort":80,"protocol":"UDP"}],
                     "resources":{"limits":{"cpu":"1"}},"env":[]},
                    {"name":"a","command":["x"],"securityContext":{}}]},
                "status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#,
        );
        let id = schema::builtin().find("io.k8s.api.core.v1.Pod").unwrap();
        let of = Type::of(schema::builtin(), id);
        let empty = decode::zero(schema::builtin(), id);
        for filter in [&Filter::All, Filter::of("", "Pod", "")] {
            assert_eq!(created(of, &empty, &pod, filter), gained(of, &empty, &pod, filter));
            assert_eq!(applied(of, &pod, filter), Some(listed(of, &pod, filter)));
        }
    }

    /// What is nobody's is judged all the same. Found by the test above.
    #[test]
    fn items_without_a_key_are_found_where_nothing_counts() {
        let (schema, id) = item_schema();
        let (of, object) = (Type::of(&schema, id), json(r#"{"retaining":{"mergingList":[{}]}}"#));
        let filter = Filter::Without(Set::of_fields(&[&["retaining"]]));
        assert_eq!(created(of, &decode::zero(&schema, id), &object, &filter), None);
    }

    #[test]
    fn what_takes_a_closer_look_has_no_text() {
        let id = schema::builtin().find("io.k8s.api.core.v1.Pod").unwrap();
        let of = Type::of(schema::builtin(), id);
        for object in [
            r#"{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}"#,
            r#"{"spec":{"containers":["a"]}}"#,
            r#"{"spec":{"unknown":1}}"#,
        ] {
            let object = json(object);
            assert_eq!(created(of, &Value::object(), &object, &Filter::All), None);
            assert_eq!(applied(of, &object, &Filter::All), None);
        }
        assert_eq!(applied(of, &Value::object(), Filter::of("", "Pod", "resize")), None);
    }
}
