//! Health, version and metrics.

use api::status::{Details, Status};
use api::value::Value;
use client::Body;
use http::{Response, StatusCode};

use crate::api::Api;
use crate::context::Context;
use crate::request::Accept;
use crate::respond;

/// A named check of the server's health.
struct Check {
    name: &'static str,
    /// Also part of `/livez`: a failure that only a restart mends.
    live: bool,
    run: fn(&Api) -> Result<(), String>,
}

const CHECKS: [Check; 4] = [
    Check { name: "ping", live: true, run: |_| Ok(()) },
    Check { name: "log", live: true, run: |_| Ok(()) },
    Check { name: "etcd", live: false, run: |_| Ok(()) },
    Check {
        name: "poststarthook/rbac/bootstrap-roles",
        live: false,
        run: |api| if api.is_ready() { Ok(()) } else { Err("not finished".to_owned()) },
    },
];

/// What there is to ask for health, each check by itself too.
pub fn paths() -> impl Iterator<Item = String> {
    ["healthz", "livez", "readyz"].into_iter().flat_map(|kind| {
        let checks = CHECKS.iter().filter(move |check| is_checked(check, kind));
        std::iter::once(format!("/{kind}")).chain(checks.map(move |check| format!("/{kind}/{}", check.name)))
    })
}

fn is_checked(check: &Check, kind: &str) -> bool {
    check.live || kind != "livez"
}

/// Answers `/healthz`, `/livez`, `/readyz` (with the checks below them), `/version` and `/metrics`.
pub async fn answer(api: &Api, context: &Context, path: &str) -> Option<Response<Body>> {
    match path {
        "/version" if !context.accepts_json() => {
            let refused = Status {
                details: Some(Details::default()),
                ..Status::not_acceptable("406: Not Acceptable\n\nAvailable representations: application/json")
            };
            Some(respond::status(&refused, context.accept_plain().unwrap_or_default()))
        }
        "/version" => Some(respond::tree(StatusCode::OK, &version(), Accept { pretty: true, ..Accept::default() })),
        "/metrics" => {
            let mut answer = respond::text(StatusCode::OK, api.metrics.text());
            let media_type = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            answer.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
            Some(answer)
        }
        _ => {
            let mut parts = path.trim_start_matches('/').splitn(2, '/');
            let kind = parts.next().filter(|kind| ["healthz", "livez", "readyz"].contains(kind))?;
            Some(health(api, context, kind, parts.next()))
        }
    }
}

fn health(api: &Api, context: &Context, kind: &str, single: Option<&str>) -> Response<Body> {
    let mut checks = CHECKS.iter().filter(|check| is_checked(check, kind));
    if let Some(name) = single {
        return match checks.find(|check| check.name == name) {
            None => respond::no_such_path(),
            Some(check) => match (check.run)(api) {
                Ok(()) => respond::text(StatusCode::OK, "ok"),
                Err(why) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
            },
        };
    }
    let mut text = String::new();
    let mut failed = false;
    for check in checks {
        if context.query.all("exclude").any(|excluded| excluded == check.name) {
            text.push_str(&format!("[+]{} excluded: ok\n", check.name));
            continue;
        }
        match (check.run)(api) {
            Ok(()) => text.push_str(&format!("[+]{} ok\n", check.name)),
            Err(why) => {
                failed = true;
                tracing::debug!(check = check.name, %why, "health check failed");
                text.push_str(&format!("[-]{} failed: reason withheld\n", check.name));
            }
        }
    }
    match (failed, context.query.get("verbose")) {
        (true, _) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}{kind} check failed\n")),
        (false, None) => respond::text(StatusCode::OK, "ok"),
        (false, Some(_)) => respond::text(StatusCode::OK, format!("{text}{kind} check passed\n")),
    }
}

fn version() -> Value {
    let mut version = Value::object();
    for (key, text) in [
        ("major", "1"),
        ("minor", "37"),
        ("emulationMajor", "1"),
        ("emulationMinor", "37"),
        ("minCompatibilityMajor", "1"),
        ("minCompatibilityMinor", "36"),
        ("gitVersion", api::GIT_VERSION),
        ("gitCommit", option_env!("XEBEC_COMMIT").unwrap_or("unknown")),
        ("gitTreeState", "clean"),
        ("buildDate", option_env!("XEBEC_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z")),
        ("goVersion", "none"),
        ("compiler", "rustc"),
        ("platform", "linux/amd64"),
    ] {
        version.set(key, text);
    }
    version
}
