//! Who may use the kubelet's server: what part of its node a request is about, which the API server decides on.
//! Upstream: pkg/kubelet/server/auth.go.

use client::Client;
use component::{Reviews, User, reviews::Deed};
use http::{HeaderMap, Method, StatusCode};

/// What a path belongs to beside the node's own part in `nodes/proxy`: parts that are asked about first.
const FINE: [(&str, &str); 5] = [
    ("/allocatedPods", "pods"),
    ("/pods", "pods"),
    ("/healthz", "healthz"),
    ("/configz", "configz"),
    ("/runningpods", "pods"),
];
/// Paths that belong to a part of their own alone.
const COARSE: [(&str, &str); 6] = [
    ("/stats", "stats"),
    ("/metrics", "metrics"),
    ("/logs", "log"),
    ("/checkpoint", "checkpoint"),
    ("/statusz", "statusz"),
    ("/flagz", "configz"),
];

/// Why a request is not answered.
pub type Refusal = (StatusCode, String);

/// Asks the API server, and remembers.
pub struct Gate {
    reviews: Reviews,
    node: String,
}

// === impl Gate ===

impl Gate {
    /// For the server of one node.
    pub fn new(client: Client, node: &str) -> Self {
        Gate { reviews: Reviews::new(client), node: node.to_owned() }
    }

    /// Whether a request may go on; `peer` is whom the connection's certificate names.
    ///
    /// # Errors
    /// 401, 403 or 500, in upstream's words.
    pub async fn check(
        &self,
        peer: Option<&User>,
        headers: &HeaderMap,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let user = self.reviews.user(peer, headers).await;
        let user = user.ok_or((StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()))?;
        let (verb, parts) = (verb(method), subresources(path));
        for part in &parts {
            match self.reviews.may(&user, Deed::Node { verb, subresource: part, name: &self.node }).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(user = user.username, verb, part, %error, "kubelet server: not authorized");
                    let name = &user.username;
                    let text =
                        format!("Authorization error (user={name}, verb={verb}, resource=nodes, subresource={part})");
                    return Err((StatusCode::INTERNAL_SERVER_ERROR, text));
                }
            }
        }
        let (name, parts) = (&user.username, parts.join(" "));
        let text = format!("Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{parts}])\n");
        Err((StatusCode::FORBIDDEN, text))
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The parts of `nodes` that a path belongs to; one of them is enough.
fn subresources(path: &str) -> Vec<&'static str> {
    let is_below = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let find = |table: &[(&str, &'static str)]| table.iter().find(|(base, _)| is_below(base)).map(|(_, part)| *part);
    find(&FINE).into_iter().chain([find(&COARSE).unwrap_or("proxy")]).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/stats/summary", &["stats"])]
    #[case("/metrics", &["metrics"])]
    #[case("/metrics/cadvisor", &["metrics"])]
    #[case("/metricsx", &["proxy"])]
    #[case("/logs/x", &["log"])]
    #[case("/pods", &["pods", "proxy"])]
    #[case("/runningpods/", &["pods", "proxy"])]
    #[case("/healthz/ping", &["healthz", "proxy"])]
    #[case("/configz", &["configz", "proxy"])]
    #[case("/exec/a/b/c", &["proxy"])]
    #[case("/containerLogs/a/b/c", &["proxy"])]
    fn parts(#[case] path: &str, #[case] expected: &[&str]) {
        assert_eq!(subresources(path), expected);
    }
}
