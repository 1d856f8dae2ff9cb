//! Names of the cluster: the Kubernetes DNS specification 1.1.0, answered as CoreDNS's `kubernetes` plugin answers
//! (`pods insecure`, reverse lookups fall through to the forwarder).
//!
//! Below the cluster's domain:
//! - `SERVICE.NAMESPACE.svc`: cluster IPs, or all endpoints of a headless Service, or a CNAME for ExternalName;
//! - `HOSTNAME.SERVICE.NAMESPACE.svc`: one endpoint; `10-1-2-3` where it has no hostname;
//! - `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc`: SRV;
//! - `10-1-2-3.NAMESPACE.pod`: that address, whether or not there is such a pod;
//! - `dns-version`: TXT; `ns.dns`: this server.

use super::index::{Index, Port, Service, Target};
use super::wire::{Answer, Code, Data, Record, kind};
use crate::views::Protocol;
use std::net::IpAddr;

/// The version of the specification.
const SCHEMA_VERSION: &str = "1.1.0";
/// How long the version may be kept (CoreDNS's value).
const SCHEMA_TTL_SECONDS: u32 = 28_800;
/// The longest way over ExternalName Services inside the cluster (CoreDNS's limit).
const CNAMES_MAX: usize = 8;

/// The domain and how to answer for it.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The cluster's domain with a dot at the end, `cluster.local.`.
    pub domain: String,
    /// How long answers may be kept, in seconds. CoreDNS's default is 5.
    pub ttl_seconds: u32,
    /// This server's addresses as clients see it, for NS.
    pub server_ips: Vec<IpAddr>,
}

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Here is the answer.
    Answer(Answer),
    /// The name leads out of the cluster: these CNAME records, then what other servers say about the name.
    Outside(Vec<Record>, String),
    /// Not ours (or a reverse name that nothing here has): ask other servers.
    NotOurs,
}

/// One thing that a name leads to.
struct Found {
    host: Host,
    /// The name under which this very thing is found, SRV's target.
    target: String,
    port: Option<u16>,
}

enum Host {
    Ip(IpAddr),
    Name(String),
}

/// The parts of a name below the domain.
#[derive(Debug, Default, PartialEq)]
struct Request<'a> {
    class: &'a str,
    namespace: &'a str,
    service: &'a str,
    endpoint: &'a str,
    port: &'a str,
    protocol: &'a str,
}

/// No such name.
struct NoSuchName;

// === impl Zone ===

impl Zone {
    /// Answers a question for a name in lower case with a dot at the end.
    pub fn answer(&self, index: &Index, name: &str, asked: u16) -> Outcome {
        if let Some(ip) = reverse_ip(name) {
            return self.reverse(index, name, ip, asked);
        }
        let Some(base) = self.base(name) else { return Outcome::NotOurs };
        match asked {
            kind::SOA => self.records(index, vec![self.soa(index)]),
            kind::NS if base.is_empty() => self.name_servers(name),
            kind::TXT if base == "dns-version" => {
                let data = Data::Txt(SCHEMA_VERSION.to_string());
                self.records(index, vec![Record { name: name.to_string(), ttl_seconds: SCHEMA_TTL_SECONDS, data }])
            }
            // CoreDNS answers these without looking.
            kind::TXT if !base.contains('.') => self.records(index, Vec::new()),
            kind::A | kind::AAAA if base == "ns.dns" => self.server_addresses(index, name, asked),
            _ => self.found(index, name, base, asked),
        }
    }

    /// What is before the domain, without a dot at the end; none outside of the domain.
    fn base<'a>(&self, name: &'a str) -> Option<&'a str> {
        let base = name.strip_suffix(self.domain.as_str())?;
        match base.strip_suffix('.') {
            Some(base) => Some(base),
            None => base.is_empty().then_some(""),
        }
    }

    fn found(&self, index: &Index, name: &str, base: &str, asked: u16) -> Outcome {
        let Ok(found) = self.look_up(index, base) else {
            return Outcome::Answer(self.negative(index, Code::NameError));
        };
        match asked {
            kind::A | kind::AAAA => self.addresses(index, name, found, asked, Vec::new()),
            kind::SRV => self.services(index, name, found),
            kind::CNAME => {
                let cname = found.into_iter().next().and_then(|found| match found.host {
                    Host::Name(target) => Some(self.record(name, Data::Cname(target))),
                    Host::Ip(_) => None,
                });
                self.records(index, cname.into_iter().collect())
            }
            _ => self.records(index, Vec::new()),
        }
    }

    /// All that a name leads to; empty where the name is there but leads nowhere.
    fn look_up(&self, index: &Index, base: &str) -> Result<Vec<Found>, NoSuchName> {
        let request = Request::parse(base)?;
        match request.class {
            "" => Ok(Vec::new()),
            "pod" => self.pod(&request),
            _ if request.service.is_empty() => Ok(Vec::new()),
            _ => {
                let service = index.find(request.namespace, request.service).ok_or(NoSuchName)?;
                let found = self.service(index, service, &request);
                // A Service of type ExternalName with nothing to lead to, or a headless one without endpoints: no such
                // name, as upstream has it.
                if found.is_empty() { Err(NoSuchName) } else { Ok(found) }
            }
        }
    }

    fn pod(&self, request: &Request<'_>) -> Result<Vec<Found>, NoSuchName> {
        if request.service.is_empty() {
            return Ok(Vec::new());
        }
        let text = request.service;
        let is_v4 = text.matches('-').count() == 3 && !text.contains("--");
        let ip = text.replace('-', if is_v4 { "." } else { ":" }).parse().map_err(|_| NoSuchName)?;
        let target = format!("{text}.{}.pod.{}", request.namespace, self.domain);
        Ok(vec![Found { host: Host::Ip(ip), target, port: None }])
    }

    fn service(&self, index: &Index, service: &Service, request: &Request<'_>) -> Vec<Found> {
        let own_name = format!("{}.{}.svc.{}", service.name.name, service.name.namespace, self.domain);
        match &service.target {
            Target::External(name) if !request.endpoint.is_empty() || name.is_empty() => Vec::new(),
            // An address is no name to lead to.
            Target::External(name) if name.trim_end_matches('.').parse::<IpAddr>().is_ok() => Vec::new(),
            Target::External(name) => {
                let host = Host::Name(format!("{}.", name.trim_end_matches('.').to_ascii_lowercase()));
                vec![Found { host, target: own_name, port: None }]
            }
            Target::ClusterIps(ips) if request.endpoint.is_empty() => {
                let ports = matching(&service.ports, request);
                let found = |port: Option<u16>| ips.iter().map(move |ip| (Host::Ip(*ip), port));
                let all = ports.into_iter().flat_map(found);
                all.map(|(host, port)| Found { host, target: own_name.clone(), port }).collect()
            }
            Target::ClusterIps(_) | Target::Headless => {
                let mut all = Vec::new();
                for slice in index.slices_of(&service.name) {
                    let addresses = slice.addresses.iter();
                    let wanted = |label: &str| request.endpoint.is_empty() || request.endpoint == label;
                    for address in addresses.filter(|address| wanted(&address.hostname)) {
                        for port in matching(&slice.ports, request) {
                            let target = format!("{}.{own_name}", address.hostname);
                            all.push(Found { host: Host::Ip(address.ip), target, port });
                        }
                    }
                }
                all
            }
        }
    }

    /// Addresses of one family, each once. A CNAME into the cluster is followed, one that leads out is the caller's.
    fn addresses(&self, index: &Index, name: &str, found: Vec<Found>, asked: u16, mut before: Vec<Record>) -> Outcome {
        for found in &found {
            match &found.host {
                Host::Ip(ip) => {
                    let record = self.record(name, address(*ip));
                    if record.data.kind() == asked && !before.contains(&record) {
                        before.push(record);
                    }
                }
                Host::Name(target) => {
                    let looped = target == name || before.iter().any(|record| record.name == *target);
                    if looped || before.len() >= CNAMES_MAX {
                        return self.records(index, Vec::new());
                    }
                    before.push(self.record(name, Data::Cname(target.clone())));
                    let Some(base) = self.base(target) else { return Outcome::Outside(before, target.clone()) };
                    return match self.look_up(index, base) {
                        Ok(next) if !next.is_empty() => self.addresses(index, target, next, asked, before),
                        _ => self.records(index, Vec::new()),
                    };
                }
            }
        }
        // Only the chain itself, without an address, is no answer.
        if before.iter().all(|record| matches!(record.data, Data::Cname(_))) {
            before.clear();
        }
        self.records(index, before)
    }

    fn services(&self, index: &Index, name: &str, found: Vec<Found>) -> Outcome {
        let found: Vec<_> = found.into_iter().filter(|found| matches!(found.host, Host::Ip(_))).collect();
        let weight = 100usize.checked_div(found.len()).unwrap_or_default().max(1) as u16;
        let (mut answers, mut additional) = (Vec::new(), Vec::new());
        for found in found {
            let (Host::Ip(ip), Some(port)) = (found.host, found.port) else { continue };
            let data = Data::Srv { priority: 0, weight, port, target: found.target.clone() };
            push_new(&mut answers, self.record(name, data));
            push_new(&mut additional, self.record(&found.target, address(ip)));
        }
        match answers.is_empty() {
            true => self.records(index, answers),
            false => Outcome::Answer(Answer { additional, ..positive(answers) }),
        }
    }

    fn reverse(&self, index: &Index, name: &str, ip: IpAddr, asked: u16) -> Outcome {
        if asked != kind::PTR {
            return Outcome::NotOurs;
        }
        let names = match index.service_of_ip(&ip) {
            Some(service) => vec![format!("{}.{}.svc.{}", service.name, service.namespace, self.domain)],
            None => {
                let endpoints = index.endpoints_of_ip(ip).into_iter();
                endpoints.map(|(s, label)| format!("{label}.{}.{}.svc.{}", s.name, s.namespace, self.domain)).collect()
            }
        };
        if names.is_empty() {
            return Outcome::NotOurs;
        }
        let records = names.into_iter().map(|target| self.record(name, Data::Ptr(target)));
        Outcome::Answer(positive(records.collect()))
    }

    fn name_servers(&self, name: &str) -> Outcome {
        let server = format!("ns.dns.{}", self.domain);
        let additional = self.server_ips.iter().map(|ip| self.record(&server, address(*ip))).collect();
        Outcome::Answer(Answer { additional, ..positive(vec![self.record(name, Data::Ns(server.clone()))]) })
    }

    fn server_addresses(&self, index: &Index, name: &str, asked: u16) -> Outcome {
        let records = self.server_ips.iter().map(|ip| self.record(name, address(*ip)));
        self.records(index, records.filter(|record| record.data.kind() == asked).collect())
    }

    fn record(&self, name: &str, data: Data) -> Record {
        Record { name: name.to_string(), ttl_seconds: self.ttl_seconds, data }
    }

    /// The records, or that there are none of that type.
    fn records(&self, index: &Index, records: Vec<Record>) -> Outcome {
        Outcome::Answer(if records.is_empty() { self.negative(index, Code::NoError) } else { positive(records) })
    }

    /// No such name, or no such type: with the zone's SOA, which says how long that may be kept.
    pub fn negative(&self, index: &Index, code: Code) -> Answer {
        Answer { authoritative: true, authority: vec![self.soa(index)], ..Answer::code(code) }
    }

    fn soa(&self, index: &Index) -> Record {
        let data = Data::Soa {
            server: format!("ns.dns.{}", self.domain),
            mailbox: format!("hostmaster.{}", self.domain),
            serial: index.serial(),
            refresh: 7_200,
            retry: 1_800,
            expire: 86_400,
            minimum: self.ttl_seconds,
        };
        self.record(&self.domain, data)
    }
}

fn positive(answers: Vec<Record>) -> Answer {
    Answer { authoritative: true, answers, ..Answer::code(Code::NoError) }
}

fn push_new(records: &mut Vec<Record>, record: Record) {
    if !records.contains(&record) {
        records.push(record);
    }
}

fn address(ip: IpAddr) -> Data {
    match ip {
        IpAddr::V4(ip) => Data::A(ip),
        IpAddr::V6(ip) => Data::Aaaa(ip),
    }
}

/// The numbers of the ports that are asked for. Without ports the name still leads somewhere, but SRV has none.
fn matching(ports: &[Port], request: &Request<'_>) -> Vec<Option<u16>> {
    let any = request.port.is_empty() && request.protocol.is_empty();
    if ports.is_empty() && any {
        return vec![None];
    }
    let wanted = |port: &&Port| {
        (request.port.is_empty() || request.port.eq_ignore_ascii_case(&port.name))
            && (request.protocol.is_empty() || request.protocol == protocol(port.protocol))
    };
    ports.iter().filter(wanted).map(|port| Some(port.number)).collect()
}

fn protocol(protocol: Protocol) -> &'static str {
    protocol.lower()
}

// === impl Request ===

impl<'a> Request<'a> {
    /// Reads what is before the domain, from its end: `svc` or `pod`, namespace, service, then either one label (an
    /// endpoint) or two (port and protocol).
    fn parse(base: &'a str) -> Result<Request<'a>, NoSuchName> {
        let mut labels = base.rsplit('.');
        let mut request = Request::default();
        match labels.next().unwrap_or_default() {
            "" => return Ok(request),
            class @ ("svc" | "pod") => request.class = class,
            _ => return Err(NoSuchName),
        }
        request.namespace = labels.next().unwrap_or_default();
        request.service = labels.next().unwrap_or_default();
        if request.namespace.is_empty() {
            request.class = "";
        }
        match (labels.next(), labels.next(), labels.next()) {
            (None, ..) => {}
            (Some(endpoint), None, _) => request.endpoint = endpoint,
            (Some(protocol), Some(port), None) => {
                request.protocol = protocol.strip_prefix('_').unwrap_or(protocol);
                request.port = port.strip_prefix('_').unwrap_or(port);
            }
            _ => return Err(NoSuchName),
        }
        Ok(request)
    }
}

/// The address of a reverse name (`4.3.2.1.in-addr.arpa.`, `….ip6.arpa.`).
pub fn reverse_ip(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa.") {
        let octets: Vec<&str> = reversed.rsplit('.').collect();
        return (octets.len() == 4).then(|| octets.join(".").parse().ok())?;
    }
    let nibbles: Vec<&str> = name.strip_suffix(".ip6.arpa.")?.rsplit('.').collect();
    if nibbles.len() != 32 || nibbles.iter().any(|nibble| nibble.len() != 1) {
        return None;
    }
    u128::from_str_radix(&nibbles.concat(), 16).ok().map(|bits| IpAddr::from(bits.to_be_bytes()))
}

#[cfg(test)]
mod tests;
