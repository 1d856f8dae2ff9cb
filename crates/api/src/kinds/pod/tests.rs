use rstest::rstest;
use serde_json::json;

use super::*;
use crate::kinds::strategy;
use crate::kinds::testing::{create, object, said, tree, update};

/// A sound pod with changes at dotted paths; `c.` stands for the first container.
fn pod(change: serde_json::Value) -> Value {
    let mut pod = object(true, json!({"spec": {"containers": [{"name": "c", "image": "a:1"}]}}));
    for (path, value) in tree(change).as_object().unwrap().iter() {
        match path.strip_prefix("c.") {
            Some(path) => {
                pod.at_mut("spec.containers").unwrap().as_array_mut().unwrap()[0].set(path, value);
            }
            None => pod.set(path, value),
        }
    }
    pod
}

#[rstest]
#[case::sound(json!({}), "")]
#[case::no_containers(json!({"spec.containers": []}), "spec.containers: Required value")]
#[case::no_image(json!({"c.image": ""}), "spec.containers[0].image: Required value")]
#[case::padded_image(json!({"c.image": " a"}),
    r#"spec.containers[0].image: Invalid value: " a": must not have leading or trailing whitespace"#)]
#[case::restart_policy(json!({"spec.restartPolicy": "Maybe"}),
    r#"spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never""#)]
#[case::dns_policy(json!({"spec.dnsPolicy": "None"}),
    "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None")]
#[case::duplicate_names(json!({"spec.containers": [{"name": "a", "image": "a"}, {"name": "a", "image": "a"}]}),
    r#"spec.containers[1].name: Duplicate value: "a""#)]
#[case::request_over_limit(json!({"c.resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
    r#"spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#)]
#[case::odd_resource(json!({"c.resources": {"limits": {"flops": "1"}}}),
    r#"spec.containers[0].resources.limits[flops]: Invalid value: "flops": must be a standard resource type or fully qualified; spec.containers[0].resources.limits[flops]: Invalid value: "flops": must be a standard resource for containers; spec.containers[0].resources.requests[flops]: Invalid value: "flops": must be a standard resource type or fully qualified; spec.containers[0].resources.requests[flops]: Invalid value: "flops": must be a standard resource for containers"#)]
#[case::negative_cpu(json!({"c.resources": {"requests": {"cpu": "-1"}}}),
    r#"spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0"#)]
#[case::unmounted(json!({"c.volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
    r#"spec.containers[0].volumeMounts[0].name: Not found: "v""#)]
#[case::two_sources(json!({"spec.volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
    "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type")]
#[case::secret_unnamed(json!({"spec.volumes": [{"name": "v", "secret": {}}]}),
    "spec.volumes[0].secret.secretName: Required value")]
#[case::port(json!({"c.ports": [{"containerPort": 0, "protocol": "ICMP"}]}),
    r#"spec.containers[0].ports[0].containerPort: Required value; spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#)]
#[case::host_ports(json!({"c.ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}),
    r#"spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//5""#)]
#[case::probe_without_handler(json!({"c.livenessProbe": {}}),
    "spec.containers[0].livenessProbe: Required value: must specify a handler type")]
#[case::liveness_successes(json!({"c.livenessProbe": {"successThreshold": 2, "tcpSocket": {"port": 1}}}),
    "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1")]
#[case::env(json!({"c.env": [{"name": "a=b", "value": "x"}]}),
    r#"spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='"#)]
#[case::env_field(json!({"c.env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}),
    r#"spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs""#)]
#[case::env_label(json!({"c.env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}), "")]
#[case::privileged_without_escalation(json!({"c.securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
    r#"spec.containers[0].securityContext: Invalid value: {"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":null,"SeccompProfile":null,"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"#)]
#[case::user(json!({"spec.securityContext": {"runAsUser": -1}}),
    "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive")]
#[case::toleration(json!({"spec.tolerations": [{"operator": "Equal"}]}),
    r#"spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys""#)]
#[case::spread(json!({"spec.topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
    "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero")]
#[case::affinity_weight(json!({"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}),
    "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100")]
#[case::init_probe(json!({"spec.initContainers": [{"name": "i", "image": "a", "livenessProbe": {"tcpSocket": {"port": 1}}}]}),
    "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always")]
#[case::sidecar_probe(json!({"spec.initContainers": [{"name": "i", "image": "a", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}}]}), "")]
#[case::ephemeral(json!({"spec.ephemeralContainers": [{"name": "e", "image": "a"}]}),
    "spec.ephemeralContainers: Forbidden: cannot be set on create")]
#[case::gated_and_bound(json!({"spec.nodeName": "n", "spec.schedulingGates": [{"name": "a"}]}),
    "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared")]
#[case::token_without_account(json!({"spec.volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
    "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set")]
#[case::token_lifetime(json!({"spec.serviceAccountName": "s", "spec.volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}}]}),
    "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes")]
#[case::sysctl(json!({"spec.hostNetwork": true, "spec.securityContext.sysctls": [{"name": "net.a", "value": "1"}]}),
    r#"spec.securityContext.sysctls[0].name: Invalid value: "net.a": may not be specified when 'hostNetwork' is true"#)]
#[case::seccomp(json!({"spec.securityContext.seccompProfile": {"type": "Localhost"}}),
    "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost")]
#[case::deadline(json!({"spec.activeDeadlineSeconds": 0}),
    "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive")]
#[case::host_alias(json!({"spec.hostAliases": [{"ip": "x", "hostnames": ["A"]}]}),
    r#"spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff); spec.hostAliases[0].hostnames[0]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#)]
#[case::sleep(json!({"c.lifecycle.preStop.sleep.seconds": 31}),
    "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)")]
#[case::huge_pages_alone(json!({"c.resources.limits.hugepages-2Mi": "2Mi"}),
    "spec.containers[0].resources: Forbidden: HugePages require cpu or memory")]
#[case::deletion_cost(json!({"metadata.annotations": {"controller.kubernetes.io/pod-deletion-cost": "+1"}}),
    r#"metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a 32bit integer"#)]
#[case::resource_claim(json!({"c.resources.claims": [{"name": "x"}]}),
    r#"spec.containers[0].resources.claims[0]: Not found: "x": must be one of the names in pod.spec.resourceClaims which is empty"#)]
fn new_pods(#[case] change: serde_json::Value, #[case] expected: &str) {
    assert_eq!(create(&RULES, true, pod(change)).err().unwrap_or_default().join("; "), expected);
}

#[test]
fn a_new_pod_is_pending_with_its_class() {
    let created = create(&RULES, true, pod(json!({"status.phase": "Running"}))).unwrap();
    assert_eq!(created.at("status"), &tree(json!({"phase": "Pending", "qosClass": "BestEffort"})));
    assert_eq!(created.int("metadata.generation"), 1);
}

#[test]
fn label_keys_move_into_the_selector_once() {
    let created = create(
        &RULES,
        true,
        pod(json!({"metadata.labels": {"v": "1"}, "spec.topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["v"],
             "labelSelector": {"matchLabels": {"a": "b"}}}]})),
    )
    .unwrap();
    let expressions = created.array_at("spec.topologySpreadConstraints")[0].array_at("labelSelector.matchExpressions");
    assert_eq!(expressions, [tree(json!({"key": "v", "operator": "In", "values": ["1"]}))]);
}

#[rstest]
#[case::image(json!({"c.image": "a:2"}), "")]
#[case::label(json!({"metadata.labels": {"a": "b"}}), "")]
#[case::more_tolerations(json!({"spec.tolerations": [{"key": "a", "operator": "Exists"}]}), "")]
#[case::deadline(json!({"spec.activeDeadlineSeconds": 5}), "")]
#[case::containers(json!({"spec.containers": []}),
    "spec.containers: Required value; spec.containers: Forbidden: pod updates may not add or remove containers")]
#[case::command(json!({"c.command": ["x"]}), "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n")]
fn pod_updates(#[case] change: serde_json::Value, #[case] expected: &str) {
    let old = create(&RULES, true, pod(json!({}))).unwrap();
    let mut new = old.clone();
    for (path, value) in tree(change).as_object().unwrap().iter() {
        match path.strip_prefix("c.") {
            Some(path) => new.at_mut("spec.containers").unwrap().as_array_mut().unwrap()[0].set(path, value),
            None => new.set(path, value),
        }
    }
    let said = update(&RULES, true, new, old).err().unwrap_or_default().join("; ");
    assert!(if expected.is_empty() { said.is_empty() } else { said.starts_with(expected) }, "{said}");
}

fn through(subresource: &str, new: &mut Value, old: &Value) -> Result<(), Vec<String>> {
    let user = crate::user::UserInfo::authenticated("t", &[]);
    let context = crate::kinds::Context { user: &user, now: jiff::Timestamp::UNIX_EPOCH };
    strategy::before_subresource_update(&RULES, subresource, true, new, old, &context)
        .map(drop)
        .map_err(|errors| said(&errors))
}

#[test]
fn status_writes_touch_nothing_else() {
    let old = create(&RULES, true, pod(json!({}))).unwrap();
    let mut new = old.clone();
    new.set("spec.nodeName", "elsewhere");
    new.set("status", tree(json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]})));
    through("status", &mut new, &old).unwrap();
    assert!(!new.has("spec.nodeName"));
    assert_eq!(new.str_at("status.qosClass"), "BestEffort");
    new.set("status.qosClass", "Guaranteed");
    assert_eq!(
        through("status", &mut new, &old).unwrap_err(),
        [r#"status.qosClass: Invalid value: "Guaranteed": field is immutable"#]
    );
}

#[test]
fn debug_containers_are_added_and_stay() {
    let old = create(&RULES, true, pod(json!({}))).unwrap();
    let mut new = old.clone();
    new.set("spec.ephemeralContainers", tree(json!([{"name": "d", "image": "sh", "targetContainerName": "c"}])));
    (RULES.defaults)(&mut new);
    through("ephemeralcontainers", &mut new, &old).unwrap();
    assert_eq!(new.int("metadata.generation"), 2);
    let mut without = old.clone();
    assert_eq!(
        through("ephemeralcontainers", &mut without, &new).unwrap_err(),
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"]
    );
}

#[test]
fn resizing_changes_cpu_and_memory_within_the_class() {
    let old = create(&RULES, true, pod(json!({"c.resources.requests": {"cpu": "1"}}))).unwrap();
    let resized = |requests: serde_json::Value| {
        let mut new = old.clone();
        new.at_mut("spec.containers").unwrap().as_array_mut().unwrap()[0].set("resources.requests", tree(requests));
        let result = through("resize", &mut new, &old);
        result.map(|()| new)
    };
    assert_eq!(resized(json!({"cpu": "2"})).unwrap().int("metadata.generation"), 2);
    assert_eq!(
        resized(json!({})).unwrap_err(),
        [
            r#"spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing"#,
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ]
    );
}

#[rstest]
#[case(json!({}), None, 0)]
#[case(json!({"spec.nodeName": "n"}), None, 30)]
#[case(json!({"spec.nodeName": "n"}), Some(5), 5)]
#[case(json!({"spec.nodeName": "n"}), Some(-5), 1)]
#[case(json!({"spec.nodeName": "n", "status.phase": "Failed"}), Some(5), 0)]
fn deletion_grace(#[case] change: serde_json::Value, #[case] asked: Option<i64>, #[case] expected: i64) {
    let mut pod = pod(change);
    (RULES.defaults)(&mut pod);
    assert_eq!(deletion_grace_seconds(&pod, asked), expected);
}
