//! What a request's method and path ask for.
//!
//! Upstream: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.

use http::Method;

use super::query::Query;

/// A request, taken apart. Everything authorization, flow control and routing look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestInfo {
    /// Below `/api` or `/apis` with at least a version; else only `path` and `verb` mean something.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`,
    /// `proxy`; the method in lower case for other paths.
    pub verb: &'static str,
    pub path: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    /// Plural name; empty for discovery paths such as `/api/v1`.
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows the subresource (`proxy/some/path`), without a leading slash.
    pub rest: String,
}

/// Subresources of a namespace itself; other words below it are resources inside it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Takes method, path and query apart.
    pub fn parse(method: &Method, path: &str, query: &Query) -> RequestInfo {
        let plain = RequestInfo { verb: method_word(method), path: path.to_owned(), ..RequestInfo::default() };
        let decoded = super::query::percent_decode(path, false);
        let mut parts = decoded.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        let (group, version) = match parts.next().as_deref() {
            Some("api") => (Some(String::new()), parts.next()),
            Some("apis") => (parts.next(), parts.next()),
            _ => (None, None),
        };
        let (Some(group), Some(version)) = (group, version) else { return plain };
        let parts: Vec<String> = parts.collect();
        // A version's own path is discovery, not a resource.
        if parts.is_empty() {
            return RequestInfo { group, version, ..plain };
        }
        let verb = match method.as_str() {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        };
        let mut info = RequestInfo { is_resource: true, verb, group, version, ..plain };
        // The deprecated form `/api/v1/watch/…` still is a watch.
        let (legacy_watch, parts) = match parts.split_first() {
            Some((first, rest)) if first == "watch" && !rest.is_empty() => (true, rest),
            _ => (false, parts.as_slice()),
        };
        info.place(parts);
        if info.verb == "get" && info.name.is_empty() {
            info.verb = "list";
        }
        if info.verb == "delete" && info.name.is_empty() {
            info.verb = "deletecollection";
        }
        if info.verb == "list" {
            // A selector for one name authorizes like that name.
            if let Some(name) = query.get("fieldSelector").and_then(single_name) {
                info.name = name;
            }
            if query.flag("watch") {
                info.verb = "watch";
            }
        } else if info.verb == "deletecollection"
            && let Some(name) = query.get("fieldSelector").and_then(single_name)
        {
            info.name = name;
        }
        if legacy_watch && matches!(info.verb, "get" | "list") {
            info.verb = "watch";
        }
        info
    }

    /// Whether this is a request for `group/version/resource` itself or one below it.
    pub fn is(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.group == group && self.resource == resource && self.subresource == subresource
    }

    /// Files the parts after the version under namespace, resource, name and subresource.
    fn place(&mut self, parts: &[String]) {
        let parts = match parts {
            [word, namespace, rest @ ..] if word == "namespaces" => {
                self.namespace = namespace.clone();
                match rest.first() {
                    Some(next) if !NAMESPACE_SUBRESOURCES.contains(&next.as_str()) => rest,
                    _ => parts,
                }
            }
            _ => parts,
        };
        let mut parts = parts.iter();
        self.resource = parts.next().cloned().unwrap_or_default();
        self.name = parts.next().cloned().unwrap_or_default();
        self.subresource = parts.next().cloned().unwrap_or_default();
        self.rest = parts.map(String::as_str).collect::<Vec<_>>().join("/");
        if !self.rest.is_empty() && self.path.ends_with('/') {
            self.rest.push('/');
        }
    }
}

fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "",
    }
}

/// The name in a selector that is, or contains, `metadata.name=NAME`.
fn single_name(selector: &str) -> Option<String> {
    selector
        .split(',')
        .find_map(|term| term.strip_prefix("metadata.name="))
        .map(|name| name.trim_start_matches('=').to_owned())
        .filter(|name| !name.is_empty() && !name.contains('/') && name != "." && name != "..")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(method: &str, target: &str) -> RequestInfo {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        RequestInfo::parse(&method.parse().unwrap(), path, &Query::parse(query))
    }

    #[rstest]
    #[case("GET", "/api/v1/namespaces", "list  v1  namespaces  ")]
    #[case("GET", "/api/v1/namespaces/a", "get  v1 a namespaces a ")]
    #[case("GET", "/api/v1/namespaces/a/pods", "list  v1 a pods  ")]
    #[case("GET", "/api/v1/namespaces/a/pods/p", "get  v1 a pods p ")]
    #[case("POST", "/api/v1/namespaces/a/pods/p/binding", "create  v1 a pods p binding")]
    #[case("PUT", "/api/v1/namespaces/a/finalize", "update  v1 a namespaces a finalize")]
    #[case("GET", "/apis/apps/v1/deployments?watch=1", "watch apps v1  deployments  ")]
    #[case("GET", "/apis/apps/v1/deployments?watch", "watch apps v1  deployments  ")]
    #[case("GET", "/apis/apps/v1/deployments?watch=false", "list apps v1  deployments  ")]
    #[case("DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps v1 a deployments  ")]
    #[case("GET", "/api/v1/watch/namespaces/a/pods", "watch  v1 a pods  ")]
    #[case("GET", "/api/v1/namespaces/a/pods/p%2flog", "get  v1 a pods p log")]
    #[case("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dp", "list  v1  pods p ")]
    fn resources(#[case] method: &str, #[case] target: &str, #[case] expected: &str) {
        let info = parse(method, target);
        let found =
            [info.verb, &info.group, &info.version, &info.namespace, &info.resource, &info.name, &info.subresource];
        assert!(info.is_resource);
        assert_eq!(found.join(" "), expected);
    }

    #[rstest]
    #[case("/healthz")]
    #[case("/apis")]
    #[case("/apis/apps")]
    #[case("/api")]
    #[case("/api/v1")]
    #[case("/apis/apps/v1/")]
    fn other_paths(#[case] path: &str) {
        let info = parse("GET", path);
        assert!(!info.is_resource);
        assert_eq!(info.verb, "get");
    }

    #[test]
    fn proxy_paths_keep_what_follows() {
        let info = parse("GET", "/api/v1/namespaces/a/services/http:web:80/proxy/x/y/");
        assert_eq!((info.name.as_str(), info.rest.as_str()), ("http:web:80", "x/y/"));
    }
}
