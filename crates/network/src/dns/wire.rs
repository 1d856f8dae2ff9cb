//! DNS messages: reading queries, writing answers. RFC 1035, with EDNS (RFC 6891) as far as a server needs it.
//!
//! Only what a server of one small zone needs is here: a query is a header and one question; answers are made of few
//! record types. Messages of other servers are passed on as bytes (see [`super::forward`]).

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Length of a message's header.
pub const HEADER_BYTES: usize = 12;
/// What every client takes over UDP.
pub const UDP_BYTES_MIN: usize = 512;
/// The most that is sent over UDP, whatever the client takes: larger datagrams are fragmented many times.
pub const UDP_BYTES_MAX: usize = 4_096;
/// A message's length is 16 bits over TCP.
pub const TCP_BYTES_MAX: usize = 65_535;

const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 255;
const POINTER: u8 = 0xc0;
/// Compression can point 14 bits far.
const POINTER_MAX: usize = 0x3fff;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;

/// A response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Types of records that are asked for by name here; all others are just numbers.
#[allow(missing_docs)]
pub mod kind {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const ANY: u16 = 255;
}

/// A query with its one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The client's number for it.
    pub id: u16,
    /// Whether the client wants answers of other servers.
    pub recursion_desired: bool,
    /// The question as it came, to be sent back.
    pub question: Vec<u8>,
    /// The name in lower case, with a dot at the end; none where a label has a dot or is no text: no such name is here.
    pub name: Option<String>,
    /// The type that is asked for.
    pub kind: u16,
    /// The class that is asked for.
    pub class: u16,
    /// The client's EDNS: how much it takes over UDP, and whether it wants DNSSEC.
    pub edns: Option<Edns>,
}

/// What a client says through EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Edns {
    pub udp_bytes: u16,
    pub version: u8,
    pub dnssec_ok: bool,
}

/// A record.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Record {
    pub name: String,
    pub ttl_seconds: u32,
    pub data: Data,
}

/// What a record holds. Names end with a dot.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(String),
    Ns(String),
    Ptr(String),
    Txt(String),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    Soa {
        server: String,
        mailbox: String,
        serial: u32,
        refresh: u32,
        retry: u32,
        expire: u32,
        minimum: u32,
    },
    /// Taken from another server's answer; names in it are not compressed.
    Other {
        kind: u16,
        bytes: Vec<u8>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Answer {
    pub code: Code,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
}

/// Why a query can't be read. With an id a format error can be answered.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("malformed query")]
pub struct Malformed {
    /// The client's number for it, if so much could be read and it is no answer.
    pub id: Option<u16>,
}

// === impl Query ===

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// Where it is cut short, no query, or has another number of questions than one.
    pub fn parse(bytes: &[u8]) -> Result<Query, Malformed> {
        let header = bytes.get(..HEADER_BYTES).ok_or(Malformed { id: None })?;
        let id = u16::from_be_bytes([header[0], header[1]]);
        let is_query = header[2] & 0x80 == 0;
        let malformed = || Malformed { id: is_query.then_some(id) };
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let opcode = header[2] >> 3 & 0xf;
        if !is_query || opcode != 0 || count(4) != 1 {
            return Err(malformed());
        }
        let mut reader = Reader { bytes, at: HEADER_BYTES };
        let name = reader.name().ok_or_else(malformed)?;
        let kind = reader.u16().ok_or_else(malformed)?;
        let class = reader.u16().ok_or_else(malformed)?;
        let question = bytes[HEADER_BYTES..reader.at].to_vec();
        let records = usize::from(count(6)) + usize::from(count(8)) + usize::from(count(10));
        let edns = reader.edns(records).ok_or_else(malformed)?;
        Ok(Query { id, recursion_desired: header[2] & 1 != 0, question, name: name.text(), kind, class, edns })
    }

    /// How much fits into an answer over UDP.
    pub fn udp_bytes(&self) -> usize {
        self.edns.map_or(UDP_BYTES_MIN, |edns| usize::from(edns.udp_bytes).clamp(UDP_BYTES_MIN, UDP_BYTES_MAX))
    }

    /// Whether the class is the Internet's (or any).
    pub fn is_internet(&self) -> bool {
        matches!(self.class, CLASS_IN | 255)
    }
}

/// An answer to a query that could not be read.
pub fn format_error(id: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([0x80, Code::FormatError as u8, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

// === reading ===

/// Walks through a message.
pub struct Reader<'a> {
    /// The whole message.
    pub bytes: &'a [u8],
    /// Where the reader is.
    pub at: usize,
}

/// A name's labels.
pub struct Labels(Vec<Vec<u8>>);

/// A record's place in a message.
pub struct RawRecord {
    /// The owner's labels.
    pub name: Labels,
    /// The type.
    pub kind: u16,
    /// The class (for OPT: the client's UDP size).
    pub class: u16,
    /// Where the time to live is, and what it says (for OPT: flags).
    pub ttl_at: usize,
    /// The time to live in seconds.
    pub ttl: u32,
    /// Where the data begins.
    pub data_at: usize,
    /// The data's length.
    pub data_bytes: usize,
}

impl Reader<'_> {
    /// Two bytes as a number.
    pub fn u16(&mut self) -> Option<u16> {
        let value = self.bytes.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([value[0], value[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name. Pointers only lead backwards, so that reading ends.
    pub fn name(&mut self) -> Option<Labels> {
        let mut labels = Vec::new();
        let (mut at, mut end, mut length) = (self.at, None, 0);
        loop {
            let size = *self.bytes.get(at)?;
            if size & POINTER == POINTER {
                let low = *self.bytes.get(at + 1)?;
                end.get_or_insert(at + 2);
                let target = usize::from(size & !POINTER) << 8 | usize::from(low);
                if target >= at {
                    return None;
                }
                at = target;
                continue;
            }
            if size == 0 {
                self.at = end.unwrap_or(at + 1);
                return Some(Labels(labels));
            }
            let label = self.bytes.get(at + 1..at + 1 + usize::from(size))?;
            length += label.len() + 1;
            if usize::from(size) > LABEL_BYTES_MAX || length >= NAME_BYTES_MAX {
                return None;
            }
            labels.push(label.to_vec());
            at += 1 + label.len();
        }
    }

    /// A record.
    pub fn record(&mut self) -> Option<RawRecord> {
        let name = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl_at = self.at;
        let ttl = self.u32()?;
        let data_bytes = usize::from(self.u16()?);
        let data_at = self.at;
        self.bytes.get(data_at..data_at + data_bytes)?;
        self.at += data_bytes;
        Some(RawRecord { name, kind, class, ttl_at, ttl, data_at, data_bytes })
    }

    fn edns(&mut self, records: usize) -> Option<Option<Edns>> {
        let mut edns = None;
        for _ in 0..records {
            let record = self.record()?;
            if record.kind == TYPE_OPT {
                let [_, version, flags, _] = record.ttl.to_be_bytes();
                edns = Some(Edns { udp_bytes: record.class, version, dnssec_ok: flags & 0x80 != 0 });
            }
        }
        Some(edns)
    }
}

impl Labels {
    /// In lower case, with a dot at the end; none where a label is no plain text.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        for label in &self.0 {
            let plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
            text.push_str(std::str::from_utf8(label).ok().filter(|_| plain)?);
            text.push('.');
        }
        if text.is_empty() {
            text.push('.');
        }
        text.make_ascii_lowercase();
        Some(text)
    }
}

// === writing ===

struct Writer {
    bytes: Vec<u8>,
    /// Where names (in lower case) begin that were written.
    names: HashMap<String, u16>,
}

impl Answer {
    /// An answer without records.
    pub fn code(code: Code) -> Answer {
        Answer { code, authoritative: false, answers: Vec::new(), authority: Vec::new(), additional: Vec::new() }
    }

    /// The message, cut to `bytes_max`: additional records go first and silently, then answers, with the mark that
    /// tells the client to come again over TCP.
    pub fn encode(&self, query: &Query, bytes_max: usize) -> Vec<u8> {
        let mut writer = Writer::new(self, query);
        let opt_bytes = if query.edns.is_some() { 11 } else { 0 };
        let room = bytes_max.saturating_sub(opt_bytes);
        let mut truncated = false;
        let mut counts = [0u16; 3];
        let sections = [&self.answers, &self.authority, &self.additional];
        'sections: for (at, records) in sections.into_iter().enumerate() {
            for record in records {
                let before = writer.bytes.len();
                writer.record(record);
                if writer.bytes.len() > room {
                    writer.bytes.truncate(before);
                    truncated = at < 2;
                    break 'sections;
                }
                counts[at] += 1;
            }
        }
        if let Some(edns) = query.edns {
            writer.opt(edns, self.code);
            counts[2] += 1;
        }
        let mut bytes = writer.bytes;
        if truncated {
            bytes[2] |= 0x02;
        }
        for (at, count) in counts.into_iter().enumerate() {
            bytes[6 + 2 * at..8 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
        bytes
    }
}

impl Writer {
    fn new(answer: &Answer, query: &Query) -> Writer {
        let mut bytes = Vec::with_capacity(UDP_BYTES_MIN);
        bytes.extend(query.id.to_be_bytes());
        let authoritative = if answer.authoritative { 0x04 } else { 0 };
        bytes.extend([0x80 | authoritative | u8::from(query.recursion_desired), 0x80 | answer.code as u8]);
        bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&query.question);
        let mut names = HashMap::new();
        if let Some(name) = &query.name {
            remember(&mut names, name, HEADER_BYTES);
        }
        Writer { bytes, names }
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.name);
        self.u16(record.data.kind());
        self.u16(CLASS_IN);
        self.bytes.extend(record.ttl_seconds.to_be_bytes());
        let length_at = self.bytes.len();
        self.u16(0);
        self.data(&record.data);
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn data(&mut self, data: &Data) {
        match data {
            Data::A(ip) => self.bytes.extend(ip.octets()),
            Data::Aaaa(ip) => self.bytes.extend(ip.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => self.name(name),
            Data::Txt(text) => {
                for part in text.as_bytes().chunks(255) {
                    self.bytes.push(part.len() as u8);
                    self.bytes.extend(part);
                }
            }
            Data::Srv { priority, weight, port, target } => {
                [priority, weight, port].into_iter().for_each(|number| self.u16(*number));
                // RFC 2782: no compression here.
                self.plain_name(target);
            }
            Data::Soa { server, mailbox, serial, refresh, retry, expire, minimum } => {
                self.name(server);
                self.name(mailbox);
                for number in [serial, refresh, retry, expire, minimum] {
                    self.bytes.extend(number.to_be_bytes());
                }
            }
            Data::Other { bytes, .. } => self.bytes.extend(bytes),
        }
    }

    fn opt(&mut self, edns: Edns, code: Code) {
        // Another version than 0 is answered with BADVERS, whose upper bits are here.
        let extended = u8::from(edns.version > 0 && code == Code::NoError);
        self.bytes.push(0);
        self.u16(TYPE_OPT);
        self.u16(UDP_BYTES_MAX as u16);
        self.bytes.extend([extended, 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    }

    fn name(&mut self, name: &str) {
        let mut rest = name.trim_end_matches('.');
        let start = self.bytes.len();
        while !rest.is_empty() {
            let key = rest.to_ascii_lowercase();
            if let Some(at) = self.names.get(&key) {
                self.u16(u16::from(POINTER) << 8 | at);
                return;
            }
            if let Ok(at) = u16::try_from(self.bytes.len())
                && usize::from(at) <= POINTER_MAX
            {
                self.names.insert(key, at);
            }
            let (label, after) = rest.split_once('.').unwrap_or((rest, ""));
            self.label(label);
            rest = after;
        }
        debug_assert!(self.bytes.len() - start <= NAME_BYTES_MAX);
        self.bytes.push(0);
    }

    fn plain_name(&mut self, name: &str) {
        name.split('.').filter(|label| !label.is_empty()).for_each(|label| self.label(label));
        self.bytes.push(0);
    }

    fn label(&mut self, label: &str) {
        let bytes = &label.as_bytes()[..label.len().min(LABEL_BYTES_MAX)];
        self.bytes.push(bytes.len() as u8);
        self.bytes.extend(bytes);
    }

    fn u16(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }
}

/// Files all tails of a name that was written without compression.
fn remember(names: &mut HashMap<String, u16>, name: &str, mut at: usize) {
    let mut rest = name.trim_end_matches('.');
    while !rest.is_empty() {
        names.insert(rest.to_string(), at as u16);
        let (label, after) = rest.split_once('.').unwrap_or((rest, ""));
        at += label.len() + 1;
        rest = after;
    }
}

impl Data {
    /// The type's number.
    pub fn kind(&self) -> u16 {
        match self {
            Data::A(_) => kind::A,
            Data::Aaaa(_) => kind::AAAA,
            Data::Cname(_) => kind::CNAME,
            Data::Ns(_) => kind::NS,
            Data::Ptr(_) => kind::PTR,
            Data::Txt(_) => kind::TXT,
            Data::Srv { .. } => kind::SRV,
            Data::Soa { .. } => kind::SOA,
            Data::Other { kind, .. } => *kind,
        }
    }
}

#[cfg(test)]
mod tests;
