//! Trees walked along a schema: what upstream's `structured-merge-diff/typed` does.
//!
//! A [`Type`] resolves to an [`Atom`], the three ways in which server-side apply looks at a value:
//! a scalar, a list, a map. Structs are maps with named fields.

mod compare;
mod merge;
mod prune;
mod reconcile;
pub mod text;
mod to_set;
mod validate;

pub use compare::{Difference, compare};
pub use merge::merge;
pub use prune::{ensure_named, remove};
pub use reconcile::reconcile;
pub use to_set::to_set;
pub use validate::{Duplicates, validate};

use super::PathElement;
use crate::patch::gofmt;
use crate::schema::{Array, ListType, Omit, RawKind, Schema, Shape, Struct, StructId};
use crate::value::{Key, Value, is_same};
use std::fmt;

/// The type of a value, as apply sees it.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    schema: &'a Schema,
    node: Node<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Node<'a> {
    /// A struct, and whether its field says otherwise than itself about being atomic.
    Struct(StructId, Option<bool>),
    Shape(&'a Shape, Option<bool>),
    /// Anything, as one value (`RawExtension`).
    Untyped,
    /// Anything: maps are merged, lists are one value. Custom resources without a schema, too.
    Deduced,
}

/// How a value is merged.
#[derive(Clone, Copy)]
pub(super) enum Atom<'a> {
    Scalar(Scalar),
    List(List<'a>),
    Map(Fields<'a>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Numeric,
    String,
    Boolean,
    Untyped,
}

#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    pub item: Type<'a>,
    pub kind: ListKind<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum ListKind<'a> {
    Atomic,
    Set,
    /// Told apart by these fields.
    Map(&'a [Key]),
}

/// A map or struct.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    schema: &'a Schema,
    pub of: Option<&'a Struct>,
    /// What fields without a name of their own hold.
    pub element: Option<Type<'a>>,
    pub atomic: bool,
}

/// A walk through the fields of one object.
pub(super) struct Walk<'a> {
    fields: Fields<'a>,
    /// The place after the last field found.
    next: usize,
}

/// One thing that is wrong with a value, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `.spec.replicas`, empty at the root.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// All that is wrong with a value. A single problem is shown alone, several as a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

// === impl Type ===

impl<'a> Type<'a> {
    /// A struct of a schema.
    pub fn of(schema: &'a Schema, id: StructId) -> Type<'a> {
        Type { schema, node: Node::Struct(id, None) }
    }

    /// The type of objects without a schema: what it holds is told from the object itself.
    pub fn deduced(schema: &'a Schema) -> Type<'a> {
        Type { schema, node: Node::Deduced }
    }

    fn shape(schema: &'a Schema, shape: &'a Shape, atomic: Option<bool>) -> Type<'a> {
        let node = match shape {
            Shape::Struct(id) => Node::Struct(*id, atomic),
            Shape::Raw(RawKind::RawExtension) => Node::Untyped,
            Shape::Raw(_) | Shape::IntOrString => Node::Deduced,
            shape => Node::Shape(shape, atomic),
        };
        Type { schema, node }
    }

    /// How a value of this type is merged; a type that holds anything goes by the value.
    pub(super) fn atom(self, value: Option<&Value>) -> Atom<'a> {
        let schema = self.schema;
        let shape = match self.node {
            Node::Struct(id, atomic) => {
                let of = schema.get(id);
                let atomic = atomic.unwrap_or(of.atomic);
                return Atom::Map(Fields { schema, of: Some(of), element: None, atomic });
            }
            Node::Untyped | Node::Deduced => {
                let untyped = Type { schema, node: Node::Untyped };
                let atomic = matches!(self.node, Node::Untyped);
                return match value {
                    Some(Value::Array(_)) => Atom::List(List { item: untyped, kind: ListKind::Atomic }),
                    None | Some(Value::Object(_) | Value::Null) => {
                        Atom::Map(Fields { schema, of: None, element: Some(self), atomic })
                    }
                    Some(_) => Atom::Scalar(Scalar::Untyped),
                };
            }
            Node::Shape(shape, _) => shape,
        };
        match shape {
            Shape::Bool => Atom::Scalar(Scalar::Boolean),
            Shape::Int32 | Shape::Int64 | Shape::Float64 => Atom::Scalar(Scalar::Numeric),
            Shape::String | Shape::Bytes => Atom::Scalar(Scalar::String),
            Shape::Array(array) => Atom::List(list(schema, array)),
            Shape::Map(mapping) => {
                let atomic = match self.node {
                    Node::Shape(_, Some(atomic)) => atomic,
                    _ => mapping.atomic,
                };
                let element = Some(Type::shape(schema, &mapping.value, None));
                Atom::Map(Fields { schema, of: None, element, atomic })
            }
            // `Type::shape` makes nodes of their own of structs and raw values.
            _ => Atom::Scalar(Scalar::Untyped),
        }
    }

    fn is_deduced(self) -> bool {
        matches!(self.node, Node::Deduced)
    }
}

fn list<'a>(schema: &'a Schema, array: &'a Array) -> List<'a> {
    let kind = match &array.list {
        ListType::Atomic => ListKind::Atomic,
        ListType::Set => ListKind::Set,
        ListType::Map(keys) => ListKind::Map(keys),
    };
    List { item: Type::shape(schema, &array.item, None), kind }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The type of a field that the struct names.
    pub fn named(&self, name: &str) -> Option<Type<'a>> {
        self.of?.field(name).map(|field| Type::shape(self.schema, &field.shape, field.atomic))
    }

    /// Looks fields up in turn; quick for those that come in the struct's order.
    pub fn walk(&self) -> Walk<'a> {
        Walk { fields: *self, next: 0 }
    }

    /// The type of any field; None where there may be none of this name.
    pub fn field(&self, name: &str) -> Option<Type<'a>> {
        self.named(name).or(self.element)
    }
}

// === impl Walk ===

impl<'a> Walk<'a> {
    /// The type of a field that the struct names.
    pub fn named(&mut self, name: &str) -> Option<Type<'a>> {
        /// Fields that are passed over before the name is searched for: objects leave many out.
        const AHEAD_MAX: usize = 6;
        let of = self.fields.of?;
        let ahead = of.fields().iter().enumerate().skip(self.next).take(AHEAD_MAX);
        let at = match ahead.into_iter().find(|(_, field)| is_same(&field.name, name)) {
            Some((at, _)) => at,
            None => of.position(name)?,
        };
        self.next = at + 1;
        let field = &of.fields()[at];
        Some(Type::shape(self.fields.schema, &field.shape, field.atomic))
    }

    /// The type of any field; None where there may be none of this name.
    pub fn field(&mut self, name: &str) -> Option<Type<'a>> {
        self.named(name).or(self.fields.element)
    }
}

// === impl List ===

impl<'a> List<'a> {
    pub fn is_atomic(&self) -> bool {
        matches!(self.kind, ListKind::Atomic)
    }

    /// What an item is told apart by.
    ///
    /// # Errors
    /// Says why the item can't be told apart.
    pub fn element(&self, item: &Value) -> Result<PathElement, String> {
        match self.kind {
            ListKind::Atomic => Err("invalid indexing of non-associative list".into()),
            ListKind::Map(keys) if !keys.is_empty() => self.keyed(item, keys),
            ListKind::Set | ListKind::Map(_) => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
                scalar => Ok(PathElement::Value(Box::new(scalar.clone()))),
            },
        }
    }

    fn keyed(&self, item: &Value, keys: &[Key]) -> Result<PathElement, String> {
        match item {
            Value::Object(_) => {}
            Value::Null => return Err("associative list with keys may not have a null element".into()),
            _ => return Err("associative list with keys may not have non-map elements".into()),
        }
        let found = keys.iter().filter_map(|key| Some((key.clone(), self.key_value(item, key)?.clone())));
        let found: Vec<(Key, Value)> = found.collect();
        if found.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| gofmt::quoted(key)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(PathElement::item(found))
    }

    /// A key field's value or its default, as OpenAPI states it: besides explicit ones, every
    /// field that Go always writes has its zero for a default.
    fn key_value<'v>(&self, item: &'v Value, key: &str) -> Option<&'v Value>
    where
        'a: 'v,
    {
        static EMPTY: Value = Value::String(Key::new_static(""));
        static ZERO: Value = Value::Int(0);
        static FALSE: Value = Value::Bool(false);
        if let Some(value) = item.as_object().and_then(|fields| fields.get(key)) {
            return Some(value);
        }
        let Node::Struct(id, _) = self.item.node else { return None };
        let field = self.item.schema.get(id).field(key)?;
        let always = field.omit == Omit::Never && !field.pointer;
        field.default.as_ref().or(match field.shape {
            Shape::String if always => Some(&EMPTY),
            Shape::Int32 | Shape::Int64 if always => Some(&ZERO),
            Shape::Bool if always => Some(&FALSE),
            _ => None,
        })
    }

    /// Whether the item can be told apart from others.
    pub fn tells(&self, item: &Value) -> bool {
        self.same(item, item)
    }

    /// Whether no two items are told apart by the same. Only for lists of up to
    /// [`PAIRWISE_MAX`](Self::PAIRWISE_MAX) items.
    pub fn all_differ(&self, items: &[Value]) -> bool {
        (1..items.len()).all(|at| !items[..at].iter().any(|earlier| self.same(earlier, &items[at])))
    }

    /// Whether every item can be told apart, each by something of its own.
    pub fn all_tell(&self, items: &[Value]) -> bool {
        items.iter().all(|item| self.tells(item)) && self.all_differ(items)
    }

    /// Items that are compared pair by pair, 120 pairs at most: no element is made for that.
    pub const PAIRWISE_MAX: usize = 16;

    /// Whether both lists hold the same items in the same order, each once; so it mostly is, and
    /// nothing needs to be looked up. Not tried on long lists, where looking for duplicates costs more.
    pub fn in_step(&self, old: &[Value], new: &[Value]) -> bool {
        old.len() == new.len()
            && old.len() <= Self::PAIRWISE_MAX
            && old.iter().zip(new).all(|(old, new)| self.same(old, new))
            && self.all_differ(old)
    }

    /// Whether two items are told apart by the same; false where one can't be told apart.
    pub fn same(&self, a: &Value, b: &Value) -> bool {
        let scalar = |value: &Value| !matches!(value, Value::Object(_) | Value::Array(_) | Value::Null);
        match self.kind {
            ListKind::Atomic => false,
            ListKind::Map(keys) if !keys.is_empty() => {
                let mut found = false;
                let alike = keys.iter().all(|key| match (self.key_value(a, key), self.key_value(b, key)) {
                    (Some(a), Some(b)) => {
                        found = true;
                        super::element::equal(a, b)
                    }
                    (None, None) => true,
                    _ => false,
                });
                alike && found && a.as_object().is_some() && b.as_object().is_some()
            }
            ListKind::Set | ListKind::Map(_) => scalar(a) && super::element::equal(a, b),
        }
    }
}

// === impl Problems ===

impl Problems {
    pub(super) fn one(message: impl Into<String>) -> Problems {
        Problems(vec![Problem { path: String::new(), message: message.into() }])
    }

    /// Puts a step before all paths.
    pub(super) fn under(mut self, element: &impl fmt::Display) -> Problems {
        for problem in &mut self.0 {
            problem.path.insert_str(0, &element.to_string());
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            return write!(f, "{one}");
        }
        f.write_str("errors:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

/// A field's step in a problem's path.
struct Dotted<'a>(&'a str);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".{}", self.0)
    }
}
