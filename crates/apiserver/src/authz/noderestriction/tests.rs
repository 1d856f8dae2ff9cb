use rstest::rstest;

use super::*;
use crate::authz::{Change, Mode};
use crate::testing::parse;

/// Node `mynode` with `mypod`, node `other` with `otherpod`.
struct Stored;

impl Objects for Stored {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let text = match (group, resource, namespace, name) {
            ("", "nodes", "", "mynode") => r#"{"metadata":{"name":"mynode","uid":"node-uid"}}"#,
            ("", "pods", "ns", "mypod") => {
                r#"{"metadata":{"name":"mypod","uid":"pod-uid"},"spec":{"nodeName":"mynode","serviceAccountName":"sa","volumes":[
                {"name":"t","projected":{"sources":[{"serviceAccountToken":{"audience":"vault"}},{"podCertificate":{"signerName":"acme.io/signer"}}]}},
                {"name":"c","csi":{"driver":"driver"}},{"name":"p","persistentVolumeClaim":{"claimName":"claim"}}]}}"#
            }
            ("", "pods", "ns", "otherpod") => {
                r#"{"metadata":{"name":"otherpod","uid":"other-uid"},"spec":{"nodeName":"other"}}"#
            }
            ("", "serviceaccounts", "ns", "sa") => r#"{"metadata":{"name":"sa","uid":"sa-uid"}}"#,
            ("", "persistentvolumeclaims", "ns", "claim") => r#"{"spec":{"volumeName":"pv"}}"#,
            ("", "persistentvolumes", "", "pv") => r#"{"spec":{"gcePersistentDisk":{"pdName":"d"}}}"#,
            ("storage.k8s.io", "csidrivers", "", "driver") => {
                r#"{"spec":{"tokenRequests":[{"audience":"from-driver"}]}}"#
            }
            ("storage.k8s.io", "csidrivers", "", "pd.csi.storage.gke.io") => {
                r#"{"spec":{"tokenRequests":[{"audience":"from-disk"}]}}"#
            }
            _ => return None,
        };
        Some(Arc::new(parse(text).unwrap()))
    }
}

/// Nodes may ask for the audience `granted`.
fn authorizer() -> Authorizer {
    let authorizer = Authorizer::new(vec![Mode::Node, Mode::Rbac]);
    for (resource, text) in [
        (
            "clusterroles",
            r#"{"metadata":{"name":"a"},"rules":[{"verbs":["request-serviceaccounts-token-audience"],"apiGroups":[""],"resources":["granted"]}]}"#,
        ),
        (
            "clusterrolebindings",
            r#"{"metadata":{"name":"a"},"roleRef":{"kind":"ClusterRole","name":"a"},"subjects":[{"kind":"Group","name":"system:nodes"}]}"#,
        ),
    ] {
        authorizer.apply("rbac.authorization.k8s.io", resource, Change::Put(&parse(text).unwrap()));
    }
    authorizer
}

/// `OPERATION resource[/subresource][.group] [namespace/]name`, made by `system:node:mynode`.
fn ask(request: &str, new: &str, old: &str) -> Result<(), Status> {
    let user = UserInfo::authenticated("system:node:mynode", &["system:nodes"]);
    let parts: Vec<&str> = request.split(' ').collect();
    let operation = match parts[0] {
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        _ => Operation::Delete,
    };
    let (resource, group) = parts[1].split_once('.').unwrap_or((parts[1], ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (namespace, name) = parts[2].split_once('/').unwrap_or(("", parts[2]));
    let (new, old) = (parse(new).unwrap(), parse(old).unwrap());
    let request = Request {
        user: &user,
        operation,
        group,
        version: "v1",
        resource,
        subresource,
        namespace,
        name,
        new: Some(&new).filter(|new| !new.is_null()),
        old: Some(&old).filter(|old| !old.is_null()),
    };
    check(&request, &Stored, &authorizer())
}

const MIRROR: &str = r#"{"metadata":{"name":"m","annotations":{"kubernetes.io/config.mirror":"x"},"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"mynode","uid":"node-uid","controller":true}]},"spec":{"nodeName":"mynode"}}"#;

/// The mirror pod with something else in place of a part of its text.
fn mirror(from: &str, to: &str) -> String {
    assert!(MIRROR.contains(from));
    MIRROR.replace(from, to)
}

#[rstest]
#[case::good(MIRROR.to_owned(), "")]
#[case::no_mirror(
    mirror("kubernetes.io/config.mirror", "x"),
    "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"mynode\" can only create mirror pods"
)]
#[case::other_node(
    mirror(r#"{"nodeName":"mynode"}"#, r#"{"nodeName":"other"}"#),
    "node \"mynode\" can only create pods with spec.nodeName set to itself"
)]
#[case::no_owner(
    mirror(
        r#""ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"mynode","uid":"node-uid","controller":true}]"#,
        r#""ownerReferences":[]"#
    ),
    "node \"mynode\" can only create pods with an owner reference set to itself"
)]
#[case::other_owner(
    mirror(r#""name":"mynode","uid""#, r#""name":"other","uid""#),
    "node \"mynode\" can only create pods with an owner reference set to itself"
)]
#[case::no_controller(
    mirror(r#""controller":true"#, r#""controller":false"#),
    "node \"mynode\" can only create pods with a controller owner reference set to itself"
)]
#[case::blocking(
    mirror(r#""controller":true"#, r#""controller":true,"blockOwnerDeletion":true"#),
    "node \"mynode\" must not set blockOwnerDeletion on an owner reference"
)]
#[case::old_uid(mirror("node-uid", "old"), "node mynode UID mismatch: expected old got node-uid")]
#[case::service_account(
    mirror(r#"{"nodeName":"mynode"}"#, r#"{"nodeName":"mynode","serviceAccountName":"x"}"#),
    "node \"mynode\" can not create pods that reference serviceaccounts"
)]
#[case::secret(
    mirror(
        r#"{"nodeName":"mynode"}"#,
        r#"{"nodeName":"mynode","volumes":[{"name":"v","secret":{"secretName":"s"}}]}"#
    ),
    "node \"mynode\" can not create pods that reference secrets"
)]
#[case::claim(
    mirror(r#"{"nodeName":"mynode"}"#, r#"{"nodeName":"mynode","volumes":[{"name":"v","persistentVolumeClaim":{}}]}"#),
    "node \"mynode\" can not create pods that reference persistentvolumeclaims"
)]
#[case::host_path(
    mirror(r#"{"nodeName":"mynode"}"#, r#"{"nodeName":"mynode","volumes":[{"name":"v","hostPath":{}}]}"#),
    ""
)]
#[case::unknown_volume(
    mirror(r#"{"nodeName":"mynode"}"#, r#"{"nodeName":"mynode","volumes":[{"name":"v","novel":{}}]}"#),
    "error checking mirror pod for API references: unknown volume type for volume  \"v\""
)]
fn mirror_pods(#[case] pod: String, #[case] why: &str) {
    let said = ask("CREATE pods ns/", &pod, "null").map_or_else(|status| status.message, |()| String::new());
    let expected = if why.is_empty() { String::new() } else { format!("pods \"m\" is forbidden: {why}") };
    assert_eq!(said, expected);
}

const POD: &str = r#"{"metadata":{"labels":{"a":"b"}},"spec":{"nodeName":"mynode"},"status":{}}"#;

#[rstest]
#[case::delete_own("DELETE pods ns/mypod", "null", "null", "")]
#[case::delete_other(
    "DELETE pods ns/otherpod",
    "null",
    "null",
    "pods \"otherpod\" is forbidden: node \"mynode\" can only delete pods with spec.nodeName set to itself"
)]
#[case::delete_missing("DELETE pods ns/none", "null", "null", "pod \"none\" not found")]
#[case::update(
    "UPDATE pods ns/mypod",
    POD,
    POD,
    "pods \"mypod\" is forbidden: unexpected operation \"UPDATE\", node \"mynode\" can only create and delete mirror pods"
)]
#[case::binding(
    "CREATE pods/binding ns/mypod",
    "{}",
    "null",
    "pods \"mypod\" is forbidden: unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed"
)]
#[case::status("UPDATE pods/status ns/mypod", POD, POD, "")]
#[case::status_of_other(
    "UPDATE pods/status ns/mypod",
    POD,
    r#"{"spec":{"nodeName":"other"}}"#,
    "pods \"mypod\" is forbidden: node \"mynode\" can only update pod status for pods with spec.nodeName set to itself"
)]
#[case::labels(
    "UPDATE pods/status ns/mypod",
    r#"{"metadata":{"labels":{}}}"#,
    POD,
    "pods \"mypod\" is forbidden: node \"mynode\" cannot update labels through pod status"
)]
#[case::claim_statuses(
    "UPDATE pods/status ns/mypod",
    r#"{"metadata":{"labels":{"a":"b"}},"status":{"resourceClaimStatuses":[{"name":"x"}]}}"#,
    POD,
    "pods \"mypod\" is forbidden: node \"mynode\" cannot update resource claim statues"
)]
#[case::evict_own("CREATE pods/eviction ns/mypod", "{}", "null", "")]
#[case::evict_other(
    "CREATE pods/eviction ns/",
    r#"{"metadata":{"name":"otherpod"}}"#,
    "null",
    "pods \"otherpod\" is forbidden: node mynode can only evict pods with spec.nodeName set to itself"
)]
#[case::evict_nothing(
    "CREATE pods/eviction ns/",
    "{}",
    "null",
    "pods \"Unknown\" is forbidden: could not determine pod from request data"
)]
#[case::node_create("CREATE nodes ", r#"{"metadata":{"name":"mynode","labels":{"kubernetes.io/hostname":"h","foo":"bar","x.node.kubernetes.io/y":"z"}}}"#, "null", "")]
#[case::node_create_other(
    "CREATE nodes ",
    r#"{"metadata":{"name":"other"}}"#,
    "null",
    "nodes \"other\" is forbidden: node \"mynode\" is not allowed to modify node \"other\""
)]
#[case::node_create_labels(
    "CREATE nodes ",
    r#"{"metadata":{"name":"mynode","labels":{"node-restriction.kubernetes.io/x":"","foo.k8s.io/y":""}}}"#,
    "null",
    "nodes \"mynode\" is forbidden: node \"mynode\" is not allowed to set the following labels: foo.k8s.io/y, node-restriction.kubernetes.io/x"
)]
#[case::node_create_source(
    "CREATE nodes ",
    r#"{"metadata":{"name":"mynode"},"spec":{"configSource":{}}}"#,
    "null",
    "nodes \"mynode\" is forbidden: node \"mynode\" is not allowed to create pods with a non-nil configSource"
)]
#[case::node_taints(
    "UPDATE nodes mynode",
    r#"{"spec":{"taints":[{"key":"a"}]}}"#,
    "{}",
    "nodes \"mynode\" is forbidden: node \"mynode\" is not allowed to modify taints"
)]
#[case::node_no_taints("UPDATE nodes mynode", r#"{"spec":{"taints":[]}}"#, "{}", "")]
#[case::node_owners(
    "UPDATE nodes/status mynode",
    r#"{"metadata":{"ownerReferences":[{}]}}"#,
    "{}",
    "nodes \"mynode\" is forbidden: node \"mynode\" is not allowed to modify ownerReferences"
)]
#[case::node_label_removed(
    "UPDATE nodes mynode",
    "{}",
    r#"{"metadata":{"labels":{"node-role.kubernetes.io/master":""}}}"#,
    "nodes \"mynode\" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/master"
)]
#[case::node_delete_other(
    "DELETE nodes other",
    "null",
    "null",
    "nodes \"other\" is forbidden: node \"mynode\" is not allowed to modify node \"other\""
)]
#[case::claim(
    "UPDATE persistentvolumeclaims ns/c",
    "{}",
    "{}",
    "persistentvolumeclaims \"c\" is forbidden: may only update PVC status"
)]
#[case::claim_resized(
    "UPDATE persistentvolumeclaims/status ns/c",
    r#"{"status":{"capacity":{"storage":"2Gi"},"conditions":[{}]}}"#,
    "{}",
    ""
)]
#[case::claim_phase(
    "UPDATE persistentvolumeclaims/status ns/c",
    r#"{"status":{"phase":"Lost"}}"#,
    "{}",
    "persistentvolumeclaims \"c\" is forbidden: node \"mynode\" is not allowed to update fields other than status.quantity and status.conditions: status differs"
)]
#[case::lease("CREATE leases.coordination.k8s.io kube-node-lease/", r#"{"metadata":{"name":"mynode"}}"#, "null", "")]
#[case::lease_other(
    "CREATE leases.coordination.k8s.io kube-node-lease/",
    r#"{"metadata":{"name":"other"}}"#,
    "null",
    "leases.coordination.k8s.io \"other\" is forbidden: can only access node lease with the same name as the requesting node"
)]
#[case::lease_elsewhere(
    "UPDATE leases.coordination.k8s.io ns/mynode",
    "{}",
    "{}",
    "leases.coordination.k8s.io \"mynode\" is forbidden: can only access leases in the \"kube-node-lease\" system namespace"
)]
#[case::csinode("CREATE csinodes.storage.k8s.io ", r#"{"metadata":{"name":"mynode"}}"#, "null", "")]
#[case::csinode_other(
    "UPDATE csinodes.storage.k8s.io other",
    "{}",
    "{}",
    "csinodes.storage.k8s.io \"other\" is forbidden: can only access CSINode with the same name as the requesting node"
)]
#[case::slice(
    "CREATE resourceslices.resource.k8s.io ",
    r#"{"metadata":{"name":"s"},"spec":{"nodeName":"mynode"}}"#,
    "null",
    ""
)]
#[case::slice_of_all(
    "CREATE resourceslices.resource.k8s.io ",
    r#"{"metadata":{"name":"s"},"spec":{"allNodes":true}}"#,
    "null",
    "resourceslices.resource.k8s.io \"s\" is forbidden: can only create ResourceSlice with the same NodeName as the requesting node"
)]
#[case::slice_delete(
    "DELETE resourceslices.resource.k8s.io s",
    "null",
    r#"{"spec":{"nodeName":"other"}}"#,
    "resourceslices.resource.k8s.io \"s\" is forbidden: can only delete ResourceSlice with the same NodeName as the requesting node"
)]
#[case::elsewhere("CREATE deployments.apps ns/", "{}", "null", "")]
fn writes(#[case] request: &str, #[case] new: &str, #[case] old: &str, #[case] expected: &str) {
    assert_eq!(ask(request, new, old).map_or_else(|status| status.message, |()| String::new()), expected);
}

#[rstest]
#[case::no_audience(r#""uid":"pod-uid""#, "[]", "mynode is not authorized")]
#[case::of_a_volume(r#""uid":"pod-uid""#, r#"["vault"]"#, "")]
#[case::of_a_driver(r#""uid":"pod-uid""#, r#"["from-driver"]"#, "")]
#[case::of_a_migrated_disk(r#""uid":"pod-uid""#, r#"["from-disk"]"#, "")]
#[case::granted(r#""uid":"pod-uid""#, r#"["granted"]"#, "")]
#[case::unknown(
    r#""uid":"pod-uid""#,
    r#"["x"]"#,
    "system:node:mynode is not authorized to request tokens for audience \"x\""
)]
#[case::two(r#""uid":"pod-uid""#, r#"["vault","x"]"#, "node may only request 0 or 1 audiences")]
#[case::old_pod(
    r#""uid":"old""#,
    r#"["vault"]"#,
    "the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated"
)]
#[case::no_uid(r#""uid":"""#, r#"["vault"]"#, "node requested token with a pod binding without a uid")]
fn tokens(#[case] uid: &str, #[case] audiences: &str, #[case] why: &str) {
    let request = format!(
        r#"{{"spec":{{"audiences":{audiences},"boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"mypod",{uid}}}}}}}"#
    );
    let said = ask("CREATE serviceaccounts/token ns/sa", &request, "null")
        .map_or_else(|status| status.message, |()| String::new());
    assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{said}");
}

#[test]
fn tokens_are_for_own_pods_only() {
    let request = |bound: &str| format!(r#"{{"spec":{{{bound}}}}}"#);
    let said = |bound: &str| ask("CREATE serviceaccounts/token ns/sa", &request(bound), "null").unwrap_err().message;
    assert!(said("").ends_with("node requested token not bound to a pod"));
    let other = r#""boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"otherpod","uid":"other-uid"}"#;
    assert!(said(other).ends_with("node requested token bound to a pod scheduled on a different node"));
}

const REQUEST: &str = r#"{"spec":{"nodeName":"mynode","nodeUID":"node-uid","podName":"mypod","podUID":"pod-uid","serviceAccountName":"sa","serviceAccountUID":"sa-uid","signerName":"acme.io/signer"}}"#;

#[rstest]
#[case::good("mynode", "mynode", 0, "")]
#[case::other_node(
    r#""nodeName":"mynode""#,
    r#""nodeName":"other""#,
    403,
    "which is not the requesting node \"mynode\""
)]
#[case::old_node("node-uid", "old", 500, "names node UID \"old\", inconsistent with the running node (\"node-uid\")")]
#[case::old_pod("pod-uid", "old", 500, "contains pod UID (\"old\") which differs from running pod \"pod-uid\"")]
#[case::missing_pod(
    "mypod",
    "none",
    500,
    "while retrieving pod \"ns/none\" named in the PodCertificateRequest: pod \"none\" not found"
)]
#[case::other_account(
    r#""serviceAccountName":"sa""#,
    r#""serviceAccountName":"sb""#,
    403,
    "that differs from running pod (\"sa\")"
)]
#[case::old_account("sa-uid", "old", 500, "names service account UID \"old\"")]
#[case::other_signer(
    "acme.io/signer",
    "acme.io/other",
    403,
    "does not mount a podCertificate projected volume for signer \"acme.io/other\""
)]
fn pod_certificates(#[case] from: &str, #[case] to: &str, #[case] code: u16, #[case] why: &str) {
    assert!(REQUEST.contains(from));
    let result = ask("CREATE podcertificaterequests.certificates.k8s.io ns/", &REQUEST.replace(from, to), "null");
    let (said, found) = result.map_or_else(|status| (status.message, status.code), |()| (String::new(), 0));
    assert_eq!(found, code, "{said}");
    assert!(said.contains(why), "{said}");
}

#[test]
fn kubelets_ask_for_their_own_certificate() {
    let request = |name: &str| {
        use base64::Engine;
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode(pem);
        let object = format!(
            r#"{{"metadata":{{"name":"c"}},"spec":{{"signerName":"kubernetes.io/kubelet-serving","request":"{encoded}"}}}}"#
        );
        ask("CREATE certificatesigningrequests.certificates.k8s.io ", &object, "null")
    };
    assert_eq!(request("system:node:mynode"), Ok(()));
    let message = request("system:node:other").unwrap_err().message;
    assert!(message.ends_with("can only create a node CSR with CN=system:node:mynode"), "{message}");
}

#[test]
fn others_are_not_restricted_and_unnamed_nodes_may_nothing() {
    let pod = parse(POD).unwrap();
    let ask = |name: &str| {
        let user = UserInfo::authenticated(name, &["system:nodes"]);
        let request = Request {
            user: &user,
            operation: Operation::Create,
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            namespace: "ns",
            name: "",
            new: Some(&pod),
            old: None,
        };
        check(&request, &Stored, &authorizer())
    };
    assert_eq!(ask("bob"), Ok(()));
    let message = ask("system:node:").unwrap_err().message;
    assert_eq!(message, "pods \"Unknown\" is forbidden: could not determine node from user \"system:node:\"");
}
