//! `get`: one object, at the newest revision or at one not older than asked.

use api::status::Status;
use client::Body;
use http::{Response, StatusCode};
use std::sync::Arc;
use store::Entry;

use super::list::wait_for;
use crate::api::Api;
use crate::context::Context;
use crate::forms::View;
use crate::request::options::{parse_revision, unparsed_revision};
use crate::respond;
use crate::served::Served;

/// Answers a get request.
pub async fn get(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    let view = View::negotiate(context, served)?;
    let version = context.query.get("resourceVersion").unwrap_or_default();
    let entry = read(api, served, &context.info.namespace, &context.info.name, version).await?;
    view.accept.check_list(false, || served.go_type())?;
    let bytes = view.object(&entry, entry.mod_revision)?;
    Ok(respond::document(StatusCode::OK, bytes, view.accept.encoding.media_type()))
}

/// Reads one object.
///
/// # Errors
/// 404 where there is none; see [`wait_for`] for versions that have not come.
pub async fn read(
    api: &Api,
    served: &Served,
    namespace: &str,
    name: &str,
    version: &str,
) -> Result<Arc<Entry>, Status> {
    let unparsed = |why: String| match served.is_cached() {
        true => unparsed_revision(why),
        false => Status::bad_request(format!("invalid resource version: {why}")),
    };
    match parse_revision(version).map_err(unparsed)? {
        // Whatever is at hand.
        Some(0) => {}
        Some(revision) => wait_for(api, revision).await?,
        None => drop(api.store.barrier().await.map_err(|error| Status::unavailable(error.to_string()))?),
    }
    api.store.get(&served.key(namespace, name)).ok_or_else(|| Status::not_found(served.group_resource(), name))
}
