//! Names that are not the cluster's: asked of other servers, kept for a while.
//!
//! Messages go through as bytes; only the number and times to live are changed. Without any server the answer is
//! NXDOMAIN at once: a client that tries its search path must not wait for a timeout at each step.

mod cache;

use self::cache::{Cache, Key};
use super::wire::{self, Answer, Code, Data, Query, Reader, Record, kind};
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How long one server may take; CoreDNS's read timeout.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Servers tried for one question, at most: a client gives up after five seconds, mostly.
const TRIES_MAX: usize = 2;
/// Questions under way at once; more are refused. Each costs a socket.
const UNDER_WAY_MAX: usize = 1_000;

/// Asks other servers.
pub struct Forwarder {
    servers: Vec<SocketAddr>,
    /// The server that answered last is asked first.
    preferred: AtomicUsize,
    under_way: Semaphore,
    cache: Mutex<Cache>,
}

// === impl Forwarder ===

impl Forwarder {
    /// Asks these servers.
    pub fn new(servers: Vec<SocketAddr>) -> Forwarder {
        Forwarder {
            servers,
            preferred: AtomicUsize::new(0),
            under_way: Semaphore::new(UNDER_WAY_MAX),
            cache: Mutex::new(Cache::default()),
        }
    }

    /// The answer to a query whose bytes these are.
    pub async fn answer(&self, query: &Query, bytes: &[u8], over_tcp: bool) -> Vec<u8> {
        let bytes_max = if over_tcp { wire::TCP_BYTES_MAX } else { query.udp_bytes() };
        let fail = |code| Answer::code(code).encode(query, bytes_max);
        if self.servers.is_empty() {
            return fail(Code::NameError);
        }
        let key = Key::of(query);
        if let Some(mut kept) = key.as_ref().and_then(|key| self.cache.lock().get(key, Instant::now())) {
            // The same question may be written in other letters (clients mix case against spoofing).
            let question = wire::HEADER_BYTES..wire::HEADER_BYTES + query.question.len();
            if let Some(place) = kept.get_mut(question) {
                place.copy_from_slice(&query.question);
            }
            return fit(kept, query, bytes_max);
        }
        let Ok(_permit) = self.under_way.try_acquire() else { return fail(Code::Refused) };
        match self.ask(bytes, query, over_tcp).await {
            Ok(answer) => {
                if let Some(key) = key {
                    self.cache.lock().put(key, &answer, Instant::now());
                }
                fit(answer, query, bytes_max)
            }
            Err(error) => {
                tracing::debug!(%error, name = ?query.name, "no answer from other name servers");
                fail(Code::ServerFailure)
            }
        }
    }

    /// The records of a name that is not the cluster's, for a CNAME that leads there. None where they can't be had.
    pub async fn resolve(&self, name: &str, asked: u16) -> Vec<Record> {
        let Some(bytes) = question(name, asked) else { return Vec::new() };
        let Ok(query) = Query::parse(&bytes) else { return Vec::new() };
        records(&self.answer(&query, &bytes, true).await)
    }

    async fn ask(&self, bytes: &[u8], query: &Query, over_tcp: bool) -> io::Result<Vec<u8>> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = io::Error::other("no server");
        for turn in 0..self.servers.len().min(TRIES_MAX) {
            let at = (first + turn) % self.servers.len();
            let server = self.servers[at];
            let asked = async {
                if over_tcp {
                    return ask_tcp(server, bytes, query).await;
                }
                let answer = ask_udp(server, bytes, query).await?;
                // An answer that was cut short is handed on as it is: the client comes again over TCP.
                Ok(answer)
            };
            match timeout(SERVER_TIMEOUT, asked).await {
                Ok(Ok(answer)) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

/// Asks from a port of its own with a number of its own, so that an answer can't be guessed; others are ignored.
async fn ask_udp(server: SocketAddr, bytes: &[u8], query: &Query) -> io::Result<Vec<u8>> {
    let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(server).await?;
    let id: u16 = rand::random();
    socket.send(&with_id(bytes, id)).await?;
    let mut buffer = vec![0; wire::TCP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&buffer[..length], id, query) {
            return Ok(with_id(&buffer[..length], query.id));
        }
    }
}

async fn ask_tcp(server: SocketAddr, bytes: &[u8], query: &Query) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let id: u16 = rand::random();
    let mut message = (bytes.len() as u16).to_be_bytes().to_vec();
    message.extend(with_id(bytes, id));
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, id, query) { Ok(with_id(&answer, query.id)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn with_id(bytes: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes
}

/// Whether this answers the question that was asked.
fn answers(bytes: &[u8], id: u16, query: &Query) -> bool {
    let end = wire::HEADER_BYTES + query.question.len();
    bytes.len() >= end
        && bytes[..2] == id.to_be_bytes()
        && bytes[2] & 0x80 != 0
        && bytes[wire::HEADER_BYTES..end].eq_ignore_ascii_case(&query.question)
}

/// An answer under the client's number, or, where it is too long, one that says so.
fn fit(answer: Vec<u8>, query: &Query, bytes_max: usize) -> Vec<u8> {
    if answer.len() <= bytes_max {
        return with_id(&answer, query.id);
    }
    let mut cut = Answer::code(Code::NoError).encode(query, bytes_max);
    cut[2] |= 0x02;
    cut
}

/// A query of our own.
fn question(name: &str, asked: u16) -> Option<Vec<u8>> {
    let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(asked.to_be_bytes());
    bytes.extend(1u16.to_be_bytes());
    Some(bytes)
}

/// The answer records of a message, as far as they matter after a CNAME: addresses and further CNAMEs.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let Some(count) = bytes.get(6..8) else { return found };
    let count = u16::from_be_bytes([count[0], count[1]]);
    let mut reader = Reader { bytes, at: wire::HEADER_BYTES };
    let skipped = reader.name().is_some() && reader.u16().is_some() && reader.u16().is_some();
    for _ in 0..count {
        let Some(record) = skipped.then(|| reader.record()).flatten() else { break };
        let data = &bytes[record.data_at..record.data_at + record.data_bytes];
        let data = match record.kind {
            kind::A => <[u8; 4]>::try_from(data).ok().map(|ip| Data::A(ip.into())),
            kind::AAAA => <[u8; 16]>::try_from(data).ok().map(|ip| Data::Aaaa(ip.into())),
            kind::CNAME => {
                let mut reader = Reader { bytes, at: record.data_at };
                reader.name().and_then(|name| name.text()).map(Data::Cname)
            }
            _ => None,
        };
        if let (Some(name), Some(data)) = (record.name.text(), data) {
            found.push(Record { name, ttl_seconds: record.ttl, data });
        }
    }
    found
}

#[cfg(test)]
mod tests;
