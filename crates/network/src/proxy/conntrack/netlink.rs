//! ctnetlink: list and delete UDP flows.
//!
//! Messages are netlink headers (16 bytes), a netfilter header (family, version, resource: 4 bytes) and nested
//! attributes (length, type, value, padded to 4). See linux/netfilter/nfnetlink_conntrack.h.

use super::{Flow, port_of};
use crate::proxy::address::Family;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_NETFILTER};
use std::io;
use std::net::{IpAddr, SocketAddr};

const SUBSYSTEM_CTNETLINK: u16 = 1;
const MESSAGE_NEW: u16 = 0;
const MESSAGE_GET: u16 = 1;
const MESSAGE_DELETE: u16 = 2;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_DUMP: u16 = 0x300;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const PROTOCOL_UDP: u8 = 17;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

const HEADER_BYTES: usize = 16;
const NETFILTER_HEADER_BYTES: usize = 4;

/// A connection to the kernel's connection tracking, in the network namespace of the thread that opened it.
pub struct Conntrack {
    socket: Socket,
}

/// One direction of a flow.
#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

// === impl Conntrack ===

impl Conntrack {
    pub fn open() -> io::Result<Conntrack> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Conntrack { socket })
    }

    /// All UDP flows of a family.
    pub fn list_udp(&self, family: Family) -> io::Result<Vec<Flow>> {
        self.socket.send(&message(MESSAGE_GET, FLAG_REQUEST | FLAG_DUMP, family, &[]), 0)?;
        let mut flows = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for (kind, payload) in messages(&bytes) {
                match kind {
                    NLMSG_DONE => return Ok(flows),
                    NLMSG_ERROR => error(payload)?,
                    kind if kind == SUBSYSTEM_CTNETLINK << 8 | MESSAGE_NEW => flows.extend(udp_flow(payload)),
                    _ => {}
                }
            }
        }
    }

    /// Deletes a flow, known by its original direction.
    pub fn delete_udp(&self, family: Family, flow: &Flow) -> io::Result<()> {
        let tuple = original_tuple(flow);
        self.socket.send(&message(MESSAGE_DELETE, FLAG_REQUEST | FLAG_ACK, family, &tuple), 0)?;
        let (bytes, _) = self.socket.recv_from_full()?;
        let answer = messages(&bytes).find(|(kind, _)| *kind == NLMSG_ERROR);
        answer.map_or(Ok(()), |(_, payload)| error(payload))
    }
}

// === writing ===

fn message(kind: u16, flags: u16, family: Family, attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + NETFILTER_HEADER_BYTES + attributes.len()) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend((SUBSYSTEM_CTNETLINK << 8 | kind).to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([if family == Family::V4 { AF_INET } else { AF_INET6 }, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

fn original_tuple(flow: &Flow) -> Vec<u8> {
    let ((source, source_port), (destination, destination_port)) = (port_of(flow.source), port_of(flow.destination));
    let (source_type, destination_type) = match source {
        IpAddr::V4(_) => (CTA_IP_V4_SRC, CTA_IP_V4_DST),
        IpAddr::V6(_) => (CTA_IP_V6_SRC, CTA_IP_V6_DST),
    };
    let addresses = [attribute(source_type, &octets(source)), attribute(destination_type, &octets(destination))];
    let ports = [
        attribute(CTA_PROTO_NUM, &[PROTOCOL_UDP]),
        attribute(CTA_PROTO_SRC_PORT, &source_port.to_be_bytes()),
        attribute(CTA_PROTO_DST_PORT, &destination_port.to_be_bytes()),
    ];
    let tuple =
        [attribute(CTA_TUPLE_IP | NESTED, &addresses.concat()), attribute(CTA_TUPLE_PROTO | NESTED, &ports.concat())];
    attribute(CTA_TUPLE_ORIG | NESTED, &tuple.concat())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + value.len().next_multiple_of(4));
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

// === reading ===

/// The messages in a datagram: type and payload after the netlink header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let payload = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    })
}

/// An error message's number: 0 is success.
fn error(payload: &[u8]) -> io::Result<()> {
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

fn udp_flow(payload: &[u8]) -> Option<Flow> {
    let (mut original, mut reply) = (Tuple::default(), Tuple::default());
    for (kind, value) in attributes(payload.get(NETFILTER_HEADER_BYTES..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = tuple(value),
            CTA_TUPLE_REPLY => reply = tuple(value),
            _ => {}
        }
    }
    (original.protocol == PROTOCOL_UDP).then_some(())?;
    Some(Flow {
        source: SocketAddr::new(original.source?, original.source_port),
        destination: SocketAddr::new(original.destination?, original.destination_port),
        reply_source: SocketAddr::new(reply.source?, reply.source_port),
    })
}

fn tuple(bytes: &[u8]) -> Tuple {
    let mut tuple = Tuple::default();
    for (kind, value) in attributes(bytes) {
        for (part, value) in attributes(value) {
            match (kind, part) {
                (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => tuple.source = address(value),
                (CTA_TUPLE_IP, CTA_IP_V4_DST | CTA_IP_V6_DST) => tuple.destination = address(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => tuple.protocol = value.first().copied().unwrap_or_default(),
                (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => tuple.source_port = port(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => tuple.destination_port = port(value),
                _ => {}
            }
        }
    }
    tuple
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

fn port(value: &[u8]) -> u16 {
    value.get(..2).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes)
}
