//! Connections: TLS, HTTP/1.1 and HTTP/2, and who is on the other side.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use client::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::Peer;
use crate::gather::Gathered;
use crate::pipeline::Pipeline;

/// What is known of a request's connection, put into its extensions.
#[derive(Debug)]
pub struct Connection {
    pub peer: SocketAddr,
    /// The client's certificate chain as it was presented, and what it was found to be.
    pub certificates: Peer,
}

/// Concurrent streams of one HTTP/2 connection. A client-go process holds a watch per resource and
/// client on one connection; h2's default of 200 stalls controller managers with many kinds.
const STREAMS_MAX: u32 = 2_000;
/// Unread request bytes a stream may have under way; a whole body of the largest size needs several round trips.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Response bytes that HTTP/2 may buffer for one stream before its producer has to wait.
const SEND_BUFFER_BYTES_MAX: usize = 256 << 10;
/// A handshake that takes longer is given up.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// A client that says nothing after it for longer is hung up on: upstream's `ReadHeaderTimeout`.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(32);
/// Between two requests of HTTP/1.1, the next one's head included: upstream's `IdleTimeout`.
const IDLE_TIME_MAX: Duration = Duration::from_secs(90);
/// The longest pause between attempts after `accept` failed (no free descriptors, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long running requests may take to end when the server stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Serves connections until `shutdown`, then lets running requests end for a short while.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    pipeline: Pipeline,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let (acceptor, pipeline, shutdown) = (acceptor.clone(), pipeline.clone(), shutdown.clone());
                connections.spawn(connection(stream, peer, acceptor, pipeline, shutdown));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIME_MAX, connections.wait()).await.is_err() {
        tracing::debug!(open = connections.len(), "connections cut off");
    }
}

/// Serves one connection until it ends.
pub async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    pipeline: Pipeline,
    shutdown: CancellationToken,
) {
    let mut stream = match tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    // HTTP/1.1 has its own limit, but which protocol it is shows only now.
    if tokio::time::timeout(SILENCE_TIME_MAX, stream.fill_buf()).await.is_err() {
        return tracing::debug!(%peer, "nothing was asked");
    }
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = Peer::new(certificates.iter().map(|one| one.clone().into_owned()).collect());
    let from = Arc::new(Connection { peer, certificates });
    let service = service_fn(move |request: Request<Incoming>| {
        let (pipeline, from) = (pipeline.clone(), from.clone());
        async move {
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(from);
            Ok::<_, Infallible>(pipeline.call(request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIME_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(30));
    let stream = Gathered::new(stream);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream.clone()), service);
    tokio::pin!(serving);
    let mut stopping = false;
    loop {
        let turns = poll_fn(|cx| match stream.turn(cx, |cx| serving.as_mut().poll(cx)) {
            (Poll::Ready(ended), _) => Poll::Ready(ended.map_err(|error| error.to_string())),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error.to_string())),
            _ => Poll::Pending,
        });
        tokio::select! {
            ended = turns => {
                // An upgraded stream is somebody else's now, who may wait for the answer to what was said last.
                let last = poll_fn(|cx| stream.poll_written(cx)).await.map_err(|error| error.to_string());
                if let Err(error) = ended.and(last) {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                return;
            }
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}
