//! Which events become one: client-go's correlation, with its numbers.
//!
//! Similar events (same in all but the message) beyond ten within ten minutes are combined; the same event again
//! counts up the one that is there; and one object gets 25 events at once and one every five minutes after.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::event_name;
use crate::queue::TokenBucket;
use crate::views::MetaExt;

/// Similar events before they are combined.
const SIMILAR_MAX: usize = 10;
/// Similar events count together while no more than this lies between two of them.
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);
/// Events of one source about one object at once, and how many a second after.
const SPAM_BURST: f64 = 25.0;
const SPAM_PER_SECOND: f64 = 1.0 / 300.0;
/// Entries of each memory; the longest unused goes.
const REMEMBERED_MAX: usize = 4096;

/// Remembers events, to find the same and the similar.
pub struct Correlator {
    similar: Memory<Similar>,
    same: Memory<Same>,
    spam: Memory<TokenBucket>,
}

/// An event to be written.
#[derive(Clone, Debug)]
pub struct Correlated {
    /// The event as it should be stored.
    pub event: Event,
    /// It is there already: its count, time and message are to be patched.
    pub is_repeated: bool,
    key: String,
}

#[derive(Default)]
struct Similar {
    messages: HashSet<String>,
    last: Option<Timestamp>,
}

#[derive(Clone, Default)]
struct Same {
    name: String,
    count: i32,
    first: Option<Time>,
}

/// A map that forgets the longest unused entries.
struct Memory<V> {
    entries: HashMap<String, (u64, V)>,
    tick: u64,
}

// === impl Correlator ===

impl Default for Correlator {
    fn default() -> Correlator {
        Correlator::new()
    }
}

impl Correlator {
    /// Remembers nothing.
    pub fn new() -> Correlator {
        Correlator { similar: Memory::new(), same: Memory::new(), spam: Memory::new() }
    }

    /// What is to be written for an event; nothing, if it is one too many.
    pub fn correlate(&mut self, event: Event, now: Timestamp) -> Option<Correlated> {
        let (mut event, key) = self.combine(event, now);
        let same = self.same.entry(&key, Same::default);
        let is_repeated = same.count > 0;
        if is_repeated {
            event.metadata.name = Some(same.name.clone());
            event.first_timestamp = same.first.clone();
            event.count = Some(same.count + 1);
        }
        *same = Same {
            name: event.name().to_owned(),
            count: event.count.unwrap_or(1),
            first: event.first_timestamp.clone(),
        };
        let spam = self.spam.entry(&spam_key(&event), || TokenBucket::new(SPAM_PER_SECOND, SPAM_BURST));
        spam.try_take(Instant::now()).then_some(Correlated { event, is_repeated, key })
    }

    /// An event was written under this name.
    pub fn written(&mut self, correlated: &Correlated, name: String) {
        self.same.entry(&correlated.key, Same::default).name = name;
    }

    /// The event itself, or what stands for it and the similar ones before. With the key under which it is counted.
    fn combine(&mut self, mut event: Event, now: Timestamp) -> (Event, String) {
        let group = similar_key(&event);
        let similar = self.similar.entry(&group, Similar::default);
        let within = SignedDuration::try_from(SIMILAR_WITHIN).unwrap_or(SignedDuration::MAX);
        if similar.last.is_none_or(|last| now.duration_since(last) > within) {
            similar.messages.clear();
        }
        similar.last = Some(now);
        let message = event.message.clone().unwrap_or_default();
        similar.messages.insert(message.clone());
        if similar.messages.len() < SIMILAR_MAX {
            let key =
                format!("{group}\0{}\0{message}", event.involved_object.field_path.as_deref().unwrap_or_default());
            return (event, key);
        }
        // Keep the set at its limit: which message goes does not matter.
        if let Some(any) = similar.messages.iter().next().cloned() {
            similar.messages.remove(&any);
        }
        event.metadata.name = Some(event_name(event.involved_object.name.as_deref().unwrap_or_default(), now));
        event.count = Some(1);
        event.first_timestamp = Some(Time(now));
        event.last_timestamp = Some(Time(now));
        event.message = Some(format!("(combined from similar events): {message}"));
        (event, group)
    }
}

fn spam_key(event: &Event) -> String {
    let (source, about) = (event.source.as_ref(), &event.involved_object);
    join([
        source.and_then(|source| source.component.as_deref()),
        source.and_then(|source| source.host.as_deref()),
        about.kind.as_deref(),
        about.namespace.as_deref(),
        about.name.as_deref(),
        about.uid.as_deref(),
        about.api_version.as_deref(),
    ])
}

fn similar_key(event: &Event) -> String {
    let rest = [
        event.type_.as_deref(),
        event.reason.as_deref(),
        event.reporting_component.as_deref(),
        event.reporting_instance.as_deref(),
    ];
    format!("{}\0{}", spam_key(event), join(rest))
}

fn join<const N: usize>(parts: [Option<&str>; N]) -> String {
    parts.map(Option::unwrap_or_default).join("\0")
}

// === impl Memory ===

impl<V> Memory<V> {
    fn new() -> Memory<V> {
        Memory { entries: HashMap::new(), tick: 0 }
    }

    fn entry(&mut self, key: &str, new: impl FnOnce() -> V) -> &mut V {
        self.tick += 1;
        if self.entries.len() >= REMEMBERED_MAX && !self.entries.contains_key(key) {
            self.forget_oldest();
        }
        let entry = self.entries.entry(key.to_owned()).or_insert_with(|| (0, new()));
        entry.0 = self.tick;
        &mut entry.1
    }

    /// Forgets the older half, so that the search for it is rare.
    fn forget_oldest(&mut self) {
        let mut ticks: Vec<u64> = self.entries.values().map(|(tick, _)| *tick).collect();
        let middle = ticks.len() / 2;
        let (_, median, _) = ticks.select_nth_unstable(middle);
        let median = *median;
        self.entries.retain(|_, (tick, _)| *tick >= median);
    }
}
