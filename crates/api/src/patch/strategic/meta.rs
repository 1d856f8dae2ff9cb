//! What the schema says about the fields that a patch reaches.

use super::Error;
use crate::schema::{Array, ListPatch, Schema, Shape, StructId};

/// A type, as far as patches look into it.
#[derive(Clone, Copy)]
pub(super) struct Meta<'a> {
    schema: &'a Schema,
    of: Of<'a>,
}

#[derive(Clone, Copy)]
enum Of<'a> {
    Struct(StructId),
    Shape(&'a Shape),
}

/// How a field's value is merged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Objects are merged, lists replaced.
    Default,
    Merge,
    Replace,
}

/// One field: the type of its value (of its items, for a list) and how it is merged.
pub(super) struct FieldMeta<'a> {
    pub of: Meta<'a>,
    pub strategy: Strategy,
    /// The field that a list's objects are told apart by, empty where there is none.
    pub merge_key: &'a str,
}

impl<'a> Meta<'a> {
    pub fn root(schema: &'a Schema, of: StructId) -> Meta<'a> {
        Meta { schema, of: Of::Struct(of) }
    }

    /// The field `key` of this type.
    pub fn field(self, key: &str) -> Result<FieldMeta<'a>, Error> {
        let id = match self.of {
            Of::Struct(id) => id,
            Of::Shape(Shape::Struct(id)) => *id,
            Of::Shape(shape) => {
                return Err(Error::Other(match opaque_struct(shape) {
                    Some(name) => no_field(name, key),
                    None => {
                        format!("merging an object in json but data type is not struct, instead is: {}", kind(shape))
                    }
                }));
            }
        };
        let of = self.schema.get(id);
        let field = of.field(key).ok_or_else(|| Error::Other(no_field(go_name(&of.name), key)))?;
        let (strategy, merge_key) = match &field.shape {
            Shape::Array(array) => list_strategy(array),
            Shape::Map(mapping) if mapping.patch_replaces => (Strategy::Replace, ""),
            _ if field.patch_replaces => (Strategy::Replace, ""),
            _ => (Strategy::Default, ""),
        };
        Ok(FieldMeta { of: Meta { schema: self.schema, of: Of::Shape(&field.shape) }, strategy, merge_key })
    }

    /// The field `key` of this type, which is to be a list: the type is that of its items.
    pub fn list(self, key: &str) -> Result<FieldMeta<'a>, Error> {
        let field = self.field(key)?;
        let item = match field.of.of {
            Of::Shape(Shape::Array(array)) => match &array.item {
                Shape::Array(_) | Shape::Bytes => return Err(Error::Other("unexpected slice of slice".into())),
                item => item,
            },
            _ => return Err(Error::Other(format!("expected slice or array type, but got: {}", self.kind()))),
        };
        Ok(FieldMeta { of: Meta { schema: self.schema, of: Of::Shape(item) }, ..field })
    }

    /// Go's name of the kind of this type.
    pub fn kind(self) -> &'static str {
        match self.of {
            Of::Struct(_) => "struct",
            Of::Shape(shape) => kind(shape),
        }
    }
}

fn list_strategy(array: &Array) -> (Strategy, &str) {
    match &array.patch {
        ListPatch::Replace => (Strategy::Default, ""),
        ListPatch::Merge => (Strategy::Merge, ""),
        ListPatch::MergeBy(key) => (Strategy::Merge, key),
    }
}

fn no_field(of: &str, key: &str) -> String {
    format!("unable to find api field in struct {of} for the json field {}", super::gofmt::quoted(key))
}

/// `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn go_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The Go structs that stand for a value of their own in JSON.
fn opaque_struct(shape: &Shape) -> Option<&'static str> {
    use crate::schema::RawKind;
    Some(match shape {
        Shape::Raw(RawKind::RawExtension) => "RawExtension",
        Shape::Raw(RawKind::FieldsV1) => "FieldsV1",
        Shape::Raw(RawKind::Json) => "JSON",
        Shape::Raw(RawKind::JsonSchemaPropsOrArray) => "JSONSchemaPropsOrArray",
        Shape::Raw(RawKind::JsonSchemaPropsOrBool) => "JSONSchemaPropsOrBool",
        Shape::Raw(RawKind::JsonSchemaPropsOrStringArray) => "JSONSchemaPropsOrStringArray",
        Shape::Time => "Time",
        Shape::MicroTime => "MicroTime",
        Shape::Quantity => "Quantity",
        Shape::IntOrString => "IntOrString",
        _ => return None,
    })
}

fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "bool",
        Shape::Int32 => "int32",
        Shape::Int64 => "int64",
        Shape::Float64 => "float64",
        Shape::String => "string",
        Shape::Bytes | Shape::Array(_) => "slice",
        Shape::Map(_) => "map",
        _ => "struct",
    }
}
