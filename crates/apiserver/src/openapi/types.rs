//! Types as OpenAPI schemas.

use std::collections::BTreeSet;

use api::registry::Registry;
use api::schema::{self, Array, Field, ListPatch, ListType, Omit, RawKind, Schema, Shape, StructId};
use api::value::{Map, Value};

use super::prose::{Prose, Words};
use super::roots::VERSION;
use super::routes::{Content, PATCH};
use super::{extras, group_version_kind};

/// The version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    V2,
    V3,
}

/// A set of types that is closed: whatever a type refers to is in it.
pub struct Types<'p> {
    dialect: Dialect,
    /// The document's, in version 3.
    group_version: (&'p str, &'p str),
    prose: &'p Prose,
    schema: &'static Schema,
    wanted: Vec<StructId>,
    seen: BTreeSet<u32>,
    scalars: BTreeSet<&'static str>,
    done: Vec<(String, Value)>,
}

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const FIELDS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const SCHEMA_OR_ARRAY: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray";
const SCHEMA_OR_BOOL: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool";
const SCHEMA_OR_STRINGS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray";

/// Fields of [`VERSION`], and whether they are always there.
const VERSION_FIELDS: &[(bool, &str)] = &[
    (true, "major"),
    (true, "minor"),
    (false, "emulationMajor"),
    (false, "emulationMinor"),
    (false, "minCompatibilityMajor"),
    (false, "minCompatibilityMinor"),
    (true, "gitVersion"),
    (true, "gitCommit"),
    (true, "gitTreeState"),
    (true, "buildDate"),
    (true, "goVersion"),
    (true, "compiler"),
    (true, "platform"),
];

// === impl Types ===

impl<'p> Types<'p> {
    pub fn new(dialect: Dialect, group_version: (&'p str, &'p str), prose: &'p Prose) -> Types<'p> {
        Types {
            dialect,
            group_version,
            prose,
            schema: schema::builtin(),
            wanted: Vec::new(),
            seen: BTreeSet::new(),
            scalars: BTreeSet::new(),
            done: Vec::new(),
        }
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The schema of what is sent or answered; a type becomes part of the set.
    pub fn of_content(&mut self, content: Content) -> Value {
        match content {
            Content::Struct(id) | Content::Optional(id) => self.of_shape(&Shape::Struct(id)),
            Content::Named(name) => self.scalar(name),
            Content::Text => plain("string", ""),
        }
    }

    /// The schemas by name.
    pub fn finish(mut self) -> Map {
        while let Some(id) = self.wanted.pop() {
            if self.seen.insert(id.0) {
                let schema = self.of_struct(id);
                self.done.push((self.schema.get(id).name.to_string(), schema));
            }
        }
        let scalars = std::mem::take(&mut self.scalars);
        let described: Vec<_> = scalars
            .into_iter()
            .map(|name| {
                let mut schema = Value::object();
                describe(self.prose.of_type(name), &mut schema);
                let written = if name == VERSION { self.version() } else { scalar(name, self.dialect) };
                (name.to_owned(), with(schema, written))
            })
            .collect();
        self.done.extend(described);
        self.done.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.done.into_iter().collect()
    }

    fn want(&mut self, id: StructId) {
        if !self.seen.contains(&id.0) {
            self.wanted.push(id);
        }
    }

    fn of_struct(&mut self, id: StructId) -> Value {
        let one = self.schema.get(id);
        let mut schema = Value::object();
        describe(self.prose.of_type(&one.name), &mut schema);
        schema.set("type", "object");
        let mut properties = Map::new();
        for field in one.fields() {
            let property = self.of_field(&one.name, field);
            properties.insert(field.name.clone(), property);
        }
        properties.sort();
        if !properties.is_empty() {
            schema.set("properties", properties);
        }
        let required: Vec<_> =
            one.fields().iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
        if !required.is_empty() {
            schema.set("required", required);
        }
        let kinds = self.kinds(id);
        if !kinds.is_empty() {
            schema.set("x-kubernetes-group-version-kind", kinds);
        }
        if one.atomic {
            schema.set("x-kubernetes-map-type", "atomic");
        }
        extras::of_type(&one.name, &mut schema);
        schema
    }

    /// What a type is called in requests. Some have the same name in every group: in version 3 only the document's own
    /// is told beside the core group's.
    fn kinds(&self, id: StructId) -> Vec<Map> {
        let registry = Registry::builtin();
        let of_groups = registry.kinds().iter().filter(|(_, kind)| *kind == id);
        let mut kinds: Vec<Map> =
            of_groups.map(|(kind, _)| group_version_kind(&kind.group, &kind.version, &kind.kind)).collect();
        if let Some((name, _)) = registry.common_kinds().iter().find(|(_, kind)| *kind == id) {
            let known = registry.kinds().iter().map(|(kind, _)| (&*kind.group, &*kind.version));
            let mut versions: BTreeSet<(&str, &str)> = known.chain(extras::OPTIONS_ONLY.iter().copied()).collect();
            versions.retain(|(group, _)| !extras::NO_OPTIONS.contains(group));
            if self.dialect == Dialect::V3 {
                versions.retain(|one| one.0.is_empty() || *one == self.group_version);
            }
            kinds.extend(versions.into_iter().map(|(group, version)| group_version_kind(group, version, name)));
        }
        kinds
    }

    fn of_field(&mut self, of: &str, field: &Field) -> Value {
        let words = self.prose.of_field(of, &field.name);
        let mut schema = Value::object();
        describe(words, &mut schema);
        let mut schema = with(schema, self.of_shape(&field.shape));
        // Version 2 does not tell defaults, as upstream.
        let default = field.default.clone().or_else(|| zero(field)).filter(|_| self.dialect == Dialect::V3);
        if let Some(default) = default {
            schema.set("default", default);
        }
        if let Some(values) = words.and_then(|words| words.values.as_ref()) {
            schema.set("enum", values.clone());
        }
        if let Some(values) = words.and_then(|words| words.item_values.as_ref()) {
            schema.set("items.enum", values.clone());
        }
        match &field.shape {
            Shape::Array(array) if !extras::is_unmarked(of, &field.name) => lists(array, &mut schema),
            _ => {}
        }
        if field.atomic == Some(false) {
            schema.set("x-kubernetes-map-type", "granular");
        }
        if field.patch_replaces {
            schema.set("x-kubernetes-patch-strategy", "replace");
        }
        extras::of_field(of, &field.name, self.dialect, &mut schema);
        if field.retain_keys {
            let strategy = match schema.str_at("x-kubernetes-patch-strategy") {
                "" => "retainKeys".to_owned(),
                other => format!("{other},retainKeys"),
            };
            schema.set("x-kubernetes-patch-strategy", strategy);
        }
        if self.dialect == Dialect::V3 {
            set_apart(&mut schema);
        }
        schema
    }

    fn of_shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Bool => plain("boolean", ""),
            Shape::Int32 => plain("integer", "int32"),
            Shape::Int64 => plain("integer", "int64"),
            Shape::Float64 => plain("number", "double"),
            Shape::String => plain("string", ""),
            Shape::Bytes => plain("string", "byte"),
            Shape::Time => self.scalar(TIME),
            Shape::MicroTime => self.scalar(MICRO_TIME),
            Shape::Quantity => self.scalar(QUANTITY),
            Shape::IntOrString => self.scalar(INT_OR_STRING),
            Shape::Raw(kind) => self.scalar(match kind {
                RawKind::RawExtension => RAW_EXTENSION,
                RawKind::FieldsV1 => FIELDS,
                RawKind::Json => JSON,
                RawKind::JsonSchemaPropsOrArray => SCHEMA_OR_ARRAY,
                RawKind::JsonSchemaPropsOrBool => SCHEMA_OR_BOOL,
                RawKind::JsonSchemaPropsOrStringArray => SCHEMA_OR_STRINGS,
            }),
            Shape::Struct(id) => {
                self.want(*id);
                self.reference(&self.schema.get(*id).name)
            }
            Shape::Array(array) => {
                let mut schema = plain("array", "");
                schema.set("items", self.of_shape(&array.item));
                schema
            }
            Shape::Map(map) => {
                let mut schema = plain("object", "");
                schema.set("additionalProperties", self.of_shape(&map.value));
                if map.atomic {
                    schema.set("x-kubernetes-map-type", "atomic");
                }
                schema
            }
        }
    }

    /// What `/version` answers: texts, which no other type refers to.
    fn version(&self) -> Value {
        let mut schema = plain("object", "");
        let mut properties = Map::new();
        for (required, name) in VERSION_FIELDS {
            let mut property = Value::object();
            describe(self.prose.of_field(VERSION, name), &mut property);
            property.set("type", "string");
            if *required && self.dialect == Dialect::V3 {
                property.set("default", "");
            }
            properties.insert(*name, property);
        }
        let required = VERSION_FIELDS.iter().filter(|(required, _)| *required).map(|(_, name)| *name);
        schema.set("required", required.collect::<Vec<_>>());
        schema.set("properties", properties);
        schema
    }

    fn scalar(&mut self, name: &'static str) -> Value {
        self.scalars.insert(name);
        self.reference(name)
    }

    fn reference(&self, name: &str) -> Value {
        let folder = match self.dialect {
            Dialect::V2 => "#/definitions",
            Dialect::V3 => "#/components/schemas",
        };
        let mut reference = Value::object();
        reference.set("$ref", format!("{folder}/{name}"));
        reference
    }
}

/// What upstream tells as the default of fields that are always there.
fn zero(field: &Field) -> Option<Value> {
    let is_always_written = field.omit == Omit::Never;
    match field.shape {
        _ if field.pointer => None,
        Shape::Struct(_) => Some(Value::object()),
        Shape::String if is_always_written => Some("".into()),
        Shape::Int32 | Shape::Int64 if is_always_written => Some(0.into()),
        Shape::Bool if is_always_written => Some(false.into()),
        _ => None,
    }
}

/// In version 3 nothing may stand beside a reference.
fn set_apart(schema: &mut Value) {
    let fields = schema.make_object();
    if fields.len() > 1
        && let Some(target) = fields.remove("$ref")
    {
        fields.insert("allOf", vec![Map::from_iter([("$ref", target)])]);
    }
}

fn describe(words: Option<&Words>, schema: &mut Value) {
    if let Some(words) = words.filter(|words| !words.description.is_empty()) {
        schema.set("description", &*words.description);
    }
}

/// The members of both.
fn with(mut schema: Value, more: Value) -> Value {
    if let Value::Object(more) = more {
        more.iter().for_each(|(key, value)| drop(schema.make_object().insert(key.clone(), value.clone())));
    }
    schema
}

fn plain(kind: &str, format: &str) -> Value {
    let mut schema = Value::object();
    schema.set("type", kind);
    if !format.is_empty() {
        schema.set("format", format);
    }
    schema
}

fn scalar(name: &str, dialect: Dialect) -> Value {
    match (name, dialect) {
        (TIME | MICRO_TIME, _) => plain("string", "date-time"),
        (QUANTITY, Dialect::V2) => plain("string", ""),
        (QUANTITY, Dialect::V3) => one_of(["string", "number"]),
        (INT_OR_STRING, Dialect::V2) => plain("string", "int-or-string"),
        (INT_OR_STRING, Dialect::V3) => {
            let mut schema = one_of(["integer", "string"]);
            schema.set("format", "int-or-string");
            schema
        }
        (RAW_EXTENSION | FIELDS | PATCH, _) => plain("object", ""),
        _ => Value::object(),
    }
}

/// What version 2 can't say.
fn one_of(types: [&str; 2]) -> Value {
    let mut schema = Value::object();
    schema.set("oneOf", types.map(|name| plain(name, "")).to_vec());
    schema
}

/// How lists merge, for apply and for strategic merge patch.
fn lists(array: &Array, schema: &mut Value) {
    match &array.list {
        ListType::Atomic => schema.set("x-kubernetes-list-type", "atomic"),
        ListType::Set => schema.set("x-kubernetes-list-type", "set"),
        ListType::Map(keys) => {
            schema.set("x-kubernetes-list-type", "map");
            schema
                .set("x-kubernetes-list-map-keys", keys.iter().map(|key| Value::from(key.clone())).collect::<Vec<_>>());
        }
    }
    match &array.patch {
        ListPatch::Replace => {}
        ListPatch::Merge => schema.set("x-kubernetes-patch-strategy", "merge"),
        ListPatch::MergeBy(key) => {
            schema.set("x-kubernetes-patch-strategy", "merge");
            schema.set("x-kubernetes-patch-merge-key", key.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::{one, whole};

    /// What kube-apiserver v1.37.2 serves, without the words.
    #[test]
    fn references_and_unions() {
        let prose = Prose::read().unwrap();
        let (v2, v3) = (whole(&prose), one("api/v1", &prose));
        let text = |value: &Value| {
            let mut value = value.clone();
            value.remove("description");
            String::from_utf8(api::codec::json::to_vec(&value)).unwrap()
        };
        let (v2, v3) = (v2.get("definitions"), v3.at("components.schemas"));
        let field = |types: &Value, of: &str, name: &str| text(types.get(of).get("properties").get(name));
        let (pod, port) = ("io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.ContainerPort");
        let spec = r##"{"default":{},"allOf":[{"$ref":"#/components/schemas/io.k8s.api.core.v1.PodSpec"}]}"##;
        assert_eq!(field(v3, pod, "spec"), spec);
        assert_eq!(field(v2, pod, "spec"), r##"{"$ref":"#/definitions/io.k8s.api.core.v1.PodSpec"}"##);
        assert_eq!(text(v3.get(QUANTITY)), r#"{"oneOf":[{"type":"string"},{"type":"number"}]}"#);
        assert_eq!(text(v2.get(INT_OR_STRING)), r#"{"type":"string","format":"int-or-string"}"#);
        let protocol = r#"{"type":"string","default":"TCP","enum":["SCTP","TCP","UDP"]}"#;
        assert_eq!(field(v3, port, "protocol"), protocol);
        assert_eq!(field(v2, port, "protocol"), r#"{"type":"string","enum":["SCTP","TCP","UDP"]}"#);
        let items = v3.get("io.k8s.api.core.v1.PodSpec").at("properties.containers.items");
        assert_eq!(text(items), r##"{"$ref":"#/components/schemas/io.k8s.api.core.v1.Container"}"##);
        assert_eq!(v2.get(pod).str_at("description"), v3.get(pod).str_at("description"));
        assert!(v2.get(pod).str_at("description").starts_with("Pod is a collection of containers"));
    }
}
