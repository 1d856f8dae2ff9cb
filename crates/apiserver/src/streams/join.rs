//! A client's connection becomes one to another side. Upstream: `tryUpgrade` of apimachinery's util/proxy.

use ::api::status::Status;
use client::Body;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use streaming::relay::relay;
use streaming::upgrade::switched;

use super::dial::Peer;
use crate::context::Context;

/// `X-Forwarded-For`.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// Passes a request that asks for another protocol on, and joins the two connections if that is granted.
///
/// # Errors
/// 500, without a reason as upstream, where the other side can't be reached or answers as if nothing had been asked.
pub async fn join(context: &Context, peer: &Peer, target: &str) -> Result<Response<Body>, Status> {
    let failed = |why: String| Status::new(500, "", why);
    let client = context.upgrade.lock().take();
    let client = client.ok_or_else(|| failed("request connection cannot be hijacked".to_owned()))?;
    let mut request =
        Request::builder().method(&context.method).uri(target).body(Body::empty()).map_err(Status::internal)?;
    *request.headers_mut() = context.headers.clone();
    request.headers_mut().remove(AUTHORIZATION);
    forwarded_for(request.headers_mut(), context);
    host(request.headers_mut(), context);
    let response = peer.send(request).await.map_err(|error| failed(format!("error dialing backend: {error}")))?;
    let code = response.status();
    if code == StatusCode::SWITCHING_PROTOCOLS {
        let answered = response.headers().clone();
        let other = hyper::upgrade::on(response).await.map_err(|error| failed(error.to_string()))?;
        tokio::spawn(relay(client, other));
        return Ok(switched(answered));
    }
    if !(code.is_client_error() || code.is_server_error()) {
        return Err(failed(format!("invalid upgrade response: status code {}", code.as_u16())));
    }
    let mut response = response.map(Body::from);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// Adds the client's address to those of the proxies before.
pub fn forwarded_for(headers: &mut HeaderMap, context: &Context) {
    let Some(connection) = &context.connection else { return };
    let prior = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let address = connection.peer.ip().to_string();
    let all: Vec<&str> = prior.chain([address.as_str()]).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// The other side sees the host that the client asked for; HTTP/2 has it in the request's own line.
pub fn host(headers: &mut HeaderMap, context: &Context) {
    if let Ok(value) = HeaderValue::from_str(context.host()) {
        headers.insert(HOST, value);
    }
}
