//! A kubelet with a real containerd under the real API server. Needs root, containerd, runc and the CNI plugins.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{IMAGE, Node, is_ready};

fn sleeper(name: &str) -> serde_json::Value {
    json!({"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]})
}

fn shell(name: &str, script: &str) -> serde_json::Value {
    json!({"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", script]})
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_to_their_ends() {
    let node = Node::start().await;
    node.pod("web", json!({"containers": [sleeper("a"), sleeper("b")], "hostname": "h", "subdomain": "s"})).await;
    node.pod("done", json!({"restartPolicy": "Never", "containers": [
        {"name": "a", "image": IMAGE, "command": ["/bin/sh"], "args": ["-c", "echo '$(GREETING)' $POD_NAME '$(MISSING)'; echo last words > /dev/termination-log"],
         "env": [{"name": "WHO", "value": "you"}, {"name": "GREETING", "value": "hello $(WHO)"},
                 {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}))
        .await;
    node.pod("failed", json!({"restartPolicy": "Never", "initContainers": [shell("i", "exit 0")], "containers": [shell("a", "echo why >&2; exit 3")]})).await;
    node.pod("quick", json!({"restartPolicy": "Never", "containers": [shell("a", "exec sleep 0.4")]})).await;
    node.pod("stuck", json!({"containers": [{"name": "a", "image": "localhost/none:1", "imagePullPolicy": "Never"}]}))
        .await;
    node.pod(
        "bad",
        json!({"restartPolicy": "Never", "initContainers": [shell("i", "exit 5")], "containers": [sleeper("a")]}),
    )
    .await;

    let web = node.until_ready("web").await.status.unwrap();
    assert_eq!(web.phase.as_deref(), Some("Running"));
    assert!(web.pod_ip.is_some() && web.host_ip.as_deref() == Some("127.0.0.1") && web.start_time.is_some());
    let hosts = node.exec("web", "a", "cat /etc/hosts; hostname; cat /etc/resolv.conf").await;
    let ip = web.pod_ip.unwrap();
    assert!(hosts.contains(&format!("{ip}\th.s.default.svc.cluster.local\th\n")), "{hosts}");
    assert!(
        hosts.contains("\nh\n")
            && hosts.contains("nameserver 10.96.0.10")
            && hosts.contains("search default.svc.cluster.local svc.cluster.local cluster.local"),
        "{hosts}"
    );
    assert!(node.exec("web", "a", "env").await.contains("KUBERNETES_SERVICE_HOST=10.96.0.1\n"));

    let done = node.until_phase("done", "Succeeded").await.status.unwrap();
    let ended = done.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(
        (ended.exit_code, ended.reason.as_deref(), ended.message.as_deref()),
        (0, Some("Completed"), Some("last words\n"))
    );
    assert_eq!(node.log("done", "a").await, "hello you done $(MISSING)\n");

    // Regression: a container that ended between two looks was noticed a minute later.
    node.until_phase("quick", "Succeeded").await;
    let failed = node.until_phase("failed", "Failed").await.status.unwrap();
    let ended = failed.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (3, Some("Error")));
    assert_eq!(failed.init_container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap().exit_code, 0);

    let stuck = node.until("stuck", "waiting for its image", |pod| waiting(pod) == "ErrImageNeverPull").await;
    assert_eq!(stuck.status.unwrap().phase.as_deref(), Some("Pending"));
    node.until_phase("bad", "Failed").await;

    let events = node.events("web").await.join("\n");
    for expected in ["Pulled: Container image", "Created: Container created", "Started: Container started"] {
        assert!(events.contains(expected), "{events}");
    }
    for name in ["web", "done", "failed", "quick", "stuck", "bad"] {
        node.delete(name, 1).await;
    }
    for name in ["web", "done", "failed", "quick", "stuck", "bad"] {
        node.until_gone(name).await;
    }
    node.finish().await;
}

fn waiting(pod: &k8s_openapi::api::core::v1::Pod) -> String {
    let first = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first().cloned());
    first.and_then(|first| first.state?.waiting?.reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_come_and_change() {
    let node = Node::start_with(Duration::from_secs(1)).await;
    node.create(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"k": "one", "x": "y"}}),
    )
    .await;
    node.create(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"s": "hidden"}}),
    )
    .await;
    let mounts = json!([
        {"name": "map", "mountPath": "/map"}, {"name": "secret", "mountPath": "/secret"}, {"name": "down", "mountPath": "/down"},
        {"name": "all", "mountPath": "/all"}, {"name": "empty", "mountPath": "/empty"}, {"name": "memory", "mountPath": "/memory"},
        {"name": "host", "mountPath": "/host"}, {"name": "map", "mountPath": "/one", "subPath": "k"},
        {"name": "empty", "mountPath": "/expanded", "subPathExpr": "$(NAME)/sub"}]);
    let host = node.dir.join("host");
    node.pod("vols", json!({
        "securityContext": {"fsGroup": 1234, "runAsUser": 1000},
        "containers": [{"name": "a", "image": IMAGE, "command": sleeper("a")["command"], "volumeMounts": mounts,
            "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
        "volumes": [
            {"name": "map", "configMap": {"name": "map"}},
            {"name": "secret", "secret": {"secretName": "secret", "items": [{"key": "s", "path": "deep/s", "mode": 256}]}},
            {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {"configMap": {"name": "map", "items": [{"key": "x", "path": "x"}]}}]}},
            {"name": "empty", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "host", "hostPath": {"path": host, "type": "DirectoryOrCreate"}}]}))
        .await;
    node.until_ready("vols").await;
    let run = async |command: &str| node.exec("vols", "a", command).await;
    assert_eq!(run("cat /map/k /secret/deep/s /down/labels /all/x").await, "onehiddenapp=\"vols\"y");
    assert!(run("cat /all/token | cut -d. -f1 | wc -c").await.trim().parse::<usize>().unwrap() > 10);
    assert_eq!(run("id -u; id -G").await, "1000\n0 1234\n");
    assert_eq!(run("touch /empty/f && stat -c %g /empty/f").await, "1234\n");
    assert_eq!(run("stat -Lc %a /secret/deep/s").await, "440\n");
    assert_eq!(run("cat /one; df -k /memory | tail -1 | awk '{print $2}'").await, "one1024\n");
    assert_eq!(run("echo x > /expanded/f; ls /empty/vols/sub").await, "f\n");
    assert!(run("echo x > /map/k").await.contains("Read-only file system"));

    let maps = node.admin.namespaced(&client::resources::CONFIG_MAPS, "default");
    let change = client::Patch::Merge(client::json::parse(br#"{"data": {"k": "two"}}"#).unwrap());
    maps.patch("map", "", &change, &client::WriteOptions::default()).await.unwrap();
    let mut tries = 0;
    while run("cat /map/k").await != "two" {
        tries += 1;
        assert!(tries < 100, "the change did not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    node.pod(
        "missing",
        json!({"containers": [{"name": "a", "image": IMAGE, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "none"}}]}),
    )
    .await;
    let mut tries = 0;
    while !node
        .events("missing")
        .await
        .contains(&"FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"none\" not found".to_owned())
    {
        tries += 1;
        assert!(tries < 100, "{:?}", node.events("missing").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_and_crashes_back_off() {
    let node = Node::start().await;
    node.pod(
        "ready",
        json!({"containers": [{"name": "a", "image": IMAGE,
        "command": ["/bin/sh", "-c", "mkdir /www; echo ok > /www/healthz; httpd -f -p 8080 -h /www & sleep 1000"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
        "livenessProbe": {"exec": {"command": ["cat", "/www/healthz"]}, "periodSeconds": 1, "failureThreshold": 60}}]}),
    )
    .await;
    node.pod(
        "sick",
        json!({"containers": [{"name": "a", "image": IMAGE, "command": sleeper("a")["command"],
        "livenessProbe": {"exec": {"command": ["cat", "/none"]}, "periodSeconds": 1, "failureThreshold": 1}}]}),
    )
    .await;
    node.pod("crash", json!({"containers": [shell("a", "exit 1")]})).await;
    node.until_ready("ready").await;
    node.exec("ready", "a", "mv /www/healthz /www/gone").await;
    node.until("ready", "not ready", |pod| !is_ready(pod)).await;
    node.exec("ready", "a", "mv /www/gone /www/healthz").await;
    node.until_ready("ready").await;

    node.until("sick", "restarted", |pod| restarts(pod) >= 1).await;
    let events = node.events("sick").await.join("\n");
    assert!(
        events.contains("Unhealthy: Liveness probe failed: cat: can't open '/none': No such file or directory"),
        "{events}"
    );
    assert!(events.contains("Killing: Container a failed liveness probe, will be restarted"), "{events}");

    let crash = node.until("crash", "backing off", |pod| waiting(pod) == "CrashLoopBackOff").await.status.unwrap();
    let first = &crash.container_statuses.unwrap()[0];
    let message = first.state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert!(message.starts_with("back-off 10s restarting failed container=a pod=crash_default("), "{message}");
    assert_eq!((first.restart_count, crash.phase.as_deref()), (1, Some("Running")));
    assert_eq!(first.last_state.clone().unwrap().terminated.unwrap().exit_code, 1);
    node.finish().await;
}

fn restarts(pod: &k8s_openapi::api::core::v1::Pod) -> i32 {
    pod.status
        .as_ref()
        .and_then(|status| Some(status.container_statuses.as_ref()?.first()?.restart_count))
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_end_in_their_time() {
    let node = Node::start().await;
    let host = node.dir.join("trace");
    let traced = |name: &str, pre_stop: &str| {
        json!({"name": name, "image": IMAGE,
            "command": ["/bin/sh", "-c", format!("trap 'echo {name} told >> /trace/log; exit 0' TERM; while :; do sleep 0.1; done")],
            "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", pre_stop]}}},
            "volumeMounts": [{"name": "trace", "mountPath": "/trace"}]})
    };
    let mut sidecar = traced("side", "echo side hook >> /trace/log");
    sidecar["restartPolicy"] = json!("Always");
    node.pod("graceful", json!({"terminationGracePeriodSeconds": 20, "initContainers": [sidecar], "containers": [traced("main", "echo main hook >> /trace/log; sleep 1")],
        "volumes": [{"name": "trace", "hostPath": {"path": host, "type": "DirectoryOrCreate"}}]})).await;
    node.pod("deaf", json!({"terminationGracePeriodSeconds": 600, "containers": [shell("a", "trap '' TERM; while :; do sleep 1; done")]})).await;
    node.pod("late", json!({"activeDeadlineSeconds": 2, "containers": [sleeper("a")]})).await;
    let pod = node.until_ready("graceful").await;
    assert_eq!(pod.status.unwrap().init_container_statuses.unwrap()[0].started, Some(true));
    node.until_ready("deaf").await;

    node.delete("graceful", 20).await;
    node.until_gone("graceful").await;
    let trace = std::fs::read_to_string(host.join("log")).unwrap();
    let lines: Vec<_> = trace.lines().filter(|line| *line != "side hook").collect();
    assert_eq!(lines, ["main hook", "main told", "side told"], "{trace}");

    // A deaf one would take ten minutes; a second deletion shortens that.
    node.delete("deaf", 600).await;
    node.until("deaf", "terminating", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.delete("deaf", 1).await;
    node.until_gone("deaf").await;

    let late = node.until_phase("late", "Failed").await.status.unwrap();
    assert_eq!(late.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(late.message.as_deref(), Some("Pod was active on the node longer than the specified deadline"));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_leaves_pods_running() {
    let mut node = Node::start().await;
    node.pod("keep", json!({"containers": [sleeper("a")]})).await;
    node.pod("gone", json!({"containers": [sleeper("a")]})).await;
    std::fs::write(
        node.dir.join("manifests/static.yaml"),
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: static}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: a, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}\n"),
    )
    .unwrap();
    let before = node.until_ready("keep").await;
    node.until_ready("gone").await;
    let mirror = format!("static-{}", node.name);
    let shown = node.until_ready(&mirror).await;
    assert!(shown.metadata.annotations.unwrap().contains_key("kubernetes.io/config.mirror"));

    node.stop_kubelet().await;
    node.admin
        .namespaced(&client::resources::PODS, "default")
        .delete("gone", &client::DeleteOptions::default().grace(0))
        .await
        .unwrap();
    node.start_kubelet().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = node.until_ready("keep").await;
    let ids = |pod: &k8s_openapi::api::core::v1::Pod| {
        let status = pod.status.as_ref().unwrap();
        (status.container_statuses.as_ref().unwrap()[0].container_id.clone(), status.pod_ip.clone(), restarts(pod))
    };
    assert_eq!(ids(&before), ids(&after));
    let conditions = |pod: &k8s_openapi::api::core::v1::Pod| pod.status.as_ref().unwrap().conditions.clone();
    assert_eq!(conditions(&before), conditions(&after));
    let kubelet = node.kubelet.clone().unwrap();
    let mut tries = 0;
    while kubelet::worker::observe::observe(&kubelet.runtime, before.metadata.uid.as_deref().unwrap())
        .await
        .unwrap()
        .running()
        .count()
        != 1
        || running(&kubelet).await != 2
    {
        tries += 1;
        assert!(tries < 200, "the pod deleted meanwhile still runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(kubelet);
    std::fs::remove_file(node.dir.join("manifests/static.yaml")).unwrap();
    node.until_gone(&mirror).await;
    node.finish().await;
}

async fn running(kubelet: &kubelet::kubelet::Kubelet) -> usize {
    let state =
        kubelet::cri::v1::ContainerStateValue { state: kubelet::cri::v1::ContainerState::ContainerRunning as i32 };
    let filter = kubelet::cri::v1::ContainerFilter { state: Some(state), ..Default::default() };
    kubelet
        .runtime
        .list_containers(kubelet::cri::v1::ListContainersRequest { filter: Some(filter) })
        .await
        .unwrap()
        .containers
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_registered_and_ready() {
    let node = Node::start().await;
    let nodes = node.admin.all(&client::resources::NODES);
    let mut tries = 0;
    let shown = loop {
        let found: Option<k8s_openapi::api::core::v1::Node> =
            nodes.get_opt(&node.name).await.unwrap().map(|answer| answer.view().unwrap());
        let ready = |found: &k8s_openapi::api::core::v1::Node| {
            found
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten())
                .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        if let Some(found) = found.filter(ready) {
            break found;
        }
        tries += 1;
        assert!(tries < 200, "the node is not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let status = shown.status.unwrap();
    assert_eq!(shown.metadata.labels.unwrap()["kubernetes.io/hostname"], node.name);
    assert!(status.capacity.unwrap().contains_key("ephemeral-storage"));
    assert!(status.node_info.unwrap().container_runtime_version.contains("containerd://"));
    let lease = node.admin.namespaced(&client::resources::LEASES, "kube-node-lease");
    let mut tries = 0;
    while lease.get_opt(&node.name).await.unwrap().is_none() {
        tries += 1;
        assert!(tries < 100, "no lease");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Regression: a node that was given up for a while stayed unknown for minutes, though its kubelet was well.
    let unknown = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    let patch = client::Patch::Strategic(client::json::parse(unknown.to_string().as_bytes()).unwrap());
    nodes.patch(&node.name, "status", &patch, &client::WriteOptions::default()).await.unwrap();
    let mut tries = 0;
    while ready_status(&node).await != "True" {
        tries += 1;
        assert!(tries < 400, "the node does not become ready again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.finish().await;
}

async fn ready_status(node: &Node) -> String {
    let answer = node.admin.all(&client::resources::NODES).get(&node.name).await.unwrap();
    let found: k8s_openapi::api::core::v1::Node = answer.view().unwrap();
    let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.into_iter().find(|one| one.type_ == "Ready").map(|one| one.status).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_kept_in_their_bounds() {
    let node = Node::start().await;
    let own = |name: &str, context: serde_json::Value| json!({"name": name, "image": IMAGE, "command": sleeper("a")["command"], "securityContext": context});
    node.pod("bound", json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 50, "supplementalGroups": [60], "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "77"}]},
        "shareProcessNamespace": true, "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["alias"]}],
        "containers": [
            own("tight", json!({"runAsUser": 1000, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}})),
            {"name": "limited", "image": IMAGE, "command": sleeper("a")["command"], "ports": [{"containerPort": 80, "hostPort": 0}],
             "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "100m", "memory": "32Mi"}}}]})).await;
    node.pod("root", json!({"containers": [own("a", json!({"runAsNonRoot": true}))]})).await;
    node.pod(
        "host",
        json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet", "containers": [sleeper("a")]}),
    )
    .await;
    node.until_ready("bound").await;
    let tight = node.exec("bound", "tight", "id; touch /x; grep -E 'NoNewPrivs|CapEff|Seccomp:' /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ps | grep -c pause; grep alias /etc/hosts").await;
    for expected in [
        "uid=1000 gid=50 groups=50,60\n",
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000000",
        "Seccomp:\t2",
        "77\n",
        "192.0.2.9\talias",
    ] {
        assert!(tight.contains(expected), "{expected}: {tight}");
    }
    assert!(tight.contains("Read-only file system") || tight.contains("Permission denied"), "{tight}");
    let kubelet = node.kubelet.clone().unwrap();
    let pod = kubelet.find_pod("default", "bound", None).unwrap();
    let cgroups = kubelet.cgroups.as_ref().unwrap();
    let path = cgroups.pod_path(&pod);
    assert!(path.contains("/kubepods/burstable/pod"), "{path}");
    let found = kubelet.running_container(&pod, "limited").await.unwrap().unwrap();
    let (file, quota) = match cgroups.version() {
        kubelet::cgroups::Version::V1 => ("cpu.cfs_quota_us", "10000"),
        kubelet::cgroups::Version::V2 => ("cpu.max", "10000 100000"),
    };
    let read = std::fs::read_to_string(cgroups.file("cpu", &format!("{path}/{}", found.id), file).unwrap()).unwrap();
    assert_eq!(read.trim(), quota);
    // The runtime is listed once a second: what has just started shows a moment later.
    let counted = async {
        loop {
            let pods = kubelet.stats().await.unwrap().pods;
            let found = pods.into_iter().find(|used| used.pod.metadata.name.as_deref() == Some("bound"));
            if let Some(found) = found.filter(|found| found.containers.len() == 2) {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let used = tokio::time::timeout(std::time::Duration::from_secs(20), counted).await.unwrap();
    let names: Vec<_> = used.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["limited", "tight"]);
    assert!(
        used.containers.iter().all(|own| own.cpu.is_some() && own.memory.is_some_and(|memory| memory.working_set > 0))
    );
    assert!(used.cpu.is_some_and(|cpu| cpu.total_nanos > 0) && used.memory.is_some());
    assert!(kubelet.stats().await.unwrap().node.cpu.is_some());
    drop(used);
    drop(kubelet);

    let refused = node.until("root", "refused", |pod| waiting(pod) == "CreateContainerConfigError").await;
    let message =
        refused.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert!(
        message.starts_with("container has runAsNonRoot and image will run as root (pod: \"root_default("),
        "{message}"
    );
    let host = node.until_ready("host").await.status.unwrap();
    assert_eq!(host.pod_ip, host.host_ip);
    assert!(
        node.exec("host", "a", "cat /etc/hosts").await.starts_with("# Kubernetes-managed hosts file (host network).\n")
    );

    // kubectl debug: an ephemeral container that sees another's processes.
    let pods = node.admin.namespaced(&client::resources::PODS, "default");
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": IMAGE, "targetContainerName": "a", "command": ["/bin/sh", "-c", "ps; sleep 1000"]}]}});
    let patch = client::Patch::Strategic(client::json::parse(debug.to_string().as_bytes()).unwrap());
    pods.patch("host", "ephemeralcontainers", &patch, &client::WriteOptions::default()).await.unwrap();
    node.until("host", "debugged", |pod| {
        let status =
            pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.as_ref()?.first().cloned());
        status.is_some_and(|status| status.state.is_some_and(|state| state.running.is_some()))
    })
    .await;
    let seen = node.log("host", "debug").await;
    assert!(seen.contains("trap 'exit 0' TERM"), "{seen}");
    node.finish().await;
}

/// Also says how long it took and what the whole costs at rest (`--nocapture`).
#[tokio::test(flavor = "multi_thread")]
async fn many_pods_come_and_go() {
    const PODS: usize = 15;
    let node = Node::start().await;
    let names: Vec<String> = (0..PODS).map(|at| format!("many-{at}")).collect();
    let begun = std::time::Instant::now();
    for name in &names {
        node.pod(name, json!({"containers": [{"name": "a", "image": IMAGE, "command": ["sleep", "1000000"]}]})).await;
    }
    for name in &names {
        node.until_ready(name).await;
    }
    println!("{PODS} pods ready after {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    node.pod("single", json!({"containers": [{"name": "a", "image": IMAGE, "command": ["sleep", "1000000"]}]})).await;
    node.until_ready("single").await;
    println!("one more pod ready after {:?}", begun.elapsed());

    tokio::time::sleep(Duration::from_secs(2)).await;
    let (cpu, seconds) = (cpu_seconds(), 5);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    println!("at rest: {:.2} % of a core", (cpu_seconds() - cpu) / 5.0 * 100.0);

    let begun = std::time::Instant::now();
    for name in &names {
        node.delete(name, 0).await;
    }
    for name in &names {
        node.until_gone(name).await;
    }
    println!("{PODS} pods gone after {:?}", begun.elapsed());
    node.finish().await;
}

/// Of this process: API server and kubelet, not the runtime.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
