//! The in-process transport: calls the API server's pipeline as a function.
//!
//! No socket and no TLS, but the same authentication result, authorization, admission and validation: the caller's
//! identity goes along as a request extension, and the pipeline treats it as authenticated.

use std::convert::Infallible;
use std::task::Poll;

use api::user::UserInfo;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tower_service::Service;

use super::{BoxFuture, MaybeUpgraded, Transport};
use crate::body::{Body, BoxError};

/// Bytes an upgraded in-process connection holds in each direction before its writer waits.
const DUPLEX_BYTES: usize = 64 << 10;

/// The request pipeline as the transport calls it.
type Call = Box<dyn Fn(Request<Body>) -> BoxFuture<Result<Response<Body>, BoxError>> + Send + Sync>;

/// Requests of one user straight into a pipeline.
pub struct Local {
    call: std::sync::Arc<Call>,
    user: UserInfo,
}

// === impl Local ===

impl Local {
    /// A transport that calls `pipeline` as `user`. The pipeline finds the [`UserInfo`] among the request's extensions.
    pub fn new<S>(pipeline: S, user: UserInfo) -> Local
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<BoxError> + Send,
        S::Future: Send + 'static,
    {
        // Services are called through `&mut`; each call gets a clone of its own.
        let pipeline = Mutex::new(pipeline);
        let call: Call = Box::new(move |request| {
            let mut pipeline = pipeline.lock().clone();
            Box::pin(async move {
                std::future::poll_fn(|cx| pipeline.poll_ready(cx)).await.map_err(Into::into)?;
                pipeline.call(request).await.map_err(Into::into)
            })
        });
        Local { call: std::sync::Arc::new(call), user }
    }

    /// The same pipeline as another user.
    pub fn with_user(&self, user: UserInfo) -> Local {
        Local { call: self.call.clone(), user }
    }
}

impl Transport for Local {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<Result<Response<Body>, BoxError>> {
        request.extensions_mut().insert(self.user.clone());
        (self.call)(request)
    }

    /// Speaks HTTP/1.1 over a pipe in memory, so that the pipeline upgrades as it does for anybody else.
    fn upgrade(&self, request: Request<Body>) -> BoxFuture<Result<MaybeUpgraded, BoxError>> {
        let (near, far) = tokio::io::duplex(DUPLEX_BYTES);
        let server = Bridge { call: self.call.clone(), user: self.user.clone() };
        let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), server);
        tokio::spawn(async move {
            if let Err(error) = serve.with_upgrades().await {
                tracing::debug!(%error, "in-process upgraded connection");
            }
        });
        Box::pin(super::https::upgrade_over(TokioIo::new(near), request))
    }

    fn target(&self) -> &str {
        "in-process"
    }
}

/// The pipeline as hyper's server wants it.
struct Bridge {
    call: std::sync::Arc<Call>,
    user: UserInfo,
}

impl hyper::service::Service<Request<hyper::body::Incoming>> for Bridge {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Response<Body>, BoxError>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(self.user.clone());
        (self.call)(request)
    }
}

/// A pipeline made from an async function: for tests and small servers.
#[derive(Clone)]
pub struct FnService<F>(pub F);

impl<F, Fut> Service<Request<Body>> for FnService<F>
where
    F: FnMut(Request<Body>) -> Fut,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
