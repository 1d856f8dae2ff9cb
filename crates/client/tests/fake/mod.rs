//! An API server that answers what a script says.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use client::Body;
use client::transport::local::FnService;
use futures::{StreamExt, stream};
use http::{Request, Response};
use parking_lot::Mutex;

/// What is answered to one request.
pub struct Reply {
    code: u16,
    headers: Vec<(&'static str, String)>,
    frames: Vec<Bytes>,
    end: End,
}

/// How an answer's body ends.
#[derive(Clone, Copy)]
enum End {
    Close,
    Break,
    Hang,
}

type Otherwise = Box<dyn Fn(&str) -> Reply + Send + Sync>;

#[derive(Clone, Default)]
pub struct Fake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<String>>,
    /// What is answered once the script is over; without it, answers hang.
    rest: Mutex<Option<Otherwise>>,
    open: AtomicUsize,
}

/// Counts open answers.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fake {
    pub fn new(script: impl IntoIterator<Item = Reply>) -> Fake {
        let fake = Fake::default();
        fake.0.script.lock().extend(script);
        fake
    }

    pub fn push(&self, reply: Reply) {
        self.0.script.lock().push_back(reply);
    }

    /// What is answered to everything after the script.
    pub fn otherwise(&self, reply: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.0.rest.lock() = Some(Box::new(reply));
    }

    /// `METHOD path?query body` of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.0.requests.lock().clone()
    }

    /// How many answers' bodies are still being read.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    pub fn service(
        &self,
    ) -> impl tower_service::Service<
        Request<Body>,
        Response = Response<Body>,
        Error = std::convert::Infallible,
        Future = client::transport::BoxFuture<Result<Response<Body>, std::convert::Infallible>>,
    > + Clone
    + Send
    + Sync
    + 'static {
        let inner = self.0.clone();
        FnService(move |request: Request<Body>| {
            let inner = inner.clone();
            async move {
                assert!(request.extensions().get::<api::user::UserInfo>().is_some(), "a request without a user");
                let (head, body) = request.into_parts();
                let body = body.collect(1 << 20).await.unwrap();
                let text = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
                let text = text.trim_end().to_owned();
                inner.requests.lock().push(text.clone());
                let reply = inner.script.lock().pop_front();
                let rest =
                    || inner.rest.lock().as_ref().map_or_else(|| Reply::watch([]).and_hang(), |rest| rest(&text));
                reply.unwrap_or_else(rest).answer(&inner)
            }
        })
    }
}

impl Reply {
    pub fn watch<const N: usize>(frames: [String; N]) -> Reply {
        Reply { code: 200, headers: vec![], frames: frames.into_iter().map(Bytes::from).collect(), end: End::Close }
    }

    pub fn json(text: &str) -> Reply {
        Reply { code: 200, headers: vec![], frames: vec![Bytes::from(text.to_owned())], end: End::Close }
    }

    pub fn list(revision: u64, next: &str, items: &[String]) -> Reply {
        let items = items.join(",");
        Reply::json(&format!(
            r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{revision}","continue":"{next}"}},"items":[{items}]}}"#
        ))
    }

    pub fn status(code: u16, reason: &str) -> Reply {
        let text = format!(r#"{{"kind":"Status","code":{code},"reason":"{reason}","message":"{reason}"}}"#);
        Reply { code, ..Reply::json(&text) }
    }

    pub fn code(self, code: u16) -> Reply {
        Reply { code, ..self }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The connection breaks after the last frame.
    pub fn and_break(self) -> Reply {
        Reply { end: End::Break, ..self }
    }

    /// Nothing more comes, and the body doesn't end.
    pub fn and_hang(self) -> Reply {
        Reply { end: End::Hang, ..self }
    }

    fn answer(self, inner: &Arc<Inner>) -> Response<Body> {
        inner.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(inner.clone());
        let frames = stream::iter(self.frames.into_iter().map(Ok));
        let end = match self.end {
            End::Close => stream::empty().boxed(),
            End::Break => stream::iter([Err("connection reset".into())]).boxed(),
            End::Hang => stream::pending().boxed(),
        };
        let body = Body::stream(frames.chain(end).inspect(move |_: &Result<Bytes, client::BoxError>| {
            let _kept_until_dropped = &open;
        }));
        let mut response = Response::builder().status(self.code);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(body).unwrap()
    }
}

pub fn pod(name: &str, revision: u64) -> String {
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"x","uid":"uid-{name}","resourceVersion":"{revision}","managedFields":[{{"manager":"m"}}]}},"spec":{{"containers":[]}}}}"#
    )
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

pub fn added(object: &str) -> String {
    event("ADDED", object)
}

pub fn modified(object: &str) -> String {
    event("MODIFIED", object)
}

pub fn deleted(object: &str) -> String {
    event("DELETED", object)
}

pub fn bookmark(revision: u64) -> String {
    event("BOOKMARK", &format!(r#"{{"kind":"Pod","metadata":{{"resourceVersion":"{revision}"}}}}"#))
}

pub fn end_of_list(revision: u64) -> String {
    let annotations = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    event("BOOKMARK", &format!(r#"{{"kind":"Pod","metadata":{{"resourceVersion":"{revision}",{annotations}}}}}"#))
}

pub fn gone() -> String {
    event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}"#)
}
