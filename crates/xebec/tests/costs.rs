//! What a request costs in figures that do not depend on the machine's mood: allocations in the pipeline, and system
//! calls of a server that one client asks over TLS.
//!
//! They are held to the files in `costs/`. Where they change for a good reason, `COSTS=write cargo test -p xebec --test costs`
//! writes them anew, and the change shows in review.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../apiserver/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use apiserver::server::own_user;
use client::{Body, Client, Config};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// Requests of each kind that are measured; as many more go before them, so that caches are warm and buffers grown.
const REQUESTS: usize = 64;
/// How far a figure may be from the one that was written down. Allocations differ by the seeds of hash maps, system
/// calls by who wakes whom.
const ALLOCATIONS_WITHIN: f64 = 0.03;
const SYSTEM_CALLS_WITHIN: f64 = 0.25;
/// A busy machine puts more threads to sleep, which takes calls: what a request needs is the least of some runs.
const ATTEMPTS_MAX: usize = 6;

/// The kinds of requests, in the order in which they are sent: each finds what those before left.
const KINDS: [&str; 8] = [
    "create ConfigMap",
    "create Pod",
    "get Pod",
    "update Pod",
    "merge-patch Pod",
    "apply Pod",
    "list of 128 Pods",
    "delete Pod",
];

const PODS: &str = "/api/v1/namespaces/costs/pods";

fn config_map(at: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("map-{at}"), "labels": {"app": "costs"}},
        "data": {"mark": at.to_string(), "content": "x".repeat(860)},
    })
}

fn pod(at: usize, mark: &str) -> Value {
    let probe = |path| json!({"httpGet": {"path": path, "port": 8080}, "initialDelaySeconds": 3, "timeoutSeconds": 2});
    let env: Vec<Value> =
        (0..8).map(|at| json!({"name": format!("SETTING_{at}"), "value": format!("value-{at}")})).collect();
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:1.2.3"),
            "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}], "env": env,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
            "livenessProbe": probe("/livez"), "readinessProbe": probe("/readyz"),
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "scratch", "mountPath": "/tmp"}],
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{at}"), "labels": {"app": "costs"}, "annotations": {"mark": mark}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [container("web"), container("worker")],
            "volumes": [{"name": "config", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}],
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "costs", "effect": "NoSchedule"}],
        },
    })
}

/// The request number `at` of its kind.
async fn request(client: &Client, kind: &str, at: usize) -> Request<Body> {
    let one = format!("{PODS}/pod-{at}");
    let (method, path, media_type, body) = match kind {
        "create ConfigMap" => {
            (Method::POST, "/api/v1/namespaces/costs/configmaps".to_owned(), "application/json", config_map(at))
        }
        "create Pod" => (Method::POST, PODS.to_owned(), "application/json", pod(at, "made")),
        "update Pod" => {
            let mut live: Value = serde_json::from_slice(&client.get(&one).await.unwrap()).unwrap();
            live["metadata"]["annotations"]["mark"] = "updated".into();
            (Method::PUT, one, "application/json", live)
        }
        "merge-patch Pod" => {
            let patch = json!({"metadata": {"annotations": {"mark": "patched"}}});
            (Method::PATCH, one, "application/merge-patch+json", patch)
        }
        "apply Pod" => {
            let path = format!("{one}?fieldManager=costs&force=true");
            (Method::PATCH, path, "application/apply-patch+yaml", pod(at, "applied"))
        }
        "delete Pod" => (Method::DELETE, format!("{one}?gracePeriodSeconds=0"), "application/json", Value::Null),
        "get Pod" => (Method::GET, one, "application/json", Value::Null),
        _ => (Method::GET, PODS.to_owned(), "application/json", Value::Null),
    };
    let body = if body.is_null() { Body::empty() } else { Body::full(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    request.header("accept", "application/json").body(body).unwrap()
}

/// Sends requests of every kind; `count` runs some of them and tells what they cost together.
fn costs(runtime: &Runtime, client: &Client, count: impl Fn(&mut dyn FnMut()) -> u64) -> BTreeMap<&'static str, f64> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "costs"}});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    for (path, object) in [("/api/v1/namespaces", namespace), ("/api/v1/namespaces/costs/serviceaccounts", account)] {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::full(object.to_string())).unwrap();
        runtime.block_on(client.request(request)).unwrap();
    }
    let send = |requests: Vec<Request<Body>>| {
        runtime.block_on(async {
            for request in requests {
                client.request(request).await.unwrap();
            }
        });
    };
    let cost = |kind| {
        let mut warm_up = runtime.block_on(requests(client, kind));
        let mut measured = warm_up.split_off(REQUESTS);
        send(warm_up);
        let all = count(&mut || send(std::mem::take(&mut measured)));
        (kind, all as f64 / REQUESTS as f64)
    };
    KINDS.into_iter().map(cost).collect()
}

async fn requests(client: &Client, kind: &str) -> Vec<Request<Body>> {
    let mut requests = Vec::with_capacity(2 * REQUESTS);
    for at in 0..2 * REQUESTS {
        requests.push(request(client, kind, at).await);
    }
    requests
}

#[test]
fn allocations_of_the_pipeline() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(support::server());
    let client = server.client(own_user());
    let costs = costs(&runtime, &client, |run| allocation_counter::measure(run).count_total);
    compare("allocations", costs, ALLOCATIONS_WITHIN);
}

#[test]
fn system_calls_of_the_server() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let measure = || {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let client = Config::load(Some(&dir.path().join("kubeconfig"))).unwrap().client().unwrap();
        let report = dir.path().join("calls");
        costs(&runtime, &client, |run| {
            let tracer = Tracer::attach(&server, &report);
            run();
            tracer.calls()
        })
    };
    let known = known("system calls");
    let mut least = measure();
    for _ in 1..ATTEMPTS_MAX {
        if known.iter().all(|(kind, known)| least[kind.as_str()] <= known * (1.0 + SYSTEM_CALLS_WITHIN)) {
            break;
        }
        measure().into_iter().for_each(|(kind, calls)| {
            least.entry(kind).and_modify(|least| *least = least.min(calls));
        });
    }
    compare("system calls", least, SYSTEM_CALLS_WITHIN);
}

/// `xebec apiserver` on the embedded store, until dropped.
struct Server(Child);

impl Server {
    /// Starts it and waits until it says that it is ready.
    fn start(dir: &Path) -> Server {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_xebec"))
            .args(["apiserver", "--bind-address", "127.0.0.1", "--secure-port", &port.to_string(), "--data-dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = log.by_ref().take_while(|line| !line.contains("API server is ready")).collect();
        assert!(child.try_wait().unwrap().is_none(), "{}", said.join("\n"));
        std::thread::spawn(move || log.for_each(drop));
        Server(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An `strace` that counts.
struct Tracer<'p> {
    strace: Child,
    report: &'p Path,
}

impl Tracer<'_> {
    fn attach<'p>(server: &Server, report: &'p Path) -> Tracer<'p> {
        let mut strace = Command::new("strace")
            .args(["--follow-forks", "--summary-only", "--attach", &server.0.id().to_string(), "--output"])
            .arg(report)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace, which scripts/install test installs");
        let mut said = String::new();
        BufReader::new(strace.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "{said}");
        Tracer { strace, report }
    }

    /// Ends it; gives the number of calls.
    fn calls(mut self) -> u64 {
        let id = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        self.strace.wait().unwrap();
        let report = std::fs::read_to_string(self.report).unwrap();
        // `100.00    0.052    12    4321    17 total`
        let total = report.lines().find(|line| line.ends_with(" total")).unwrap_or_else(|| panic!("{report}"));
        total.split_whitespace().nth(3).unwrap().parse().unwrap()
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/costs").join(format!("{}.txt", name.replace(' ', "-")))
}

/// The figures that were written down under this name.
fn known(name: &str) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let known = text.lines().map(|line| line.trim_start().split_once("  ").unwrap());
    known.map(|(figure, kind)| (kind.to_owned(), figure.parse().unwrap())).collect()
}

/// Holds figures to those that were written down under this name, or writes them down.
fn compare(name: &str, measured: BTreeMap<&'static str, f64>, within: f64) {
    if std::env::var_os("COSTS").is_some_and(|what| what == "write") {
        let lines = KINDS.iter().map(|kind| format!("{:>7.1}  {kind}\n", measured[kind]));
        std::fs::write(file(name), lines.collect::<String>()).unwrap();
        return;
    }
    let known = known(name);
    let wrong = KINDS.iter().filter(|kind| (measured[*kind] / known[**kind] - 1.0).abs() > within);
    let wrong: Vec<String> =
        wrong.map(|kind| format!("{kind}: {:.1}, it was {:.1}", measured[kind], known[*kind])).collect();
    assert!(wrong.is_empty(), "{name} per request have changed (COSTS=write writes them down):\n{}", wrong.join("\n"));
}
