//! Many watchers of one object, and how long its changes take to reach them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connect::Target;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Watches per connection: client-go's processes hold many on one.
const WATCHES_PER_CONNECTION: usize = 50;
/// How long the last event may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Open watches that report what they see; they end with it.
pub struct Crowd {
    watches: JoinSet<()>,
    sent: Arc<std::sync::Mutex<HashMap<usize, Instant>>>,
    seen: mpsc::UnboundedReceiver<Duration>,
}

/// Opens `count` watches and waits until each has its first event.
pub async fn open(target: &Target, count: usize, path: &str) -> Result<Crowd, Error> {
    let sent: Arc<std::sync::Mutex<HashMap<usize, Instant>>> = Arc::default();
    let (report, seen) = mpsc::unbounded_channel();
    let (ready, mut all_ready) = mpsc::unbounded_channel();
    let mut connection = None;
    let mut watches = JoinSet::new();
    for at in 0..count {
        if at % WATCHES_PER_CONNECTION == 0 {
            connection = Some(target.connect().await?);
        }
        let Some(connection) = connection.as_mut() else { continue };
        let mut body = connection.open(path).await?;
        let (sent, report, ready) = (sent.clone(), report.clone(), ready.clone());
        watches.spawn(async move {
            let mut first = true;
            let mut rest = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                let now = Instant::now();
                let Ok(data) = frame.into_data() else { continue };
                rest.extend_from_slice(&data);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    if std::mem::take(&mut first) {
                        let _ = ready.send(());
                    } else if let Some(mark) = mark_of(&line) {
                        let at = sent.lock().ok().and_then(|sent| sent.get(&mark).copied());
                        if let Some(at) = at {
                            let _ = report.send(now - at);
                        }
                    }
                }
            }
        });
    }
    drop(ready);
    for _ in 0..count {
        tokio::time::timeout(PATIENCE, all_ready.recv()).await.map_err(|_| "a watch had no first event")?;
    }
    Ok(Crowd { watches, sent, seen })
}

/// `"mark":"17"` in an event.
fn mark_of(line: &[u8]) -> Option<usize> {
    const KEY: &[u8] = b"\"mark\":\"";
    let digits = line
        .windows(KEY.len())
        .enumerate()
        .filter(|(_, window)| *window == KEY)
        .map(|(at, _)| &line[at + KEY.len()..])
        .find(|rest| rest.first().is_some_and(u8::is_ascii_digit))?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

// === impl Crowd ===

impl Crowd {
    /// A change with this mark is on its way.
    pub fn sent(&self, mark: usize) {
        if let Ok(mut sent) = self.sent.lock() {
            sent.insert(mark, Instant::now());
        }
    }

    /// Waits for everything that was sent; one latency per event and watcher.
    pub async fn finish(mut self, updates: usize) -> Result<Vec<Duration>, Error> {
        let expected = updates * self.watches.len();
        let mut all = Vec::with_capacity(expected);
        while all.len() < expected {
            match tokio::time::timeout(PATIENCE, self.seen.recv()).await {
                Ok(Some(latency)) => all.push(latency),
                _ => return Err(format!("{} of {expected} events arrived", all.len()).into()),
            }
        }
        Ok(all)
    }
}
