//! The tree: the dynamic value that the request pipeline works on between decode and commit.
//!
//! Objects keep their fields in the order in which they were put; decoding against a schema
//! brings them into the schema's order, so that writing a tree gives the bytes that Go's
//! encoder would give. Strings up to 23 bytes and all schema-known field names take no
//! allocation of their own. What is only kept for others, the fields that managers own, stays the
//! text that it came as.

use std::borrow::Cow;

use smol_str::SmolStr;

use crate::codec::json;

/// A field name. Names known to a schema are static and cost nothing to clone.
pub type Key = SmolStr;

/// One JSON value.
#[derive(Clone, Debug, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    /// A whole number; Kubernetes has nothing beyond `int64`.
    Int(i64),
    Float(f64),
    String(SmolStr),
    Array(Vec<Value>),
    Object(Map),
    /// An object as compact JSON text that nobody had to look into yet. It equals the tree that it stands for;
    /// [`Value::opened`] makes that.
    Json(SmolStr),
}

/// The fields of an object, in order. Names are unique.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: Vec<(Key, Value)>,
}

/// A constant for lookups that find nothing.
pub static NULL: Value = Value::Null;

// === impl Value ===

impl Value {
    /// An empty object.
    pub fn object() -> Value {
        Value::Object(Map::new())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(i) => Some(*i),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Value::Object(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The value with its outermost text taken apart: never a [`Value::Json`].
    pub fn opened(&self) -> Cow<'_, Value> {
        match self {
            // It was read or written by us; what is no JSON after all is nothing.
            Value::Json(text) => Cow::Owned(json::parse(text.as_bytes()).unwrap_or_default()),
            other => Cow::Borrowed(other),
        }
    }

    /// Takes text apart in place.
    pub fn open(&mut self) -> &mut Value {
        if let Cow::Owned(tree) = self.opened() {
            *self = tree;
        }
        self
    }

    /// How many lists and objects lie in one another: 0 for text, 1 for `{}`. Walks without recursion.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        let mut open = vec![(self, 0)];
        while let Some((value, above)) = open.pop() {
            match value {
                Value::Object(map) => open.extend(map.iter().map(|(_, inner)| (inner, above + 1))),
                Value::Array(items) => open.extend(items.iter().map(|inner| (inner, above + 1))),
                Value::Json(text) => {
                    deepest = deepest.max(above + json::depth(text));
                    continue;
                }
                _ => continue,
            }
            deepest = deepest.max(above + 1);
        }
        deepest
    }

    /// The field of an object; [`NULL`] where this is no object or has no such field.
    pub fn get(&self, key: &str) -> &Value {
        self.as_object().and_then(|map| map.get(key)).unwrap_or(&NULL)
    }

    /// The field of an object, if it is there and not null.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.as_object().and_then(|map| map.get(key)).filter(|value| !value.is_null())
    }

    /// The value at a dotted path of object fields (`spec.template.metadata.labels`);
    /// [`NULL`] where the path ends early. Field names that contain dots can't be reached.
    pub fn at(&self, path: &str) -> &Value {
        Steps(Some(path)).try_fold(self, |value, key| value.as_object()?.get(key)).unwrap_or(&NULL)
    }

    /// The string at a dotted path, empty where there is none: how Go reads a string field.
    pub fn str_at(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// The array at a dotted path, empty where there is none.
    pub fn array_at(&self, path: &str) -> &[Value] {
        self.at(path).as_array().unwrap_or_default()
    }

    /// The whole number at a dotted path.
    pub fn i64_at(&self, path: &str) -> Option<i64> {
        self.at(path).as_i64()
    }

    /// The value at a dotted path for writing, if all of the path is there.
    pub fn at_mut(&mut self, path: &str) -> Option<&mut Value> {
        Steps(Some(path)).try_fold(self, |value, key| value.as_object_mut()?.get_mut(key))
    }

    /// The value at a dotted path for writing; what is missing on the way becomes an object.
    /// A value on the way that is no object is replaced by one.
    pub fn at_or_insert(&mut self, path: &str) -> &mut Value {
        Steps(Some(path)).fold(self, |value, key| value.make_object().get_or_insert(key))
    }

    /// Sets the value at a dotted path, making objects on the way.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        *self.at_or_insert(path) = value.into();
    }

    /// Removes what is at a dotted path and gives it back.
    pub fn remove(&mut self, path: &str) -> Option<Value> {
        match path.rsplit_once('.') {
            Some((parent, key)) => self.at_mut(parent)?.as_object_mut()?.remove(key),
            None => self.as_object_mut()?.remove(path),
        }
    }

    /// This value's fields, after replacing anything that is no object by an empty one.
    pub fn make_object(&mut self) -> &mut Map {
        if !matches!(self, Value::Object(_)) {
            *self = Value::object();
        }
        match self {
            Value::Object(map) => map,
            _ => unreachable!("made an object above"),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => a == b,
            (Value::Json(a), Value::Json(b)) if a == b => true,
            (Value::Json(_), _) => *self.opened() == *other,
            (_, Value::Json(_)) => *self == *other.opened(),
            _ => false,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::String(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::String(value.into())
    }
}

impl From<SmolStr> for Value {
    fn from(value: SmolStr) -> Value {
        Value::String(value)
    }
}

impl From<&SmolStr> for Value {
    fn from(value: &SmolStr) -> Value {
        Value::String(value.clone())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Value {
        Value::String(value.into())
    }
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Value {
        value.clone()
    }
}

impl From<&Map> for Value {
    fn from(value: &Map) -> Value {
        Value::Object(value.clone())
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Value {
        Value::Object(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::Array(values.into_iter().map(Into::into).collect())
    }
}

// === impl Map ===

impl Map {
    pub fn new() -> Map {
        Map::default()
    }

    pub fn with_capacity(capacity: usize) -> Map {
        Map { entries: Vec::with_capacity(capacity) }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).map(|at| &self.entries[at].1)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.position(key).map(|at| &mut self.entries[at].1)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// The field's value, added as null at the end if it is not there.
    pub fn get_or_insert(&mut self, key: &str) -> &mut Value {
        let at = self.position(key).unwrap_or_else(|| {
            self.entries.push((key.into(), Value::Null));
            self.entries.len() - 1
        });
        &mut self.entries[at].1
    }

    /// Sets a field: in its place if it is there, else at the end. Gives the old value back.
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Option<Value> {
        let key = key.into();
        match self.position(&key) {
            Some(at) => Some(std::mem::replace(&mut self.entries[at].1, value.into())),
            None => {
                self.entries.push((key, value.into()));
                None
            }
        }
    }

    /// Adds a field that is known not to be there (decoders, which check on their own).
    pub fn push_unchecked(&mut self, key: Key, value: Value) {
        self.entries.push((key, value));
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.position(key).map(|at| self.entries.remove(at).1)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Value)> + ExactSizeIterator {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Value)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &mut Value) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }

    pub(crate) fn entries(&self) -> &[(Key, Value)] {
        &self.entries
    }

    /// The entries themselves, for decoders that put them into a schema's order.
    pub fn entries_mut(&mut self) -> &mut Vec<(Key, Value)> {
        &mut self.entries
    }

    /// Sorts by name, as Go writes its maps.
    pub fn sort(&mut self) {
        self.entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|(name, _)| is_same(name, key))
    }
}

/// Whether two field names are the same. Most names are up to sixteen bytes long: compared as two words, without a call.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    fn ends<const N: usize>(name: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
        Some((name.first_chunk()?, name.last_chunk()?))
    }
    if a.len() != b.len() {
        return false;
    }
    // Names of the schema are one and the same text.
    if std::ptr::eq(a, b) {
        return true;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.len() {
        8..=16 => ends::<8>(a) == ends(b),
        4..=7 => ends::<4>(a) == ends(b),
        0..=3 => a.iter().eq(b),
        _ => a.first_chunk::<8>() == b.first_chunk() && a == b,
    }
}

/// The steps of a dotted path. The paths are short: a look at each byte beats a search for the dot.
struct Steps<'p>(Option<&'p str>);

impl<'p> Iterator for Steps<'p> {
    type Item = &'p str;

    fn next(&mut self) -> Option<&'p str> {
        let path = self.0.take()?;
        match path.bytes().position(|byte| byte == b'.') {
            Some(dot) => {
                self.0 = Some(&path[dot + 1..]);
                Some(&path[..dot])
            }
            None => Some(path),
        }
    }
}

/// Equal when they have the same fields, in whatever order.
impl PartialEq for Map {
    fn eq(&self, other: &Map) -> bool {
        self.len() == other.len()
            && self.entries.iter().enumerate().all(|(at, (key, value))| match other.entries.get(at) {
                Some((name, theirs)) if name == key => theirs == value,
                _ => other.get(key) == Some(value),
            })
    }
}

impl IntoIterator for Map {
    type Item = (Key, Value);
    type IntoIter = std::vec::IntoIter<(Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: Into<Key>, V: Into<Value>> FromIterator<(K, V)> for Map {
    /// Later values of a name replace earlier ones.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Map {
        let mut map = Map::new();
        for (key, value) in fields {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_the_same_when_their_texts_are(a in "[ab]{0,20}", flipped in 0usize..20) {
            let mut other = a.clone().into_bytes();
            if let Some(byte) = other.get_mut(flipped) {
                *byte = b'c';
            }
            let b = String::from_utf8(other).unwrap();
            prop_assert!(is_same(&a, &a.clone()));
            prop_assert_eq!(is_same(&a, &b), a == b);
            let longer = format!("{a}a");
            prop_assert!(!is_same(&a, &longer));
        }
    }
}
