//! Paths in either dialect.

use api::value::{Map, Value};

use super::parameters::{Parameter, Place, Shared};
use super::routes::{Content, Route};
use super::types::{Dialect, Types};

/// Writes routes as paths. Types that they refer to become part of `types`, parameters of version 2 part of `shared`.
pub fn of(routes: Vec<Route>, types: &mut Types<'_>, shared: &mut Shared) -> Map {
    let mut by_path: Vec<(String, Vec<Route>)> = Vec::new();
    for route in routes {
        match by_path.last_mut() {
            Some((path, routes)) if *path == route.path => routes.push(route),
            _ => by_path.push((route.path.clone(), vec![route])),
        }
    }
    let mut paths = Map::new();
    for (path, mut routes) in by_path {
        let common = take_common(&mut routes);
        let mut item = Map::new();
        for route in &routes {
            item.insert(route.method, operation(route, types, shared));
        }
        let common: Vec<Value> = common.iter().map(|one| place(one, types.dialect(), shared)).collect();
        if !common.is_empty() {
            item.insert("parameters", common);
        }
        paths.insert(path, item);
    }
    paths
}

/// What every method of a path takes is a parameter of the path; each list comes by name.
fn take_common(routes: &mut [Route]) -> Vec<Parameter> {
    let key = |one: &Parameter| -> (&'static str, Place) { one.key() };
    let everywhere = |one: &Parameter| routes.iter().all(|route| route.parameters.iter().any(|o| key(o) == key(one)));
    let first = routes.first().map(|route| route.parameters.clone()).unwrap_or_default();
    let mut common: Vec<Parameter> = first.into_iter().filter(everywhere).collect();
    common.sort_by_key(key);
    for route in routes {
        route.parameters.retain(|one| !common.iter().any(|other| key(other) == key(one)));
        route.parameters.sort_by_key(key);
    }
    common
}

fn place(parameter: &Parameter, dialect: Dialect, shared: &mut Shared) -> Value {
    let written = parameter.written(dialect);
    if dialect == Dialect::V2 { shared.place(written) } else { written }
}

fn operation(route: &Route, types: &mut Types<'_>, shared: &mut Shared) -> Map {
    let dialect = types.dialect();
    let mut operation = Map::new();
    operation.insert("tags", vec![route.tag()]);
    operation.insert("description", route.description.as_str());
    if dialect == Dialect::V2 {
        for (member, media_types) in [("consumes", route.consumes), ("produces", &route.produces[..])] {
            if !media_types.is_empty() {
                operation.insert(member, media_types.to_vec());
            }
        }
        operation.insert("schemes", vec!["https"]);
    }
    operation.insert("operationId", route.operation_id());
    let mut parameters: Vec<Value> = Vec::new();
    if let Some(content) = route.body {
        let required = !matches!(content, Content::Optional(_));
        match dialect {
            Dialect::V2 => parameters.push(shared.place(body(types.of_content(content), required))),
            Dialect::V3 => {
                let mut body = Map::from_iter([("content", contents(content, route.consumes, types))]);
                if required {
                    body.insert("required", true);
                }
                operation.insert("requestBody", body);
            }
        }
    }
    parameters.extend(route.parameters.iter().map(|one| place(one, dialect, shared)));
    if !parameters.is_empty() {
        operation.insert("parameters", parameters);
    }
    operation.insert("responses", responses(route, types));
    if let Some((action, kind)) = &route.action {
        operation.insert("x-kubernetes-action", *action);
        operation.insert("x-kubernetes-group-version-kind", kind);
    }
    operation
}

/// The parameter of version 2 that is the body.
fn body(schema: Value, required: bool) -> Value {
    let mut body = Map::from_iter([("name", "body"), ("in", "body")]);
    if required {
        body.insert("required", true);
    }
    body.insert("schema", schema);
    body.into()
}

/// The same in every media type.
fn contents(content: Content, media_types: &[&str], types: &mut Types<'_>) -> Map {
    let schema = types.of_content(content);
    media_types.iter().map(|media_type| (*media_type, Map::from_iter([("schema", schema.clone())]))).collect()
}

fn responses(route: &Route, types: &mut Types<'_>) -> Map {
    let mut responses = Map::new();
    for (code, description) in route.answers {
        let mut response = Map::from_iter([("description", *description)]);
        if let Some(content) = route.answer {
            match types.dialect() {
                Dialect::V2 => response.insert("schema", types.of_content(content)),
                Dialect::V3 => response.insert("content", contents(content, &route.produces, types)),
            };
        }
        responses.insert(*code, response);
    }
    responses.insert("401", Map::from_iter([("description", "Unauthorized")]));
    responses
}
