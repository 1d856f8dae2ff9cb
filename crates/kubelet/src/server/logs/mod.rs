//! `/containerLogs`: a container's log as its own words, from where and how long as asked.
//!
//! Upstream: `getContainerLogs`, and k8s.io/cri-client/pkg/logs.

pub(crate) mod lines;
mod read;
mod watch;

use std::sync::Arc;

use client::Body;
use futures::StreamExt;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{query::Query, text};
use crate::{kubelet::Kubelet, pod::PodExt};

/// What of a log is wanted: `PodLogOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Go on until the container ends.
    pub follow: bool,
    /// The container before the present one.
    pub previous: bool,
    /// Put each line's time before it.
    pub timestamps: bool,
    /// Only lines that are not older.
    pub since: Option<Timestamp>,
    /// That many of the last lines.
    pub tail_lines: Option<u64>,
    /// That many bytes at most.
    pub limit_bytes: Option<u64>,
    /// Only lines of the error stream, or only those of the other.
    pub errors: Option<bool>,
}

/// Chunks that may wait for a slow reader.
const CHUNKS_MAX: usize = 4;

/// Answers with the log of a container: namespace, pod, container.
///
/// # Errors
/// The answer that says why there is none.
pub async fn answer(
    kubelet: &Arc<Kubelet>,
    (namespace, pod, container): (&str, &str, &str),
    query: &Query,
) -> Result<Response<Body>, Response<Body>> {
    let now = kubelet.given.now();
    let undecodable = |()| text(StatusCode::BAD_REQUEST, "{\"message\": \"Unable to decode query.\"}");
    let invalid = || text(StatusCode::UNPROCESSABLE_ENTITY, "{\"message\": \"Invalid request.\"}");
    let options = Options::read(query, now).map_err(undecodable)?.ok_or_else(invalid)?;
    let missing = || text(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist"));
    let pod = kubelet.find_pod(namespace, pod, None).ok_or_else(missing)?;
    if !has_container(&pod, container) {
        let why = format!("container {container:?} not found in pod {:?}", pod.name());
        return Err(text(StatusCode::NOT_FOUND, why));
    }
    let source = kubelet.log_source(&pod, container, options.previous).await;
    let source = source.map_err(|why| text(StatusCode::BAD_REQUEST, why))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let reader = read::Reader::open(kubelet.runtime.clone(), source, options);
    let reader = reader.await.map_err(|error| text(StatusCode::BAD_REQUEST, error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = reader.run(&sender).await {
            tracing::debug!(%error, "a log could not be read on");
        }
    });
    let mut response = Response::new(Body::stream(ReceiverStream::new(receiver).map(Ok)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

fn has_container(pod: &k8s_openapi::api::core::v1::Pod, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|one| one.name == name)
        || spec.ephemeral_containers.iter().flatten().any(|one| one.name == name)
}

// === impl Options ===

impl Options {
    /// Reads a query; none where its values can't be meant.
    fn read(query: &Query, now: Timestamp) -> Result<Option<Options>, ()> {
        let tail_lines = query.read::<i64>("tailLines").map_err(|_| ())?;
        let limit_bytes = query.read::<i64>("limitBytes").map_err(|_| ())?;
        let since_seconds = query.read::<i64>("sinceSeconds").map_err(|_| ())?;
        let since_time = query.read::<Timestamp>("sinceTime").map_err(|_| ())?;
        let errors = match query.get("stream") {
            None | Some("" | "All") => Ok(None),
            Some("Stdout") => Ok(Some(false)),
            Some("Stderr") => Ok(Some(true)),
            Some(_) => Err(()),
        };
        let (Ok(errors), false) = (errors, since_seconds.is_some() && since_time.is_some()) else { return Ok(None) };
        let refused = tail_lines.is_some_and(|lines| lines < 0)
            || limit_bytes.is_some_and(|bytes| bytes < 1)
            || since_seconds.is_some_and(|seconds| seconds < 1)
            || (errors.is_some() && tail_lines.is_some());
        if refused {
            return Ok(None);
        }
        let ago = |seconds| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
        Ok(Some(Options {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            since: since_time.or(since_seconds.map(ago)),
            tail_lines: tail_lines.map(i64::unsigned_abs),
            limit_bytes: limit_bytes.map(i64::unsigned_abs),
            errors,
        }))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Ok(Some(Options::default())))]
    #[case("tailLines=0&limitBytes=1&follow=true&stream=All", Ok(Some(Options { follow: true, tail_lines: Some(0), limit_bytes: Some(1), ..Options::default() })))]
    #[case("sinceSeconds=10", Ok(Some(Options { since: Timestamp::from_second(90).ok(), ..Options::default() })))]
    #[case("sinceTime=1970-01-01T00:00:07Z", Ok(Some(Options { since: Timestamp::from_second(7).ok(), ..Options::default() })))]
    #[case("sinceTime=1970-01-01T00:00:07Z&sinceSeconds=1", Ok(None))]
    #[case("tailLines=-1", Ok(None))]
    #[case("limitBytes=0", Ok(None))]
    #[case("stream=Stderr&tailLines=1", Ok(None))]
    #[case("stream=Both", Ok(None))]
    #[case("tailLines=x", Err(()))]
    fn options(#[case] query: &str, #[case] expected: Result<Option<Options>, ()>) {
        assert_eq!(Options::read(&Query::parse(query), Timestamp::from_second(100).unwrap()), expected);
    }
}
