//! The part of the table that is there whatever the Services are: hooks, dispatch, masquerading.

use super::address::Family;
use super::config::Config;
use super::model::{REJECT_CHAIN, masquerade};
use super::ruleset::Container;
use std::fmt::Write;
use std::net::IpAddr;

/// Base chains: where they hook in, at which priority, and where they lead.
///
/// Sources allowed through a load balancer are checked before DNAT (the load balancer's address is still there),
/// rejects happen after it, as what found an endpoint has another address by then.
const HOOKS: [(&str, &str, &[&str]); 8] = [
    (
        "filter-prerouting-pre-dnat",
        "type filter hook prerouting priority dstnat - 10",
        &["ct state new jump firewall-check"],
    ),
    ("filter-output-pre-dnat", "type filter hook output priority -110", &["ct state new jump firewall-check"]),
    (
        "filter-input",
        "type filter hook input priority filter",
        &["ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"],
    ),
    (
        "filter-forward",
        "type filter hook forward priority filter",
        &["ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"],
    ),
    (
        "filter-output",
        "type filter hook output priority filter",
        &["ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"],
    ),
    ("nat-prerouting", "type nat hook prerouting priority dstnat", &["jump services"]),
    ("nat-output", "type nat hook output priority -100", &["jump services"]),
    ("nat-postrouting", "type nat hook postrouting priority srcnat", &["jump masquerading"]),
];

/// The set of node addresses on which NodePorts answer, where not all of them do.
const NODE_PORT_IPS: &str = "nodeport-ips";

/// The table's definition without any Service: `table … { … }`. `node_ips` are all addresses of the node's
/// interfaces; those on which NodePorts answer are chosen from them.
pub fn table(name: &str, family: Family, config: &Config, node_ips: &[IpAddr]) -> String {
    let mut text = format!("table {} {name} {{\n", family.nft());
    for container in Container::ALL {
        let kind = if container.is_map() { "map" } else { "set" };
        let key = container.key_type().replace("ADDRESS", family.nft_type());
        let value = if container.is_map() { " : verdict" } else { "" };
        let _ = writeln!(text, "  {kind} {} {{ type {key}{value}; }}", container.name());
    }
    if !config.node_port_addresses.match_all(family) {
        let chosen = node_ips.iter().filter(|ip| Family::of(ip) == family && !ip.is_loopback());
        let chosen: Vec<String> =
            chosen.filter(|ip| config.node_port_addresses.contains(ip)).map(ToString::to_string).collect();
        let elements =
            if chosen.is_empty() { String::new() } else { format!(" elements = {{ {} }};", chosen.join(", ")) };
        let _ = writeln!(text, "  set {NODE_PORT_IPS} {{ type {};{elements} }}", family.nft_type());
    }
    for (chain, rules) in chains(family, config) {
        write_chain(&mut text, chain, None, &rules);
    }
    for (chain, hook, rules) in HOOKS {
        write_chain(&mut text, chain, Some(hook), rules);
    }
    text.push_str("}\n");
    text
}

/// The chains that the hooks lead to, before those that jump to them.
fn chains(family: Family, config: &Config) -> Vec<(&'static str, Vec<String>)> {
    let ip = family.nft();
    let by_address = |map: Container| format!("{ip} daddr . meta l4proto . th dport vmap @{}", map.name());
    let to_node_port = node_port_match(family, config);
    let by_node_port = |map: Container| format!("{to_node_port} meta l4proto . th dport vmap @{}", map.name());
    let mark = format!("{:#x}", 1u32 << config.masquerade_bit);
    vec![
        (REJECT_CHAIN, vec!["reject".to_string()]),
        ("firewall-check", vec![by_address(Container::FirewallIps)]),
        ("service-endpoints-check", vec![by_address(Container::NoEndpointServices)]),
        ("nodeport-endpoints-check", vec![by_node_port(Container::NoEndpointNodePorts)]),
        ("cluster-ips-check", cluster_ips_check(family, config)),
        ("services", {
            let mut rules: Vec<String> = masquerade_cluster_ips(family, config).into_iter().collect();
            rules.push(by_address(Container::ServiceIps));
            rules.push(match config.node_port_addresses.match_all(family) {
                true => format!("fib daddr type local {}", by_node_port(Container::NodePorts)),
                false => by_node_port(Container::NodePorts),
            });
            rules
        }),
        (
            "masquerading",
            vec![
                format!("meta mark and {mark} != 0 meta mark set meta mark xor {mark} masquerade fully-random"),
                format!(
                    "ct status dnat {ip} saddr . {ip} daddr . meta l4proto . th dport @{} masquerade fully-random",
                    Container::Hairpins.name()
                ),
            ],
        ),
    ]
}

/// What was not sent to an endpoint by now is for a port that the service does not have, or for no service.
fn cluster_ips_check(family: Family, config: &Config) -> Vec<String> {
    let ip = family.nft();
    let ranges: Vec<String> =
        config.service_cidrs.iter().filter(|cidr| cidr.family() == family).map(ToString::to_string).collect();
    let mut rules = vec![format!("{ip} daddr @{} reject", Container::ClusterIps.name())];
    if !ranges.is_empty() {
        rules.push(format!("{ip} daddr {{ {} }} drop", ranges.join(", ")));
    }
    rules
}

/// Traffic from outside to a cluster IP (somebody routes the service range to this node) may leave for another node,
/// whose answer must come back through here.
fn masquerade_cluster_ips(family: Family, config: &Config) -> Option<String> {
    let to_cluster_ip = format!("{} daddr @{}", family.nft(), Container::ClusterIps.name());
    if config.masquerade_all {
        return Some(format!("{to_cluster_ip} {}", masquerade(config)));
    }
    let (_, not_local) = config.detect_local.matches(family)?;
    Some(format!("{to_cluster_ip} {not_local} {}", masquerade(config)))
}

fn node_port_match(family: Family, config: &Config) -> String {
    let ip = family.nft();
    match config.node_port_addresses.match_all(family) {
        true => format!("{ip} daddr != {}", family.loopback()),
        false => format!("{ip} daddr @{NODE_PORT_IPS}"),
    }
}

fn write_chain(text: &mut String, name: &str, hook: Option<&str>, rules: &[impl AsRef<str>]) {
    let _ = writeln!(text, "  chain {name} {{");
    if let Some(hook) = hook {
        let _ = writeln!(text, "    {hook};");
    }
    for rule in rules {
        let _ = writeln!(text, "    {}", rule.as_ref());
    }
    text.push_str("  }\n");
}
