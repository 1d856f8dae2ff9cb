//! What the phases do to the server, and how it is measured.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::Method;

use crate::bench::{Bench, CONFIG_MAPS, Error, JSON, Place, STANDING};
use crate::connect::Connection;
use crate::measure::{Cpu, Sample, sample};
use crate::phases::{Kind, Phase, Work};
use crate::{objects, watchers};

/// Updates a second that watchers are sent.
const WATCH_RATE: f64 = 10.0;

// === impl Bench ===

impl Bench<'_> {
    /// One run of one phase.
    ///
    /// # Errors
    /// A broken connection, or a request that the server refuses.
    pub async fn run(&self, phase: &Phase) -> Result<Sample, Error> {
        match phase.work {
            Work::List { limit } => self.list(limit).await,
            Work::Watch { watchers } => {
                let interval = Duration::from_secs_f64(1.0 / WATCH_RATE);
                let updates = (self.settings.seconds.max(2.0) * WATCH_RATE) as usize;
                self.watch(watchers, updates, Some(interval)).await
            }
            Work::Flood { watchers, updates } => self.watch(watchers, updates, None).await,
            Work::Delete(kind) => self.delete(kind, phase.clients).await,
            work @ Work::Create(_) => {
                let sample = self.timed(work, phase.clients).await?;
                self.empty(Place::Made).await?;
                Ok(sample)
            }
            work => self.timed(work, phase.clients).await,
        }
    }

    /// Clients that send one request after the other until the time is over.
    async fn timed(&self, work: Work, clients: usize) -> Result<Sample, Error> {
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.server.target.connect().await?);
        }
        let cpu = Cpu::now(&self.server.pids);
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
        let cost = cpu.since(&self.server.pids, latencies.len());
        Ok(sample(latencies, took, cost))
    }

    async fn once(&self, connection: &mut Connection, work: Work) -> Result<(), Error> {
        let mark = self.next.fetch_add(1, Ordering::Relaxed);
        let at = mark % STANDING;
        let standing = format!("standing-{at}");
        let of = |kind: Kind| format!("{}/{standing}", self.path(Place::Standing, kind.plural()));
        match work {
            Work::Create(kind) => {
                let name = format!("made-{mark}");
                let path = self.path(Place::Made, kind.plural());
                connection.call(Method::POST, &path, JSON, kind.object(&name, mark)).await?
            }
            Work::Get(kind) => connection.call(Method::GET, &of(kind), JSON, Bytes::new()).await?,
            Work::Update(kind) => {
                let object = match kind {
                    Kind::ConfigMap => kind.object(&standing, mark),
                    // Almost all of a pod is immutable: it goes back as it came, but for an annotation.
                    Kind::Pod => self.standing_pods[at].with(mark),
                };
                connection.call(Method::PUT, &of(kind), JSON, object).await?
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
        let each = 250;
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.server.target.connect().await?);
        }
        let first = self.next.fetch_add(each * clients, Ordering::Relaxed);
        let made = connections.into_iter().enumerate().map(|(at, mut connection)| async move {
            let names: Vec<String> = (0..each).map(|one| format!("gone-{}", first + at * each + one)).collect();
            for name in &names {
                let path = self.path(Place::Made, kind.plural());
                connection.call(Method::POST, &path, JSON, kind.object(name, at)).await?;
            }
            Ok::<_, Error>((connection, names))
        });
        let made = try_join_all(made).await?;
        let cpu = Cpu::now(&self.server.pids);
        let began = Instant::now();
        let loops = made.into_iter().map(|(mut connection, names)| async move {
            let mut latencies = Vec::with_capacity(names.len());
            for name in names {
                let sent = Instant::now();
                let path = format!("{}/{name}?gracePeriodSeconds=0", self.path(Place::Made, kind.plural()));
                connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
                latencies.push(sent.elapsed());
            }
            Ok::<_, Error>(latencies)
        });
        let latencies: Vec<Duration> = try_join_all(loops).await?.into_iter().flatten().collect();
        let took = began.elapsed();
        Ok(sample(latencies, took, cpu.since(&self.server.pids, clients * each)))
    }

    /// Whole lists of many pods.
    async fn list(&self, limit: usize) -> Result<Sample, Error> {
        self.fill(Kind::ConfigMap, CONFIG_MAPS).await?;
        self.fill(Kind::Pod, self.settings.pods).await?;
        let pods = self.path(Place::Many, "pods");
        let mut connection = self.server.target.connect().await?;
        let cpu = Cpu::now(&self.server.pids);
        let began = Instant::now();
        let mut latencies = Vec::new();
        for _ in 0..3 {
            let sent = Instant::now();
            let mut token = String::new();
            loop {
                let path = match (limit, token.as_str()) {
                    (0, _) => pods.clone(),
                    (limit, "") => format!("{pods}?limit={limit}"),
                    (limit, token) => format!("{pods}?limit={limit}&continue={token}"),
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
        let cost = cpu.since(&self.server.pids, latencies.len());
        Ok(sample(latencies, took, cost))
    }

    /// Updates of one ConfigMap, seen by many watchers.
    async fn watch(&self, count: usize, updates: usize, every: Option<Duration>) -> Result<Sample, Error> {
        let path = format!(
            "{}?watch=1&fieldSelector=metadata.name%3Dstanding-0&timeoutSeconds=600",
            self.path(Place::Standing, "configmaps")
        );
        let crowd = watchers::open(&self.server.target, count, &path).await?;
        let mut connection = self.server.target.connect().await?;
        let of = format!("{}/standing-0", self.path(Place::Standing, "configmaps"));
        let cpu = Cpu::now(&self.server.pids);
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
        Ok(sample(latencies, took, cpu.since(&self.server.pids, delivered)))
    }
}

/// `metadata.continue` of a list, found at its beginning without reading the rest.
fn continue_token(page: &[u8]) -> String {
    let head = String::from_utf8_lossy(&page[..page.len().min(2_000)]);
    let Some((_, rest)) = head.split_once("\"continue\":\"") else { return String::new() };
    rest.split('"').next().unwrap_or_default().to_owned()
}
