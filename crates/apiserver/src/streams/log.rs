//! `pods/log`. Upstream: pkg/registry/core/pod/rest/log.go and `LogLocation`.

use std::io;
use std::pin::pin;

use ::api::field::{FieldErrors, Path};
use ::api::status::{GroupResource, Status};
use client::Body;
use futures::stream;
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use streaming::upgrade::{is_web_socket, switched};
use streaming::{channel, reader};

use super::location::{self, target};
use crate::api::Api;
use crate::context::Context;
use crate::request::Query;
use crate::respond;
use crate::served::Served;

/// What a kubelet says of an error is read up to this.
const ERROR_BYTES_MAX: usize = 50_000;
/// `stream`'s values.
const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// Answers with a container's log.
///
/// # Errors
/// The options are refused, the pod or node is not there, or the kubelet has no log.
pub async fn get(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    let params = params(&context.query, &context.info.name)?;
    let pod = location::pod(api, context, served).await?;
    let container = location::container(&pod, context.query.get("container").unwrap_or_default())?;
    let Some(node) = location::node(api, &pod)? else {
        // Nothing runs yet, and so nothing was said.
        return Ok(nothing());
    };
    let path = format!("/containerLogs/{}/{}/{container}", context.info.namespace, context.info.name);
    let path = target(&path, &params);
    let request = Request::get(&path).body(Body::empty()).map_err(Status::internal)?;
    let kubelet = api.kubelets.peer(&node)?;
    let failed = |error| Status::new(500, "", format!("Get \"https://{}{path}\": {error}", kubelet.authority()));
    let response = kubelet.send(request).await.map_err(failed)?;
    let code = response.status();
    let body = Body::from(response.into_body());
    match code.is_success() {
        true if is_web_socket(&context.headers) => Ok(as_messages(context, body)),
        true => Ok(respond::with_body(StatusCode::OK, body, "text/plain")),
        false => {
            let said = body.collect(ERROR_BYTES_MAX).await.map_err(Status::internal)?;
            Err(refused(code, &String::from_utf8_lossy(&said), &context.info.name))
        }
    }
}

fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The log as the messages of a WebSocket; else, what Go's server says of handshakes that are none.
fn as_messages(context: &Context, body: Body) -> Response<Body> {
    let refused = |code| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = code;
        response
    };
    let Some(protocol) = reader::choose(&context.headers) else { return refused(StatusCode::FORBIDDEN) };
    let accepted = channel::accepted(&context.headers, protocol.name);
    let (Some(accepted), Some(client)) = (accepted, context.upgrade.lock().take()) else {
        return refused(StatusCode::BAD_REQUEST);
    };
    tokio::spawn(async move {
        let sent = async {
            let client = TokioIo::new(client.await.map_err(io::Error::other)?);
            let pieces = stream::unfold(body, |mut body| async move { Some((body.next_data().await?, body)) });
            reader::send(client, protocol, pin!(pieces)).await
        };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "a log's stream broke");
        }
    });
    switched(accepted)
}

/// What becomes of a kubelet's error. Upstream: `GenericHttpResponseChecker`.
fn refused(code: StatusCode, said: &str, name: &str) -> Status {
    match code {
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(said),
        StatusCode::BAD_REQUEST => Status::bad_request(said),
        StatusCode::NOT_FOUND => {
            let of = GroupResource { group: "", resource: "pods/log" };
            let mut status = Status::not_found(of, name);
            status.message = format!("the server could not find the requested resource ( {of} {name})");
            status.cause("UnexpectedServerResponse", said, "")
        }
        other => {
            let message = format!(
                "the server responded with the status code {} but did not return more information",
                other.as_u16()
            );
            Status::new(other.as_u16(), "InternalError", message).cause("UnexpectedServerResponse", said, "")
        }
    }
}

/// The kubelet's parameters. Upstream: `ValidatePodLogOptions`.
fn params(query: &Query, name: &str) -> Result<Vec<(&'static str, String)>, Status> {
    let mut errors = FieldErrors::new();
    let (tail, limit, seconds) =
        (query.integer("tailLines")?, query.integer("limitBytes")?, query.integer("sinceSeconds")?);
    let time = query.get("sinceTime").filter(|text| !text.is_empty());
    let stream = query.get("stream").filter(|text| !text.is_empty()).unwrap_or("All");
    if let Some(text) = time
        && text.parse::<Timestamp>().is_err()
    {
        return Err(Status::bad_request(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\"")));
    }
    if let Some(lines) = tail.filter(|lines| *lines < 0) {
        errors.invalid(&Path::new("tailLines"), lines, "must be greater than or equal to 0");
    }
    if let Some(bytes) = limit.filter(|bytes| *bytes < 1) {
        errors.invalid(&Path::new("limitBytes"), bytes, "must be greater than 0");
    }
    match (seconds, time) {
        (Some(_), Some(_)) => {
            errors.forbidden(&Path::new(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
        }
        (Some(seconds), None) if seconds < 1 => {
            errors.invalid(&Path::new("sinceSeconds"), seconds, "must be greater than 0");
        }
        _ => {}
    }
    if !STREAMS.contains(&stream) {
        errors.not_supported(&Path::new("stream"), stream, &STREAMS);
    }
    if stream != "All" && tail.is_some() {
        errors.forbidden(&Path::new(""), "`tailLines` and specific `stream` are mutually exclusive for now");
    }
    errors.into_result("", "PodLogOptions", name)?;
    let flags = ["follow", "previous", "timestamps"].into_iter().filter(|flag| query.flag(flag));
    let mut params: Vec<(&str, String)> = flags.map(|flag| (flag, "true".to_owned())).collect();
    let numbers = [("sinceSeconds", seconds), ("tailLines", tail), ("limitBytes", limit)];
    params.extend(numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string()))));
    params.extend(time.map(|time| ("sinceTime", time.to_owned())));
    // What kubelets do by themselves.
    params.extend((stream != "All").then(|| ("stream", stream.to_owned())));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("follow=true&tailLines=5", Ok("/?follow=true&tailLines=5"))]
    #[case("sinceTime=2026-01-01T00:00:00Z&stream=Stderr", Ok("/?sinceTime=2026-01-01T00%3A00%3A00Z&stream=Stderr"))]
    #[case(
        "tailLines=-1",
        Err("PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0")
    )]
    #[case("limitBytes=0", Err("PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"))]
    #[case(
        "sinceSeconds=0",
        Err("PodLogOptions \"p\" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0")
    )]
    fn options(#[case] query: &str, #[case] expected: Result<&str, &str>) {
        let found =
            params(&Query::parse(query), "p").map(|params| target("/", &params)).map_err(|status| status.message);
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }
}
