//! Node ports. All that are taken are the bits of one `RangeAllocation` object, as upstream keeps it.

use api::codec::{json, protobuf};
use api::field::Path;
use api::status::Status;
use api::value::Value;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::Rng;

use super::invalid;
use crate::api::Api;
use crate::companions::Companion;
use crate::served;

/// Where the object lies.
const NODE_PORTS_KEY: &str = "/registry/ranges/servicenodeports";

/// Whether every port of this Service has a node port.
pub fn wants(service: &Value) -> bool {
    match service.str_at("spec.type") {
        "NodePort" => true,
        "LoadBalancer" => service.at("spec.allocateLoadBalancerNodePorts").as_bool().unwrap_or(true),
        _ => false,
    }
}

/// Types that may have node ports at all, asked for or chosen.
fn may_have(service: &Value) -> bool {
    matches!(service.str_at("spec.type"), "NodePort" | "LoadBalancer")
}

pub fn wants_health_check(service: &Value) -> bool {
    service.str_at("spec.type") == "LoadBalancer" && service.str_at("spec.externalTrafficPolicy") == "Local"
}

/// Ports by name keep the number that an update leaves out, unless another port took it over.
pub fn keep(new: &mut Value, old: &Value) {
    let numbers = |service: &Value| -> Vec<i64> {
        service.array_at("spec.ports").iter().filter_map(|port| port.i64_at("nodePort")).filter(|n| *n != 0).collect()
    };
    let used: Vec<i64> = numbers(old).into_iter().filter(|number| numbers(new).contains(number)).collect();
    let Some(ports) = new.at_mut("spec.ports").and_then(Value::as_array_mut) else { return };
    for port in ports.iter_mut().filter(|port| port.i64_at("nodePort").unwrap_or_default() == 0) {
        let name = port.str_at("name");
        let before = old.array_at("spec.ports").iter().rev().find(|one| one.str_at("name") == name);
        let number = before.and_then(|one| one.i64_at("nodePort")).unwrap_or_default();
        if number != 0 && !used.contains(&number) {
            port.set("nodePort", number);
        }
    }
}

/// The set of taken ports: upstream's big integer, bit *i* for the *i*th port of the range.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bits {
    /// Least significant byte first.
    bytes: Vec<u8>,
}

// === impl Bits ===

impl Bits {
    /// From the bytes of Go's `big.Int`: most significant first, no leading zeros.
    fn decode(mut bytes: Vec<u8>) -> Bits {
        bytes.reverse();
        Bits { bytes }
    }

    fn encode(&self) -> Vec<u8> {
        let length = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        self.bytes[..length].iter().rev().copied().collect()
    }

    fn has(&self, bit: usize) -> bool {
        self.bytes.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    }

    fn set(&mut self, bit: usize, taken: bool) {
        if self.bytes.len() <= bit / 8 {
            self.bytes.resize(bit / 8 + 1, 0);
        }
        match taken {
            true => self.bytes[bit / 8] |= 1 << (bit % 8),
            false => self.bytes[bit / 8] &= !(1 << (bit % 8)),
        }
    }
}

/// The taken ports of a stored `RangeAllocation`: ours is JSON, that of upstream's server has the protobuf envelope.
fn read(stored: &[u8], range: (u16, u16)) -> Result<Bits, String> {
    let tree = match stored.starts_with(protobuf::MAGIC) {
        true => {
            let (schema, id) = served::kind_type("", "v1", "RangeAllocation");
            protobuf::decode(schema, id, stored).map_err(|error| error.to_string())?
        }
        false => json::parse(stored).map_err(|error| error.to_string())?,
    };
    let (theirs, ours) = (tree.str_at("range"), range_text(range));
    if !matches!(theirs, "" | "0-0") && theirs != ours {
        return Err(format!("it is of the range {theirs}, not {ours}"));
    }
    BASE64_STANDARD.decode(tree.str_at("data")).map(Bits::decode).map_err(|error| error.to_string())
}

fn range_text(range: (u16, u16)) -> String {
    format!("{}-{}", range.0, range.1)
}

/// Ports being taken and given back by one write.
struct Operation {
    range: (u16, u16),
    bits: Bits,
    revision: u64,
    changed: bool,
}

// === impl Operation ===

impl Operation {
    fn begin(api: &Api) -> Result<Operation, Status> {
        let (range, entry) = (api.settings.service_node_port_range, api.store.get(NODE_PORTS_KEY));
        let bits = entry.as_ref().map(|entry| read(&entry.value, range)).transpose().map_err(|why| {
            // Taking nothing for taken would give ports away twice.
            Status::internal(format!("the allocation of node ports can't be read: {why}"))
        })?;
        let (bits, revision) = (bits.unwrap_or_default(), entry.map_or(0, |entry| entry.mod_revision));
        Ok(Operation { range, bits, revision, changed: false })
    }

    fn bit(&self, port: i64) -> Option<usize> {
        let (first, last) = (i64::from(self.range.0), i64::from(self.range.1));
        (first..=last).contains(&port).then(|| (port - first) as usize)
    }

    fn take(&mut self, port: i64) -> Result<(), String> {
        let (first, last) = self.range;
        let bit = self.bit(port).ok_or_else(|| {
            format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
        })?;
        if self.bits.has(bit) {
            return Err("provided port is already allocated".to_owned());
        }
        self.bits.set(bit, true);
        self.changed = true;
        Ok(())
    }

    fn take_any(&mut self) -> Option<i64> {
        let size = usize::from(self.range.1 - self.range.0) + 1;
        let start = rand::rng().random_range(0..size);
        let bit = (start..size).chain(0..start).find(|bit| !self.bits.has(*bit))?;
        self.bits.set(bit, true);
        self.changed = true;
        Some(i64::from(self.range.0) + bit as i64)
    }

    fn give_back(&mut self, port: i64) {
        if let Some(bit) = self.bit(port).filter(|bit| self.bits.has(*bit)) {
            self.bits.set(bit, false);
            self.changed = true;
        }
    }

    fn finish(self, companions: &mut Vec<Companion>) {
        if !self.changed {
            return;
        }
        let mut object = Value::object();
        object.set("kind", "RangeAllocation");
        object.set("apiVersion", "v1");
        object.set("metadata", Value::object());
        object.set("range", range_text(self.range));
        object.set("data", BASE64_STANDARD.encode(self.bits.encode()));
        let mut bytes = Vec::new();
        json::write(&object, &mut bytes);
        companions.push(Companion {
            key: NODE_PORTS_KEY.into(),
            expected: Some(self.revision),
            value: Some(bytes.into()),
        });
    }
}

/// All node ports of a Service, each once.
fn numbers(service: &Value) -> Vec<i64> {
    let ports = service.array_at("spec.ports").iter().filter_map(|port| port.i64_at("nodePort"));
    let mut all: Vec<i64> = ports.chain(service.i64_at("spec.healthCheckNodePort")).filter(|port| *port != 0).collect();
    all.sort_unstable();
    all.dedup();
    all
}

pub fn allocate(
    api: &Api,
    service: &mut Value,
    old: Option<&Value>,
    companions: &mut Vec<Companion>,
) -> Result<(), Status> {
    let had = old.map(numbers).unwrap_or_default();
    if had.is_empty() && !may_have(service) {
        return Ok(());
    }
    let mut operation = Operation::begin(api)?;
    if may_have(service) {
        fill(service, &had, &mut operation)?;
    }
    let kept = numbers(service);
    had.iter().filter(|port| !kept.contains(port)).for_each(|port| operation.give_back(*port));
    operation.finish(companions);
    Ok(())
}

fn fill(service: &mut Value, had: &[i64], operation: &mut Operation) -> Result<(), Status> {
    let full = || Status::internal("failed to allocate a nodePort: range is full");
    let wants_all = wants(service);
    let path = Path::new("spec.ports");
    // Ports with the same number (TCP and UDP of one service) share a node port.
    let mut chosen: Vec<(i64, i64)> = Vec::new();
    for at in 0..service.array_at("spec.ports").len() {
        let port = &service.array_at("spec.ports")[at];
        let (number, wanted) = (port.i64_at("port").unwrap_or_default(), port.i64_at("nodePort").unwrap_or_default());
        let shared = chosen.iter().find(|(one, _)| *one == number).map(|(_, node)| *node);
        let node = match (wanted, shared) {
            (0, _) if !wants_all => continue,
            (0, Some(shared)) => shared,
            (0, None) => {
                let later = service
                    .array_at("spec.ports")
                    .iter()
                    .find(|one| one.i64_at("port") == Some(number) && one.i64_at("nodePort").unwrap_or_default() != 0);
                match later.and_then(|one| one.i64_at("nodePort")) {
                    Some(node) => take(service, &path, at, node, had, operation)?,
                    None => operation.take_any().ok_or_else(full)?,
                }
            }
            (wanted, _) if chosen.iter().any(|(_, node)| *node == wanted) => wanted,
            (wanted, _) => take(service, &path, at, wanted, had, operation)?,
        };
        chosen.push((number, node));
        if let Some(port) = service.at_mut("spec.ports").and_then(Value::as_array_mut).and_then(|p| p.get_mut(at)) {
            port.set("nodePort", node);
        }
    }
    if wants_health_check(service) {
        match service.i64_at("spec.healthCheckNodePort").unwrap_or_default() {
            0 => {
                let port = operation.take_any().ok_or_else(full)?;
                service.set("spec.healthCheckNodePort", port);
            }
            port if had.contains(&port) => {}
            port => operation.take(port).map_err(|why| {
                Status::internal(format!("failed to allocate requested HealthCheck NodePort {port}: {why}"))
            })?,
        }
    }
    Ok(())
}

fn take(
    service: &Value,
    path: &Path<'_>,
    at: usize,
    port: i64,
    had: &[i64],
    operation: &mut Operation,
) -> Result<i64, Status> {
    if had.contains(&port) {
        return Ok(port);
    }
    match operation.take(port) {
        Ok(()) => Ok(port),
        Err(why) => Err(invalid(service, &path.index(at).child("nodePort"), port, why)),
    }
}

/// Gives all ports of a Service back.
pub fn release(api: &Api, service: &Value, companions: &mut Vec<Companion>) -> Result<(), Status> {
    let ports = numbers(service);
    if ports.is_empty() {
        return Ok(());
    }
    let mut operation = Operation::begin(api)?;
    ports.into_iter().for_each(|port| operation.give_back(port));
    operation.finish(companions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation() -> Operation {
        Operation { range: (30_000, 30_009), bits: Bits::default(), revision: 0, changed: false }
    }

    fn service(ports: &[(i64, i64, &str)]) -> Value {
        let mut service = Value::object();
        service.set("metadata.name", "a");
        service.set("spec.type", "NodePort");
        let ports = ports.iter().map(|(port, node, protocol)| {
            let mut one = Value::object();
            one.set("port", *port);
            one.set("nodePort", *node);
            one.set("protocol", *protocol);
            one
        });
        service.set("spec.ports", ports.collect::<Vec<_>>());
        service
    }

    /// The bytes of Go's `big.Int`: what an upstream server reads.
    #[test]
    fn bits_are_upstreams() {
        let mut bits = Bits::default();
        bits.set(0, true);
        bits.set(9, true);
        assert_eq!(bits.encode(), [0b10, 0b01]);
        assert_eq!(Bits::decode(bits.encode()), Bits { bytes: vec![1, 2] });
    }

    /// Two servers on one etcd: what upstream's took is taken.
    #[test]
    fn upstreams_allocation_is_read() {
        let tree = json::parse(
            br#"{"kind":"RangeAllocation","apiVersion":"v1","metadata":{},"range":"30000-32767","data":"Ag=="}"#,
        );
        let (schema, id) = served::kind_type("", "v1", "RangeAllocation");
        let mut stored = Vec::new();
        protobuf::encode(schema, id, &tree.unwrap(), &mut stored).unwrap();
        let bits = read(&stored, (30_000, 32_767)).unwrap();
        assert!(bits.has(1) && !bits.has(0));
        assert_eq!(read(&stored, (30_000, 30_009)).unwrap_err(), "it is of the range 30000-32767, not 30000-30009");
        assert!(read(b"k8s\0\xff", (30_000, 32_767)).is_err());
    }

    #[test]
    fn one_number_for_both_protocols_of_a_port() {
        let mut dns = service(&[(53, 0, "UDP"), (53, 0, "TCP"), (80, 30_005, "TCP")]);
        fill(&mut dns, &[], &mut operation()).unwrap();
        let nodes: Vec<i64> = dns.array_at("spec.ports").iter().filter_map(|port| port.i64_at("nodePort")).collect();
        assert_eq!(nodes[0], nodes[1]);
        assert_eq!(nodes[2], 30_005);
    }

    #[test]
    fn a_taken_port_is_refused_in_upstreams_words() {
        let mut operation = operation();
        operation.take(30_005).unwrap();
        let status = fill(&mut service(&[(80, 30_005, "TCP")]), &[], &mut operation).unwrap_err();
        assert_eq!(
            status.message,
            "Service \"a\" is invalid: spec.ports[0].nodePort: Invalid value: 30005: provided port is already allocated"
        );
        let status = fill(&mut service(&[(80, 29_999, "TCP")]), &[], &mut operation).unwrap_err();
        assert!(status.message.ends_with("The range of valid ports is 30000-30009"), "{}", status.message);
    }

    #[test]
    fn names_keep_their_numbers() {
        let old = service(&[(80, 30_001, "TCP")]);
        let mut new = service(&[(81, 0, "TCP")]);
        keep(&mut new, &old);
        assert_eq!(new.array_at("spec.ports")[0].i64_at("nodePort"), Some(30_001));
    }
}
