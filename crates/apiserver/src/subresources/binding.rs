//! `pods/binding`: a pod gets its node.
//!
//! Upstream: `pkg/registry/core/pod/storage/storage.go` (`BindingREST`).

use api::field::{FieldErrors, Path};
use api::status::Status;
use api::value::{Map, Value};
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::lifecycle::meta;
use crate::request::options::WriteOptions;
use crate::respond;
use crate::served::Served;
use crate::verbs::write::{Current, Write};

/// Binds the pod that the path names.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    let expected = Expected::kind("", "v1", "Binding")?;
    let binding = decode::body(context, &body, &expected, options.field_validation)?;
    let info = &context.info;
    let name = match info.name.as_str() {
        // `POST bindings` names the pod in its body.
        "" => binding.str_at("metadata.name"),
        name => name,
    };
    check(&binding, name)?;
    let pods = match served.plural() {
        "pods" => served.clone(),
        _ => api.catalog.load().find("", "v1", "pods").ok_or_else(Status::no_such_path)?,
    };
    let write = Write {
        api,
        context,
        served: &pods,
        namespace: &info.namespace,
        name,
        subresource: "binding",
        options: &options,
    };
    let node = binding.str_at("target.name");
    write
        .update(false, &mut |current| {
            let Some(Current { tree, .. }) = current else {
                return Err(Status::not_found(pods.group_resource(), name));
            };
            assign(tree, &binding, node, name, &pods, meta::rfc3339(context.now))
        })
        .await?;
    let mut status = Value::object();
    status.set("kind", "Status");
    status.set("apiVersion", "v1");
    status.set("metadata", Map::new());
    status.set("status", "Success");
    status.set("code", 201);
    Ok(respond::typed(StatusCode::CREATED, &status, context.accept_plain()?))
}

fn check(binding: &Value, name: &str) -> Result<(), Status> {
    let mut errors = FieldErrors::new();
    let kind = binding.str_at("target.kind");
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&Path::new("target.kind"), kind, &["Node", "<empty>"]);
    }
    if binding.str_at("target.name").is_empty() {
        errors.required(&Path::new("target.name"), "");
    }
    errors.into_result("", "Binding", name)
}

/// The pod with its node, if it may still get one.
fn assign(pod: &Value, binding: &Value, node: &str, name: &str, pods: &Served, now: String) -> Result<Value, Status> {
    let conflict =
        |why: String| Status::conflict(api::status::GroupResource { group: "", resource: "pods/binding" }, name, &why);
    let uid = binding.str_at("metadata.uid");
    if !uid.is_empty() && uid != pod.str_at("metadata.uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            pod.str_at("metadata.uid")
        );
        return Err(conflict(why));
    }
    let version = binding.str_at("metadata.resourceVersion");
    if !version.is_empty() && version != pod.str_at("metadata.resourceVersion") {
        return Err(Status::modified(pods.group_resource(), name));
    }
    if meta::is_deleting(pod) {
        return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let assigned = pod.str_at("spec.nodeName");
    if !assigned.is_empty() {
        return Err(conflict(format!("pod {name} is already assigned to node \"{assigned}\"")));
    }
    if !pod.array_at("spec.schedulingGates").is_empty() {
        return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    let mut pod = pod.clone();
    pod.set("spec.nodeName", node);
    for kind in ["annotations", "labels"] {
        for (key, value) in binding.get("metadata").get(kind).as_object().into_iter().flat_map(|map| map.iter()) {
            pod.at_or_insert("metadata")
                .make_object()
                .get_or_insert(kind)
                .make_object()
                .insert(key.clone(), value.clone());
        }
    }
    // The nomination has served its purpose.
    pod.remove("status.nominatedNodeName");
    set_scheduled(&mut pod, now);
    Ok(pod)
}

fn set_scheduled(pod: &mut Value, now: String) {
    let conditions = pod.at_or_insert("status.conditions");
    if conditions.as_array().is_none() {
        *conditions = Value::Array(Vec::new());
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let at = conditions.iter().position(|one| one.str_at("type") == "PodScheduled").unwrap_or_else(|| {
        let mut condition = Value::object();
        condition.set("type", "PodScheduled");
        conditions.push(condition);
        conditions.len() - 1
    });
    let condition = &mut conditions[at];
    if condition.str_at("status") != "True" {
        condition.set("status", "True");
        condition.set("lastTransitionTime", now);
    }
    for key in ["reason", "message"] {
        condition.remove(key);
    }
}
