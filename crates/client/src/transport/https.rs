//! HTTP/2 (preferred) or HTTP/1.1 over TLS, or plain HTTP/1.1 where the URL says so.
//!
//! A few HTTP/2 connections carry all requests: one alone is slower, since its frames are written by one task.
//! HTTP/1.1 connections are kept and used again. Upgrades get an HTTP/1.1 connection of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, Response, Uri, header};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::TlsOptions;
use super::{BoxFuture, MaybeUpgraded, Transport};
use crate::body::{Body, BoxError};
use crate::error::ClientError;

/// HTTP/2 connections to one server at most.
const CONNECTIONS_MAX: usize = 4;
/// Streams on a connection before another one is opened: below the 100 that upstream's server allows at once.
const STREAMS_PER_CONNECTION: usize = 80;
/// Idle HTTP/1.1 connections kept, as Go's transport does per host for client-go.
const IDLE_MAX: usize = 25;
/// How long a connection may take to come about; client-go's dialer waits 30 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence on an HTTP/2 connection after which it is pinged, and how long the answer may take (client-go's values).
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// HTTP/2 flow-control windows. A stream's must hold a large list's frames in flight, a connection's several of them.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Connections tried for one request while none of them takes it.
const UNSENT_MAX: usize = 3;
/// A bearer token file is read again after this time, as client-go does.
const TOKEN_FILE_MAX_AGE: Duration = Duration::from_secs(60);

/// Who the client says it is, beside its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody, or whoever the client certificate names.
    #[default]
    None,
    /// A fixed bearer token.
    Token(String),
    /// A bearer token in a file that is renewed in place (in-cluster).
    TokenFile(PathBuf),
    /// User name and password.
    Basic(String, String),
}

/// A pool of connections to one server.
pub struct Https(Arc<Pool>);

struct Pool {
    scheme_tls: bool,
    authority: String,
    host: String,
    port: u16,
    /// Path before every request's path, without a slash at its end (servers behind a proxy).
    prefix: String,
    target: String,
    tls: TlsOptions,
    credentials: Credentials,
    token: Mutex<Option<(HeaderValue, tokio::time::Instant)>>,
    shared: Mutex<Vec<Shared>>,
    idle: Mutex<Vec<http1::SendRequest<Body>>>,
    /// Held while a connection is made, so that a burst of requests makes one and not a hundred.
    connecting: tokio::sync::Mutex<()>,
}

/// An HTTP/2 connection and how many requests are on it.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Body>,
    load: Arc<AtomicUsize>,
}

/// A request on a connection; counts until its answer's body is dropped.
struct Load(Arc<AtomicUsize>);

/// Why there is no answer.
enum Failed {
    /// The request never left.
    Unsent(Box<Request<Body>>),
    /// It may have arrived.
    Lost(BoxError),
}

enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(Shared),
}

// === impl Https ===

impl Https {
    /// A transport to `url` (`https://host:port/prefix`). Connects when first used.
    ///
    /// # Errors
    /// [`ClientError::Request`] for a URL that is not `http` or `https`, and for TLS options that can't be used.
    pub fn new(url: &str, tls: TlsOptions, credentials: Credentials) -> Result<Https, ClientError> {
        let bad = |why: &dyn std::fmt::Display| ClientError::Request(format!("server {url:?}: {why}"));
        let uri: Uri = url.parse().map_err(|error| bad(&error))?;
        let scheme_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad(&"must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| bad(&"has no host"))?.to_string();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if scheme_tls {
            tls.client_config(&[])?;
        }
        Ok(Https(Arc::new(Pool {
            scheme_tls,
            host,
            port: uri.port_u16().unwrap_or(if scheme_tls { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            target: format!("{}://{authority}", if scheme_tls { "https" } else { "http" }),
            authority,
            tls,
            credentials,
            token: Mutex::default(),
            shared: Mutex::default(),
            idle: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
        })))
    }
}

impl Transport for Https {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<Result<Response<Body>, BoxError>> {
        let pool = self.0.clone();
        Box::pin(async move {
            pool.authorize(&mut request)?;
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let path = format!("{}{path}", pool.prefix);
            for _ in 0..UNSENT_MAX {
                let sent = match pool.connection().await? {
                    Connection::Http2(shared) => pool.send_shared(shared, &path, request).await,
                    Connection::Http1(sender) => pool.send_alone(sender, &path, request).await,
                };
                match sent {
                    Ok(response) => return Ok(response),
                    // The connection had ended unnoticed: another one will do.
                    Err(Failed::Unsent(unsent)) => request = *unsent,
                    Err(Failed::Lost(error)) => return Err(error),
                }
            }
            Err("connections end as soon as they are made".into())
        })
    }

    fn upgrade(&self, mut request: Request<Body>) -> BoxFuture<Result<MaybeUpgraded, BoxError>> {
        let pool = self.0.clone();
        Box::pin(async move {
            pool.authorize(&mut request)?;
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = format!("{}{path}", pool.prefix).parse()?;
            request.headers_mut().insert(header::HOST, HeaderValue::from_str(&pool.authority)?);
            if pool.scheme_tls {
                let stream = pool.dial_tls(&["http/1.1"]).await?;
                upgrade_over(TokioIo::new(stream), request).await
            } else {
                upgrade_over(TokioIo::new(pool.dial().await?), request).await
            }
        })
    }

    fn target(&self) -> &str {
        &self.0.target
    }

    fn reconnect(&self) {
        self.0.shared.lock().clear();
        self.0.idle.lock().clear();
        *self.0.token.lock() = None;
    }
}

// === impl Pool ===

impl Pool {
    /// The least loaded connection that has room, else a new one while there may be more, else the least loaded.
    async fn connection(&self) -> Result<Connection, BoxError> {
        if let Some(ready) = self.ready(STREAMS_PER_CONNECTION) {
            return Ok(ready);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(ready) = self.ready(STREAMS_PER_CONNECTION) {
            return Ok(ready);
        }
        if self.shared.lock().len() >= CONNECTIONS_MAX
            && let Some(ready) = self.ready(usize::MAX)
        {
            return Ok(ready);
        }
        self.connect().await
    }

    fn ready(&self, streams_max: usize) -> Option<Connection> {
        let mut shared = self.shared.lock();
        shared.retain(|one| !one.sender.is_closed());
        let least = shared.iter().min_by_key(|one| one.load.load(Ordering::Relaxed)).cloned();
        drop(shared);
        if let Some(least) = least {
            let has_room = least.load.load(Ordering::Relaxed) < streams_max;
            return has_room.then_some(Connection::Http2(least));
        }
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(|sender| sender.is_ready()).map(Connection::Http1)
    }

    async fn connect(&self) -> Result<Connection, BoxError> {
        if !self.scheme_tls {
            return Ok(Connection::Http1(handshake1(TokioIo::new(self.dial().await?)).await?));
        }
        let stream = self.dial_tls(&["h2", "http/1.1"]).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Ok(Connection::Http1(handshake1(TokioIo::new(stream)).await?));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
        });
        let shared = Shared { sender, load: Arc::default() };
        self.shared.lock().push(shared.clone());
        Ok(Connection::Http2(shared))
    }

    async fn dial(&self) -> Result<TcpStream, BoxError> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| "connect: timed out")??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn dial_tls(&self, protocols: &[&str]) -> Result<tokio_rustls::client::TlsStream<TcpStream>, BoxError> {
        let name = self.tls.server_name.as_deref().unwrap_or(&self.host).to_owned();
        let name = ServerName::try_from(name)?;
        let connector = TlsConnector::from(Arc::new(self.tls.client_config(protocols)?));
        let stream = self.dial().await?;
        Ok(tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream))
            .await
            .map_err(|_| "TLS: timed out")??)
    }

    async fn send_shared(
        &self,
        mut shared: Shared,
        path: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failed> {
        let uri = Uri::builder().scheme("https").authority(self.authority.as_str()).path_and_query(path);
        *request.uri_mut() = uri.build().map_err(Failed::lost)?;
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().remove(header::HOST);
        shared.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(shared.load.clone());
        if shared.sender.ready().await.is_err() {
            return Err(Failed::Unsent(Box::new(request)));
        }
        let response = shared.sender.try_send_request(request).await.map_err(Failed::sending)?;
        Ok(response.map(|incoming| Body::new(Held { body: incoming, _held: load })))
    }

    async fn send_alone(
        self: &Arc<Self>,
        mut sender: http1::SendRequest<Body>,
        path: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failed> {
        *request.uri_mut() = path.parse().map_err(Failed::lost)?;
        let host = HeaderValue::from_str(&self.authority).map_err(Failed::lost)?;
        request.headers_mut().insert(header::HOST, host);
        *request.version_mut() = http::Version::HTTP_11;
        let response = sender.try_send_request(request).await.map_err(Failed::sending)?;
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            // Ready again once the answer's body was read to its end.
            if sender.ready().await.is_ok()
                && let Some(pool) = pool.upgrade()
            {
                let mut idle = pool.idle.lock();
                if idle.len() < IDLE_MAX {
                    idle.push(sender);
                }
            }
        });
        Ok(response.map(Body::from))
    }

    fn authorize(&self, request: &mut Request<Body>) -> Result<(), BoxError> {
        let value = match &self.credentials {
            Credentials::None => return Ok(()),
            Credentials::Token(token) => secret(format!("Bearer {token}"))?,
            Credentials::TokenFile(path) => self.token_from(path)?,
            Credentials::Basic(user, password) => {
                use base64::Engine;
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                secret(format!("Basic {pair}"))?
            }
        };
        request.headers_mut().entry(header::AUTHORIZATION).or_insert(value);
        Ok(())
    }

    fn token_from(&self, path: &std::path::Path) -> Result<HeaderValue, BoxError> {
        let mut cached = self.token.lock();
        if let Some((value, read)) = &*cached
            && read.elapsed() < TOKEN_FILE_MAX_AGE
        {
            return Ok(value.clone());
        }
        let value = match std::fs::read_to_string(path) {
            Ok(token) if !token.trim().is_empty() => secret(format!("Bearer {}", token.trim()))?,
            Ok(_) => return Err(format!("read empty token from file {:?}", path.display().to_string()).into()),
            // As client-go: a token that can't be read again stays in use.
            Err(error) => match &*cached {
                Some((value, _)) => value.clone(),
                None => {
                    return Err(format!("failed to read token file {:?}: {error}", path.display().to_string()).into());
                }
            },
        };
        *cached = Some((value.clone(), tokio::time::Instant::now()));
        Ok(value)
    }
}

// === impl Failed ===

impl Failed {
    fn lost(error: impl Into<BoxError>) -> Failed {
        Failed::Lost(error.into())
    }

    fn sending(mut error: TrySendError<Request<Body>>) -> Failed {
        match error.take_message() {
            Some(request) => Failed::Unsent(Box::new(request)),
            None => Failed::lost(error.into_error()),
        }
    }
}

fn secret(text: String) -> Result<HeaderValue, BoxError> {
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn handshake1<IO>(io: IO) -> Result<http1::SendRequest<Body>, BoxError>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "HTTP/1.1 connection ended");
        }
    });
    Ok(sender)
}

/// Sends a request with an `Upgrade` header over a connection of its own.
pub(super) async fn upgrade_over<IO>(io: IO, mut request: Request<Body>) -> Result<MaybeUpgraded, BoxError>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("kubernetes"));
    let mut sender = handshake1(io).await?;
    let mut response = sender.send_request(request).await?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        // The sender must outlive the answer's body.
        return Ok((response.map(|incoming| Body::new(Held { body: incoming, _held: sender })), None));
    }
    let upgraded = hyper::upgrade::on(&mut response).await?;
    Ok((response.map(Body::from), Some(upgraded)))
}

// === impl Load ===

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps something alive until it is dropped.
struct Held<T> {
    body: hyper::body::Incoming,
    _held: T,
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, hyper::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
