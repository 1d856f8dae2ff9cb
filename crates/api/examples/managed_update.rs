//! What field management costs: `cargo run --release -p api --example managed_update`.
//!
//! A pod of 3 KiB with two managers. The clone that each write needs anyway is measured alone.

#![allow(clippy::expect_used)] // A benchmark stops where its own input is wrong.

use api::codec::json;
use api::decode::canonicalize;
use api::managed::{Filter, Request, SamePaths, apply, update};
use api::patch::strategic;
use api::schema::builtin;
use api::value::Value;
use std::hint::black_box;
use std::time::Instant;

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-6d4b75cb6d-hx2vp","generateName":"web-6d4b75cb6d-",
"namespace":"default","uid":"0b7ad2fa-94a4-4f4c-9b35-3ae1cd0a8f5b","creationTimestamp":"2024-05-01T10:00:00Z",
"labels":{"app":"web","pod-template-hash":"6d4b75cb6d"},"annotations":{"example.com/team":"storefront"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-6d4b75cb6d","uid":"5c8a7c0e-7c36-4dc2-8f5c-2f6a3d5f4f5e","controller":true,"blockOwnerDeletion":true}]},
"spec":{"volumes":[{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}],"defaultMode":420}}],
"containers":[{"name":"web","image":"registry.example.com/web:1.2.3","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],
"env":[{"name":"MODE","value":"production"},{"name":"POD_IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}}],
"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},
"volumeMounts":[{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
"readinessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],
"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default",
"nodeName":"node-1","securityContext":{},"schedulerName":"default-scheduler",
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},
{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],
"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},
"status":{"phase":"Running","conditions":[
{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2024-05-01T10:00:01Z"},
{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2024-05-01T10:00:03Z"},
{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2024-05-01T10:00:03Z"},
{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2024-05-01T10:00:00Z"}],
"hostIP":"192.168.1.10","podIP":"10.244.0.17","podIPs":[{"ip":"10.244.0.17"}],"startTime":"2024-05-01T10:00:01Z",
"containerStatuses":[{"name":"web","state":{"running":{"startedAt":"2024-05-01T10:00:02Z"}},"lastState":{},"ready":true,"restartCount":0,
"image":"registry.example.com/web:1.2.3","imageID":"registry.example.com/web@sha256:4f2b","containerID":"containerd://6f1c","started":true}],"qosClass":"Burstable"}}"#;

fn main() {
    let of = builtin().find("io.k8s.api.core.v1.Pod");
    let request = |manager, subresource| Request {
        schema: builtin(),
        of,
        api_version: "v1",
        kind: "Pod",
        subresource,
        filter: Filter::of("", "Pod", subresource),
        versions: &SamePaths(&[]),
        manager,
        now: "2024-05-01T10:00:05Z",
    };
    let controller = request("kube-controller-manager", "");
    let kubelet = request("kubelet", "status");

    let full = json::parse(POD.as_bytes()).expect("valid JSON");
    let mut created = full.clone();
    created.remove("status");
    update(&controller, None, &mut created).expect("fits");
    let mut live = full;
    live.set("metadata.managedFields", created.at("metadata.managedFields").clone());
    update(&kubelet, Some(&created), &mut live).expect("fits");
    let bytes = json::to_vec(&live).len();
    println!("pod of {bytes} bytes, {} managers", live.array_at("metadata.managedFields").len());

    created.remove("metadata.managedFields");
    let mut ready = live.clone();
    if let Some(Value::Array(conditions)) = ready.at_mut("status.conditions") {
        conditions[1].set("status", "False");
        conditions[1].set("lastTransitionTime", "2024-05-01T10:01:03Z");
    }
    let mut image = live.clone();
    if let Some(Value::Array(containers)) = image.at_mut("spec.containers") {
        containers[0].set("image", "registry.example.com/web:1.2.4");
    }
    let mut config = Value::object();
    config.set("apiVersion", "v1");
    config.set("kind", "Pod");
    config.set("metadata.name", "web-6d4b75cb6d-hx2vp");
    config.set("metadata.labels", live.at("metadata.labels").clone());
    config.set("spec.containers", live.at("spec.containers").clone());
    let applier = request("helm", "");
    let applied = apply(&applier, Some(&live), &config, true).expect("fits").object;
    let editor = request("kubectl-edit", "");
    let patch = json::parse(br#"{"spec":{"containers":[{"name":"web","image":"web:2"}]}}"#).expect("valid JSON");

    measure("parse", || drop(black_box(json::parse(POD.as_bytes()))));
    measure("clone", || drop(black_box(live.clone())));
    measure("canonicalize (with a clone)", || {
        let mut pod = live.clone();
        drop(black_box(canonicalize(builtin(), of.expect("known"), &mut pod)));
    });
    measure("create", || drop(black_box(update(&controller, None, &mut created.clone()))));
    measure("update: nothing changed", || drop(black_box(update(&kubelet, Some(&live), &mut live.clone()))));
    measure("update: status by its owner", || drop(black_box(update(&kubelet, Some(&live), &mut ready.clone()))));
    measure("update: image by its owner", || drop(black_box(update(&controller, Some(&live), &mut image.clone()))));
    measure("update: image by another", || drop(black_box(update(&editor, Some(&live), &mut image.clone()))));
    measure("apply: unchanged", || drop(black_box(apply(&applier, Some(&applied), &config, false))));
    measure("apply: first, forced", || drop(black_box(apply(&applier, Some(&image), &config, true))));
    measure("strategic patch of the image", || {
        drop(black_box(strategic::apply(live.clone(), patch.clone(), builtin(), of.expect("known"))));
    });
}

/// The best of many short rounds: what it costs when nobody else uses the core.
fn measure(what: &str, mut run: impl FnMut()) {
    const ROUNDS: usize = 301;
    const RUNS: u32 = 40;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| run());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(RUNS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{:>8.2} µs  {what}", rounds[0]);
}
