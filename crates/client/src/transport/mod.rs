//! How requests reach the API server: [`https`] (or plain HTTP), or [`local`], straight into the pipeline;
//! [`service_account`] puts a token that it asks for itself on top.

pub mod https;
pub mod local;
pub mod service_account;
pub mod tls;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::upgrade::Upgraded;

use crate::body::{Body, BoxError};

/// A future on the heap.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An answer, and the connection if it was upgraded.
pub type MaybeUpgraded = (Response<Body>, Option<Upgraded>);

/// The way to a server. Paths are relative to it; a transport adds host and credentials.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and gives the answer's head with its body as it comes. Dropping the body ends the request.
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, BoxError>>;

    /// Sends a request that asks for another protocol. On 101 the connection comes with the answer.
    fn upgrade(&self, request: Request<Body>) -> BoxFuture<Result<MaybeUpgraded, BoxError>>;

    /// Where it leads to, for messages: `https://10.0.0.1:6443`.
    fn target(&self) -> &str;

    /// Closes connections, so that new ones show renewed certificates. Requests in flight end first.
    fn reconnect(&self) {}
}

/// A transport shared by clients.
pub type SharedTransport = Arc<dyn Transport>;
