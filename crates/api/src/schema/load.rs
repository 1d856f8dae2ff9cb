//! The committed table of built-in types, written by `tools/schema-gen`, which also says what its columns are.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Array, Field, ListPatch, ListType, Mapping, Omit, RawKind, Schema, Shape, Struct, StructId};
use crate::codec::json;
use crate::value::Key;

static TABLE: &str = include_str!("../../tables/types.txt");

/// The built-in types, read from the committed table on first use.
pub fn builtin() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| load(TABLE));
    &SCHEMA
}

/// The ids that names stand for.
type Ids = HashMap<&'static str, StructId>;

fn load(table: &'static str) -> Schema {
    let headings = table.lines().filter_map(|line| line.strip_prefix("struct "));
    let ids: Ids = headings
        .enumerate()
        .map(|(at, heading)| (heading.strip_suffix(" atomic").unwrap_or(heading), StructId(at as u32)))
        .collect();
    let mut structs = Vec::with_capacity(ids.len());
    let mut blocks = table.split("\nstruct ");
    blocks.next();
    for block in blocks {
        let mut lines = block.lines();
        let heading = lines.next().unwrap_or_default();
        let fields = lines.map(|line| field(line, &ids)).collect();
        let (name, atomic) = match heading.strip_suffix(" atomic") {
            Some(name) => (name, true),
            None => (heading, false),
        };
        structs.push(Struct { atomic, ..Struct::new(Key::new_static(name), fields) });
    }
    Schema::new(structs)
}

// The table is part of the program and a test reads all of it, so that a line which can't be read never ships.

fn field(line: &'static str, ids: &Ids) -> Field {
    let mut columns = line.splitn(5, ' ');
    let mut next = || columns.next().unwrap_or_else(|| panic!("types.txt: too few columns: {line}"));
    let mut field = Field::new(Key::new_static(next()), Shape::Bool);
    field.shape = shape(next(), ids);
    field.omit = Omit::Never;
    for flag in next().chars() {
        match flag {
            'p' => field.pointer = true,
            'e' => field.omit = Omit::Empty,
            'z' => field.omit = Omit::Zero,
            'r' => field.required = true,
            'k' => field.retain_keys = true,
            'x' => field.patch_replaces = true,
            'w' => field.wrapped = true,
            '-' => {}
            _ => panic!("types.txt: unknown flag: {line}"),
        }
    }
    let mut numbers = next().rsplit('.').map(|number| number.parse::<u32>());
    field.number = numbers.next().and_then(Result::ok).unwrap_or_else(|| panic!("types.txt: no number: {line}"));
    field.inlined = numbers.rev().flatten().collect();
    let mut rest = columns.next().unwrap_or_default();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').unwrap_or_else(|| panic!("types.txt: no value: {line}"));
        // A default stands last and may contain spaces.
        let (value, after) = if key == "default" { (value, "") } else { value.split_once(' ').unwrap_or((value, "")) };
        told(&mut field, key, value);
        rest = after;
    }
    field
}

fn told(field: &mut Field, key: &str, value: &'static str) {
    match (key, &mut field.shape) {
        ("default", _) => match json::parse(value.as_bytes()) {
            Ok(default) => field.default = Some(default),
            Err(error) => panic!("types.txt: default {value}: {error}"),
        },
        ("in", _) => field.embedded = Key::new_static(value),
        ("go", _) => field.go_type = Key::new_static(value),
        ("list", Shape::Array(array)) => {
            array.list = match value {
                "set" => ListType::Set,
                keys => ListType::Map(keys.split(',').map(Key::new_static).collect()),
            }
        }
        ("patch", Shape::Array(array)) => {
            array.patch = match value.strip_prefix("merge:") {
                Some(key) => ListPatch::MergeBy(Key::new_static(key)),
                None => ListPatch::Merge,
            }
        }
        ("map", Shape::Map(mapping)) => mapping.atomic = value == "atomic",
        ("map", _) => field.atomic = Some(value == "atomic"),
        _ => panic!("types.txt: {key}={value} on field {}", field.name),
    }
}

fn shape(name: &'static str, ids: &Ids) -> Shape {
    if let Some(item) = name.strip_prefix("[]") {
        let item = shape(item, ids);
        return Shape::Array(Box::new(Array { item, list: ListType::Atomic, patch: ListPatch::Replace }));
    }
    if let Some(value) = name.strip_prefix("{}") {
        let value = shape(value, ids);
        return Shape::Map(Box::new(Mapping { value, atomic: false, patch_replaces: false }));
    }
    match name {
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "float64" => Shape::Float64,
        "string" => Shape::String,
        "bytes" => Shape::Bytes,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "quantity" => Shape::Quantity,
        "intorstring" => Shape::IntOrString,
        "rawextension" => Shape::Raw(RawKind::RawExtension),
        "fieldsv1" => Shape::Raw(RawKind::FieldsV1),
        "json" => Shape::Raw(RawKind::Json),
        "schemaorarray" => Shape::Raw(RawKind::JsonSchemaPropsOrArray),
        "schemaorbool" => Shape::Raw(RawKind::JsonSchemaPropsOrBool),
        "schemaorstrings" => Shape::Raw(RawKind::JsonSchemaPropsOrStringArray),
        _ => match ids.get(name) {
            Some(id) => Shape::Struct(*id),
            None => panic!("types.txt: unknown shape {name}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn field_of(owner: &str, name: &str) -> &'static Field {
        let schema = builtin();
        schema.get(schema.find(owner).unwrap()).field(name).unwrap()
    }

    fn array(owner: &str, name: &str) -> &'static Array {
        match &field_of(owner, name).shape {
            Shape::Array(array) => array,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_line_is_read() {
        let fields: usize = builtin().iter().map(|(_, one)| one.fields().len()).sum();
        let structs = builtin().iter().count();
        assert_eq!(structs + fields + 1, TABLE.lines().count());
        for (_, one) in builtin().iter() {
            for field in one.fields() {
                assert_eq!(one.field(&field.name).map(|found| &found.name), Some(&field.name));
            }
        }
    }

    /// The patch merge key is one key, server-side apply needs all of them.
    #[test]
    fn a_service_port_is_known_by_port_and_protocol() {
        let ports = array("io.k8s.api.core.v1.ServiceSpec", "ports");
        assert_eq!(ports.patch, ListPatch::MergeBy("port".into()));
        assert_eq!(ports.list, ListType::Map(vec!["port".into(), "protocol".into()]));
        assert_eq!(field_of("io.k8s.api.core.v1.ServicePort", "protocol").default, Some(Value::from("TCP")));
    }

    #[test]
    fn what_a_field_says_of_its_struct_comes_first() {
        let schema = builtin();
        let reference = schema.find("io.k8s.api.core.v1.ObjectReference").unwrap();
        assert!(schema.get(reference).atomic);
        assert_eq!(field_of("io.k8s.api.core.v1.PersistentVolumeSpec", "claimRef").atomic, Some(false));
    }

    #[test]
    fn pointers_and_values_are_told_apart() {
        assert!(field_of("io.k8s.api.apps.v1.DeploymentSpec", "replicas").pointer);
        assert!(!field_of("io.k8s.api.apps.v1.DeploymentSpec", "minReadySeconds").pointer);
        assert_eq!(field_of("io.k8s.api.apps.v1.DeploymentSpec", "selector").omit, Omit::Never);
        assert!(field_of("io.k8s.api.apps.v1.DeploymentSpec", "strategy").retain_keys);
        assert!(field_of("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", "selector").patch_replaces);
    }

    #[test]
    fn inlined_structs_are_messages_of_their_own() {
        let scope = field_of("io.k8s.api.admissionregistration.v1.NamedRuleWithOperations", "scope");
        assert_eq!((scope.inlined.as_slice(), scope.number), ([2, 2].as_slice(), 4));
        assert_eq!(field_of("io.k8s.api.core.v1.Pod", "kind").number, 0);
    }

    #[test]
    fn go_names() {
        let schema = builtin();
        let pod = schema.get(schema.find("io.k8s.api.core.v1.PodSpec").unwrap());
        assert_eq!((pod.go_name(), pod.go_type()), ("PodSpec", "v1.PodSpec"));
    }
}
