//! The phases, in the order in which they run: what one leaves, the next one reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::Method;

use crate::connect::{Connection, Target};
use crate::measure::{Cpu, Sample, median, resident_mib, sample};
use crate::{objects, watchers};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the command line set.
pub struct Settings {
    pub pids: Vec<u32>,
    pub seconds: f64,
    pub runs: usize,
    pub pods: usize,
}

/// What one phase does over and over.
#[derive(Clone, Copy)]
enum Work {
    Create(Kind),
    Get(Kind),
    Update(Kind),
    MergePatch(Kind),
    Apply(Kind),
    Delete(Kind),
    List { limit: usize },
    Watch { watchers: usize },
    Flood { watchers: usize, updates: usize },
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    ConfigMap,
    Pod,
}

pub struct Phase {
    pub name: &'static str,
    clients: usize,
    work: Work,
}

const fn row(name: &'static str, clients: usize, work: Work) -> Phase {
    Phase { name, clients, work }
}

/// The rows of the reference measurements.
pub const PHASES: &[Phase] = &[
    row("create-cm-1", 1, Work::Create(Kind::ConfigMap)),
    row("create-cm-16", 16, Work::Create(Kind::ConfigMap)),
    row("create-cm-64", 64, Work::Create(Kind::ConfigMap)),
    row("create-pod-1", 1, Work::Create(Kind::Pod)),
    row("create-pod-16", 16, Work::Create(Kind::Pod)),
    row("create-pod-64", 64, Work::Create(Kind::Pod)),
    row("get-cm-16", 16, Work::Get(Kind::ConfigMap)),
    row("get-pod-16", 16, Work::Get(Kind::Pod)),
    row("update-cm-16", 16, Work::Update(Kind::ConfigMap)),
    row("update-pod-16", 16, Work::Update(Kind::Pod)),
    row("merge-patch-pod-16", 16, Work::MergePatch(Kind::Pod)),
    row("apply-cm-16", 16, Work::Apply(Kind::ConfigMap)),
    row("apply-pod-16", 16, Work::Apply(Kind::Pod)),
    row("list-pods", 1, Work::List { limit: 0 }),
    row("list-pods-500", 1, Work::List { limit: 500 }),
    row("watch-1", 1, Work::Watch { watchers: 1 }),
    row("watch-100", 1, Work::Watch { watchers: 100 }),
    row("watch-1000", 1, Work::Watch { watchers: 1000 }),
    row("flood-100", 1, Work::Flood { watchers: 100, updates: 2000 }),
    row("delete-cm-16", 16, Work::Delete(Kind::ConfigMap)),
    row("delete-pod-16", 16, Work::Delete(Kind::Pod)),
];

/// Objects that reads and updates go round.
const STANDING: usize = 256;
/// Updates a second that watchers are sent.
const WATCH_RATE: f64 = 10.0;

/// Runs the phases and prints the table.
pub async fn run(target: &Target, settings: &Settings, only: &[String]) -> Result<(), Error> {
    let started = std::process::id();
    let namespace = format!("bench-{started}");
    let bench = Bench { target, settings, namespace, next: AtomicUsize::new(0) };
    bench.prepare().await?;
    println!("| phase | ops/s | p50 ms | p99 ms | server CPU µs/op | generator CPU µs/op |");
    println!("|---|---|---|---|---|---|");
    for phase in
        PHASES.iter().filter(|phase| only.is_empty() || only.iter().any(|name| phase.name.contains(name.as_str())))
    {
        let mut samples = Vec::new();
        for _ in 0..settings.runs {
            samples.push(bench.run(phase).await.map_err(|error| format!("{}: {error}", phase.name))?);
        }
        let Sample { rate, p50, p99, server_us, own_us } = median(&samples);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("| {} | {rate:.0} | {:.2} | {:.2} | {server_us:.0} | {own_us:.0} |", phase.name, ms(p50), ms(p99));
    }
    println!("\nserver's resident memory at the end: {:.0} MiB", resident_mib(&settings.pids));
    bench.clean().await
}

struct Bench<'a> {
    target: &'a Target,
    settings: &'a Settings,
    namespace: String,
    /// Numbers new objects.
    next: AtomicUsize,
}

// === impl Bench ===

impl Bench<'_> {
    async fn prepare(&self) -> Result<(), Error> {
        let mut connection = self.target.connect().await?;
        let namespace =
            serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        connection.call(Method::POST, "/api/v1/namespaces", JSON, namespace.to_string().into()).await?;
        // Pods need their namespace's service account; where no controller makes it, this does.
        let account =
            serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let _ = connection.call(Method::POST, &self.path("serviceaccounts"), JSON, account.to_string().into()).await;
        for kind in [Kind::ConfigMap, Kind::Pod] {
            for at in 0..STANDING {
                let name = format!("standing-{at}");
                connection.call(Method::POST, &self.path(kind.plural()), JSON, kind.object(&name, at)).await?;
            }
        }
        Ok(())
    }

    async fn clean(&self) -> Result<(), Error> {
        let mut connection = self.target.connect().await?;
        for kind in [Kind::ConfigMap, Kind::Pod] {
            let path = format!("{}?gracePeriodSeconds=0", self.path(kind.plural()));
            connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
        }
        connection.call(Method::DELETE, &format!("/api/v1/namespaces/{}", self.namespace), JSON, Bytes::new()).await?;
        Ok(())
    }

    fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    async fn run(&self, phase: &Phase) -> Result<Sample, Error> {
        match phase.work {
            Work::List { limit } => self.list(limit).await,
            Work::Watch { watchers } => {
                let interval = Duration::from_secs_f64(1.0 / WATCH_RATE);
                let updates = (self.settings.seconds.max(2.0) * WATCH_RATE) as usize;
                self.watch(watchers, updates, Some(interval)).await
            }
            Work::Flood { watchers, updates } => self.watch(watchers, updates, None).await,
            Work::Delete(kind) => self.delete(kind, phase.clients).await,
            work => self.timed(work, phase.clients).await,
        }
    }

    /// Clients that send one request after the other until the time is over.
    async fn timed(&self, work: Work, clients: usize) -> Result<Sample, Error> {
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.target.connect().await?);
        }
        let cpu = Cpu::now(&self.settings.pids);
        let began = Instant::now();
        let end = began + Duration::from_secs_f64(self.settings.seconds);
        let loops = connections.into_iter().map(|mut connection| async move {
            let mut latencies = Vec::with_capacity(4096);
            while Instant::now() < end {
                let sent = Instant::now();
                self.once(&mut connection, work).await?;
                latencies.push(sent.elapsed());
            }
            Ok::<_, Error>(latencies)
        });
        let latencies: Vec<Duration> = try_join_all(loops).await?.into_iter().flatten().collect();
        let took = began.elapsed();
        let cost = cpu.since(&self.settings.pids, latencies.len());
        Ok(sample(latencies, took, cost))
    }

    async fn once(&self, connection: &mut Connection, work: Work) -> Result<(), Error> {
        let mark = self.next.fetch_add(1, Ordering::Relaxed);
        let standing = format!("standing-{}", mark % STANDING);
        let of = |kind: Kind| format!("{}/{standing}", self.path(kind.plural()));
        match work {
            Work::Create(kind) => {
                let name = format!("made-{mark}");
                connection.call(Method::POST, &self.path(kind.plural()), JSON, kind.object(&name, mark)).await?
            }
            Work::Get(kind) => connection.call(Method::GET, &of(kind), JSON, Bytes::new()).await?,
            Work::Update(Kind::ConfigMap) => {
                connection
                    .call(Method::PUT, &of(Kind::ConfigMap), JSON, Kind::ConfigMap.object(&standing, mark))
                    .await?
            }
            Work::Update(kind) => {
                // A pod's spec can't change: its labels and annotations do.
                connection.call(Method::PUT, &of(kind), JSON, kind.object(&standing, mark)).await?
            }
            Work::MergePatch(kind) => {
                let patch = serde_json::json!({"metadata": {"annotations": {"example.com/mark": mark.to_string()}}});
                let media_type = "application/merge-patch+json";
                connection.call(Method::PATCH, &of(kind), media_type, patch.to_string().into()).await?
            }
            Work::Apply(kind) => {
                let path = format!("{}?fieldManager=bench&force=true", of(kind));
                connection
                    .call(Method::PATCH, &path, "application/apply-patch+yaml", kind.object(&standing, mark))
                    .await?
            }
            Work::Delete(_) | Work::List { .. } | Work::Watch { .. } | Work::Flood { .. } => Bytes::new(),
        };
        Ok(())
    }

    /// Deletes what was created for it beforehand.
    async fn delete(&self, kind: Kind, clients: usize) -> Result<Sample, Error> {
        let each = 100;
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.target.connect().await?);
        }
        let first = self.next.fetch_add(each * clients, Ordering::Relaxed);
        let made = connections.into_iter().enumerate().map(|(at, mut connection)| async move {
            let names: Vec<String> = (0..each).map(|one| format!("gone-{}", first + at * each + one)).collect();
            for name in &names {
                connection.call(Method::POST, &self.path(kind.plural()), JSON, kind.object(name, at)).await?;
            }
            Ok::<_, Error>((connection, names))
        });
        let made = try_join_all(made).await?;
        let cpu = Cpu::now(&self.settings.pids);
        let began = Instant::now();
        let loops = made.into_iter().map(|(mut connection, names)| async move {
            let mut latencies = Vec::with_capacity(names.len());
            for name in names {
                let sent = Instant::now();
                let path = format!("{}/{name}?gracePeriodSeconds=0", self.path(kind.plural()));
                connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
                latencies.push(sent.elapsed());
            }
            Ok::<_, Error>(latencies)
        });
        let latencies: Vec<Duration> = try_join_all(loops).await?.into_iter().flatten().collect();
        let took = began.elapsed();
        Ok(sample(latencies, took, cpu.since(&self.settings.pids, clients * each)))
    }

    /// Whole lists of many pods.
    async fn list(&self, limit: usize) -> Result<Sample, Error> {
        self.fill(self.settings.pods).await?;
        let mut connection = self.target.connect().await?;
        let cpu = Cpu::now(&self.settings.pids);
        let began = Instant::now();
        let mut latencies = Vec::new();
        for _ in 0..3 {
            let sent = Instant::now();
            let mut token = String::new();
            loop {
                let path = match (limit, token.as_str()) {
                    (0, _) => "/api/v1/pods".to_owned(),
                    (limit, "") => format!("/api/v1/pods?limit={limit}"),
                    (limit, token) => format!("/api/v1/pods?limit={limit}&continue={token}"),
                };
                if limit == 0 {
                    connection.drain(&path).await?;
                    break;
                }
                let page = connection.call(Method::GET, &path, JSON, Bytes::new()).await?;
                token = continue_token(&page);
                if token.is_empty() {
                    break;
                }
            }
            latencies.push(sent.elapsed());
        }
        let took = began.elapsed();
        let cost = cpu.since(&self.settings.pids, latencies.len());
        Ok(sample(latencies, took, cost))
    }

    /// Creates pods until there are so many.
    async fn fill(&self, pods: usize) -> Result<(), Error> {
        let clients = 16;
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.target.connect().await?);
        }
        let next = Arc::new(AtomicUsize::new(0));
        let loops = connections.into_iter().map(|mut connection| {
            let next = next.clone();
            async move {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= pods {
                        return Ok::<_, Error>(());
                    }
                    let name = format!("fill-{at}");
                    let made =
                        connection.call(Method::POST, &self.path("pods"), JSON, Kind::Pod.object(&name, at)).await;
                    if let Err(error) = made
                        && !error.to_string().contains("409")
                    {
                        return Err(error);
                    }
                }
            }
        });
        try_join_all(loops).await.map(drop)
    }

    /// Updates of one ConfigMap, seen by many watchers.
    async fn watch(&self, count: usize, updates: usize, every: Option<Duration>) -> Result<Sample, Error> {
        let path =
            format!("{}?watch=1&fieldSelector=metadata.name%3Dstanding-0&timeoutSeconds=600", self.path("configmaps"));
        let crowd = watchers::open(self.target, count, &path).await?;
        let mut connection = self.target.connect().await?;
        let of = format!("{}/standing-0", self.path("configmaps"));
        let cpu = Cpu::now(&self.settings.pids);
        let began = Instant::now();
        for at in 0..updates {
            if let Some(every) = every {
                tokio::time::sleep_until((began + every * at as u32).into()).await;
            }
            let mark = self.next.fetch_add(1, Ordering::Relaxed);
            crowd.sent(mark);
            connection.call(Method::PUT, &of, JSON, objects::config_map("standing-0", mark)).await?;
        }
        let latencies = crowd.finish(updates).await?;
        let took = began.elapsed();
        let delivered = latencies.len();
        Ok(sample(latencies, took, cpu.since(&self.settings.pids, delivered)))
    }
}

const JSON: &str = "application/json";

/// `metadata.continue` of a list, found at its beginning without reading the rest.
fn continue_token(page: &[u8]) -> String {
    let head = String::from_utf8_lossy(&page[..page.len().min(2_000)]);
    let Some((_, rest)) = head.split_once("\"continue\":\"") else { return String::new() };
    rest.split('"').next().unwrap_or_default().to_owned()
}

// === impl Kind ===

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmaps",
            Kind::Pod => "pods",
        }
    }

    fn object(self, name: &str, mark: usize) -> Bytes {
        match self {
            Kind::ConfigMap => objects::config_map(name, mark),
            Kind::Pod => objects::pod(name, mark),
        }
    }
}
