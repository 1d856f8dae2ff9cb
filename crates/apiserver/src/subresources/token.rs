//! `serviceaccounts/token`: a token for a service account, bound to what the request names.

use api::status::{GroupResource, Status};
use api::value::Value;
use bytes::Bytes;
use client::Body;
use http::{Response, StatusCode};

use crate::admission::{Attributes, Operation, lookup};
use crate::api::Api;
use crate::authn::token::claims::Reference;
use crate::authn::token::request::{self, BoundKind, BoundTo};
use crate::context::Context;
use crate::decode::{self, Expected};
use crate::forms::View;
use crate::request::options::WriteOptions;
use crate::respond;
use crate::served::Served;
use crate::verbs::get;

/// Issues a token.
pub async fn create(api: &Api, context: &Context, served: &Served, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(&context.query, "CreateOptions")?;
    let expected = Expected::kind("authentication.k8s.io", "v1", "TokenRequest")?;
    let mut asked = decode::body(context, &body, &expected, options.field_validation)?;
    let info = &context.info;
    let entry = get::read(api, served, &info.namespace, &info.name, "").await?;
    let account = View::internal(served, context.now).tree(&entry, entry.mod_revision)?;
    let audiences = api.authenticator.api_audiences();
    // Before anything is filled in: a kubelet's pod must ask for the audience that the kubelet asks for.
    admit(api, context, served, &options, &mut asked).await?;
    request::prepare(&mut asked, &account, &audiences, context.now)?;
    let to = request::bound_to(&asked)?;
    let object = match &to {
        Some(to) => Some(find(api, &info.namespace, to)?),
        None => None,
    };
    let node = object.as_ref().and_then(|pod| node_of(api, pod));
    let bound = to.as_ref().zip(object.as_ref());
    let claims = request::claims(&asked, bound, node, &audiences)?;
    let issued = api.issuer.issue(&claims, context.now.as_second()).map_err(Status::internal)?;
    let answer = request::answer(asked, &issued, context.now);
    Ok(respond::typed(StatusCode::CREATED, &answer, context.accept_plain()?))
}

/// Kubelets get tokens for their own pods only.
async fn admit(
    api: &Api,
    context: &Context,
    served: &Served,
    options: &WriteOptions,
    asked: &mut Value,
) -> Result<(), Status> {
    let attributes = Attributes {
        operation: Operation::Create,
        served,
        subresource: "token",
        namespace: &context.info.namespace,
        name: &context.info.name,
        context,
        dry_run: options.dry_run,
    };
    api.admission.mutate(api, &attributes, asked, None).await?;
    api.admission.validate(api, &attributes, Some(asked), None).await
}

fn find(api: &Api, namespace: &str, to: &BoundTo) -> Result<Value, Status> {
    let (plural, namespace) = match to.kind {
        BoundKind::Pod => ("pods", namespace),
        BoundKind::Secret => ("secrets", namespace),
        BoundKind::Node => ("nodes", ""),
    };
    lookup::get(api, "", plural, namespace, &to.name)
        .ok_or_else(|| Status::not_found(GroupResource { group: "", resource: plural }, &to.name))
}

/// The node that a pod runs on, by name alone where there is no such object.
fn node_of(api: &Api, pod: &Value) -> Option<Reference> {
    let name = Some(pod.str_at("spec.nodeName")).filter(|name| !name.is_empty())?;
    Some(match lookup::get(api, "", "nodes", "", name) {
        Some(node) => Reference::of(&node),
        None => Reference::new(name, ""),
    })
}
