//! [`Client`]: sends requests as one identity, with time-outs and upstream's way of trying again.

use std::sync::Arc;
use std::time::Duration;

use api::user::UserInfo;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::upgrade::Upgraded;
use tower_service::Service;

use crate::body::{Body, BoxError};
use crate::error::{ApiError, ClientError};
use crate::resource::Resource;
use crate::transport::https::{Credentials, Https};
use crate::transport::local::Local;
use crate::transport::tls::TlsOptions;
use crate::transport::{SharedTransport, Transport};
use crate::verbs::Api;
use crate::views::Kind;

/// A request without an answer is given up after this: a little more than the 60 s after which the server ends it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);
/// Largest answer that is collected: a list of 150,000 pods of 7 KiB.
pub const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Longest error body that is read.
const ERROR_BYTES_MAX: usize = 3 << 20;
/// Tries of one request that the server asked to send again later; client-go's `maxRetries`.
const RETRIES_MAX: u32 = 10;

/// Sends requests to one API server as one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: SharedTransport,
    user_agent: HeaderValue,
    timeout: Duration,
}

/// An upgraded connection: what exec, attach and port-forward speak over.
pub struct UpgradedConnection {
    /// The 101 answer (`Upgrade`, `Sec-WebSocket-Protocol`, `X-Stream-Protocol-Version`).
    pub response: Response<()>,
    /// The bytes of the new protocol.
    pub io: hyper_util::rt::TokioIo<Upgraded>,
}

// === impl Client ===

impl Client {
    /// Over a transport.
    pub fn new(transport: impl Transport) -> Client {
        Client::over(Arc::new(transport))
    }

    /// Over a shared transport.
    pub fn over(transport: SharedTransport) -> Client {
        Client { transport, user_agent: HeaderValue::from_static(USER_AGENT), timeout: REQUEST_TIMEOUT }
    }

    /// Straight into the API server's pipeline as `user`, in process. The pipeline finds the user among the
    /// request's extensions and authorizes it like any other.
    pub fn in_process<S>(pipeline: S, user: UserInfo) -> Client
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<BoxError> + Send,
        S::Future: Send + 'static,
    {
        Client::new(Local::new(pipeline, user))
    }

    /// Over HTTPS (or plain HTTP).
    ///
    /// # Errors
    /// [`ClientError::Request`] for a bad URL or TLS options that can't be used. Connecting comes later.
    pub fn https(url: &str, tls: TlsOptions, credentials: Credentials) -> Result<Client, ClientError> {
        Ok(Client::new(Https::new(url, tls, credentials)?))
    }

    /// The same with a name in its `User-Agent`: a program, or a program and a part of it
    /// (`kube-controller-manager/deployment-controller`). The program is also the field manager of its writes.
    pub fn named(&self, name: &str) -> Client {
        let (program, part) = name.split_once('/').unwrap_or((name, ""));
        let slash = if part.is_empty() { "" } else { "/" };
        let user_agent = HeaderValue::from_str(&format!("{program}/{VERSION} xebec{slash}{part}"));
        Client { user_agent: user_agent.unwrap_or(self.user_agent.clone()), ..self.clone() }
    }

    /// The same with another time-out for requests that are no watch.
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        Client { timeout, ..self.clone() }
    }

    /// Where requests go, for messages.
    pub fn target(&self) -> &str {
        self.transport.target()
    }

    /// Closes connections, so that new ones use renewed certificates.
    pub fn reconnect(&self) {
        self.transport.reconnect();
    }

    /// Verbs on a resource in all namespaces (or of cluster scope).
    pub fn all(&self, resource: &Resource) -> Api {
        Api::new(self.clone(), resource.clone(), "")
    }

    /// Verbs on a resource in one namespace.
    pub fn namespaced(&self, resource: &Resource, namespace: &str) -> Api {
        Api::new(self.clone(), resource.clone(), namespace)
    }

    /// Verbs on the resource of a typed kind; an empty namespace means all, or cluster scope.
    pub fn kind<K: Kind>(&self, namespace: &str) -> Api {
        Api::new(self.clone(), K::RESOURCE, namespace)
    }

    /// Sends a request and collects its answer.
    ///
    /// # Errors
    /// [`ClientError::Api`] for any answer but 2xx, else what became of the request.
    pub async fn request(&self, request: Request<Body>) -> Result<Bytes, ClientError> {
        let context = self.context(&request);
        let whole = async {
            let response = self.send(request).await?;
            let body = response.into_body().collect(ANSWER_BYTES_MAX).await;
            body.map_err(|error| ClientError::transport(context.clone(), error))
        };
        match tokio::time::timeout(self.timeout, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout { context, after: self.timeout }),
        }
    }

    /// GET of any path (`/version`, `/readyz`, discovery).
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        self.request(request(Method::GET, path, Body::empty())?).await
    }

    /// Sends a request and gives the answer with its body as it comes (watches, logs); no time-out of its own.
    /// 429 and 503 with `Retry-After` are tried again as client-go does, if the body can be repeated.
    ///
    /// # Errors
    /// [`ClientError::Api`] for any answer but 2xx.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, ClientError> {
        self.finish(&mut request);
        let context = self.context(&request);
        let lost = |source| ClientError::transport(context.clone(), source);
        for attempt in 0.. {
            let again = copy(&request);
            // A read that gets lost with its connection can be sent again.
            let may_repeat = attempt == 0 && request.method() == Method::GET;
            let repeat = again.as_ref().filter(|_| may_repeat).and_then(copy);
            let response = match (self.transport.send(request).await, repeat) {
                (Ok(response), _) => response,
                (Err(error), Some(same)) => {
                    tracing::debug!(%context, %error, "connection lost, reading again");
                    self.transport.send(same).await.map_err(lost)?
                }
                (Err(error), None) => return Err(lost(error)),
            };
            if response.status().is_success() {
                return Ok(response);
            }
            let wait = retry_after(&response).filter(|_| retriable(response.status()) && attempt < RETRIES_MAX);
            let error = read_error(response).await;
            match (wait, again) {
                (Some(wait), Some(again)) => {
                    tracing::debug!(%context, ?wait, %error, "the server asks to try again later");
                    tokio::time::sleep(wait).await;
                    request = again;
                }
                _ => return Err(error),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Sends a request as it is, once, and gives any answer back, errors too: for proxies.
    ///
    /// # Errors
    /// [`ClientError::Transport`] only.
    pub async fn send_once(&self, mut request: Request<Body>) -> Result<Response<Body>, ClientError> {
        self.finish(&mut request);
        let context = self.context(&request);
        self.transport.send(request).await.map_err(|source| ClientError::transport(context, source))
    }

    /// Sends a request that carries `Connection: Upgrade` and gives the upgraded connection.
    ///
    /// # Errors
    /// [`ClientError::Api`] if the server answers anything but 101.
    pub async fn upgrade(&self, mut request: Request<Body>) -> Result<UpgradedConnection, ClientError> {
        self.finish(&mut request);
        let context = self.context(&request);
        let sent = tokio::time::timeout(self.timeout, self.transport.upgrade(request)).await;
        let sent = sent.map_err(|_| ClientError::Timeout { context: context.clone(), after: self.timeout })?;
        match sent.map_err(|source| ClientError::transport(context.clone(), source))? {
            (response, Some(io)) => {
                Ok(UpgradedConnection { response: response.map(drop), io: hyper_util::rt::TokioIo::new(io) })
            }
            (response, None) if response.status().is_success() => {
                let said = format!("expected 101 Switching Protocols, the server answered {}", response.status());
                Err(ClientError::transport(context, said))
            }
            (response, None) => Err(read_error(response).await),
        }
    }

    fn finish(&self, request: &mut Request<Body>) {
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
    }

    fn context(&self, request: &Request<Body>) -> String {
        format!("{} {}{}", request.method(), self.target(), request.uri())
    }
}

impl From<SharedTransport> for Client {
    fn from(transport: SharedTransport) -> Client {
        Client::over(transport)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}, {:?})", self.target(), self.user_agent)
    }
}

/// Version and platform, in the form of client-go's user agents.
const VERSION: &str = "v1.37.2 (linux/amd64)";
/// The user agent of a client without a name.
const USER_AGENT: &str = "xebec/v1.37.2 (linux/amd64)";

/// A request without headers but `Accept` and, for a body, `Content-Type`, which say JSON.
///
/// # Errors
/// [`ClientError::Request`] if the path is none.
pub fn request(method: Method, path: &str, body: Body) -> Result<Request<Body>, ClientError> {
    let has_body = !http_body::Body::is_end_stream(&body);
    let mut builder = Request::builder().method(method).uri(path).header(header::ACCEPT, JSON);
    if has_body {
        builder = builder.header(header::CONTENT_TYPE, JSON);
    }
    builder.body(body).map_err(|error| ClientError::Request(format!("{path:?}: {error}")))
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut again = Request::new(request.body().try_clone()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// client-go's `checkWait`: 429 and 5xx, if the server says when.
fn retriable(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read_error(response: Response<Body>) -> ClientError {
    let code = response.status().as_u16();
    let retry_after = retry_after(&response);
    let body = response.into_body().collect(ERROR_BYTES_MAX).await.unwrap_or_default();
    ClientError::Api(Box::new(ApiError::from_answer(code, &body, retry_after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::local::FnService;

    #[test]
    fn the_user_agent_begins_with_the_program() {
        let service = FnService(|_: Request<Body>| async { Response::new(Body::empty()) });
        let client = Client::in_process(service, UserInfo::anonymous());
        let agent = |name: &str| client.named(name).user_agent.to_str().unwrap().to_owned();
        assert_eq!(agent("kubelet"), "kubelet/v1.37.2 (linux/amd64) xebec");
        assert_eq!(agent("a/b"), "a/v1.37.2 (linux/amd64) xebec/b");
    }
}
