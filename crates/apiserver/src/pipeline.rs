//! The request pipeline: the one door to cluster state.
//!
//! Every request passes the same stations in the same order, whether it came over a socket or
//! from a component in this process: authentication, flow control, authorization, routing. What
//! fails at any of them is a `Status` in the client's encoding.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use api::status::Status;
use api::user::UserInfo;
use client::Body;
use futures::FutureExt;
use http::{HeaderValue, Request, Response};
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use crate::api::Api;
use crate::context::{Context, discard_body};
use crate::request::{Query, RequestInfo};
use crate::respond;
use crate::route;
use crate::serve::Connection;

/// The pipeline as a service; a clone is a reference.
#[derive(Clone)]
pub struct Pipeline {
    api: Arc<Api>,
}

/// Requests that are not watches or streams end after this: upstream's `--request-timeout`.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

// === impl Pipeline ===

impl Pipeline {
    pub fn new(api: Arc<Api>) -> Pipeline {
        Pipeline { api }
    }

    /// Answers one request. Never fails: errors are answers.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        let started = tokio::time::Instant::now();
        let (mut parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
        let user = parts.extensions.remove::<UserInfo>();
        let connection = parts.extensions.remove::<Arc<Connection>>();
        let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let now = self.api.clock.now();
        // In process the caller is who it says; over a socket it has to prove it.
        let user = match user {
            Some(user) => Ok(Arc::new(user)),
            None => self.api.authenticate(&mut parts.headers, connection.as_deref(), now),
        };
        let (user, refused) = match user {
            Ok(user) => (user, None),
            Err(status) => (Arc::default(), Some(status)),
        };
        let mut context = Context::new(info, query, parts.headers, user, connection, now);
        context.method = parts.method;
        context.uri = parts.uri;
        context.upgrade = parking_lot::Mutex::new(upgrade);
        let verb = context.info.verb;
        let answer = match refused {
            Some(status) => {
                discard_body(body).await;
                Ok(Err(status))
            }
            None => AssertUnwindSafe(self.pass(&mut context, body)).catch_unwind().await,
        };
        let answer = answer.unwrap_or_else(|panic| {
            let path = &context.info.path;
            tracing::error!(%verb, %path, panic = panic_text(&panic), "a request's handler panicked");
            Err(Status::internal("This request caused apiserver to panic. Look in the logs for details."))
        });
        let mut response = answer.unwrap_or_else(|status| {
            let accept = context.accept_plain().unwrap_or_default();
            respond::status(&status, accept)
        });
        for warning in context.warnings() {
            if let Ok(value) = HeaderValue::from_str(&warning) {
                response.headers_mut().append(http::header::WARNING, value);
            }
        }
        if let Ok(mut id) = HeaderValue::from_str(context.audit_id()) {
            // Every answer has another one: HTTP/2's table of headers need not remember it.
            id.set_sensitive(true);
            response.headers_mut().insert("audit-id", id);
        }
        if let Some(flow) = context.flow {
            response.headers_mut().insert("x-kubernetes-pf-flowschema-uid", flow.schema);
            response.headers_mut().insert("x-kubernetes-pf-prioritylevel-uid", flow.level);
        }
        self.api.metrics.observe(&context.info, response.status(), started.elapsed());
        response
    }

    async fn pass(&self, context: &mut Context, body: Body) -> Result<Response<Body>, Status> {
        let api = &*self.api;
        let long_running = route::is_long_running(context);
        let _permit = match self.admit(context, long_running).await {
            Ok(permit) => permit,
            Err(status) => {
                discard_body(body).await;
                return Err(status);
            }
        };
        if long_running {
            return route::dispatch(api, context, body).await;
        }
        match tokio::time::timeout(REQUEST_TIME_MAX, route::dispatch(api, context, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::timeout("request did not complete within the allotted timeout")),
        }
    }

    /// What comes before the body is looked at: whose request it is, whether there is room for it, whether it may be.
    async fn admit(&self, context: &mut Context, long_running: bool) -> Result<Option<OwnedSemaphorePermit>, Status> {
        self.api.impersonate(context)?;
        // Streams belong to no flow. Who calls from within the process reads no headers.
        if context.connection.is_some() && (!long_running || context.info.verb == "watch") {
            context.flow = Some(self.api.flow.schemas.classify(&context.user, &context.info));
        }
        let permit = match long_running {
            true => None,
            false => self.api.flow.admit(context).await?,
        };
        self.api.authorize_request(context)?;
        Ok(permit)
    }
}

impl Service<Request<Body>> for Pipeline {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pipeline = self.clone();
        Box::pin(async move { Ok(Pipeline::call(&pipeline, request).await) })
    }
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}
