//! `patch`: JSON patch, merge patch, strategic merge patch and apply.
//!
//! Upstream: `apiserver/pkg/endpoints/handlers/patch.go`.

use api::codec::json::Duplicates;
use api::codec::json;
use api::codec::yaml;
use api::field::{FieldErrors, Path};
use api::patch;
use api::status::Status;
use api::value::Value;
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use super::write::{Current, Write};
use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected, Typed};
use crate::managed;
use crate::request::options::{FieldValidation, WriteOptions};
use crate::served::Served;

/// How the body describes the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

const PATCH_TYPES: [(&str, PatchType); 4] = [
    ("application/json-patch+json", PatchType::Json),
    ("application/merge-patch+json", PatchType::Merge),
    ("application/strategic-merge-patch+json", PatchType::Strategic),
    ("application/apply-patch+yaml", PatchType::Apply),
];

/// Answers a patch request.
pub async fn patch(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let kind = patch_type(context.content_type())?;
    let options = WriteOptions::parse_patch(&context.query, kind == PatchType::Apply)?;
    context.accept()?;
    let info = &context.info;
    let patch = Patch::parse(kind, &body, context, served, &options)?;
    let manager = context.field_manager(&options.field_manager);
    let write = Write {
        api,
        context,
        served,
        namespace: super::own_namespace(served, &info.namespace, &info.name),
        name: &info.name,
        subresource: &info.subresource,
        options: &options,
    };
    let upsert = kind == PatchType::Apply && info.subresource.is_empty();
    let (written, created) =
        write.update(upsert, &mut |current| patch.change(&write, current, &manager)).await?;
    write.respond(&written, if created { StatusCode::CREATED } else { StatusCode::OK })
}

fn patch_type(content_type: Option<&str>) -> Result<PatchType, Status> {
    let name = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    PATCH_TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
        Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            PATCH_TYPES.map(|(name, _)| name).join(", ")
        ))
    })
}

/// A parsed patch.
enum Patch {
    Json(patch::json::Patch),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

// === impl Patch ===

impl Patch {
    fn parse(
        kind: PatchType,
        body: &Bytes,
        context: &Context,
        served: &Served,
        options: &WriteOptions,
    ) -> Result<Patch, Status> {
        let bad = |error: &dyn std::fmt::Display| Status::bad_request(format!("error decoding patch: {error}"));
        let parsed = match kind {
            PatchType::Apply => yaml::parse_strict(body)
                .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?,
            _ => json::parse_strict(body).map_err(|error| bad(&error))?,
        };
        let mut strict: Vec<String> =
            parsed.duplicates.paths.into_iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        let checked = options.field_validation != FieldValidation::Ignore;
        let patch = match kind {
            PatchType::Json => {
                let (patch, unknown) = patch::json::Patch::decode(parsed.value, checked).map_err(Status::from)?;
                strict.extend(unknown);
                Patch::Json(patch)
            }
            PatchType::Merge => Patch::Merge(parsed.value),
            PatchType::Strategic => Patch::Strategic(parsed.value),
            PatchType::Apply => {
                check_applied(&parsed.value, served, &context.info)?;
                Patch::Apply(parsed.value)
            }
        };
        match (options.field_validation, strict.is_empty()) {
            (FieldValidation::Strict, false) => {
                Err(Status::bad_request(format!("error strict decoding patch: {}", strict.join(", "))))
            }
            (FieldValidation::Warn, false) => {
                strict.into_iter().for_each(|one| context.warn(one));
                Ok(patch)
            }
            _ => Ok(patch),
        }
    }

    /// The new object, in the served version.
    fn change(&self, write: &Write<'_>, current: Option<Current<'_>>, manager: &str) -> Result<Value, Status> {
        let (context, served) = (write.context, write.served);
        if let Patch::Apply(applied) = self {
            return managed::apply(write, applied, current.map(|current| current.tree), manager);
        }
        let Some(Current { tree: old, .. }) = current else {
            return Err(Status::not_found(served.group_resource(), write.name));
        };
        let (schema, id) = served.schema();
        let patched = match self {
            Patch::Json(patch) => patch.apply(old.clone())?,
            Patch::Merge(patch) | Patch::Apply(patch) => patch::merge::apply(old.clone(), patch.clone())?,
            Patch::Strategic(patch) => patch::strategic::apply(old.clone(), patch.clone(), schema, id)?,
        };
        let expected = Expected::of(served);
        let validation = write.options.field_validation;
        let shown = |tree: &Value| {
            let mut text = Vec::new();
            json::write(tree, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let text = shown(&patched);
        let Typed(mut new) = decode::tree_of(context, patched, &Duplicates::default(), &expected, validation).map_err(|why| {
            let mut errors = FieldErrors::new();
            errors.invalid(&Path::new("patch"), text.as_str(), why);
            errors.into_status("", "", "")
        })?;
        check_identity(&new, old, served)?;
        decode::apply_defaults(&mut new, served);
        managed::on_update(&mut new, old, served, manager, write.subresource, context.now);
        Ok(new)
    }
}

/// Kind and version are the resource's own; a patch can't turn an object into another kind.
fn check_identity(new: &Value, old: &Value, served: &Served) -> Result<(), Status> {
    for key in ["kind", "apiVersion"] {
        if new.str_at(key) != old.str_at(key) {
            return Err(Status::bad_request(format!(
                "{key} of {} can't be changed by a patch: {} is not {}",
                served.group_resource(),
                new.str_at(key),
                old.str_at(key)
            )));
        }
    }
    Ok(())
}

/// What an applied configuration must say of itself.
fn check_applied(tree: &Value, served: &Served, info: &crate::request::RequestInfo) -> Result<(), Status> {
    let version = served.api_version();
    if tree.str_at("apiVersion").is_empty() || tree.str_at("kind").is_empty() {
        return Err(Status::bad_request("error decoding patch: apiVersion and kind must be set in an applied object"));
    }
    if tree.str_at("apiVersion") != version {
        let why = format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {version}",
            tree.str_at("apiVersion")
        );
        return Err(Status::bad_request(why));
    }
    if tree.get("metadata").field("managedFields").is_some() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    match tree.str_at("metadata.name") {
        name if name == info.name => Ok(()),
        name => Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            info.name
        ))),
    }
}
