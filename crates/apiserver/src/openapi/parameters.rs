//! Parameters of paths and queries: most are the fields of options' types.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::codec::json;
use api::registry::Registry;
use api::schema::{self, Shape, StructId};
use api::value::{Map, Value};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::prose::Prose;
use super::types::Dialect;

/// A parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    /// The type's name.
    pub kind: &'static str,
    pub description: Arc<str>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Path,
    Query,
}

/// Parameters of version 2 that are referred to, by name.
#[derive(Default)]
pub struct Shared(BTreeMap<String, Value>);

// === impl Parameter ===

impl Parameter {
    /// The fields of options that every group has, or of a pod's.
    pub fn of_options(kind: &str, left_out: &[&str], prose: &Prose) -> Vec<Parameter> {
        let id = Registry::builtin().kind("", "v1", kind);
        id.map(|id| Parameter::of_fields(id, left_out, prose)).unwrap_or_default()
    }

    /// A type's fields, where they are scalars or lists of scalars.
    pub fn of_fields(id: StructId, left_out: &[&str], prose: &Prose) -> Vec<Parameter> {
        let one = schema::builtin().get(id);
        let fields = one.fields().iter().filter(|field| !["kind", "apiVersion"].contains(&&*field.name));
        let fields = fields.filter(|field| !left_out.contains(&&*field.name));
        let parameters = fields.filter_map(|field| {
            let description = prose.of_field(&one.name, &field.name).map(|words| words.description.clone());
            Some(Parameter {
                name: &field.name,
                place: Place::Query,
                kind: kind_of(&field.shape)?,
                description: description.unwrap_or_default(),
            })
        });
        parameters.collect()
    }

    pub fn of_path(name: &'static str, description: &str) -> Parameter {
        Parameter { name, place: Place::Path, kind: "string", description: description.into() }
    }

    /// What everything but streams takes.
    pub fn pretty() -> Parameter {
        let description = "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent \
                           indicates a browser or command-line HTTP tool (curl and wget).";
        Parameter { name: "pretty", place: Place::Query, kind: "string", description: description.into() }
    }

    /// What tells it from a path's other parameters.
    pub fn key(&self) -> (&'static str, Place) {
        (self.name, self.place)
    }

    pub fn written(&self, dialect: Dialect) -> Value {
        let mut out = Map::new();
        if dialect == Dialect::V2 {
            out.insert("uniqueItems", true);
            out.insert("type", self.kind);
        }
        if !self.description.is_empty() {
            out.insert("description", &*self.description);
        }
        out.insert("name", self.name);
        let place = if self.place == Place::Path { "path" } else { "query" };
        out.insert("in", place);
        if self.place == Place::Path {
            out.insert("required", true);
        }
        if dialect == Dialect::V3 {
            out.insert("schema", Map::from_iter([("type", Value::from(self.kind)), ("uniqueItems", true.into())]));
        }
        out.into()
    }
}

fn kind_of(shape: &Shape) -> Option<&'static str> {
    match shape {
        Shape::Bool => Some("boolean"),
        Shape::Int32 | Shape::Int64 => Some("integer"),
        Shape::Float64 => Some("number"),
        Shape::String => Some("string"),
        Shape::Array(array) => kind_of(&array.item),
        _ => None,
    }
}

// === impl Shared ===

impl Shared {
    /// A parameter of version 2, or a reference to it where it is not one kind's alone. Clients look for some in
    /// their places.
    pub fn place(&mut self, parameter: Value) -> Value {
        const IN_PLACE: [&str; 3] = ["name", "fieldValidation", "dryRun"];
        let name = parameter.str_at("name");
        let target = parameter.get("schema").get("$ref").as_str();
        if IN_PLACE.contains(&name) || target.is_some_and(|target| !target.starts_with("#/definitions/io.k8s.apimach"))
        {
            return parameter;
        }
        let name = format!("{name}-{}", hash(&json::to_vec(&parameter)));
        let mut reference = Value::object();
        reference.set("$ref", format!("#/parameters/{name}"));
        self.0.insert(name, parameter);
        reference
    }

    /// `parameters`.
    pub fn finish(self) -> Map {
        self.0.into_iter().collect()
    }
}

/// The first six bytes of FNV-1, as base64.
fn hash(text: &[u8]) -> String {
    let hash = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| hash.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(*byte));
    URL_SAFE.encode(&hash.to_be_bytes()[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are those of upstream's document.
    #[test]
    fn shared_ones() {
        let mut shared = Shared::default();
        let path = |name, description| Parameter::of_path(name, description).written(Dialect::V2);
        let reference = shared.place(path("namespace", "object name and auth scope, such as for teams and projects"));
        assert_eq!(reference.str_at("$ref"), "#/parameters/namespace-vgWSWtn3");
        assert_eq!(
            shared.place(Parameter::pretty().written(Dialect::V2)).str_at("$ref"),
            "#/parameters/pretty-tJGM1-ng"
        );
        let of_one_kind = path("name", "name of the Pod");
        assert_eq!(shared.place(of_one_kind.clone()), of_one_kind);
        assert_eq!(shared.finish().len(), 2);
    }

    #[test]
    fn fields_of_options() {
        let prose = Prose::read().unwrap();
        let of = |kind| Parameter::of_options(kind, &["follow"], &prose);
        let names: Vec<_> = of("PodLogOptions").into_iter().map(|one| (one.name, one.kind)).collect();
        assert!(names.contains(&("tailLines", "integer")) && names.contains(&("stream", "string")));
        assert!(!names.iter().any(|(name, _)| ["kind", "sinceTime", "follow"].contains(name)));
        let ports = Parameter::of_options("PodPortForwardOptions", &[], &prose);
        assert_eq!(
            (ports[0].kind, &*ports[0].description),
            ("integer", "List of ports to forward Required when using WebSockets")
        );
    }
}
