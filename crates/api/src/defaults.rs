//! Static defaults: what a field is when nobody sets it, as the schema's tables say.
//!
//! Only what is reachable from a type and has a default somewhere below is walked. Defaults that
//! depend on other fields are functions of the kind's rules.

use std::sync::LazyLock;

use crate::schema::{self, Schema, Shape, StructId};
use crate::value::Value;

/// For each built-in struct, whether it or anything below it has a default.
static BUILTIN: LazyLock<Vec<bool>> = LazyLock::new(|| reachable(schema::builtin()));

/// Fills in the defaults of a tree of the type `root`. Changes nothing the second time.
pub fn apply(schema: &Schema, root: StructId, value: &mut Value) {
    let owned;
    let below = match std::ptr::eq(schema, schema::builtin()) {
        true => &*BUILTIN,
        false => {
            owned = reachable(schema);
            &owned
        }
    };
    fill(schema, below, root, value);
}

fn fill(schema: &Schema, below: &[bool], id: StructId, value: &mut Value) {
    if !below[id.0 as usize] {
        return;
    }
    let Some(map) = value.as_object_mut() else { return };
    for field in schema.get(id).fields() {
        match &field.default {
            Some(default) if map.get(&field.name).is_none_or(Value::is_null) => {
                map.insert(field.name.clone(), default.clone());
            }
            _ => {
                let Some(inner) = struct_of(&field.shape).filter(|inner| below[inner.0 as usize]) else { continue };
                if let Some(value) = map.get_mut(&field.name) {
                    each_struct(&field.shape, value, &mut |value| fill(schema, below, inner, value));
                }
            }
        }
    }
}

/// The struct that a shape is made of, through lists and maps.
fn struct_of(shape: &Shape) -> Option<StructId> {
    match shape {
        Shape::Struct(id) => Some(*id),
        Shape::Array(array) => struct_of(&array.item),
        Shape::Map(map) => struct_of(&map.value),
        _ => None,
    }
}

fn each_struct(shape: &Shape, value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    match (shape, value) {
        (Shape::Struct(_), value) => visit(value),
        (Shape::Array(array), Value::Array(items)) => {
            items.iter_mut().for_each(|item| each_struct(&array.item, item, visit));
        }
        (Shape::Map(map), Value::Object(fields)) => {
            fields.iter_mut().for_each(|(_, value)| each_struct(&map.value, value, visit));
        }
        _ => {}
    }
}

/// Spreads "has a default" from structs to those that contain them until nothing changes.
fn reachable(schema: &Schema) -> Vec<bool> {
    let mut below: Vec<bool> =
        schema.iter().map(|(_, one)| one.fields().iter().any(|field| field.default.is_some())).collect();
    loop {
        let mut changed = false;
        for (id, one) in schema.iter() {
            let contains = |field: &schema::Field| struct_of(&field.shape).is_some_and(|inner| below[inner.0 as usize]);
            if !below[id.0 as usize] && one.fields().iter().any(contains) {
                below[id.0 as usize] = true;
                changed = true;
            }
        }
        if !changed {
            return below;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    #[test]
    fn a_port_without_protocol_is_tcp() {
        let schema = schema::builtin();
        let pod = schema.find("io.k8s.api.core.v1.Pod").unwrap();
        let mut value = json::parse(br#"{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80},{"containerPort":53,"protocol":"UDP"}]}]}}"#).unwrap();
        apply(schema, pod, &mut value);
        let ports = value.array_at("spec.containers")[0].array_at("ports");
        assert_eq!((ports[0].str_at("protocol"), ports[1].str_at("protocol")), ("TCP", "UDP"));
        let before = value.clone();
        apply(schema, pod, &mut value);
        assert_eq!(value, before);
    }
}
