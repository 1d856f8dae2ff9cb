//! `update`: the object, or a subresource that has the object's own shape (`status`, …).

use api::status::Status;
use api::value::Value;
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

/// Answers an update request.
pub async fn update(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&context.query, "UpdateOptions")?;
    context.accept()?;
    let info = &context.info;
    let sent = || {
        let mut tree = decode::body(context, &body, &Expected::of(served), options.field_validation)?;
        super::set_namespace(&mut tree, served, &info.namespace)?;
        check_name(&tree, &info.name)?;
        decode::apply_defaults(&mut tree, served);
        Ok::<_, Status>(tree)
    };
    // Read before anything is looked up; after a conflict once more, which costs less than a copy every time.
    let mut first = Some(sent()?);
    let manager = context.field_manager(&options.field_manager);
    let subresource = info.subresource.as_str();
    let write = Write {
        api,
        context,
        served,
        namespace: super::own_namespace(served, &info.namespace, &info.name),
        name: &info.name,
        subresource,
        options: &options,
    };
    let upsert = subresource.is_empty() && served.rules().allow_create_on_update;
    let (written, created) = write
        .update(upsert, &mut |current| {
            let mut new = first.take().map_or_else(&sent, Ok)?;
            match current {
                Some(current) => {
                    write.check_uid(&new, current.tree)?;
                    managed::on_update(&mut new, current.tree, served, &manager, subresource, context.now);
                }
                None => managed::on_create(&mut new, served, &manager, context.now),
            }
            Ok(new)
        })
        .await?;
    write.respond(written, if created { StatusCode::CREATED } else { StatusCode::OK })
}

/// The object's name must be that of the request.
pub(super) fn check_name(tree: &Value, name: &str) -> Result<(), Status> {
    match tree.str_at("metadata.name") {
        own if own == name => Ok(()),
        "" => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        own => Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))),
    }
}
