//! The small HTTP servers of a node process: health checks and metrics.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A pause after a failed accept (no descriptors left, mostly), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An answer: status, headers, text.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Headers besides those that HTTP itself wants.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

// === impl Answer ===

impl Answer {
    /// JSON, told not to be sniffed.
    pub fn json(status: u16, body: String) -> Answer {
        let headers =
            vec![("content-type", "application/json".to_string()), ("x-content-type-options", "nosniff".to_string())];
        Answer { status, headers, body }
    }

    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, headers: vec![("content-type", "text/plain; charset=utf-8".to_string())], body: body.into() }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = hyper::StatusCode::from_u16(self.status).unwrap_or(hyper::StatusCode::OK);
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Answers requests by their path until `stop`.
///
/// # Errors
/// Where the address can't be bound.
pub async fn serve(
    address: SocketAddr,
    stop: CancellationToken,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let answer = Arc::new(answer);
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answer = answer.clone();
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIMEOUT)
                        .serve_connection(
                            TokioIo::new(stream),
                            service_fn(move |request: Request<Incoming>| {
                                let response = answer(request.uri().path()).into_response();
                                async move { Ok::<_, Infallible>(response) }
                            }),
                        );
                    tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
                }
                Err(error) => {
                    tracing::debug!(%error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }));
    Ok(bound)
}
