//! Answers of other servers, kept for as long as they allow, and half a minute at most.

use crate::dns::wire::{Code, HEADER_BYTES, Query, Reader, kind};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// The longest that an answer is kept, as in the usual CoreDNS configuration.
const KEEP_MAX: Duration = Duration::from_secs(30);
/// Answers kept; when there are more, the old ones are thrown out. About 2 MB.
const ENTRIES_MAX: usize = 10_000;

/// What is asked: the name in lower case, type, class, and whether DNSSEC's records are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String, u16, u16, bool, bool);

struct Kept {
    answer: Vec<u8>,
    since: Instant,
    until: Instant,
}

/// Kept answers.
#[derive(Default)]
pub struct Cache {
    entries: HashMap<Key, Kept>,
}

// === impl Key ===

impl Key {
    /// The key of a question; none where its name is odd.
    pub fn of(query: &Query) -> Option<Key> {
        let (edns, dnssec) = query.edns.map_or((false, false), |edns| (true, edns.dnssec_ok));
        Some(Key(query.name.clone()?, query.kind, query.class, edns, dnssec))
    }
}

// === impl Cache ===

impl Cache {
    /// A kept answer, with the time that has passed taken off its times to live.
    pub fn get(&mut self, key: &Key, now: Instant) -> Option<Vec<u8>> {
        let kept = self.entries.get(key)?;
        if now >= kept.until {
            self.entries.remove(key);
            return None;
        }
        let age = now.duration_since(kept.since).as_secs() as u32;
        let mut answer = kept.answer.clone();
        for (at, ttl) in ttls(&kept.answer)? {
            answer[at..at + 4].copy_from_slice(&ttl.saturating_sub(age).to_be_bytes());
        }
        Some(answer)
    }

    /// Keeps an answer that may be kept: a success or a no, whole, with a time to live.
    pub fn put(&mut self, key: Key, answer: &[u8], now: Instant) {
        let Some(keep) = keep(answer) else { return };
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.retain(|_, kept| kept.until > now);
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
        }
        self.entries.insert(key, Kept { answer: answer.to_vec(), since: now, until: now + keep });
    }
}

/// How long an answer may be kept.
fn keep(answer: &[u8]) -> Option<Duration> {
    let (flags, code) = (*answer.get(2)?, *answer.get(3)? & 0xf);
    let truncated = flags & 0x02 != 0;
    let kept = [Code::NoError as u8, Code::NameError as u8].contains(&code);
    if truncated || !kept {
        return None;
    }
    let least = ttls(answer)?.into_iter().map(|(_, ttl)| ttl).min()?;
    let keep = Duration::from_secs(least.into()).min(KEEP_MAX);
    (!keep.is_zero()).then_some(keep)
}

/// Where times to live are, and what they say. (OPT has none: its place holds flags.)
fn ttls(answer: &[u8]) -> Option<Vec<(usize, u32)>> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?])));
    let records = count(6)? + count(8)? + count(10)?;
    let mut reader = Reader { bytes: answer, at: HEADER_BYTES };
    for _ in 0..count(4)? {
        reader.name()?;
        reader.u16()?;
        reader.u16()?;
    }
    let mut found = Vec::new();
    for _ in 0..records {
        let record = reader.record()?;
        const TYPE_OPT: u16 = 41;
        if record.kind != TYPE_OPT {
            // A negative answer may be kept for the lesser of the SOA's own time and its minimum (its last number).
            let minimum = (record.kind == kind::SOA).then(|| {
                let end = record.data_at + record.data_bytes;
                let bytes = answer.get(end.checked_sub(4)?..end)?;
                Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            });
            let ttl = minimum.flatten().map_or(record.ttl, |minimum| record.ttl.min(minimum));
            found.push((record.ttl_at, ttl));
        }
    }
    Some(found)
}
