//! How long a write's decoding takes: `cargo bench -p api`. Prints the best of many rounds, so that a busy machine
//! does not count.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use api::codec::{json, protobuf};
use api::decode::{FieldValidation, canonicalize, decode};
use api::registry::Registry;
use api::schema;

const ROUNDS: usize = 2_000;

fn main() {
    let start = Instant::now();
    schema::builtin();
    println!("{:<34} {:>9.1?}", "load types", start.elapsed());
    let start = Instant::now();
    let registry = Registry::builtin();
    println!("{:<34} {:>9.1?}", "load registry", start.elapsed());

    let text = pod();
    let id = registry.kind("", "v1", "Pod").unwrap();
    let schema = schema::builtin();
    let decoded = decode(schema, id, json::parse(&text).unwrap(), FieldValidation::Strict).unwrap().value;
    let mut message = Vec::new();
    protobuf::encode(schema, id, &decoded, &mut message).unwrap();
    println!("a pod of {} bytes of JSON, {} of protobuf", text.len(), message.len());

    best("parse", || json::parse(&text).unwrap());
    best("parse strictly", || json::parse_strict(&text).unwrap());
    best("parse and decode", || decode(schema, id, json::parse(&text).unwrap(), FieldValidation::Ignore).unwrap());
    let mut tree = decoded.clone();
    best("clone", || decoded.clone());
    best("canonicalize", || canonicalize(schema, id, &mut tree).unwrap());
    best("write", || json::to_vec(&decoded));
    best("protobuf decode", || protobuf::decode(schema, id, &message).unwrap());
    best("protobuf encode", || {
        let mut out = Vec::with_capacity(4096);
        protobuf::encode(schema, id, &decoded, &mut out).unwrap();
        out
    });
}

fn best<T>(what: &str, mut run: impl FnMut() -> T) {
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(run());
        least = least.min(start.elapsed());
    }
    println!("{what:<34} {least:>9.1?}");
}

/// A pod as a controller makes it, about 3 KiB.
fn pod() -> Vec<u8> {
    let env: Vec<String> =
        (0..8).map(|at| format!(r#"{{"name":"SETTING_NUMBER_{at}","value":"some value of it {at}"}}"#)).collect();
    let container = |name: &str| {
        format!(
            r#"{{"name":"{name}","image":"registry.example.com/team/{name}:1.2.3","env":[{}],"ports":[{{"containerPort":8080,"protocol":"TCP"}}],
            "resources":{{"limits":{{"cpu":"500m","memory":"128Mi"}},"requests":{{"cpu":"250m","memory":"64Mi"}}}},
            "livenessProbe":{{"httpGet":{{"path":"/healthz","port":8080,"scheme":"HTTP"}},"initialDelaySeconds":3,"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3}},
            "volumeMounts":[{{"name":"kube-api-access-x7c2d","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}}],
            "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",
            "securityContext":{{"allowPrivilegeEscalation":false,"capabilities":{{"drop":["ALL"]}},"runAsNonRoot":true}}}}"#,
            env.join(",")
        )
    };
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"generateName":"web-7f9c6d5b8-","labels":{{"app":"web","pod-template-hash":"7f9c6d5b8"}},
        "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7f9c6d5b8","uid":"0f8f1d5e-5d2e-4f1e-9d2e-111111111111","controller":true,"blockOwnerDeletion":true}}]}},
        "spec":{{"volumes":[{{"name":"kube-api-access-x7c2d","projected":{{"sources":[{{"serviceAccountToken":{{"expirationSeconds":3607,"path":"token"}}}},{{"configMap":{{"name":"kube-root-ca.crt","items":[{{"key":"ca.crt","path":"ca.crt"}}]}}}}],"defaultMode":420}}}}],
        "containers":[{},{}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default",
        "securityContext":{{}},"schedulerName":"default-scheduler","tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}],
        "priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"}},"status":{{}}}}"#,
        container("server"),
        container("sidecar")
    );
    json::to_vec(&json::parse(text.as_bytes()).unwrap())
}
