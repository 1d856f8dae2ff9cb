use crate::lab::{Lab, Ns, run};
use crate::services::{Worker, service, slice};
use network::instance::Instance;
use network::pod::plan::Route;
use network::pod::{PodNetwork, apply, cni};
use network::proxy::nft::NftTool;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const PLUGINS: &str = "/usr/lib/cni";

fn network() -> PodNetwork {
    PodNetwork {
        instance: Instance::new("lab").unwrap(),
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        node_ips: vec!["172.30.0.1".parse().unwrap()],
        mtu: None,
    }
}

/// Adds a pod as a container runtime does: the conflist's first plugin, in the node's namespace. Gives its address.
fn add_pod(node: &Ns, pod: &Ns, conflist: &Path) -> String {
    let list: Value = serde_json::from_slice(&std::fs::read(conflist).unwrap()).unwrap();
    let mut plugin = list["plugins"][0].clone();
    plugin["name"] = list["name"].clone();
    plugin["cniVersion"] = list["cniVersion"].clone();
    let mut child = Command::new("ip")
        .args(["netns", "exec", &node.0, &format!("{PLUGINS}/bridge")])
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", &pod.0)
        .env("CNI_NETNS", format!("/run/netns/{}", pod.0))
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", PLUGINS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(plugin.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap_or_else(|| panic!("{result}"));
    address.split('/').next().unwrap().to_string()
}

#[test]
fn pods_on_a_bridge() {
    let mut lab = Lab::new();
    let folder = tempfile::tempdir().unwrap();
    let node = lab.namespace("node");
    let client = lab.outside(&node);
    client.serve("outside");
    node.block_on(async { apply::set_up(&network(), &NftTool::default()).await.unwrap() });
    let conflist = cni::write(&network(), &folder.path().join("net.d"), &folder.path().join("leases")).unwrap();
    let pods: Vec<Ns> = ["a", "b", "c"].iter().map(|name| lab.namespace(name)).collect();
    let addresses: Vec<String> = pods.iter().map(|pod| add_pod(&node, pod, &conflist)).collect();
    pods[0].serve("a");
    pods[1].serve("b");
    let proxy = Worker::start(&node, "lab", |_| {});
    proxy.change(vec![service("web", "10.96.0.1", json!({})), slice("web", &[&addresses[0], &addresses[1]])]);
    proxy.change(vec![service("none", "10.96.0.3", json!({})), slice("none", &[])]);
    proxy.change(vec![service("self", "10.96.0.2", json!({})), slice("self", &[&addresses[0]])]);

    // With br_netfilter's calls off (as where the module is missing) and on.
    for calls in ["0", "1"] {
        for kind in ["iptables", "ip6tables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{kind}");
            node.enter(move || {
                if std::fs::exists(&path).unwrap() {
                    std::fs::write(&path, calls).unwrap();
                }
            });
        }
        assert_eq!(pods[2].who_answers("10.96.0.1:80", 30), ["a", "b"], "through the service, on the same bridge");
        let seen = pods[2].ask("10.96.0.1:80").unwrap();
        assert!(seen.ends_with(&addresses[2]), "with its own address: {seen}");
        let seen = pods[2].ask(&format!("{}:8080", addresses[0])).unwrap();
        assert_eq!(seen, format!("a {}", addresses[2]), "straight to a pod");
        let seen = pods[0].ask("10.96.0.2:80").unwrap();
        assert!(seen.starts_with("a ") && !seen.ends_with(&addresses[0]), "to itself: {seen}");
        assert!(node.ask("10.96.0.1:80").is_ok(), "the node itself, without a default route");
        assert_eq!(pods[2].ask("172.30.0.2:8080").unwrap(), "outside 172.30.0.1", "masqueraded to the outside");
        assert_eq!(pods[2].ask("10.96.0.3:80"), Err(std::io::ErrorKind::ConnectionRefused), "no endpoints: rejected");
        let mut connection = pods[2].connect("10.96.0.2:80");
        for n in 0..20 {
            assert_eq!(connection.say(&n.to_string()), format!("a {n}"));
        }
    }

    sets_routes_and_cleans_up(&node);
}

fn sets_routes_and_cleans_up(node: &Ns) {
    let route = |n: u8| Route {
        destination: format!("10.244.{n}.0/24").parse().unwrap(),
        gateway: "172.30.0.2".parse().unwrap(),
    };
    let shown = |node: &Ns| {
        let output = Command::new("ip").args(["-n", &node.0, "route", "show", "10.244.0.0/16"]).output();
        let output = output.unwrap();
        let all = Command::new("ip").args(["-n", &node.0, "route"]).output().unwrap().stdout;
        let _ = output;
        String::from_utf8(all).unwrap()
    };
    node.block_on(async move {
        apply::sync_routes(&network(), &BTreeSet::from([route(1), route(2)])).await.unwrap();
        apply::sync_routes(&network(), &BTreeSet::from([route(2), route(3)])).await.unwrap();
    });
    let routes = shown(node);
    assert!(!routes.contains("10.244.1.0/24"), "{routes}");
    assert!(routes.contains("10.244.2.0/24 via 172.30.0.2") && routes.contains("10.244.3.0/24 via"), "{routes}");
    run(&format!("ip -n {} route add 198.51.100.0/24 via 172.30.0.2", node.0));
    node.block_on(async {
        apply::clean_up(&network(), &NftTool::default()).await.unwrap();
        apply::clean_up(&network(), &NftTool::default()).await.unwrap();
    });
    let routes = shown(node);
    assert!(
        !routes.contains("10.96.") && !routes.contains("10.244.") && routes.contains("198.51.100.0/24"),
        "only ours are gone: {routes}"
    );
    let tables = Command::new("ip").args(["netns", "exec", &node.0, "nft", "list", "tables"]).output().unwrap().stdout;
    let tables = String::from_utf8(tables).unwrap();
    assert!(!tables.contains("xebec-lab-pods"), "{tables}");
}
