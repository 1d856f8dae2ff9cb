//! The pod network's nftables tables: one a family for masquerading, one in the bridge family.

use super::PodNetwork;
use crate::proxy::address::{Cidr, Family};
use crate::proxy::nft::remove_script;
use std::fmt::Write;

/// Multicast keeps its source.
const fn multicast(family: Family) -> &'static str {
    match family {
        Family::V4 => "224.0.0.0/4",
        Family::V6 => "ff00::/8",
    }
}

/// The script that makes all of the pod network's tables anew, in one transaction.
pub fn script(network: &PodNetwork) -> String {
    let table = network.instance.pod_table();
    let mut text = remove_all(network);
    for cidr in &network.pod_cidrs {
        masquerade(&mut text, network, cidr, &table);
    }
    if !network.pod_cidrs.is_empty() {
        bridge(&mut text, network, &table);
    }
    text
}

/// The script that removes them, whether or not they are there.
pub fn remove_all(network: &PodNetwork) -> String {
    let table = network.instance.pod_table();
    ["ip", "ip6", "bridge"].map(|family| remove_script(&table, family)).concat()
}

/// Pods reach the outside under the node's address; the cluster sees their own.
fn masquerade(text: &mut String, network: &PodNetwork, cidr: &Cidr, table: &str) {
    let family = cidr.family();
    let ip = family.nft();
    let inside = network.cluster_cidrs.iter().chain([cidr]).filter(|inside| inside.family() == family);
    let mut inside: Vec<String> = inside.map(ToString::to_string).chain([multicast(family).to_string()]).collect();
    inside.dedup();
    let bridge = network.instance.bridge();
    let _ = write!(
        text,
        "table {ip} {table} {{
  set inside {{ type {}; flags interval; auto-merge; elements = {{ {} }}; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat + 10;
    {ip} saddr {cidr} oifname != \"{bridge}\" {ip} daddr != @inside masquerade fully-random
  }}
}}
",
        family.nft_type(),
        inside.join(", "),
    );
}

/// What a pod sends to another pod of the bridge goes to the node's IP stack: it gets the bridge's own hardware address
/// before the bridge looks where to send it. Ranges tell pods' packets; other bridges of the machine have other ranges.
fn bridge(text: &mut String, network: &PodNetwork, table: &str) {
    let mac = network.bridge_mac();
    let _ = write!(
        text,
        "table bridge {table} {{\n  chain prerouting {{\n    type filter hook prerouting priority dstnat;\n"
    );
    for cidr in &network.pod_cidrs {
        let ip = cidr.family().nft();
        let _ = writeln!(
            text,
            "    {ip} saddr {cidr} {ip} daddr {cidr} ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 ether daddr set {mac} meta pkttype set host"
        );
    }
    text.push_str("  }\n}\n");
}
