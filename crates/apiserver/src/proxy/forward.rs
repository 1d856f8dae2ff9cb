//! A request passed on and its answer passed back. Upstream: Go's `httputil.ReverseProxy` with apimachinery's
//! util/proxy transports around it.

use ::api::status::Status;
use client::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, TE,
};
use http::{HeaderMap, Method, Request, Response};

use super::coding::{Coding, rewritten};
use super::html::Rewriter;
use super::link::Page;
use super::path::Paths;
use crate::context::Context;
use crate::streams::dial::Peer;
use crate::streams::join::{forwarded_for, host};

/// Headers that are about one connection only.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// A server behind must not open the API server's origin to others.
const CROSS_ORIGIN: [HeaderName; 4] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
];

/// Passes a request on, and what comes back.
///
/// # Errors
/// 503 where the server can't be reached; 500 where it sends the client to what is no place.
pub async fn forward(
    context: &Context,
    peer: &Peer,
    paths: &Paths,
    query: &str,
    body: Body,
) -> Result<Response<Body>, Status> {
    let request = Request::builder().method(&context.method).uri(paths.target(query));
    let mut request = request.body(body).map_err(|error| Status::bad_request(error.to_string()))?;
    *request.headers_mut() = headers(context, paths);
    let unreached = |error| Status::unavailable(format!("error trying to reach service: {error}"));
    let mut response = peer.send(request).await.map_err(unreached)?.map(Body::from);
    remove_hops(response.headers_mut());
    CROSS_ORIGIN.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    not_cached(response.headers_mut());
    let page = Page { prefix: paths.prefix().to_vec(), server: peer.authority(), host: context.host().to_owned() };
    let response = match redirected(response.headers_mut(), &page)? {
        true => response,
        false => with_links(response, page, context.method == Method::HEAD),
    };
    Ok(response)
}

/// What every answer of this server says, beside what the other server says.
pub fn not_cached(headers: &mut HeaderMap) {
    let theirs: Vec<HeaderValue> = headers.get_all(CACHE_CONTROL).iter().cloned().collect();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    for value in theirs {
        headers.append(CACHE_CONTROL, value);
    }
}

/// The headers of the request behind.
fn headers(context: &Context, paths: &Paths) -> HeaderMap {
    let mut headers = context.headers.clone();
    headers.remove(AUTHORIZATION);
    let takes_trailers = has_token(&headers, &TE, "trailers");
    remove_hops(&mut headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    forwarded_for(&mut headers, context);
    host(&mut headers, context);
    if let Ok(value) = HeaderValue::from_str(&paths.forwarded()) {
        headers.insert("x-forwarded-uri", value);
    }
    headers
}

/// Removes what is about one connection, what the `Connection` header names included.
fn remove_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION).filter_map(|name| name.parse().ok()).collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(*name)));
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// Makes `Location` lead through here; whether there is one.
fn redirected(headers: &mut HeaderMap, page: &Page) -> Result<bool, Status> {
    let location = headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let Some(location) = location.filter(|location| !location.is_empty()) else { return Ok(false) };
    let broken = |error| Status::internal(format!("error trying to parse Location header: {error}"));
    if let Some(link) = page.link(&location).map_err(broken)?
        && let Ok(link) = HeaderValue::from_str(&link)
    {
        headers.insert(LOCATION, link);
    }
    Ok(true)
}

/// Makes the links of a page lead through here, if it is one and can be read.
fn with_links(mut response: Response<Body>, page: Page, is_head: bool) -> Response<Body> {
    let text =
        |name: &HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(&CONTENT_TYPE).split(';').next().is_none_or(|media_type| media_type.trim() != "text/html") {
        return response;
    }
    let Some(coding) = Coding::named(text(&CONTENT_ENCODING)) else { return response };
    // The page will be of another length.
    response.headers_mut().remove(CONTENT_LENGTH);
    match is_head {
        true => response,
        false => response.map(|body| rewritten(body, coding, Rewriter::new(page))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hops_end_here() {
        let mut headers = map(&[
            ("connection", "X-Del, keep-alive"),
            ("x-del", "1"),
            ("keep-alive", "5"),
            ("te", "deflate, Trailers"),
            ("transfer-encoding", "chunked"),
            ("cookie", "a=b"),
        ]);
        assert!(has_token(&headers, &TE, "trailers"));
        remove_hops(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=b")]));
    }

    #[test]
    fn their_caching_is_told_beside_ours() {
        let mut headers = map(&[("cache-control", "max-age=60")]);
        not_cached(&mut headers);
        assert_eq!(headers, map(&[("cache-control", "no-cache, private"), ("cache-control", "max-age=60")]));
    }
}
