//! `list`: a concatenation of shared bytes, at one revision.
//!
//! Upstream: `apiserver/pkg/storage/cacher`, `…/etcd3/store.go` (`GetList`), and
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.

use std::sync::Arc;
use std::time::Duration;

use api::codec::json;
use api::status::Status;
use api::value::Value;
use bytes::{BufMut, Bytes, BytesMut};
use client::{Body, BoxError};
use http::{Response, StatusCode};
use store::{Entry, ReadError, Revision, Snapshot};

use super::page_token;
use crate::api::Api;
use crate::context::Context;
use crate::forms::View;
use crate::request::options::{ListOptions, Match};
use crate::request::{Encoding, Form};
use crate::respond;
use crate::selection::Selection;
use crate::served::Served;
use crate::wire;

/// Bytes of one piece of a long list: large enough to keep the cost per frame small, small
/// enough that a slow reader holds little.
const CHUNK_BYTES: usize = 64 << 10;
/// Lists up to this length are answered in one piece with a length.
const WHOLE_BYTES_MAX: usize = 128 << 10;
/// How long a list waits for a revision that is not there yet; upstream's `blockTimeout`.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

/// The entries of one answer, in key order.
pub struct Page {
    pub entries: Vec<Arc<Entry>>,
    pub revision: Revision,
    /// Empty at the end.
    pub continue_token: String,
    /// Only known for lists without selectors.
    pub remaining: Option<usize>,
}

/// Answers a list request.
pub async fn list(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    let options = ListOptions::parse(&context.query)?;
    let view = View::negotiate(context, served)?;
    let selection = Selection::parse(context, served, &options)?;
    let page = read(api, served, &options, &selection).await?;
    view.accept.check_list(true, || format!("{}List", served.go_type()))?;
    respond(view, page)
}

/// Reads the objects that a list asks for.
///
/// # Errors
/// 410 for a revision that is gone, 504 for one that has not come, 400 for a broken token.
pub async fn read(api: &Api, served: &Served, options: &ListOptions, selection: &Selection) -> Result<Page, Status> {
    let root = selection.key_root(served);
    let (snapshot, start) = match options.continue_token.as_str() {
        "" => (begin(api, served, options).await?, None),
        token => resume(api, served, options, token, &root).await?,
    };
    let revision = snapshot.revision();
    let mut entries = Vec::new();
    let mut next = None;
    let mut rest = 0;
    // One name in one namespace is one look-up.
    let single = selection.single_key(served).filter(|_| start.is_none());
    let one = single.as_deref().and_then(|key| snapshot.get(key));
    let range = single.is_none().then(|| snapshot.range(&root, start.as_deref()));
    for entry in one.into_iter().chain(range.into_iter().flatten()) {
        if !selection.matches(&entry.record) {
            continue;
        }
        if options.limit > 0 && entries.len() == options.limit {
            next = entries.last().map(|last: &Arc<Entry>| last.key.clone());
            if !selection.is_everything() {
                break;
            }
            rest += 1;
        } else {
            entries.push(entry.clone());
        }
    }
    if next.is_some() {
        // The next page finds this state without rebuilding it.
        api.store.keep(served.prefix(), &snapshot);
    }
    let continue_token = match &next {
        Some(key) => page_token::encode(revision as i64, key.strip_prefix(root.as_str()).unwrap_or_default()),
        None => String::new(),
    };
    let remaining = (next.is_some() && selection.is_everything()).then_some(rest);
    Ok(Page { entries, revision, continue_token, remaining })
}

/// The snapshot that a first page reads.
async fn begin(api: &Api, served: &Served, options: &ListOptions) -> Result<Snapshot, Status> {
    let exact = options.resource_version_match == Some(Match::Exact)
        // A limit with a version and nothing else means that version: pages of one state.
        || (options.resource_version_match.is_none() && options.limit > 0);
    match options.resource_version {
        None => {
            api.store.barrier().await.map_err(unavailable)?;
            Ok(api.store.snapshot(served.prefix()))
        }
        Some(0) => Ok(api.store.snapshot(served.prefix())),
        Some(revision) => {
            wait_for(api, revision).await?;
            match exact {
                true => api.store.snapshot_at(served.prefix(), revision).await.map_err(|error| match error {
                    ReadError::Compacted { .. } => {
                        Status::expired("The resourceVersion for the provided list is too old.")
                    }
                    other => unavailable(other),
                }),
                false => Ok(api.store.snapshot(served.prefix())),
            }
        }
    }
}

/// Waits a short while for a revision that the client has seen elsewhere.
pub async fn wait_for(api: &Api, revision: Revision) -> Result<(), Status> {
    if api.store.revision() >= revision {
        return Ok(());
    }
    // Another server may have written it: a consistent read brings it here at once.
    let _ = api.store.barrier().await;
    match tokio::time::timeout(FUTURE_REVISION_WAIT, api.store.wait_for(revision)).await {
        Ok(_) => Ok(()),
        Err(_) => {
            let current = api.store.revision();
            let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
            Err(Status::timeout(message).retry_after(1).cause(
                "ResourceVersionTooLarge",
                "Too large resource version",
                "",
            ))
        }
    }
}

/// The snapshot and the key after which a continued list goes on.
async fn resume(
    api: &Api,
    served: &Served,
    options: &ListOptions,
    token: &str,
    root: &str,
) -> Result<(Snapshot, Option<String>), Status> {
    if options.resource_version.is_some_and(|revision| revision > 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let (revision, start) = page_token::decode(token)
        .map_err(|why| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}")))?;
    let from = format!("{root}{start}");
    // A negative revision stands for "whatever is newest": the way on after an expired token.
    if revision < 0 {
        api.store.barrier().await.map_err(unavailable)?;
        return Ok((api.store.snapshot(served.prefix()), Some(from)));
    }
    match api.store.snapshot_at(served.prefix(), revision as Revision).await {
        Ok(snapshot) => Ok((snapshot, Some(from))),
        Err(ReadError::Compacted { .. }) => {
            let mut status = Status::expired(INCONSISTENT_CONTINUE);
            status.continue_token = page_token::encode(-1, &start);
            Err(status)
        }
        Err(other) => Err(unavailable(other)),
    }
}

const INCONSISTENT_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

fn unavailable(error: ReadError) -> Status {
    Status::unavailable(error.to_string())
}

pub fn respond(view: View, page: Page) -> Result<Response<Body>, Status> {
    match (view.accept.form, view.accept.encoding) {
        (Form::Table, _) => {
            let rows: Vec<(&Entry, Revision)> = page.entries.iter().map(|e| (&**e, e.mod_revision)).collect();
            let bytes = view.table(&rows, &list_metadata(&page))?;
            Ok(respond::document(StatusCode::OK, bytes, view.accept.encoding.media_type()))
        }
        (_, Encoding::Protobuf) => {
            let bytes = protobuf_list(&view, &page)?;
            Ok(respond::document(StatusCode::OK, bytes, Encoding::Protobuf.media_type()))
        }
        (_, Encoding::Json) if !view.accept.pretty => {
            Ok(respond::with_body(StatusCode::OK, json_list(view, page)?, Encoding::Json.media_type()))
        }
        (_, encoding) => {
            let mut items = Vec::with_capacity(page.entries.len());
            for entry in &page.entries {
                let mut item = view.tree(entry, entry.mod_revision)?;
                if view.accept.form == Form::Object {
                    // The list says it for all.
                    item.remove("kind");
                    item.remove("apiVersion");
                }
                items.push(item);
            }
            let (kind, version) = list_kind(&view);
            let mut list = Value::object();
            list.set("kind", kind);
            list.set("apiVersion", version);
            list.set("metadata", list_metadata(&page));
            list.set("items", items);
            let bytes = respond::write_text(&list, encoding, view.accept.pretty);
            Ok(respond::document(StatusCode::OK, bytes, encoding.media_type()))
        }
    }
}

fn list_metadata(page: &Page) -> Value {
    let mut metadata = Value::object();
    metadata.set("resourceVersion", page.revision.to_string());
    if !page.continue_token.is_empty() {
        metadata.set("continue", page.continue_token.as_str());
    }
    if let Some(remaining) = page.remaining {
        metadata.set("remainingItemCount", remaining as i64);
    }
    metadata
}

fn list_kind(view: &View) -> (String, String) {
    match view.accept.form {
        Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
        _ => (format!("{}List", view.served.kind()), view.served.api_version()),
    }
}

/// A JSON list, in one piece where it is short, else in pieces made as the client reads them.
fn json_list(view: View, page: Page) -> Result<Body, Status> {
    let (kind, version) = list_kind(&view);
    let mut metadata = Vec::new();
    json::write(&list_metadata(&page), &mut metadata);
    let mut first = BytesMut::with_capacity(CHUNK_BYTES);
    first.put_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":").as_bytes());
    first.put_slice(&metadata);
    first.put_slice(b",\"items\":[");
    let length: usize = page.entries.iter().map(|entry| entry.value.len()).sum();
    let mut pieces = JsonList { view, entries: page.entries.into_iter(), started: false, done: false };
    if length <= WHOLE_BYTES_MAX {
        while pieces.fill(&mut first)? {}
        return Ok(Body::full(first.freeze()));
    }
    // Errors of the first piece still become the answer's status; later ones break it off.
    pieces.fill(&mut first)?;
    let first = futures::stream::iter([Ok::<Bytes, BoxError>(first.freeze())]);
    let rest = futures::stream::iter(pieces).chain_error();
    Ok(Body::stream(futures::StreamExt::chain(first, rest)))
}

/// The pieces of a long list.
struct JsonList {
    view: View,
    entries: std::vec::IntoIter<Arc<Entry>>,
    started: bool,
    done: bool,
}

// === impl JsonList ===

impl JsonList {
    /// Adds items until the piece is full; false after the end.
    fn fill(&mut self, out: &mut BytesMut) -> Result<bool, Status> {
        if self.done {
            return Ok(false);
        }
        let before = out.len();
        while out.len() - before < CHUNK_BYTES {
            let Some(entry) = self.entries.next() else {
                out.put_slice(b"]}\n");
                self.done = true;
                return Ok(true);
            };
            if std::mem::replace(&mut self.started, true) {
                out.put_u8(b',');
            }
            self.view.list_item(&entry, out)?;
        }
        Ok(true)
    }
}

impl Iterator for JsonList {
    type Item = Result<Bytes, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut out = BytesMut::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 2));
        match self.fill(&mut out) {
            Ok(true) => Some(Ok(out.freeze())),
            Ok(false) => None,
            Err(status) => {
                self.done = true;
                Some(Err(status))
            }
        }
    }
}

/// Turns a stream's API errors into a transport's.
trait ChainError: futures::Stream<Item = Result<Bytes, Status>> + Sized {
    fn chain_error(self) -> impl futures::Stream<Item = Result<Bytes, BoxError>> {
        futures::StreamExt::map(self, |piece| piece.map_err(BoxError::from))
    }
}

impl<S: futures::Stream<Item = Result<Bytes, Status>>> ChainError for S {}

/// A protobuf list: `metadata` is field 1 and `items` field 2 in every list type.
fn protobuf_list(view: &View, page: &Page) -> Result<Bytes, Status> {
    let (kind, version) = list_kind(view);
    let mut raw = Vec::new();
    wire::put_list_metadata(&list_metadata(page), &mut raw).map_err(Status::internal)?;
    for entry in &page.entries {
        wire::put_bytes(2, &view.message(entry)?, &mut raw);
    }
    Ok(wire::envelope(&version, &kind, &raw).into())
}
