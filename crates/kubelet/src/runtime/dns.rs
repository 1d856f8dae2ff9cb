//! A pod's `resolv.conf`, by `dnsPolicy` and `dnsConfig`. Upstream: pkg/kubelet/network/dns.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

use crate::{cri::v1::DnsConfig, pod::PodExt};

const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;
const DOMAIN_CHARS_MAX: usize = 253;

/// The node's part in it.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Text of the node's own file; none means there is none.
    pub host: Option<&'a str>,
    /// Addresses of the cluster's DNS service.
    pub cluster_dns: &'a [String],
    /// Usually `cluster.local`.
    pub cluster_domain: &'a str,
}

/// The configuration, and the events that go with it (reason and message).
pub fn config(pod: &Pod, settings: Settings<'_>) -> (DnsConfig, Vec<(&'static str, String)>) {
    let mut events = Vec::new();
    let mut dns = settings.host.map(parse).unwrap_or_default();
    let policy = pod.spec.as_ref().and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" => {
            dns = DnsConfig::default();
            None
        }
        "Default" => Some(false),
        "ClusterFirst" => Some(!pod.host_network()),
        _ => Some(true),
    };
    match cluster {
        Some(true) if !settings.cluster_dns.is_empty() => {
            dns.servers = settings.cluster_dns.to_vec();
            dns.searches = searches(pod.namespace(), settings.cluster_domain, dns.searches);
            dns.options = vec!["ndots:5".into()];
        }
        Some(wanted) => {
            if wanted {
                let message = "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy.";
                events.push(("MissingClusterDNS", format!("pod: {:?}. {message}", pod.described())));
            }
            if settings.host.is_none() {
                dns.servers = vec!["127.0.0.1".into()];
                dns.searches = vec![".".into()];
            }
        }
        None => {}
    }
    if let Some(own) = pod.spec.as_ref().and_then(|spec| spec.dns_config.as_ref()) {
        append(&mut dns, own);
    }
    fit(&mut dns, &mut events);
    (dns, events)
}

fn searches(namespace: &str, domain: &str, host: Vec<String>) -> Vec<String> {
    if domain.is_empty() {
        return host;
    }
    let cluster = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    unique(cluster.into_iter().chain(host))
}

fn append(dns: &mut DnsConfig, own: &PodDNSConfig) {
    let more = |had: &mut Vec<String>, own: &Option<Vec<String>>| {
        *had = unique(std::mem::take(had).into_iter().chain(own.iter().flatten().cloned()));
    };
    more(&mut dns.servers, &own.nameservers);
    more(&mut dns.searches, &own.searches);
    for option in own.options.iter().flatten() {
        let name = option.name.as_deref().unwrap_or_default();
        let text = match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.to_owned(),
        };
        set_option(&mut dns.options, text);
    }
}

/// The last one of a name counts.
fn set_option(options: &mut Vec<String>, text: String) {
    let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    match options.iter_mut().find(|known| name(known) == name(&text)) {
        Some(known) => *known = text,
        None => options.push(text),
    }
}

fn fit(dns: &mut DnsConfig, events: &mut Vec<(&'static str, String)>) {
    if dns.servers.len() > SERVERS_MAX {
        dns.servers.truncate(SERVERS_MAX);
        let line = dns.servers.join(" ");
        events.push(("DNSConfigForming", format!("Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {line}")));
    }
    let before = dns.searches.len();
    dns.searches.truncate(SEARCHES_MAX);
    dns.searches.retain(|search| search.len() <= DOMAIN_CHARS_MAX);
    while dns.searches.join(" ").len() > SEARCH_CHARS_MAX {
        dns.searches.pop();
    }
    if dns.searches.len() < before {
        let line = dns.searches.join(" ");
        events.push(("DNSConfigForming", format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}")));
    }
}

/// Reads a `resolv.conf`.
pub fn parse(text: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                let trim = |word: &str| word.strip_suffix('.').unwrap_or(word).to_owned();
                dns.searches = words.filter(|word| *word != ".").map(trim).collect();
            }
            Some("options") => words.for_each(|word| set_option(&mut dns.options, word.to_owned())),
            _ => {}
        }
    }
    dns
}

fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    const HOST: &str = "# node\nnameserver 192.0.2.1\nsearch example.com. .\noptions ndots:2 rotate\n";

    fn of(spec: Value) -> (String, usize) {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).unwrap();
        let settings =
            Settings { host: Some(HOST), cluster_dns: &["10.0.0.10".into()], cluster_domain: "cluster.local" };
        let (dns, events) = config(&pod, settings);
        (format!("{} | {} | {}", dns.servers.join(" "), dns.searches.join(" "), dns.options.join(" ")), events.len())
    }

    #[rstest]
    #[case(json!({"containers": []}), "10.0.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local example.com | ndots:5")]
    #[case(json!({"containers": [], "dnsPolicy": "Default"}), "192.0.2.1 | example.com | ndots:2 rotate")]
    #[case(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirst"}), "192.0.2.1 | example.com | ndots:2 rotate")]
    #[case(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), "10.0.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local example.com | ndots:5")]
    #[case(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]}}), "1.1.1.1 | a.b | ndots:1 edns0")]
    #[case(json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "3"}], "searches": ["example.com", "x.y"]}}), "10.0.0.10 | ns.svc.cluster.local svc.cluster.local cluster.local example.com x.y | ndots:3")]
    fn policies(#[case] spec: Value, #[case] expected: &str) {
        assert_eq!(of(spec), (expected.to_owned(), 0));
    }

    #[test]
    fn too_many_servers_are_cut_and_told() {
        let (line, events) =
            of(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1", "2", "3", "4"]}}));
        assert_eq!((line.as_str(), events), ("1 2 3 |  | ", 1));
    }
}
