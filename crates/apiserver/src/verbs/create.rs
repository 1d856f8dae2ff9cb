//! `create`.

use api::status::Status;
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use super::write::Write;
use crate::api::Api;
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::managed;
use crate::request::options::WriteOptions;
use crate::served::Served;

/// Answers a create request.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    // Refused before anything is written, if the answer could not be given.
    context.accept()?;
    let mut tree = decode::body(context, &body, &Expected::of(served), options.field_validation)?;
    let info = &context.info;
    super::set_namespace(&mut tree, served, &info.namespace)?;
    if !tree.str_at("metadata.resourceVersion").is_empty() {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    decode::apply_defaults(&mut tree, served);
    managed::on_create(&mut tree, served, &context.field_manager(&options.field_manager), context.now);
    let name = tree.str_at("metadata.name").to_owned();
    let namespace = super::own_namespace(served, &info.namespace, &name);
    let write = Write { api, context, served, namespace, name: &name, subresource: "", options: &options };
    let written = write.create(tree).await?;
    write.respond(written, StatusCode::CREATED)
}
