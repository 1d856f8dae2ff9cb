//! How many decisions a second: 5,000 nodes, 10,000 pods, without the API.
//!
//! `cargo run --release -p scheduler --example decisions [nodes] [pods]`

use scheduler::core::{Core, Work};
use scheduler::model::node::Node;
use scheduler::model::pod::Pod;
use scheduler::plugins::default_table;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let nodes: usize = arguments.next().map_or(Ok(5_000), |text| text.parse())?;
    let pods: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let hard = |key: &str| {
        json!([{"maxSkew": 5, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}])
    };
    let anti = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}});
    run("plain", nodes, pods, json!({}))?;
    run("spread over zones", nodes, pods, json!({"topologySpreadConstraints": hard("topology.kubernetes.io/zone")}))?;
    run("anti-affinity by host", nodes, pods.min(nodes), json!({"affinity": anti}))?;
    Ok(())
}

fn run(name: &str, nodes: usize, pods: usize, extra: Value) -> Result<(), Box<dyn std::error::Error>> {
    let mut core = Core::new("default-scheduler", default_table(), 0, 1);
    let now = tokio::time::Instant::now();
    for n in 0..nodes {
        let node: Node = Node::new(serde_json::from_value(json!({
            "metadata": {"name": format!("n{n}"), "labels": {
                "kubernetes.io/hostname": format!("n{n}"), "topology.kubernetes.io/zone": format!("z{}", n % 10)}},
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        }))?);
        core.node(Arc::new(node), now);
    }
    for n in 0..pods {
        let mut object = json!({
            "metadata": {"name": format!("p{n}"), "namespace": "ns", "uid": format!("u{n}"), "labels": {"app": "web"}},
            "spec": {"schedulerName": "default-scheduler", "containers": [
                {"name": "c", "image": "web", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]},
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        core.pod(Arc::new(Pod::new(serde_json::from_value(object)?)), now);
    }
    let (start, cpu_start) = (Instant::now(), cpu_ns());
    let mut bound = 0;
    while let Some(work) = core.next(now) {
        if let Work::Bind { queued, node } = work {
            core.bound(queued.pod.uid());
            core.pod(Arc::new(queued.pod.on(&node)), now);
            bound += 1;
        }
    }
    let (took, cpu) = (start.elapsed(), cpu_ns() - cpu_start);
    println!(
        "{name}: {bound} of {pods} pods on {nodes} nodes in {took:?}: {:.0} µs of CPU each, {:.0} decisions/s of CPU",
        cpu as f64 / 1e3 / pods as f64,
        pods as f64 / (cpu as f64 / 1e9)
    );
    Ok(())
}

/// This thread's CPU time: other programs don't count.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or_default()
}
