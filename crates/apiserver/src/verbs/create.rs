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

/// Upstream gives a LimitRange that has no name a UID for one.
fn is_named_by_server(served: &Served) -> bool {
    (served.group(), served.plural()) == ("", "limitranges")
}

/// Answers a create request.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    // Refused before anything is written, if the answer could not be given.
    context.accept()?;
    let mut tree = decode::body(context, &body, &Expected::of(served), options.field_validation)?;
    let info = &context.info;
    super::set_namespace(&mut tree, served, &info.namespace)?;
    decode::apply_defaults(&mut tree, served);
    if is_named_by_server(served) && super::lacks_name(&tree) {
        tree.set("metadata.name", uuid::Uuid::new_v4().to_string());
    }
    managed::on_create(&mut tree, served, &context.field_manager(&options.field_manager), context.now);
    let name = tree.str_at("metadata.name").to_owned();
    let namespace = super::own_namespace(served, &info.namespace, &name);
    let write = Write { api, context, served, namespace, name: &name, subresource: "", options: &options };
    let written = write.create(tree).await?;
    write.respond(written, StatusCode::CREATED)
}
