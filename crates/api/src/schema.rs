//! What types are made of: one description that field validation, pruning, defaulting,
//! every patch, protobuf and OpenAPI read.
//!
//! Built-in types come from the committed tables (see [`builtin`]); custom resources will
//! bring a [`Schema`] of their own, made of the same nodes.

use crate::value::{Key, Value};

/// A closed set of struct types that refer to each other by [`StructId`].
#[derive(Debug, Default)]
pub struct Schema {
    pub structs: Vec<Struct>,
}

/// Names one struct type within its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StructId(pub u32);

/// A struct type: fields in Go's order, inlined structs already flattened into their parent.
#[derive(Debug, Default)]
pub struct Struct {
    /// OpenAPI's name: `io.k8s.api.core.v1.Pod`.
    pub name: Key,
    pub fields: Vec<Field>,
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
    /// with this number (`Volume.volumeSource`); 0 where it is not so.
    pub inlined: u32,
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
    /// Go's `1h2m3s` in JSON, nanoseconds in protobuf.
    Duration,
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
    pub fn get(&self, id: StructId) -> &Struct {
        &self.structs[id.0 as usize]
    }

    /// The struct with an OpenAPI name.
    pub fn find(&self, name: &str) -> Option<StructId> {
        self.structs.iter().position(|one| one.name == name).map(|at| StructId(at as u32))
    }
}

// === impl Struct ===

impl Struct {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
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
            inlined: 0,
            wrapped: false,
            required: false,
            retain_keys: false,
            patch_replaces: false,
            atomic: None,
            default: None,
            go_type: Key::default(),
        }
    }
}
