//! `patch`: JSON patch, merge patch, strategic merge patch and apply.
//!
//! Upstream: `apiserver/pkg/endpoints/handlers/patch.go`.

use api::codec::json::{self, Duplicates};
use api::codec::yaml;
use api::decode::{Decoded, canonicalize, decode_with_duplicates};
use api::field::{FieldErrors, Path};
use api::patch;
use api::registry::Registry;
use api::status::{Details, Status};
use api::value::{Map, Value};
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use super::write::{Current, Write};
use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected};
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
    let patch = Patch::parse(kind, &body, &options)?;
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
    let (written, created) = write.update(upsert, &mut |current| patch.change(&write, current, &manager)).await?;
    write.respond(written, if created { StatusCode::CREATED } else { StatusCode::OK })
}

/// Whether a body of this type is a patch.
pub fn is_known(content_type: Option<&str>) -> bool {
    patch_type(content_type).is_ok()
}

fn patch_type(content_type: Option<&str>) -> Result<PatchType, Status> {
    let name = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    PATCH_TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
        let mut status = Status::unsupported_media_type("415: Unsupported Media Type");
        status.details = Some(Details::default());
        status
    })
}

/// A parsed patch, and what strict reading of its text complains about.
struct Patch {
    change: Change,
    complaints: Vec<String>,
}

enum Change {
    Json(patch::json::Patch),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

// === impl Patch ===

impl Patch {
    fn parse(kind: PatchType, body: &Bytes, options: &WriteOptions) -> Result<Patch, Status> {
        let checked = options.field_validation != FieldValidation::Ignore;
        if kind == PatchType::Apply {
            return Patch::parse_applied(body);
        }
        let parsed = json::parse_strict(body).map_err(|_| Status::bad_request("invalid JSON patch"))?;
        let mut complaints: Vec<String> = Vec::new();
        if checked {
            let prefix = if kind == PatchType::Json { "json patch " } else { "" };
            let duplicate = |path: &String| format!("{prefix}duplicate field \"{path}\"");
            complaints.extend(parsed.duplicates.paths.iter().map(duplicate));
        }
        let change = match kind {
            PatchType::Json => {
                let (patch, unknown) = patch::json::Patch::decode(parsed.value, checked)?;
                complaints.extend(unknown);
                Change::Json(patch)
            }
            PatchType::Merge if checked && !matches!(parsed.value, Value::Object(_) | Value::Null) => {
                return Err(Status::bad_request(format!("error decoding patch: {}", no_object(&parsed.value))));
            }
            PatchType::Merge => Change::Merge(parsed.value),
            PatchType::Strategic => Change::Strategic(parsed.value),
            PatchType::Apply => Change::Apply(parsed.value),
        };
        Ok(Patch { change, complaints })
    }

    fn parse_applied(body: &Bytes) -> Result<Patch, Status> {
        // What looks like JSON gets as far as the decoder upstream.
        let looks_like_json = body.trim_ascii_start().starts_with(b"{");
        let parsed = yaml::parse_strict(body).map_err(|error| match looks_like_json {
            true => Status::bad_request(format!("error decoding patch: error converting YAML to JSON: {error}")),
            false => Status::bad_request(format!("error encoding patch: {error}")),
        })?;
        let config = match parsed.value {
            Value::Null => Value::Object(Map::new()),
            Value::Object(fields) => Value::Object(fields),
            other => {
                let why = format!("error unmarshaling JSON: while decoding JSON: {}", no_object(&other));
                return Err(Status::bad_request(format!("error decoding patch: {why}")));
            }
        };
        Ok(Patch { change: Change::Apply(config), complaints: parsed.duplicates.said })
    }

    /// The new object, in the served version.
    fn change(&self, write: &Write<'_>, current: Option<Current<'_>>, manager: &str) -> Result<Value, Status> {
        let (served, namespace) = (write.served, write.namespace);
        let mut new = match (&self.change, current) {
            (Change::Apply(config), current) => {
                let new = managed::apply(write, config, current.as_ref().map(|current| current.tree), manager)?;
                self.complain_of_applied(write)?;
                let uid = new.str_at("metadata.uid");
                if current.is_none() && !uid.is_empty() {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(Status::conflict(served.group_resource(), write.name, &why));
                }
                new
            }
            (_, None) => return Err(Status::not_found(served.group_resource(), write.name)),
            (_, Some(Current { tree: old, .. })) => {
                let mut new = self.patched(write, old)?;
                decode::apply_defaults(&mut new, served);
                managed::on_update(&mut new, old, served, manager, write.subresource, write.context.now);
                new
            }
        };
        super::set_namespace(&mut new, served, namespace)?;
        super::update::check_name(&new, write.name)?;
        Ok(new)
    }

    fn complain_of_applied(&self, write: &Write<'_>) -> Result<(), Status> {
        match write.options.field_validation {
            FieldValidation::Strict if !self.complaints.is_empty() => Err(Status::bad_request(format!(
                "error strict decoding patch: {}",
                self.complaints.join(", ").replace("yaml: ", "error converting YAML to JSON: yaml: ")
            ))),
            FieldValidation::Warn => {
                self.complaints.iter().for_each(|one| write.context.warn(one));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The patched object as its Go type would hold it.
    fn patched(&self, write: &Write<'_>, old: &Value) -> Result<Value, Status> {
        let served = write.served;
        let (schema, id) = served.schema();
        let validation = write.options.field_validation;
        let tree = self.run(served, old)?;
        let strategic = matches!(self.change, Change::Strategic(_));
        let typed = match strategic {
            true => patch::strategic::check_types(&tree, schema, id),
            false => check_type_meta(&tree, served),
        };
        // Strictness is ours here: what the patch's text complains about comes first.
        let mode = if validation == FieldValidation::Ignore { FieldValidation::Ignore } else { FieldValidation::Warn };
        let reset = decode::resets_owners(&tree);
        let decoded = typed.and_then(|()| {
            decode_with_duplicates(schema, id, tree, &Duplicates::default(), mode).map_err(|error| error.to_string())
        });
        let Decoded { mut value, warnings: mut unknown } = decoded.map_err(|why| self.invalid(served, old, &why))?;
        if strategic {
            unknown.sort();
        }
        let complaints: Vec<&String> = self.complaints.iter().chain(&unknown).collect();
        match validation {
            FieldValidation::Strict if !complaints.is_empty() => {
                let said: Vec<&str> = complaints.iter().map(|one| one.as_str()).collect();
                return Err(self.invalid(served, old, &format!("strict decoding error: {}", said.join(", "))));
            }
            FieldValidation::Warn => complaints.into_iter().for_each(|one| write.context.warn(one)),
            _ => {}
        }
        if reset {
            decode::reset_owners(&mut value);
        }
        decode::set_type(&mut value, &Expected::of(served));
        Ok(value)
    }

    fn run(&self, served: &Served, old: &Value) -> Result<Value, Status> {
        let (schema, id) = served.schema();
        Ok(match &self.change {
            Change::Json(patch) => patch.apply(old.clone())?,
            Change::Merge(patch) | Change::Apply(patch) => patch::merge::apply(old.clone(), patch.clone())?,
            Change::Strategic(patch) => patch::strategic::apply(old.clone(), patch.clone(), schema, id)?,
        })
    }

    /// The outcome with the fields in Go's order, for showing it.
    fn run_in_order(&self, served: &Served, old: &Value) -> Result<Value, Status> {
        let (schema, id) = served.schema();
        let mut old = old.clone();
        canonicalize(schema, id, &mut old).map_err(Status::internal)?;
        self.run(served, &old)
    }

    /// The answer to an outcome that is no such object: it shows the outcome, or for a strategic
    /// merge patch the patch.
    fn invalid(&self, served: &Served, old: &Value, why: &str) -> Status {
        let shown = match &self.change {
            Change::Strategic(patch) => patch::strategic::shown(patch),
            _ => match self.run_in_order(served, old) {
                Ok(tree) => String::from_utf8_lossy(&json::to_vec(&tree)).into_owned(),
                Err(status) => return status,
            },
        };
        let mut errors = FieldErrors::new();
        errors.invalid(&Path::new("patch"), shown.as_str(), why);
        errors.into_status("", "", "")
    }
}

/// A patch may say another kind or version; it is then decoded as that, which mostly fails.
fn check_type_meta(tree: &Value, served: &Served) -> Result<(), String> {
    if !matches!(tree, Value::Object(_)) {
        let into = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
        let kind = kind_of(tree);
        return Err(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {kind} into Go value of type {into}"
        ));
    }
    let own = served.api_version();
    let or_own = |given: &str, own: &str| if given.is_empty() { own.to_owned() } else { given.to_owned() };
    let version = or_own(tree.str_at("apiVersion"), &own);
    let kind = or_own(tree.str_at("kind"), served.kind());
    if version == own && kind == served.kind() {
        return Ok(());
    }
    let (group, short) = version.split_once('/').unwrap_or(("", &version));
    let registry = Registry::builtin();
    let Some(id) = registry.kind(group, short, &kind) else {
        return Err(format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:111\""
        ));
    };
    let as_that = decode_with_duplicates(
        api::schema::builtin(),
        id,
        tree.clone(),
        &Duplicates::default(),
        FieldValidation::Ignore,
    );
    as_that.map_err(|error| error.to_string())?;
    Err(format!("converting ({short}.{kind}) to ({}): unknown conversion", served.kind()))
}

/// Go's words for a JSON value that should have been an object.
fn no_object(value: &Value) -> String {
    format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", kind_of(value))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) | Value::Json(_) => "object",
    }
}
