//! Paths, queries and headers of requests.
#![no_main]

use apiserver::decoders::options::{DeleteOptions, ListOptions, WriteOptions};
use apiserver::decoders::query::percent_decode;
use apiserver::decoders::{Accept, Query, RequestInfo};
use fuzz::{Limit, halves};
use http::Method;

const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::CONNECT,
];

fuzz::target!(Limit { per_byte: 300, besides: 1 << 20 }, |input| {
    let Some((choice, rest)) = input.split_first() else { return };
    let method = &METHODS[usize::from(*choice) % METHODS.len()];
    let (target, header) = halves(rest).unwrap_or((rest, b"*/*"));
    let (Ok(target), Ok(header)) = (std::str::from_utf8(target), std::str::from_utf8(header)) else { return };
    let _ = (Accept::negotiate(Some(header), false, true), Accept::negotiate_plain(Some(header), true, false));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    assert_eq!(percent_decode(&percent_encode(target), true), target);
    let query = options(query);
    let info = RequestInfo::parse(method, path, &query);
    if info.is_resource {
        assert!(!info.version.is_empty() && !info.resource.is_empty());
        // A name may also come of a selector, which no path says.
        let none = Query::default();
        let info = RequestInfo::parse(method, path, &none);
        let plain = RequestInfo { path: written(&info), ..info.clone() };
        assert_eq!(RequestInfo::parse(method, &plain.path, &none), plain, "{path}");
    }
});

/// The path of a request for a resource, with every part escaped.
fn written(info: &RequestInfo) -> String {
    let api = if info.group.is_empty() { "api".to_owned() } else { format!("apis/{}", percent_encode(&info.group)) };
    // A namespace's own path has it once, unless what follows would be taken for a resource within it.
    let is_own = info.resource == "namespaces"
        && info.name == info.namespace
        && ["", "status", "finalize"].contains(&info.subresource.as_str());
    let namespace = match info.namespace.is_empty() || is_own {
        true => Vec::new(),
        false => vec!["namespaces", &info.namespace],
    };
    let watch = if info.verb == "watch" { vec!["watch"] } else { Vec::new() };
    let parts = [info.version.as_str()].into_iter().chain(watch).chain(namespace);
    let parts = parts.chain([&*info.resource, &info.name, &info.subresource]).filter(|part| !part.is_empty());
    let rest = info.rest.split('/').map(percent_encode).collect::<Vec<_>>().join("/");
    let rest = if rest.is_empty() { rest } else { format!("/{rest}") };
    format!("/{api}/{}{rest}", parts.map(percent_encode).collect::<Vec<_>>().join("/"))
}

fn options(text: &str) -> Query {
    let query = Query::parse(text);
    let _ = ListOptions::parse(&query);
    let _ = DeleteOptions::parse(&query, None);
    let _ = WriteOptions::parse(&query, "CreateOptions");
    let _ = WriteOptions::parse_patch(&query, true);
    let _ = kubelet::decoders::Query::parse(text).get("command").map(str::len);
    query
}

fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escaped).collect()
}
