//! Kinds that are questions: created, answered, never stored.

use api::status::Status;
use api::value::Value;
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use super::binding;
use crate::api::Api;
use crate::authn::review as identity;
use crate::authz::review as access;
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::request::options::WriteOptions;
use crate::respond;
use crate::route::not_allowed;
use crate::served::Served;

/// Answers a question of any kind.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    if served.plural() == "bindings" {
        return binding::create(api, context, served, body).await;
    }
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    let expected = Expected::of(served);
    let mut review = decode::body(context, &body, &expected, options.field_validation)?;
    crate::verbs::set_namespace(&mut review, served, &context.info.namespace)?;
    let mut answer = reply(api, context, served, review)?;
    decode::set_type(&mut answer, &expected);
    let (schema, id) = served.schema();
    api::decode::canonicalize(schema, id, &mut answer).map_err(Status::internal)?;
    Ok(respond::typed(StatusCode::CREATED, &answer, context.accept_plain()?))
}

fn reply(api: &Api, context: &Context, served: &Served, review: Value) -> Result<Value, Status> {
    let (authorizer, user) = (&api.authorizer, &context.user);
    match served.plural() {
        "tokenreviews" => identity::token_review(review, &api.authenticator, context.now),
        "selfsubjectreviews" => Ok(identity::self_subject_review(review, user, context.now)),
        "subjectaccessreviews" => access::subject_access_review(review, authorizer),
        "localsubjectaccessreviews" => access::local_subject_access_review(review, &context.info.namespace, authorizer),
        "selfsubjectaccessreviews" => access::self_subject_access_review(review, user, authorizer),
        "selfsubjectrulesreviews" => access::self_subject_rules_review(&review, user, authorizer),
        _ => Err(not_allowed()),
    }
}
