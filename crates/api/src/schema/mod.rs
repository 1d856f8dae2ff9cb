//! What types are made of: one description that field validation, pruning, defaulting,
//! every patch, protobuf and OpenAPI read.
//!
//! Built-in types come from the committed tables (see [`builtin`]); custom resources will
//! bring a [`Schema`] of their own, made of the same nodes.

mod load;
mod names;
mod wire;

use std::collections::HashMap;

use self::names::Names;
use crate::value::{Key, Value};

pub use load::builtin;
pub(crate) use wire::{Wire, WireNode};

/// A closed set of struct types that refer to each other by [`StructId`].
#[derive(Debug, Default)]
pub struct Schema {
    structs: Vec<Struct>,
    names: HashMap<Key, StructId>,
    /// apiextensions' `JSONSchemaProps`, which `JSONSchemaPropsOrBool` and the like hold.
    json_schema: Option<StructId>,
}

/// Names one struct type within its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StructId(pub u32);

/// A struct type: fields in Go's order, inlined structs already flattened into their parent.
#[derive(Debug, Default)]
pub struct Struct {
    /// OpenAPI's name: `io.k8s.api.core.v1.Pod`.
    pub name: Key,
    fields: Vec<Field>,
    names: Names,
    /// What the protobuf message holds, by number.
    wire: Vec<Wire>,
    /// Places in `fields` of what Go writes even if it is empty.
    always: Vec<u16>,
    /// Server-side apply treats the whole value as one (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
}

/// One field of a struct.
#[derive(Debug)]
pub struct Field {
    /// The JSON name.
    pub name: Key,
    pub shape: Shape,
    /// Go holds a pointer: absence differs from zero. Slices and maps are not pointers.
    pub pointer: bool,
    /// What Go's encoder does with an empty value.
    pub omit: Omit,
    /// Field number in the protobuf message, 0 where protobuf has no such field.
    pub number: u32,
    /// Go inlines this field from an embedded struct, which protobuf keeps as a message of its own
    /// with this number (`Volume.volumeSource`), that one perhaps within another: numbers from the
    /// outside in, none where it is not so.
    pub inlined: Vec<u32>,
    /// The names of those embedded structs as decoding errors have them, joined by dots
    /// (`VolumeSource`), also where protobuf does not know them (`TypeMeta`).
    pub embedded: Key,
    /// A list that protobuf wraps into a message with the items as its field 1 (`Verbs`).
    pub wrapped: bool,
    /// Listed under `required` in OpenAPI.
    pub required: bool,
    /// `patchStrategy: retainKeys`.
    pub retain_keys: bool,
    /// `patchStrategy: replace` on a struct.
    pub patch_replaces: bool,
    /// Where the field says otherwise than its struct: whether server-side apply treats it as one.
    pub atomic: Option<bool>,
    /// The static default that upstream's defaulting gives this field when it is absent.
    pub default: Option<Value>,
    /// The Go type as decoding errors name it (`v1.Protocol`, `[]v1.Container`), where the shape does not tell.
    pub go_type: Key,
}

/// When the JSON encoder leaves a field out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omit {
    /// Always written (null, 0, "" or {} where empty).
    Never,
    /// `omitempty`: left out when false, 0, "", nil or of length 0; structs are always written.
    Empty,
    /// `omitzero`: left out when the Go value is its type's zero.
    Zero,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Bool,
    Int32,
    Int64,
    Float64,
    String,
    /// `[]byte`: base64 text in JSON.
    Bytes,
    /// RFC 3339, seconds; null when zero.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    Quantity,
    IntOrString,
    /// Any JSON (`RawExtension`, `FieldsV1`, apiextensions' `JSON` …), kept as it came.
    /// `fields` tells which protobuf envelope carries it.
    Raw(RawKind),
    Struct(StructId),
    Array(Box<Array>),
    /// A Go map with string keys.
    Map(Box<Mapping>),
}

/// The Go types that hold arbitrary JSON; they differ in their protobuf form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKind {
    RawExtension,
    FieldsV1,
    Json,
    /// `JSONSchemaPropsOrArray`, `…OrBool`, `…OrStringArray`: unions with protobuf fields of their own.
    JsonSchemaPropsOrArray,
    JsonSchemaPropsOrBool,
    JsonSchemaPropsOrStringArray,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub item: Shape,
    /// How server-side apply merges it.
    pub list: ListType,
    /// How strategic merge patch merges it.
    pub patch: ListPatch,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    pub value: Shape,
    /// Server-side apply treats the whole map as one.
    pub atomic: bool,
    /// Set where strategic merge patch replaces the map (`patchStrategy: replace`).
    pub patch_replaces: bool,
}

/// `x-kubernetes-list-type` and its keys.
#[derive(Clone, Debug, PartialEq)]
pub enum ListType {
    Atomic,
    Set,
    Map(Vec<Key>),
}

/// `patchStrategy` of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum ListPatch {
    Replace,
    /// Scalars: a set union.
    Merge,
    /// Objects: merged by this field.
    MergeBy(Key),
}

// === impl Schema ===

impl Schema {
    /// A schema of these structs, whose [`StructId`]s are their places.
    pub fn new(structs: Vec<Struct>) -> Schema {
        const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let names: HashMap<Key, StructId> =
            structs.iter().enumerate().map(|(at, one)| (one.name.clone(), StructId(at as u32))).collect();
        let json_schema = names.get(JSON_SCHEMA).copied();
        Schema { structs, names, json_schema }
    }

    pub fn get(&self, id: StructId) -> &Struct {
        &self.structs[id.0 as usize]
    }

    /// The struct with an OpenAPI name.
    pub fn find(&self, name: &str) -> Option<StructId> {
        self.names.get(name).copied()
    }

    /// All structs with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (StructId, &Struct)> {
        self.structs.iter().enumerate().map(|(at, one)| (StructId(at as u32), one))
    }

    /// The struct that `JSONSchemaPropsOrBool` and its like hold.
    pub(crate) fn json_schema(&self) -> Option<StructId> {
        self.json_schema
    }
}

// === impl Struct ===

impl Struct {
    /// A struct with these fields, in this order; their names are unique.
    pub fn new(name: impl Into<Key>, fields: Vec<Field>) -> Struct {
        let names = Names::new(&fields);
        let wire = wire::tree(&fields);
        let always = (0..fields.len() as u16).filter(|&at| fields[usize::from(at)].is_always_written()).collect();
        Struct { name: name.into(), fields, names, wire, always, atomic: false }
    }

    /// The fields in Go's order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|at| &self.fields[at])
    }

    /// Where a field stands in [`Struct::fields`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.find(&self.fields, name)
    }

    pub(crate) fn wire(&self) -> &[Wire] {
        &self.wire
    }

    /// Places in [`Struct::fields`] of what Go's JSON encoder writes even if it is empty.
    pub(crate) fn always(&self) -> impl Iterator<Item = usize> {
        self.always.iter().map(|&at| usize::from(at))
    }

    /// The type's name as Go's errors have it without the package: `PodSpec`.
    pub fn go_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// The type's name as Go's errors have it: `v1.PodSpec`.
    pub fn go_type(&self) -> &str {
        match self.name.rmatch_indices('.').nth(1) {
            Some((dot, _)) => &self.name[dot + 1..],
            None => &self.name,
        }
    }
}

// === impl Field ===

impl Field {
    /// A field with Go's `omitempty` and nothing else to say.
    pub fn new(name: impl Into<Key>, shape: Shape) -> Field {
        Field {
            name: name.into(),
            shape,
            pointer: false,
            omit: Omit::Empty,
            number: 0,
            inlined: Vec::new(),
            embedded: Key::default(),
            wrapped: false,
            required: false,
            retain_keys: false,
            patch_replaces: false,
            atomic: None,
            default: None,
            go_type: Key::default(),
        }
    }

    /// Go's JSON encoder writes it even if it is empty: there is no `omitempty`, or it has none on such a type.
    pub fn is_always_written(&self) -> bool {
        match self.omit {
            Omit::Never => true,
            Omit::Zero => false,
            Omit::Empty => !self.pointer && self.shape.is_go_struct(),
        }
    }
}

// === impl Shape ===

impl Shape {
    /// Go holds it as a struct, for which `omitempty` does nothing.
    pub fn is_go_struct(&self) -> bool {
        match self {
            Shape::Struct(_)
            | Shape::Time
            | Shape::MicroTime
            | Shape::Quantity
            | Shape::IntOrString
            | Shape::Raw(_) => true,
            Shape::Bool
            | Shape::Int32
            | Shape::Int64
            | Shape::Float64
            | Shape::String
            | Shape::Bytes
            | Shape::Array(_)
            | Shape::Map(_) => false,
        }
    }
}
