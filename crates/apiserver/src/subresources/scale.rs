//! `scale`: the number of replicas as an `autoscaling/v1 Scale`, whatever the kind.

use api::codec::json;
use api::codec::json::Duplicates;
use api::codec::yaml;
use api::field::{FieldErrors, Path};
use api::managed::{ReplicasPath, from_scale, to_scale};
use api::patch as patches;
use api::selector::LabelSelector;
use api::status::Status;
use api::table::SCALE;
use api::value::{Map, Value};
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::forms::View;
use crate::managed;
use crate::request::Form;
use crate::request::options::{FieldValidation, WriteOptions};
use crate::respond;
use crate::served::Served;
use crate::verbs::get;
use crate::verbs::write::{Current, Write, Written};

/// Reads, replaces or patches the scale of an object.
pub async fn dispatch(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let info = &context.info;
    let view = View::internal(served, context.now);
    if info.verb == "get" {
        let version = context.query.get("resourceVersion").unwrap_or_default();
        let entry = get::read(api, served, &info.namespace, &info.name, version).await?;
        return answer(context, served, of(&view.tree(&entry, entry.mod_revision)?));
    }
    let change = Requested::parse(context, &body)?;
    let options = change.options.clone();
    let write = Write {
        api,
        context,
        served,
        namespace: &info.namespace,
        name: &info.name,
        subresource: "scale",
        options: &options,
    };
    let manager = context.field_manager(&options.field_manager);
    let (written, _) = write
        .update(false, &mut |current| {
            let Some(Current { tree, .. }) = current else {
                return Err(Status::not_found(served.group_resource(), &info.name));
            };
            let version = served.api_version();
            let paths = [ReplicasPath { version: &version, path: Some(&["spec", "replicas"]) }];
            let owners = tree.get("metadata").get("managedFields");
            let mut old = of(tree);
            put_owners(&mut old, to_scale(owners, &paths).map_err(Status::internal)?);
            let scale = change.apply(context, &old, &manager)?;
            check(&scale, &info.name)?;
            let mut new = tree.clone();
            let scale_owners = scale.get("metadata").get("managedFields");
            put_owners(&mut new, from_scale(owners, scale_owners, &version, &paths).map_err(Status::internal)?);
            new.set("spec.replicas", scale.i64_at("spec.replicas").unwrap_or_default());
            // The scale's own version and identity are the preconditions.
            write.check_uid(&scale, tree)?;
            match scale.str_at("metadata.resourceVersion") {
                "" => drop(new.remove("metadata.resourceVersion")),
                text => new.set("metadata.resourceVersion", text),
            }
            Ok(new)
        })
        .await?;
    match written {
        Written::Stored(entry, revision) => answer(context, served, of(&view.tree(&entry, revision)?)),
        Written::Tree(tree) => answer(context, served, of(&tree)),
    }
}

fn put_owners(object: &mut Value, owners: Option<Value>) {
    match owners {
        Some(owners) => object.set("metadata.managedFields", owners),
        None => drop(object.remove("metadata.managedFields")),
    }
}

fn answer(context: &Context, served: &Served, scale: Value) -> Result<Response<Body>, Status> {
    let view = View::negotiate(context, served)?;
    if view.accept.form != Form::Table {
        return Ok(respond::typed(StatusCode::OK, &scale, context.accept_plain()?));
    }
    let mut metadata = Value::object();
    metadata.set("resourceVersion", scale.str_at("metadata.resourceVersion"));
    let table = view.table_of(&SCALE, vec![scale], metadata);
    Ok(respond::document(StatusCode::OK, table, view.accept.encoding.media_type()))
}

/// The scale of a workload.
fn of(object: &Value) -> Value {
    let mut scale = Value::object();
    scale.set("kind", "Scale");
    scale.set("apiVersion", "autoscaling/v1");
    let mut metadata = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.get("metadata").field(key) {
            metadata.insert(key, value.clone());
        }
    }
    scale.set("metadata", metadata);
    scale.set("spec", Value::object());
    match object.i64_at("spec.replicas").unwrap_or_default() {
        0 => {}
        replicas => scale.set("spec.replicas", replicas),
    }
    scale.set("status.replicas", object.i64_at("status.replicas").unwrap_or_default());
    let selector = selector_text(object.at("spec.selector"));
    if !selector.is_empty() {
        scale.set("status.selector", selector);
    }
    scale
}

/// A controller's selector as text: a plain map of labels, or `matchLabels` and `matchExpressions`.
fn selector_text(selector: &Value) -> String {
    let plain = selector.field("matchLabels").is_none() && selector.field("matchExpressions").is_none();
    match plain {
        true => LabelSelector::from_labels(selector).to_string(),
        false => LabelSelector::from_object(selector).map(|selector| selector.to_string()).unwrap_or_default(),
    }
}

fn check(scale: &Value, name: &str) -> Result<(), Status> {
    let mut errors = FieldErrors::new();
    let replicas = scale.i64_at("spec.replicas").unwrap_or_default();
    if replicas < 0 {
        errors.invalid(&Path::new("spec.replicas"), replicas, "must be greater than or equal to 0");
    }
    match scale.str_at("metadata.name") {
        own if own == name => errors.into_result("autoscaling", "Scale", name),
        own => Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))),
    }
}

/// What a PUT or PATCH asks for.
struct Requested {
    options: WriteOptions,
    kind: Kind,
}

enum Kind {
    Replace(Value),
    JsonPatch(patches::json::Patch),
    /// Merge and strategic merge are the same here: a Scale has no lists.
    Merge(Value),
    Apply(Value),
}

// === impl Requested ===

impl Requested {
    fn parse(context: &Context, body: &Bytes) -> Result<Requested, Status> {
        let expected = Expected::kind("autoscaling", "v1", "Scale")?;
        if context.info.verb == "update" {
            let options = WriteOptions::parse(&context.query, "UpdateOptions")?;
            let scale = decode::body(context, body, &expected, options.field_validation)?;
            return Ok(Requested { options, kind: Kind::Replace(scale) });
        }
        let bad = |error: &dyn std::fmt::Display| Status::bad_request(format!("error decoding patch: {error}"));
        let media_type = context.content_type().unwrap_or_default().split(';').next().unwrap_or_default();
        let apply = media_type == "application/apply-patch+yaml";
        let options = WriteOptions::parse_patch(&context.query, apply)?;
        let kind = match media_type {
            "application/json-patch+json" => {
                let patch = json::parse(body).map_err(|error| bad(&error))?;
                Kind::JsonPatch(patches::json::Patch::decode(patch, false).map_err(Status::from)?.0)
            }
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                Kind::Merge(json::parse(body).map_err(|error| bad(&error))?)
            }
            "application/apply-patch+yaml" => Kind::Apply(yaml::parse(body).map_err(|error| bad(&error))?),
            other => {
                return Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml; got {other}"
                )));
            }
        };
        Ok(Requested { options, kind })
    }

    /// The new scale with its owners.
    fn apply(&self, context: &Context, current: &Value, manager: &str) -> Result<Value, Status> {
        let mut scale = match &self.kind {
            Kind::Replace(scale) => scale.clone(),
            Kind::Apply(config) => {
                let force = self.options.force == Some(true);
                let applied = managed::apply_scale(config, current, manager, force, context.now)?;
                return self.typed(context, applied);
            }
            _ => {
                let patched = self.patched(current)?;
                self.typed(context, patched.clone()).map_err(|status| {
                    let mut errors = FieldErrors::new();
                    let shown = String::from_utf8_lossy(&json::to_vec(&patched)).into_owned();
                    errors.invalid(&Path::new("patch"), shown.as_str(), status.message);
                    errors.into_status("", "", "")
                })?
            }
        };
        managed::on_scale(&mut scale, current, manager, context.now)?;
        Ok(scale)
    }

    fn patched(&self, current: &Value) -> Result<Value, Status> {
        Ok(match &self.kind {
            Kind::Replace(scale) | Kind::Apply(scale) => scale.clone(),
            Kind::JsonPatch(patch) => patch.apply(current.clone()).map_err(Status::from)?,
            Kind::Merge(patch) => patches::merge::apply(current.clone(), patch.clone()).map_err(Status::from)?,
        })
    }

    fn typed(&self, context: &Context, scale: Value) -> Result<Value, Status> {
        let expected = Expected::kind("autoscaling", "v1", "Scale")?;
        decode::tree_of(context, scale, &Duplicates::default(), &expected, FieldValidation::Warn)
            .map(|typed| typed.0)
            .map_err(Status::bad_request)
    }
}
