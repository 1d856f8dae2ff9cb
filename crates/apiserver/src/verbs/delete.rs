//! `delete` and `deletecollection`.

use std::pin::Pin;
use std::sync::Arc;

use api::status::{GroupResource, Status};
use api::value::Value;
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};
use store::{Entry, Revision};

use super::list;
use super::write::Written;
use super::write::commit::{Commit, Failure, commit};
use crate::admission::{Attributes, Operation};
use crate::api::Api;
use crate::context::Context;
use crate::decode;
use crate::forms::View;
use crate::lifecycle::deletion::{self, Deletion};
use crate::lifecycle::policy;
use crate::request::Encoding;
use crate::request::options::{DeleteOptions, ListOptions};
use crate::respond;
use crate::selection::Selection;
use crate::served::Served;
use crate::stored;

/// Deletions of a collection under way at once; they share their commits' syncs.
const COLLECTION_PARALLEL: usize = 64;

/// Answers a delete request.
pub async fn delete(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let options = options(context, served, &body)?;
    let info = &context.info;
    let (outcome, gone) = remove(api, context, served, &info.namespace, &info.name, &options).await?;
    // Deletion that goes on later is accepted; what is gone is reported by a Status, but pods by themselves.
    let code = StatusCode::OK;
    let view = View::negotiate(context, served)?;
    if gone && !policy::returns_deleted_object(served) {
        let status = deleted_status(served, &outcome.uid(), &info.name);
        return Ok(match view.accept.encoding {
            Encoding::Protobuf => {
                respond::document(code, respond::status_document(&status), Encoding::Protobuf.media_type())
            }
            _ => respond::tree(code, &status, view.accept),
        });
    }
    let bytes = match outcome {
        Outcome::Stored(entry, revision) => view.object(&entry, revision)?,
        Outcome::Tree(tree) => view.document_of_stored(tree)?,
    };
    Ok(respond::document(code, bytes, view.accept.encoding.media_type()))
}

/// What a deletion leaves to show.
pub enum Outcome {
    /// The last state, and the revision of the deletion's newest step.
    Stored(Arc<Entry>, Revision),
    Tree(Value),
}

impl Outcome {
    /// What was written, or the object as it ended.
    fn of(written: Written, ended: Option<Value>) -> Outcome {
        match (written, ended) {
            (Written::Stored(_, revision), Some(mut ended)) => {
                ended.set("metadata.resourceVersion", revision.to_string());
                Outcome::Tree(ended)
            }
            (Written::Tree(_), Some(ended)) => Outcome::Tree(ended),
            (Written::Stored(entry, revision), None) => Outcome::Stored(entry, revision),
            (Written::Tree(tree), None) => Outcome::Tree(tree),
        }
    }

    fn uid(&self) -> String {
        match self {
            Outcome::Stored(entry, _) => entry.record.uid().to_owned(),
            Outcome::Tree(tree) => tree.str_at("metadata.uid").to_owned(),
        }
    }
}

/// Deletes one object as far as it goes now. The flag says whether it is gone.
///
/// # Errors
/// 404 without object, 409 for a precondition that fails, 403 where admission refuses.
pub async fn remove(
    api: &Api,
    context: &Context,
    served: &Served,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<(Outcome, bool), Status> {
    let of = served.group_resource();
    let kind = GroupResource { group: served.kind_group(), resource: served.kind() };
    let key = served.key(namespace, name);
    let attributes = Attributes {
        operation: Operation::Delete,
        served,
        subresource: "",
        namespace,
        name,
        context,
        dry_run: options.dry_run,
    };
    api.store.barrier().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut current = api.store.get(&key);
    for _ in 0..super::write::ATTEMPTS_MAX {
        let entry = current.ok_or_else(|| Status::not_found(of, name))?;
        let mut old = stored::parse(&entry)?;
        old.set("metadata.resourceVersion", entry.mod_revision.to_string());
        api.admission.validate(api, &attributes, None, Some(&old)).await?;
        let mut tree = old.clone();
        let policy = policy::of(served, &old, options);
        let about = if policy.precondition_words.is_empty() { kind } else { of };
        let (change, ended) = match deletion::plan(&mut tree, options, policy, about, entry.mod_revision, context.now)?
        {
            Deletion::Pending => return Ok((Outcome::Stored(entry.clone(), entry.mod_revision), false)),
            Deletion::Mark => (Some(tree), None),
            // What has a grace is shown as it ends, with none left.
            Deletion::Now => (None, policy.grace_seconds.map(|_| tree)),
        };
        let gone = change.is_none();
        let change = Commit { key: &key, subresource: "", current: Some(&entry), old: Some(&old), tree: change };
        match commit(api, served, change, options.dry_run, context.origin("")).await {
            Ok(written) => return Ok((Outcome::of(written, ended), gone)),
            Err(Failure::Conflict(newer)) => current = newer,
            Err(Failure::Status(status)) => return Err(status),
        }
    }
    Err(Status::modified(of, name))
}

/// Answers a deletecollection request: the list of what was deleted.
pub async fn delete_collection(
    api: &Api,
    context: &Context,
    served: &Served,
    body: Bytes,
) -> Result<Response<Body>, Status> {
    let delete_options = options(context, served, &body)?;
    let list_options = ListOptions::parse(&context.query)?;
    let selection = Selection::parse(context, served, &list_options)?;
    let page = list::read(api, served, &list_options, &selection).await?;
    for some in page.entries.chunks(COLLECTION_PARALLEL) {
        let removals: Vec<_> =
            some.iter().map(|entry| remove_listed(api, context, served, entry, &delete_options)).collect();
        futures::future::try_join_all(removals).await?;
    }
    list::respond(View::negotiate(context, served)?, page)
}

/// Deletes one object of a collection. Boxed: its type would name itself through the list it is in.
fn remove_listed<'f>(
    api: &'f Api,
    context: &'f Context,
    served: &'f Served,
    entry: &'f Entry,
    options: &'f DeleteOptions,
) -> Pin<Box<dyn Future<Output = Result<(), Status>> + Send + 'f>> {
    Box::pin(async move {
        match remove(api, context, served, entry.record.namespace(), entry.record.name(), options).await {
            Ok(_) => Ok(()),
            // Somebody else was faster.
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => Err(status),
        }
    })
}

/// A request's options; warns of what they leave open.
fn options(context: &Context, served: &Served, body: &Bytes) -> Result<DeleteOptions, Status> {
    let options = read_options(context, body)?;
    if let Some(warning) = policy::warning(served, &options) {
        context.warn(warning.to_owned());
    }
    Ok(options)
}

/// Options from a body, JSON, YAML or protobuf, or from the query.
fn read_options(context: &Context, body: &Bytes) -> Result<DeleteOptions, Status> {
    if body.is_empty() {
        return DeleteOptions::parse(&context.query, None);
    }
    let options = decode::options(context, body, "DeleteOptions")?;
    DeleteOptions::parse(&context.query, Some(&options))
}

fn deleted_status(served: &Served, uid: &str, name: &str) -> Value {
    let mut status = Value::object();
    status.set("kind", "Status");
    status.set("apiVersion", "v1");
    status.set("metadata", Value::object());
    status.set("status", "Success");
    status.set("details.name", name);
    if !served.group().is_empty() {
        status.set("details.group", served.group());
    }
    status.set("details.kind", served.plural());
    status.set("details.uid", uid);
    status
}
