//! `kill -9` at any moment: what a client was told is there, what it was not told is there whole or not at all, and
//! no revision is given out twice. The test runs itself again as the process that is killed; its standard output is
//! the client's journal.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use store::{EngineConfig, NoExtract, OpenError, Options, Revision, Store, Txn};

/// Tells the test binary to be the victim, on this directory.
const VICTIM: &str = "XEBEC_KILL_DIR";
const WRITERS: u64 = 8;

/// `XEBEC_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("XEBEC_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

async fn open(dir: &Path) -> Result<Store, OpenError> {
    let mut options =
        Options { compact_every: Some(Duration::from_millis(15)), ..Options::with_resources(["/a/", "/b/"]) };
    options.limits.log_growth_bytes_max = 30_000;
    Store::open(EngineConfig::Embedded { dir: dir.to_owned() }, Arc::new(NoExtract), options).await
}

/// The process that is killed: writers say what they try and what they were told.
#[test]
#[ignore = "started by the test below"]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir)).await.unwrap();
        println!("open {}", store.revision());
        let writers = (0..WRITERS).map(|pair| {
            let store = store.clone();
            tokio::spawn(async move {
                for serial in 0_u64.. {
                    let value = format!("{}-{serial}-{}", std::process::id(), "x".repeat((serial * 37 % 700) as usize));
                    println!("try {pair} {value}");
                    let txn =
                        Txn::new().put(format!("/a/{pair}"), value.clone()).put(format!("/b/{pair}"), value.clone());
                    let committed = store.txn(txn).await.unwrap();
                    println!("told {pair} {value} {}", committed.revision);
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[derive(Default)]
struct Journal {
    /// What each pair of keys was last told to be, and what was tried since.
    pairs: BTreeMap<u64, (Option<String>, Vec<String>)>,
    revisions: HashMap<Revision, String>,
    told: usize,
}

impl Journal {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["try", pair, value] => self.pairs.entry(pair.parse().unwrap()).or_default().1.push(value.to_owned()),
            ["told", pair, value, revision] => {
                self.pairs.insert(pair.parse().unwrap(), (Some(value.to_owned()), Vec::new()));
                let before = self.revisions.insert(revision.parse().unwrap(), format!("{pair} {value}"));
                assert_eq!(before, None, "revision {revision} was given out twice");
                self.told += 1;
            }
            // The test harness speaks too.
            _ => {}
        }
    }

    fn check(&mut self, store: &Store) {
        let newest = self.revisions.keys().max().copied().unwrap_or_default();
        assert!(store.revision() >= newest, "{newest} was told, {} is there", store.revision());
        for (pair, (told, tried)) in &mut self.pairs {
            let [a, b] = ["a", "b"].map(|resource| {
                let entry = store.get(&format!("/{resource}/{pair}"))?;
                Some((String::from_utf8(entry.value.to_vec()).unwrap(), entry.mod_revision))
            });
            assert_eq!(a, b, "half of a transaction");
            let (value, revision) = a.map_or((None, 0), |(value, revision)| (Some(value), revision));
            assert!(
                value == *told || value.as_ref().is_some_and(|value| tried.contains(value)),
                "{pair}: {value:?}, told {told:?}"
            );
            if let (Some(of), Some(value)) = (self.revisions.get(&revision), &value) {
                assert_eq!(*of, format!("{pair} {value}"), "revision {revision}");
            }
            (*told, *tried) = (value, Vec::new());
        }
    }
}

/// Starts the victim, lets it write for `life`, kills it, and reads what it said.
fn live_and_die(dir: &Path, life: Duration, journal: &mut Journal) {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored", "--nocapture"])
        .env(VICTIM, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (lines, said) = mpsc::channel();
    let reader =
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line))));
    let mut end = None;
    loop {
        let wait = end.map_or(Duration::from_secs(30), |end: Instant| end.saturating_duration_since(Instant::now()));
        match said.recv_timeout(wait) {
            Ok(line) if line.starts_with("open ") => end = Some(Instant::now() + life),
            Ok(line) => journal.line(&line),
            Err(_) => break,
        }
    }
    assert!(end.is_some(), "the victim never opened the store");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    said.try_iter().for_each(|line| journal.line(&line));
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut journal = Journal::default();
    for kill in 0..kills() {
        live_and_die(&dir, Duration::from_millis(1 + kill * 7 % 45), &mut journal);
        runtime.block_on(async {
            let store = open(&dir).await.expect("the store opens after kill -9");
            journal.check(&store);
            store.close().await;
        });
    }
    assert!(journal.told > kills() as usize, "it was writing: {} answers", journal.told);
}
