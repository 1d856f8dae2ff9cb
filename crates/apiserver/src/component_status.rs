//! ComponentStatuses: stored nowhere, found out when somebody asks.
//!
//! Upstream: `pkg/registry/core/componentstatus`, `pkg/registry/core/rest/storage_core.go`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use api::status::{GroupResource, Status};
use api::table::table;
use api::value::{Map, Value};
use client::Body;
use http::{Request, Response, StatusCode};

use crate::api::Api;
use crate::context::Context;
use crate::forms::{View, partial_metadata};
use crate::request::Form;
use crate::request::options::ListOptions;
use crate::respond;
use crate::selection::Selection;
use crate::served::Served;
use crate::streams::dial::{Peer, anyone};

/// What is asked for its health. The datastore has one name, however many endpoints it has.
const COMPONENTS: [(&str, Ask); 3] =
    [("controller-manager", Ask::Port(10257)), ("etcd-0", Ask::Store), ("scheduler", Ask::Port(10259))];
const ASK_TIME_MAX: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 10 << 10;

#[derive(Clone, Copy)]
enum Ask {
    Store,
    /// `/healthz` of this machine's port.
    Port(u16),
}

/// How a component is.
enum Health {
    Well(String),
    Ill { message: String, error: String },
}

/// Answers a get or list request.
///
/// # Errors
/// 404 for a component that is not known, 400 for bad selectors.
pub async fn answer(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    match context.info.verb {
        "get" => get(api, context, served).await,
        "watch" => Err(Status::method_not_supported(served.group_resource(), "watch")),
        _ => list(api, context, served).await,
    }
}

async fn get(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    let view = View::negotiate(context, served)?;
    view.accept.check_list(false, || served.go_type())?;
    let name = &context.info.name;
    let (name, ask) = COMPONENTS.into_iter().find(|(known, _)| known == name).ok_or_else(|| {
        // Upstream names it by its singular here.
        Status::not_found(GroupResource { group: "", resource: "componentstatus" }, name)
    })?;
    let mut status = status_of(name, ask.health(api).await);
    Ok(match view.accept.form {
        Form::Table => table_of(&view, vec![status]),
        Form::Metadata => {
            let partial = partial_metadata(&mut status, "PartialObjectMetadata");
            respond::typed(StatusCode::OK, &partial, view.accept)
        }
        Form::Object => respond::typed(StatusCode::OK, &status, view.accept),
    })
}

async fn list(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    // Versions mean nothing here, however they are written.
    let text = |name| context.query.get(name).unwrap_or_default().to_owned();
    let (label_selector, field_selector) = (text("labelSelector"), text("fieldSelector"));
    let options = ListOptions { label_selector, field_selector, ..ListOptions::default() };
    let view = View::negotiate(context, served)?;
    view.accept.check_list(true, || format!("{}List", served.go_type()))?;
    let selection = Selection::parse(context, served, &options)?;
    let chosen = COMPONENTS.into_iter().filter(|(name, _)| selection.matches_bare(name));
    let asked = chosen.map(|(name, ask)| async move { status_of(name, ask.health(api).await) });
    let mut statuses = futures::future::join_all(asked).await;
    let (kind, version) = match view.accept.form {
        Form::Table => return Ok(table_of(&view, statuses)),
        Form::Metadata => {
            for status in &mut statuses {
                *status = partial_metadata(status, "PartialObjectMetadata");
            }
            ("PartialObjectMetadataList", "meta.k8s.io/v1")
        }
        Form::Object => {
            for status in &mut statuses {
                status.remove("kind");
                status.remove("apiVersion");
            }
            ("ComponentStatusList", "v1")
        }
    };
    let list: [(&str, Value); 4] = [
        ("kind", kind.into()),
        ("apiVersion", version.into()),
        ("metadata", Value::object()),
        ("items", statuses.into()),
    ];
    Ok(respond::typed(StatusCode::OK, &list.into_iter().collect::<Map>().into(), view.accept))
}

fn table_of(view: &View, statuses: Vec<Value>) -> Response<Body> {
    let bytes = view.table_of(table("", "componentstatuses"), statuses, Value::object());
    respond::document(StatusCode::OK, bytes, view.accept.encoding.media_type())
}

fn status_of(name: &str, health: Health) -> Value {
    let (said, message, error) = match health {
        Health::Well(message) => ("True", message, String::new()),
        Health::Ill { message, error } => ("False", message, error),
    };
    let mut condition: Map = [("type", "Healthy"), ("status", said)].into_iter().collect();
    for (key, text) in [("message", message), ("error", error)] {
        if !text.is_empty() {
            condition.insert(key, text);
        }
    }
    let mut status = Value::object();
    status.set("kind", "ComponentStatus");
    status.set("apiVersion", "v1");
    status.set("metadata.name", name);
    status.set("conditions", vec![condition]);
    status
}

// === impl Ask ===

impl Ask {
    async fn health(self, api: &Api) -> Health {
        match self {
            Ask::Store => match api.store.barrier().await {
                Ok(_) => Health::Well("ok".to_owned()),
                Err(error) => Health::Ill { message: String::new(), error: error.to_string() },
            },
            // What runs in this process is as well as the process.
            Ask::Port(_) if api.components_inside.load(Ordering::Relaxed) => Health::Well("ok".to_owned()),
            Ask::Port(port) => match tokio::time::timeout(ASK_TIME_MAX, healthz(port)).await {
                Ok(health) => health,
                Err(_) => refused(port, "context deadline exceeded"),
            },
        }
    }
}

fn refused(port: u16, why: &str) -> Health {
    let message = format!("Get \"https://127.0.0.1:{port}/healthz\": {why}");
    Health::Ill { message, error: String::new() }
}

/// Asks a component on this machine, whoever signed its certificate.
async fn healthz(port: u16) -> Health {
    let peer = Peer { host: "127.0.0.1".to_owned(), port: port.to_string(), tls: Some(anyone()) };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/healthz");
    let answer = match peer.send(request).await {
        Ok(answer) => answer,
        Err(why) => return refused(port, &why),
    };
    let code = answer.status();
    if !(200..400).contains(&code.as_u16()) {
        let message = format!("HTTP probe failed with statuscode: {}", code.as_u16());
        return Health::Ill { message, error: String::new() };
    }
    match Body::new(answer.into_body()).collect(ANSWER_BYTES_MAX).await {
        Ok(body) => Health::Well(String::from_utf8_lossy(&body).into_owned()),
        Err(error) => refused(port, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_refuses_is_unhealthy_and_says_why() {
        let status = status_of("scheduler", refused(10259, "dial tcp 127.0.0.1:10259: connect: connection refused"));
        let condition = &status.array_at("conditions")[0];
        assert_eq!(condition.str_at("status"), "False");
        assert_eq!(
            condition.str_at("message"),
            "Get \"https://127.0.0.1:10259/healthz\": dial tcp 127.0.0.1:10259: connect: connection refused"
        );
        assert_eq!(
            status_of("etcd-0", Health::Well("ok".to_owned())).array_at("conditions")[0].str_at("status"),
            "True"
        );
    }
}
