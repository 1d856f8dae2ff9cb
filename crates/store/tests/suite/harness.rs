//! Opens a store on each engine, and reads values the way an API server would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use crate::etcd_server::EtcdServer;
use store::{EngineConfig, Entry, Event, Extract, Kind, OpenError, Options, Parts, Record, Revision, Store, Watch};

/// The engines the suite runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Memory,
    Embedded,
    /// Debian's etcd, 3.4.
    Etcd,
    /// The etcd of upstream's present release.
    EtcdNew,
}

pub use On::{Embedded, Etcd, EtcdNew, Memory};

/// What must stay alive while a store is used.
pub struct Harness {
    pub config: EngineConfig,
    _directory: Option<tempfile::TempDir>,
    pub etcd: Option<EtcdServer>,
}

/// Values of the tests are `label=value` words; `node=` is the selectable field, key parts are namespace and name.
pub struct Words;

pub const PODS: &str = "/registry/pods/";
pub const NODES: &str = "/registry/minions/";

/// Longer than anything takes that should happen.
pub const SOON: Duration = Duration::from_secs(20);

// === impl Harness ===

impl Harness {
    pub async fn new(on: On) -> Self {
        match on {
            Memory => Self { config: EngineConfig::Memory, _directory: None, etcd: None },
            Embedded => {
                let directory = tempfile::tempdir().expect("a temporary directory");
                Self {
                    config: EngineConfig::Embedded { dir: directory.path().join("store") },
                    _directory: Some(directory),
                    etcd: None,
                }
            }
            Etcd | EtcdNew => {
                let etcd = EtcdServer::start(on);
                Self { config: EngineConfig::Etcd(etcd.config()), _directory: None, etcd: Some(etcd) }
            }
        }
    }

    pub async fn open(&self) -> Store {
        self.open_with(options()).await
    }

    /// Opens what another store may just be letting go of.
    pub async fn open_again(&self) -> Store {
        let again = async {
            loop {
                match Store::open(self.config.clone(), Arc::new(Words), options()).await {
                    Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                    opened => return opened.expect("the store opens"),
                }
            }
        };
        tokio::time::timeout(SOON, again).await.expect("the lock is let go")
    }

    pub async fn open_with(&self, options: Options) -> Store {
        Store::open(self.config.clone(), Arc::new(Words), options).await.expect("the store opens")
    }
}

/// A store of its own on the engine.
pub async fn fresh(on: On) -> (Harness, Store) {
    let harness = Harness::new(on).await;
    let store = harness.open().await;
    (harness, store)
}

pub fn options() -> Options {
    Options { compact_every: None, ..Options::with_resources([PODS, NODES]) }
}

// === impl Words ===

impl Extract for Words {
    fn extract(&self, key: &str, value: &Bytes) -> Record {
        let mut path = key.rsplit('/');
        let (name, namespace) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        let text = String::from_utf8_lossy(value);
        let words = text.split(' ').filter_map(|word| word.split_once('='));
        let (fields, labels) =
            words.map(|(k, v)| (k.into(), v.into())).partition(|(k, _): &(std::borrow::Cow<'_, str>, _)| k == "node");
        Record::new(&Parts { name: name.into(), namespace: namespace.into(), labels, fields, ..Parts::default() })
    }
}

// --- reading ---

pub fn pod(namespace: &str, name: &str) -> String {
    format!("{PODS}{namespace}/{name}")
}

pub fn text(entry: &Entry) -> String {
    String::from_utf8(entry.value.to_vec()).unwrap()
}

/// `key=value@create/mod`, with the prefix of pods left out.
pub fn show(entry: &Entry) -> String {
    let key = entry.key.strip_prefix(PODS).unwrap_or(&entry.key);
    format!("{key}={}@{}/{}", text(entry), entry.create_revision, entry.mod_revision)
}

/// `+key=value` made, `~` changed, `-` removed; the revision behind.
pub fn show_event(event: &Event) -> String {
    let mark = match (event.kind, &event.prev) {
        (Kind::Delete, _) => '-',
        (Kind::Put, None) => '+',
        (Kind::Put, Some(_)) => '~',
    };
    let key = event.entry.key.strip_prefix(PODS).unwrap_or(&event.entry.key);
    format!("{mark}{key}={} {}", text(&event.entry), event.revision)
}

/// Reads events until `count` have come.
pub async fn events(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut batch = Vec::new();
    while batch.len() < count {
        tokio::time::timeout(SOON, watch.next(&mut batch)).await.expect("an event comes").expect("the watch goes on");
    }
    batch.iter().map(|event| show_event(event)).collect()
}

/// Everything a watch delivers up to a revision. That there is nothing more shows only in its progress.
pub async fn events_through(watch: &mut Watch, revision: Revision) -> Vec<Arc<Event>> {
    let (mut batch, started) = (Vec::new(), std::time::Instant::now());
    while watch.progress() < revision {
        match tokio::time::timeout(Duration::from_millis(50), watch.next(&mut batch)).await {
            Ok(progress) => drop(progress.expect("the watch goes on")),
            Err(_) => assert!(started.elapsed() < SOON, "{watch:?} never comes to {revision}"),
        }
    }
    batch
}
