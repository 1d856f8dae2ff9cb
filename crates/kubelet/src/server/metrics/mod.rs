//! `/metrics` and what lies below it: the kubelet's own figures, its containers' and its probes'.

mod cadvisor;
mod own;
mod resource;
mod text;

use client::Body;
use http::{HeaderValue, Response, header::CONTENT_TYPE};

pub use cadvisor::cadvisor;
pub use own::{own, probes};
pub use resource::resource;

use self::text::Exposition;

/// Nanoseconds as the seconds of a sample.
#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A count as a sample.
#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
fn number(count: u64) -> f64 {
    count as f64
}

fn answer(out: Exposition) -> Response<Body> {
    let mut response = Response::new(Body::full(out.finish()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    response
}
