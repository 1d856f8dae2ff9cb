//! Patch requests of all kinds, good and bad, held against what upstream's API server answered
//! to the same requests in the same order (recorded by `tools/patchvectors/requests.py`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use api::codec::json;
use api::value::Value;
use apiserver::authn;
use apiserver::authn::token::{Issuer, KeySet};
use apiserver::authz::Mode;
use apiserver::bootstrap::objects::AuthenticationTrust;
use apiserver::pki::key::PrivateKey;
use apiserver::server::{Datastore, Identity, Server, own_user};
use apiserver::settings::Settings;
use client::{Body, SystemClock};
use http::{Method, Request, header};
use tokio_util::sync::CancellationToken;

/// What differs from run to run.
const VARYING: [&str; 4] = ["uid", "resourceVersion", "creationTimestamp", "time"];

async fn server() -> Server {
    let settings = Settings {
        advertise_address: "10.0.0.1".parse().unwrap(),
        secure_port: 6443,
        service_cluster_ip_range: "10.96.0.0/16".parse().unwrap(),
        service_node_port_range: (30_000, 32_767),
        service_account_issuer: "https://kubernetes.default.svc.cluster.local".into(),
        disabled_admission_plugins: Vec::new(),
    };
    let key = PrivateKey::generate().unwrap();
    let keys = KeySet::new([key.public()]);
    let identity = Identity {
        authentication: authn::Settings::default(),
        issuer: Issuer::new("https://issuer.example", key),
        keys,
    };
    let modes = vec![Mode::Node, Mode::Rbac];
    let server = Server::open(Datastore::Memory, settings, identity, Arc::new(SystemClock), modes).await.unwrap();
    server.seed(&AuthenticationTrust::default(), &CancellationToken::new()).await.unwrap();
    server
}

/// Code, answer and warnings of one request.
async fn answer(client: &client::Client, request: &Value) -> (i64, Value, Vec<String>) {
    let method: Method = request.str_at("method").parse().unwrap();
    let mut builder = Request::builder().method(method).uri(request.str_at("path"));
    builder = builder.header(header::ACCEPT, "application/json");
    let agent = request.field("agent").and_then(Value::as_str).unwrap_or("kubectl/v1.37.2");
    builder = builder.header(header::USER_AGENT, agent);
    if let Some(kind) = request.field("type").and_then(Value::as_str) {
        builder = builder.header(header::CONTENT_TYPE, kind);
    } else if request.field("body").is_some() {
        // The recording client's default.
        builder = builder.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Body::from(request.str_at("body").as_bytes().to_vec());
    let response = client.send_once(builder.body(body).unwrap()).await.unwrap();
    let code = i64::from(response.status().as_u16());
    let warnings = response.headers().get_all("warning").iter().map(|text| text.to_str().unwrap().to_owned()).collect();
    let body = response.into_body().collect(1 << 20).await.unwrap();
    (code, json::parse(&body).unwrap_or_default(), warnings)
}

/// Replaces what differs from run to run, as the recorder does.
fn scrub(mut answer: Value) -> Value {
    if answer.str_at("kind") == "Status" {
        if answer.at("details").field("uid").is_some() {
            answer.set("details.uid", "*");
        }
        return plain(answer);
    }
    if let Some(Value::Object(metadata)) = answer.at_mut("metadata") {
        metadata.remove("resourceVersion");
        for key in ["uid", "creationTimestamp", "deletionTimestamp"] {
            if metadata.contains_key(key) {
                metadata.insert(key, "*");
            }
        }
    }
    if let Some(Value::Array(entries)) = answer.at_mut("metadata.managedFields") {
        for entry in entries.iter_mut().filter(|entry| entry.field("time").is_some()) {
            entry.set("time", "*");
        }
        // Their order depends on the second in which each was written.
        entries.sort_by_key(text);
    }
    answer
}

/// YAML parsers word their complaints differently; that there is one, and what is said of it, counts.
/// What follows the first line of a refused pod update is a difference of Go structs.
fn without_yaml(mut answer: Value) -> Value {
    const POD_UPDATE: &str = "pod updates may not change fields other than";
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    if answer.str_at("message").contains(POD_UPDATE) {
        let said = first_line(answer.str_at("message"));
        answer.set("message", said);
        if let Some(Value::Array(causes)) = answer.at_mut("details.causes") {
            for cause in causes {
                let said = first_line(cause.str_at("message"));
                cause.set("message", said);
            }
        }
    }
    if let Some((said, _)) = answer.str_at("message").split_once("yaml: ") {
        let said = said.to_owned();
        answer.set("message", said);
    }
    answer
}

/// The same within texts that quote whole objects.
fn plain(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let mut text = without_owners(&text);
            for key in VARYING {
                for quote in ["\"", "\\\"", "\\\\\\\""] {
                    let start = format!("{quote}{key}{quote}:{quote}");
                    let mut from = 0;
                    while let Some(at) = text[from..].find(&start) {
                        let begin = from + at + start.len();
                        let end = begin + text[begin..].find(['"', '\\']).unwrap_or(0);
                        text.replace_range(begin..end, "*");
                        from = begin;
                    }
                }
            }
            text.into()
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, plain(value))).collect()),
        other => other,
    }
}

/// Cuts the lists of owners out of a quoted object: their order depends on the time.
fn without_owners(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("managedFields") {
        let Some(start) = rest[at..].find('[').map(|start| at + start) else { break };
        let mut depth = 0;
        let end = rest[start..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '[') - i32::from(*c == ']');
            depth == 0
        });
        let Some((length, _)) = end else { break };
        out.push_str(&rest[..start]);
        out.push('*');
        rest = &rest[start + length + 1..];
    }
    out + rest
}

fn text(value: &Value) -> String {
    String::from_utf8(json::to_vec(value)).unwrap()
}

#[tokio::test]
async fn patches_are_answered_as_upstream_answers_them() {
    let server = server().await;
    let client = server.client(own_user());
    let recorded = include_str!("data/patches.jsonl");
    let mut wrong = Vec::new();
    for (at, line) in recorded.lines().enumerate() {
        let line = json::parse(line.as_bytes()).unwrap();
        let [request, code, expected, warnings] = line.as_array().unwrap() else { panic!("line {}", at + 1) };
        let (our_code, ours, our_warnings) = answer(&client, request).await;
        let (ours, expected) = (without_yaml(scrub(ours)), without_yaml(scrub(expected.clone())));
        let our_warnings: Value = our_warnings.into_iter().map(Value::from).collect::<Vec<_>>().into();
        let code_only = request.field("compare").is_some();
        let (ours, expected) = if code_only { (Value::Null, Value::Null) } else { (ours, expected) };
        if Some(our_code) != code.as_i64() || ours != expected || our_warnings != *warnings {
            let said =
                |code: &str, answer: &Value, warnings: &Value| format!("{code} {} {}", text(answer), text(warnings));
            wrong.push(format!(
                "line {}: {}\n  ours:     {}\n  upstream: {}",
                at + 1,
                text(request),
                said(&our_code.to_string(), &ours, &our_warnings),
                said(&text(code), &expected, warnings)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
