//! What the store costs: puts, watchers, opening, memory. `cargo run --release -p store --example bench [DIRECTORY]`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{EngineConfig, Extract, Options, Parts, Record, Scope, Store, Txn};

const PODS: &str = "/registry/pods/";
const VALUE_BYTES: usize = 1200;

/// Records as large as a pod's.
struct Pods;

impl Extract for Pods {
    fn extract(&self, key: &str, _: &Bytes) -> Record {
        let mut path = key.rsplit('/');
        let (name, namespace) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        let labels = [("app.kubernetes.io/name", "demo"), ("pod-template-hash", "7c5ddbdf54")];
        let node = format!("node-{}", name.len() % 7);
        let fields = [
            ("spec.nodeName", node.as_str()),
            ("status.phase", "Running"),
            ("spec.schedulerName", "default-scheduler"),
        ];
        let pairs =
            |list: &[(&'static str, &str)]| list.iter().map(|(k, v)| ((*k).into(), v.to_string().into())).collect();
        Record::new(&Parts {
            namespace: namespace.into(),
            name: name.into(),
            uid: "5d3c2c8e-7f0a-4e1b-9a55-d6f3f0a1b2c3".into(),
            labels: pairs(&labels),
            fields: pairs(&fields),
            owners: vec!["0b3c2c8e-7f0a-4e1b-9a55-d6f3f0a1b2c3".into()],
            ..Parts::default()
        })
    }
}

fn options() -> Options {
    Options { compact_every: None, ..Options::with_resources([PODS]) }
}

async fn open(config: EngineConfig) -> Store {
    Store::open(config, Arc::new(Pods), options()).await.unwrap()
}

fn key(n: usize) -> String {
    format!("{PODS}namespace-{}/demo-7c5ddbdf54-{n:05}", n % 50)
}

/// CPU of the whole process, in microseconds; the kernel counts in ticks of 10 ms.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap()).collect();
    (ticks[0] + ticks[1]) * 10_000
}

fn rss_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Puts by `writers` at a time, until `time` is over.
async fn puts(store: &Store, writers: usize, time: Duration) -> (usize, Duration) {
    let (started, end) = (Instant::now(), Instant::now() + time);
    let tasks = (0..writers).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while Instant::now() < end {
                let key = key(writer * 100 + count % 100);
                store.txn(Txn::new().put(key, vec![b'x'; VALUE_BYTES])).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let counts = futures::future::join_all(tasks).await;
    (counts.into_iter().map(Result::unwrap).sum(), started.elapsed())
}

async fn bench_puts(name: &str, config: EngineConfig) {
    let store = open(config).await;
    for writers in [1, 16, 64] {
        let cpu = cpu_us();
        let (count, took) = puts(&store, writers, Duration::from_secs(3)).await;
        let cpu = (cpu_us() - cpu) as f64 / count as f64;
        println!(
            "{name}: {writers:2} writers, {:8.0} puts/s, {cpu:6.1} us CPU each",
            count as f64 / took.as_secs_f64()
        );
    }
    store.close().await;
}

/// `watchers` of `scope(n)`, each reading on a task of its own.
async fn bench_watchers(watchers: usize, scope: impl Fn(usize) -> Scope, name: &str) {
    const PUTS: usize = 1000;
    let store = open(EngineConfig::Memory).await;
    let (delivered, mut done) = tokio::sync::watch::channel(0_usize);
    let mut tasks = Vec::new();
    for n in 0..watchers {
        let mut watch = store.watch(PODS, scope(n), store.revision()).unwrap();
        let delivered = delivered.clone();
        tasks.push(tokio::spawn(async move {
            let mut batch = Vec::new();
            while watch.next(&mut batch).await.is_ok() {
                let count = batch.len();
                delivered.send_modify(|sum| *sum += count);
                batch.clear();
            }
        }));
    }
    let (cpu, started) = (cpu_us(), Instant::now());
    for n in 0..PUTS {
        store.txn(Txn::new().put(key(n), vec![b'x'; VALUE_BYTES])).await.unwrap();
        // Each event wakes every watcher it concerns: the dearest case.
        let expected = if name == "all" { watchers * (n + 1) } else { 0 };
        done.wait_for(|sum| *sum >= expected).await.unwrap();
    }
    let (took, cpu) = (started.elapsed(), cpu_us() - cpu);
    let sum = *done.borrow();
    println!(
        "{watchers} watchers of {name}: {sum} deliveries in {:.0} ms, {:.2} us CPU a delivery, {:.1} us CPU a put",
        took.as_secs_f64() * 1e3,
        cpu as f64 / sum.max(1) as f64,
        cpu as f64 / PUTS as f64
    );
    store.close().await;
}

async fn bench_opening(dir: &Path) {
    const OBJECTS: usize = 20_000;
    let config = EngineConfig::Embedded { dir: dir.join("opening") };
    let store = open(config.clone()).await;
    for chunk in 0..OBJECTS / 100 {
        let txn = (0..100).fold(Txn::new(), |txn, n| txn.put(key(chunk * 100 + n), vec![b'x'; VALUE_BYTES]));
        store.txn(txn).await.unwrap();
    }
    let start = Instant::now();
    let old = store.snapshot_at(PODS, store.revision() - 150).await.unwrap();
    println!("a snapshot 150 revisions back ({} objects): {:.1} ms", old.len(), start.elapsed().as_secs_f64() * 1e3);
    let snapshot = store.snapshot(PODS);
    let start = Instant::now();
    let bytes: usize = snapshot.iter().map(|entry| entry.value.len() + entry.record.name().len()).sum();
    println!("a walk over {} objects ({bytes} bytes): {:.2} ms", snapshot.len(), start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let selected = snapshot.iter().filter(|entry| entry.record.label("pod-template-hash") == Some("none")).count();
    println!("a label selector over them ({selected}): {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    drop((snapshot, old));
    store.close().await;
    drop(store);
    let (before, cpu, start) = (rss_bytes(), cpu_us(), Instant::now());
    let store = open(config).await;
    let cpu = (cpu_us() - cpu) / 1000;
    println!("opening {OBJECTS} objects: {:.1} ms, {cpu} ms CPU", start.elapsed().as_secs_f64() * 1e3);
    let each = (rss_bytes().saturating_sub(before)) as usize / OBJECTS;
    println!("resident memory an object after opening: about {each} bytes, {VALUE_BYTES} of them the value");
    let start = Instant::now();
    let rounds = 1_000_000;
    let found = (0..rounds).filter(|n| store.get(&key(n % OBJECTS)).is_some()).count();
    println!("get: {:.0} ns ({found})", start.elapsed().as_secs_f64() * 1e9 / rounds as f64);
    store.close().await;
}

#[tokio::main]
async fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let dir = tempfile::tempdir_in(base).unwrap();
    bench_opening(dir.path()).await;
    bench_puts("memory", EngineConfig::Memory).await;
    bench_puts("embedded", EngineConfig::Embedded { dir: dir.path().join("puts") }).await;
    if let Ok(endpoint) = std::env::var("XEBEC_BENCH_ETCD") {
        let config = store::EtcdConfig { endpoints: vec![endpoint], ..store::EtcdConfig::default() };
        bench_puts("etcd", EngineConfig::Etcd(config)).await;
    }
    bench_watchers(1000, |_| Scope::default(), "all").await;
    let node =
        |n: usize| Scope { field: Some(("spec.nodeName".into(), format!("other-{n}").into())), ..Scope::default() };
    bench_watchers(5000, node, "other nodes").await;
}
