use crate::lab::{Lab, Ns, PATIENCE, ask_udp};
use network::instance::Instance;
use network::proxy::config::Config;
use network::proxy::driver::{Proxy, cleanup};
use network::proxy::inputs::Change;
use network::proxy::nft::NftTool;
use network::views::{EndpointSliceView, ObjectName, ServiceView};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// A proxy that works inside of a namespace.
pub struct Worker {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Change(Vec<Change>, mpsc::Sender<()>),
}

impl Worker {
    pub fn start(
        node: &Ns,
        instance: &'static str,
        change_config: impl FnOnce(&mut Config) + Send + 'static,
    ) -> Worker {
        let (orders, received) = mpsc::channel();
        node.spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let ips = vec!["172.30.0.1".parse().unwrap(), "fd30::1".parse().unwrap()];
            let cidrs = vec!["10.244.0.0/16".parse().unwrap(), "fd44::/64".parse().unwrap()];
            let mut config = Config::new("node", ips, cidrs);
            config.service_cidrs = vec!["10.96.0.0/16".parse().unwrap()];
            change_config(&mut config);
            runtime.block_on(async {
                let mut proxy = Proxy::new(config, &Instance::new(instance).unwrap(), NftTool::default());
                proxy.change(Change::Synced);
                proxy.sync().await;
                while let Ok(Order::Change(changes, done)) = tokio::task::block_in_place(|| received.recv()) {
                    changes.into_iter().for_each(|change| proxy.change(change));
                    proxy.sync().await;
                    let _ = done.send(());
                }
            });
        });
        Worker { orders }
    }

    /// Applies changes; the table is written when this returns.
    pub fn change(&self, changes: Vec<Change>) {
        let (done, is_done) = mpsc::channel();
        self.orders.send(Order::Change(changes, done)).unwrap();
        is_done.recv().unwrap();
    }

    pub fn service(&self, name: &str, cluster_ip: &str, spec: Value) {
        self.change(vec![service(name, cluster_ip, spec)]);
    }

    pub fn endpoints(&self, service: &str, addresses: &[&str]) {
        self.change(vec![slice(service, addresses)]);
    }
}

pub fn service(name: &str, cluster_ip: &str, spec: Value) -> Change {
    let mut object = json!({
        "metadata": {"namespace": "ns", "name": name},
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip],
            "ports": [{"name": "tcp", "protocol": "TCP", "port": 80}, {"name": "udp", "protocol": "UDP", "port": 80}],
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    let view: ServiceView = serde_json::from_value(object).unwrap();
    Change::Service(ObjectName::new("ns", name), Some(Arc::new(view)))
}

pub fn slice(service: &str, addresses: &[&str]) -> Change {
    let is_v6 = addresses.first().is_some_and(|address| address.contains(':'));
    let name = format!("{service}-{}", if is_v6 { "6" } else { "4" });
    let endpoints: Vec<Value> = addresses.iter().map(|ip| json!({"addresses": [ip], "nodeName": "node"})).collect();
    let view: EndpointSliceView = serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": if is_v6 { "IPv6" } else { "IPv4" },
        "endpoints": endpoints,
        "ports": [{"name": "tcp", "protocol": "TCP", "port": 8080}, {"name": "udp", "protocol": "UDP", "port": 8080}],
    }))
    .unwrap();
    Change::Slice(ObjectName::new("ns", name), Some(Arc::new(view)))
}

fn node_port(port: u16, policy: &str) -> Value {
    json!({"type": "NodePort", "externalTrafficPolicy": policy, "ports": [{"name": "tcp", "protocol": "TCP", "port": 80, "nodePort": port}]})
}

const P2: &str = "10.244.0.2";
const P3: &str = "10.244.0.3";

#[test]
fn services_on_a_real_kernel() {
    let mut lab = Lab::new();
    let node = lab.node();
    let client = lab.outside(&node);
    // The node's own way out. It leads back to the client: redirects, whose rate limit swallows rejects, are off.
    crate::lab::run(&format!("ip -n {} route add default via 172.30.0.2", node.0));
    let off = "sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0";
    crate::lab::run(&format!("ip netns exec {} {off}", node.0));
    let pods: Vec<Ns> = (2..=4).map(|n| lab.pod(&node, n)).collect();
    pods[0].serve("p2");
    pods[1].serve("p3");
    let proxy = Worker::start(&node, "lab", |_| {});

    balances_over_endpoints(&proxy, &node, &client, &pods);
    answers_on_node_ports(&proxy, &node, &client);
    rejects_and_drops(&proxy, &client);
    reaches_itself(&proxy, &pods);
    keeps_clients_with_their_endpoint(&proxy, &client);
    keeps_connections_through_changes(&proxy, &client);
    never_fails_under_churn(&proxy, &client);
    cuts_udp_flows_of_gone_endpoints(&proxy, &client);
    limits_sources(&proxy, &client, &pods);
    serves_ipv6_by_itself(&proxy, &client);
    lives_beside_another(&proxy, &node, &client);
    takes_a_thousand_services(&proxy, &client);
}

fn balances_over_endpoints(proxy: &Worker, node: &Ns, client: &Ns, pods: &[Ns]) {
    proxy.change(vec![service("web", "10.96.0.1", json!({})), slice("web", &[P2, P3])]);
    for from in [client, node, &pods[2]] {
        assert_eq!(from.who_answers("10.96.0.1:80", 40), ["p2", "p3"], "from {from:?}");
    }
    let seen = pods[2].ask("10.96.0.1:80").unwrap();
    assert!(seen.ends_with(" 10.244.0.4"), "a pod keeps its address: {seen}");
    let seen = client.ask("10.96.0.1:80").unwrap();
    assert!(seen.ends_with(" 10.244.0.1"), "from outside it is masqueraded: {seen}");
}

fn answers_on_node_ports(proxy: &Worker, node: &Ns, client: &Ns) {
    proxy.change(vec![service("np", "10.96.0.2", node_port(30080, "Cluster")), slice("np", &[P2, P3])]);
    assert_eq!(client.who_answers("172.30.0.1:30080", 40), ["p2", "p3"]);
    assert_eq!(node.who_answers("172.30.0.1:30080", 40), ["p2", "p3"]);
    assert_eq!(node.who_answers("127.0.0.1:30080", 40), ["p2", "p3"], "what newcomers try");
    proxy.service("np", "10.96.0.2", node_port(30080, "Local"));
    let seen = client.ask("172.30.0.1:30080").unwrap();
    assert!(seen.ends_with(" 172.30.0.2"), "policy Local keeps the source: {seen}");
    proxy.endpoints("np", &[]);
    assert_eq!(node.ask("127.0.0.1:30080"), Err(ErrorKind::ConnectionRefused));
}

fn rejects_and_drops(proxy: &Worker, client: &Ns) {
    proxy.change(vec![service("none", "10.96.0.3", node_port(30081, "Local")), slice("none", &[])]);
    let start = Instant::now();
    assert_eq!(client.ask("10.96.0.3:80"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(client.ask("172.30.0.1:30081"), Err(ErrorKind::ConnectionRefused));
    assert_eq!(client.ask("10.96.0.3:81"), Err(ErrorKind::ConnectionRefused), "a port that it does not have");
    assert!(start.elapsed() < PATIENCE);
    let mut elsewhere = json!({
        "metadata": {"namespace": "ns", "name": "none-4", "labels": {"kubernetes.io/service-name": "none"}},
        "addressType": "IPv4", "endpoints": [{"addresses": [P2], "nodeName": "other"}],
        "ports": [{"name": "tcp", "protocol": "TCP", "port": 8080}],
    });
    let view: EndpointSliceView = serde_json::from_value(elsewhere.take()).unwrap();
    proxy.change(vec![Change::Slice(ObjectName::new("ns", "none-4"), Some(Arc::new(view)))]);
    assert_eq!(
        client.ask("172.30.0.1:30081"),
        Err(ErrorKind::TimedOut),
        "no local endpoint under policy Local: dropped"
    );
    assert_eq!(client.ask("10.96.0.200:80"), Err(ErrorKind::TimedOut), "no such service: dropped");
    assert!(client.ask("10.96.0.3:80").is_ok(), "the cluster IP works all the same");
}

fn reaches_itself(proxy: &Worker, pods: &[Ns]) {
    proxy.change(vec![service("self", "10.96.0.4", json!({})), slice("self", &[P2])]);
    let seen = pods[0].ask("10.96.0.4:80").unwrap();
    assert!(seen.starts_with("p2 ") && !seen.ends_with(P2), "hairpin is masqueraded: {seen}");
}

fn keeps_clients_with_their_endpoint(proxy: &Worker, client: &Ns) {
    let affinity =
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    proxy.change(vec![service("sticky", "10.96.0.5", affinity), slice("sticky", &[P2, P3])]);
    let first = client.who_answers("10.96.0.5:80", 20);
    assert_eq!(first.len(), 1);
    let other = if first[0] == "p2" { P3 } else { P2 };
    proxy.endpoints("sticky", &[other, "10.244.0.4"]);
    proxy.endpoints("sticky", &[other]);
    assert_ne!(client.who_answers("10.96.0.5:80", 3), first, "its endpoint is gone");
    let second = client.who_answers("10.96.0.5:80", 1);
    proxy.endpoints("sticky", &[P2, P3]);
    assert_eq!(client.who_answers("10.96.0.5:80", 20), second, "the endpoint that came back does not take it over");
}

fn keeps_connections_through_changes(proxy: &Worker, client: &Ns) {
    proxy.change(vec![service("long", "10.96.0.6", json!({})), slice("long", &[P2])]);
    let mut connection = client.connect("10.96.0.6:80");
    proxy.endpoints("long", &[P2, P3]);
    assert_eq!(connection.say("one"), "p2 one");
    proxy.endpoints("long", &[P3]);
    assert_eq!(connection.say("two"), "p2 two", "a connection stays with an endpoint that is taken out");
    proxy.change(vec![Change::Service(ObjectName::new("ns", "long"), None)]);
    assert_eq!(connection.say("three"), "p2 three");
}

fn never_fails_under_churn(proxy: &Worker, client: &Ns) {
    proxy.change(vec![service("churn", "10.96.0.7", json!({})), slice("churn", &[P2, P3])]);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (stopped, count) = (stop.clone(), asked.clone());
    let from = client.clone();
    let asking = client.spawn(move || {
        let _ = from;
        while !stopped.load(Ordering::SeqCst) {
            let answer = std::net::TcpStream::connect_timeout(&"10.96.0.7:80".parse().unwrap(), PATIENCE);
            assert!(answer.is_ok(), "connection {} failed: {answer:?}", count.load(Ordering::SeqCst));
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 30 {
        for endpoints in [&[P2][..], &[P2, P3], &[P3]] {
            proxy.endpoints("churn", endpoints);
            rounds += 1;
        }
    }
    stop.store(true, Ordering::SeqCst);
    asking.join().unwrap();
    println!(
        "churn: {rounds} changes in {:?}, {} connections meanwhile",
        start.elapsed(),
        asked.load(Ordering::SeqCst)
    );
    assert!(asked.load(Ordering::SeqCst) > 20);
}

fn cuts_udp_flows_of_gone_endpoints(proxy: &Worker, client: &Ns) {
    proxy.change(vec![service("dns", "10.96.0.8", json!({})), slice("dns", &[P2])]);
    let socket = client.udp("172.30.0.2".parse().unwrap());
    assert_eq!(ask_udp(&socket, "10.96.0.8:80").as_deref(), Some("p2"));
    proxy.endpoints("dns", &[P3]);
    assert_eq!(ask_udp(&socket, "10.96.0.8:80").as_deref(), Some("p3"), "the same socket, another endpoint");
    proxy.endpoints("dns", &[P2, P3]);
    assert_eq!(ask_udp(&socket, "10.96.0.8:80").as_deref(), Some("p3"), "a flow to a serving endpoint stays");
}

fn limits_sources(proxy: &Worker, client: &Ns, pods: &[Ns]) {
    let mut object = json!({
        "metadata": {"namespace": "ns", "name": "lb"},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "externalTrafficPolicy": "Cluster", "loadBalancerSourceRanges": ["10.244.0.0/16"],
            "ports": [{"name": "tcp", "protocol": "TCP", "port": 80}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    });
    let change = |object: &Value| {
        let view: ServiceView = serde_json::from_value(object.clone()).unwrap();
        Change::Service(ObjectName::new("ns", "lb"), Some(Arc::new(view)))
    };
    proxy.change(vec![change(&object), slice("lb", &[P2])]);
    assert!(pods[2].ask("203.0.113.1:80").is_ok());
    assert_eq!(client.ask("203.0.113.1:80"), Err(ErrorKind::TimedOut));
    object["spec"]["loadBalancerSourceRanges"] = json!(["172.30.0.0/24"]);
    proxy.change(vec![change(&object)]);
    assert!(client.ask("203.0.113.1:80").is_ok());
}

fn serves_ipv6_by_itself(proxy: &Worker, client: &Ns) {
    let dual = json!({"clusterIPs": ["10.96.0.11", "fd96::11"]});
    proxy.change(vec![service("six", "10.96.0.11", dual), slice("six", &["fd44::2", "fd44::3"])]);
    assert_eq!(client.who_answers("[fd96::11]:80", 40), ["p2", "p3"]);
    assert_eq!(client.ask("10.96.0.11:80"), Err(ErrorKind::ConnectionRefused), "the other family has no endpoints");
}

fn lives_beside_another(proxy: &Worker, node: &Ns, client: &Ns) {
    let other = Worker::start(node, "lab2", |config| config.service_cidrs = vec!["10.97.0.0/16".parse().unwrap()]);
    other.change(vec![service("web", "10.97.0.1", json!({})), slice("web", &[P3])]);
    assert_eq!(client.who_answers("10.97.0.1:80", 5), ["p3"]);
    assert_eq!(client.who_answers("10.96.0.1:80", 40), ["p2", "p3"]);
    let instance = Instance::new("lab2").unwrap();
    node.block_on(async move { cleanup(&instance, &NftTool::default()).await }).unwrap();
    assert!(client.ask("10.97.0.1:80").is_err());
    proxy.endpoints("web", &[P2]);
    assert_eq!(client.who_answers("10.96.0.1:80", 5), ["p2"]);
}

fn takes_a_thousand_services(proxy: &Worker, client: &Ns) {
    let many = (0..1_000).flat_map(|n| {
        let name = format!("many-{n}");
        let ip = format!("10.96.{}.{}", 1 + n / 250, 1 + n % 250);
        [service(&name, &ip, json!({})), slice(&name, &[P2, P3])]
    });
    let many: Vec<Change> = many.collect();
    let start = Instant::now();
    proxy.change(many);
    let all = start.elapsed();
    assert_eq!(client.who_answers("10.96.4.250:80", 40), ["p2", "p3"]);
    let start = Instant::now();
    for n in 0..10 {
        proxy.endpoints(&format!("many-{n}"), &[P3]);
    }
    println!("1,000 services (2 ports, 2 endpoints each): {all:?}; one of them changed: {:?}", start.elapsed() / 10);
    assert_eq!(client.who_answers("10.96.1.1:80", 5), ["p3"]);
}
