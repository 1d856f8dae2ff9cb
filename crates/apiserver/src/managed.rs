//! Field ownership of a write: what the engine in `api::managed` needs to know of a request.

use api::codec::json::Duplicates;
use api::managed::{self, BuiltinVersions, Filter, Request, SamePaths};
use api::status::Status;
use api::value::Value;
use jiff::Timestamp;

use crate::decode::{self, Expected, Typed};
use crate::lifecycle::meta;
use crate::request::options::FieldValidation;
use crate::served::Served;
use crate::verbs::write::Write;

/// A Scale has one version.
static SCALES: SamePaths<'static> = SamePaths(&[]);

/// Runs `with` on the request that describes this write.
fn with<R>(
    served: &Served,
    manager: &str,
    subresource: &str,
    now: Timestamp,
    with: impl FnOnce(&Request<'_>) -> R,
) -> R {
    let (schema, id) = served.schema();
    let (version, now) = (served.api_version(), meta::rfc3339(now));
    with(&Request {
        schema,
        of: Some(id),
        api_version: &version,
        kind: served.kind(),
        subresource,
        filter: Filter::of(served.group(), served.kind(), subresource),
        versions: &BuiltinVersions { kind: served.kind(), subresource },
        manager,
        now: &now,
    })
}

/// Ownership of a new object: all of it is its creator's.
pub fn on_create(new: &mut Value, served: &Served, manager: &str, now: Timestamp) {
    let outcome = with(served, manager, "", now, |request| managed::update(request, None, new));
    if let Err(problems) = outcome {
        tracing::debug!(kind = served.kind(), ?problems, "fields of a new object could not be owned");
    }
}

/// Ownership after an update: what differs is now this manager's.
pub fn on_update(new: &mut Value, old: &Value, served: &Served, manager: &str, subresource: &str, now: Timestamp) {
    let outcome = with(served, manager, subresource, now, |request| managed::update(request, Some(old), new));
    if let Err(problems) = outcome {
        tracing::debug!(kind = served.kind(), ?problems, "owners could not be brought up to date");
    }
}

/// Runs `with` on the request that describes a write of a scale.
fn with_scale<R>(manager: &str, now: Timestamp, with: impl FnOnce(&Request<'_>) -> R) -> Result<R, Status> {
    let now = meta::rfc3339(now);
    let (schema, id) = Expected::kind("autoscaling", "v1", "Scale")?.schema;
    Ok(with(&Request {
        schema,
        of: Some(id),
        api_version: "autoscaling/v1",
        kind: "Scale",
        subresource: "scale",
        filter: &Filter::All,
        versions: &SCALES,
        manager,
        now: &now,
    }))
}

/// Ownership of a scale after an update of it.
///
/// # Errors
/// 500 where the tables lack the kind.
pub fn on_scale(new: &mut Value, old: &Value, manager: &str, now: Timestamp) -> Result<(), Status> {
    if let Err(problems) = with_scale(manager, now, |request| managed::update(request, Some(old), new))? {
        tracing::debug!(?problems, "owners of a scale could not be brought up to date");
    }
    Ok(())
}

/// Applies a configuration to a scale.
///
/// # Errors
/// As [`apply`].
pub fn apply_scale(config: &Value, live: &Value, manager: &str, force: bool, now: Timestamp) -> Result<Value, Status> {
    with_scale(manager, now, |request| managed::apply(request, Some(live), config, force))?
        .map(|applied| applied.object)
}

/// Applies a configuration to the live object, if there is one; gives the new object with defaults.
///
/// # Errors
/// 409 with all conflicts, 400 for what does not fit the kind.
pub fn apply(write: &Write<'_>, config: &Value, live: Option<&Value>, manager: &str) -> Result<Value, Status> {
    let (served, context) = (write.served, write.context);
    let force = write.options.force == Some(true);
    let subresource = write.subresource;
    let applied =
        with(served, manager, subresource, context.now, |request| managed::apply(request, live, config, force))?;
    if !applied.changed && live.is_some() {
        // Nothing but ownership: the object is the live one.
        return Ok(applied.object);
    }
    let expected = Expected::of(served);
    let (schema, id) = served.schema();
    let decoded = api::patch::strategic::check_types(&applied.object, schema, id).and_then(|()| {
        decode::tree_of(context, applied.object, &Duplicates::default(), &expected, FieldValidation::Ignore)
    });
    let Typed(mut new) = decoded.map_err(|why| {
        let (group, version) = (served.group(), served.version());
        let kind = format!("{group}/{version}, Kind={}", served.kind());
        let (namespace, name) = (config.str_at("metadata.namespace"), config.str_at("metadata.name"));
        let which = format!("failed to convert new object ({namespace}/{name}; {kind}) to proper version");
        // Upstream gives this error no status of its own.
        Status::new(500, "", format!("{which}: unable to convert unstructured object to {kind}: {why}"))
    })?;
    decode::set_type(&mut new, &expected);
    decode::apply_defaults(&mut new, served);
    Ok(new)
}
