use rstest::rstest;

use super::*;
use crate::authz::FieldRequirement;
use crate::testing::parse;

/// Two nodes with a pod each, as upstream's fixture; `shared` is used on both.
fn authorizer() -> NodeAuthorizer {
    let authorizer = NodeAuthorizer::default();
    let put = |group: &str, resource: &str, text: &str| {
        authorizer.apply(group, resource, Change::Put(&parse(text).unwrap()));
    };
    for node in ["node0", "node1"] {
        put(
            "",
            "pods",
            &format!(
                r#"{{"metadata":{{"name":"pod-{node}","namespace":"ns0"}},"spec":{{"nodeName":"{node}","serviceAccountName":"sa-{node}",
                "imagePullSecrets":[{{"name":"pull-{node}"}}],
                "initContainers":[{{"env":[{{"valueFrom":{{"secretKeyRef":{{"name":"env-{node}"}}}}}}]}}],
                "containers":[{{"envFrom":[{{"configMapRef":{{"name":"from-{node}"}}}},{{"secretRef":{{"name":"shared"}}}}]}}],
                "ephemeralContainers":[{{"env":[{{"valueFrom":{{"configMapKeyRef":{{"name":"debug-{node}"}}}}}}]}}],
                "volumes":[{{"name":"a","secret":{{"secretName":"volume-{node}"}}}},
                  {{"name":"b","projected":{{"sources":[{{"configMap":{{"name":"projected-{node}"}}}}]}}}},
                  {{"name":"c","persistentVolumeClaim":{{"claimName":"claim-{node}"}}}},
                  {{"name":"scratch","ephemeral":{{"volumeClaimTemplate":{{}}}}}},
                  {{"name":"d","csi":{{"driver":"d","nodePublishSecretRef":{{"name":"csi-{node}"}}}}}}],
                "resourceClaims":[{{"name":"x","resourceClaimName":"device-{node}"}},{{"name":"y","resourceClaimTemplateName":"t"}}]}},
                "status":{{"resourceClaimStatuses":[{{"name":"y","resourceClaimName":"generated-{node}"}}]}}}}"#
            ),
        );
        put(
            "",
            "persistentvolumes",
            &format!(
                r#"{{"metadata":{{"name":"pv-{node}"}},"spec":{{"claimRef":{{"namespace":"ns0","name":"claim-{node}"}},
                "csi":{{"nodeStageSecretRef":{{"namespace":"ns0","name":"stage-{node}"}},
                "controllerPublishSecretRef":{{"namespace":"ns0","name":"controller-{node}"}}}}}}}}"#
            ),
        );
        let owned = |name: &str, namespace: &str| {
            format!(
                r#"{{"metadata":{{"name":"{name}-{node}","namespace":"{namespace}"}},"spec":{{"nodeName":"{node}"}}}}"#
            )
        };
        put("storage.k8s.io", "volumeattachments", &owned("attachment", ""));
        put("resource.k8s.io", "resourceslices", &owned("slice", ""));
        put("certificates.k8s.io", "podcertificaterequests", &owned("pcr", "ns0"));
    }
    put(
        "",
        "pods",
        r#"{"metadata":{"name":"mirror","namespace":"ns0","annotations":{"kubernetes.io/config.mirror":"x"}},
        "spec":{"nodeName":"node0","volumes":[{"name":"s","secret":{"secretName":"stolen"}}]}}"#,
    );
    authorizer
}

fn node0() -> UserInfo {
    UserInfo::authenticated("system:node:node0", &["system:nodes"])
}

const RELATED: Result<(), &str> = Ok(());
const UNRELATED: Result<(), &str> = Err("no relationship found between node 'node0' and this object");

/// `verb resource[/subresource][.group] [namespace/]name [selector]`.
#[rstest]
#[case::configmap("get configmaps ns0/from-node0", RELATED)]
#[case::configmap_of_debug_container("get configmaps ns0/debug-node0", RELATED)]
#[case::configmap_projected("watch configmaps ns0/projected-node0", RELATED)]
#[case::configmap_of_other_node("get configmaps ns0/from-node1", UNRELATED)]
#[case::configmap_of_other_namespace("get configmaps ns1/from-node0", UNRELATED)]
#[case::configmap_write("update configmaps ns0/from-node0", Err("can only read resources of this type"))]
#[case::secret_pull("get secrets ns0/pull-node0", RELATED)]
#[case::secret_env("list secrets ns0/env-node0", RELATED)]
#[case::secret_volume("get secrets ns0/volume-node0", RELATED)]
#[case::secret_csi("get secrets ns0/csi-node0", RELATED)]
#[case::secret_shared("get secrets ns0/shared", RELATED)]
#[case::secret_through_volume("get secrets ns0/stage-node0", RELATED)]
#[case::secret_through_foreign_volume("get secrets ns0/stage-node1", UNRELATED)]
#[case::secret_for_controllers("get secrets ns0/controller-node0", UNRELATED)]
#[case::secret_of_mirror_pod("get secrets ns0/stolen", UNRELATED)]
#[case::secrets_all("list secrets ns0/", Err("No Object name found"))]
#[case::secrets_of_all_namespaces("list secrets shared", Err("can only read namespaced object of this type"))]
#[case::secret_subresource("get secrets/x ns0/shared", Err("cannot read subresource"))]
#[case::claim("get persistentvolumeclaims ns0/claim-node0", RELATED)]
#[case::claim_of_ephemeral_volume("get persistentvolumeclaims ns0/pod-node0-scratch", RELATED)]
#[case::claim_of_other_node("get persistentvolumeclaims ns0/claim-node1", UNRELATED)]
#[case::claim_list("list persistentvolumeclaims ns0/", Err("can only get individual resources of this type"))]
#[case::claim_status("patch persistentvolumeclaims/status ns0/claim-node0", RELATED)]
#[case::claim_status_get(
    "get persistentvolumeclaims/status ns0/claim-node0",
    Err("can only get/update/patch this type")
)]
#[case::volume("get persistentvolumes pv-node0", RELATED)]
#[case::volume_of_other_node("get persistentvolumes pv-node1", UNRELATED)]
#[case::device("get resourceclaims.resource.k8s.io ns0/device-node0", RELATED)]
#[case::device_from_template("get resourceclaims.resource.k8s.io ns0/generated-node0", RELATED)]
#[case::device_of_other_node("get resourceclaims.resource.k8s.io ns0/device-node1", UNRELATED)]
#[case::attachment("get volumeattachments.storage.k8s.io attachment-node0", RELATED)]
#[case::attachment_of_other_node("get volumeattachments.storage.k8s.io attachment-node1", UNRELATED)]
#[case::token("create serviceaccounts/token ns0/sa-node0", RELATED)]
#[case::token_of_other_node("create serviceaccounts/token ns0/sa-node1", UNRELATED)]
#[case::token_without_subresource(
    "create serviceaccounts ns0/sa-node0",
    Err("can only create token subresource of serviceaccount")
)]
#[case::token_update(
    "update serviceaccounts/token ns0/sa-node0",
    Err("can only create tokens for individual service accounts")
)]
#[case::account("get serviceaccounts ns0/sa-node0", RELATED)]
#[case::account_list(
    "list serviceaccounts ns0/sa-node0",
    Err("can only create tokens for individual service accounts")
)]
#[case::lease("update leases.coordination.k8s.io kube-node-lease/node0", RELATED)]
#[case::lease_create("create leases.coordination.k8s.io kube-node-lease/", RELATED)]
#[case::lease_of_other_node(
    "get leases.coordination.k8s.io kube-node-lease/node1",
    Err("can only access node lease with the same name as the requesting node")
)]
#[case::lease_elsewhere(
    "get leases.coordination.k8s.io foo/node0",
    Err("can only access leases in the \"kube-node-lease\" system namespace")
)]
#[case::lease_list(
    "list leases.coordination.k8s.io kube-node-lease/",
    Err("can only get, create, update, patch, or delete a node lease")
)]
#[case::csinode("patch csinodes.storage.k8s.io node0", RELATED)]
#[case::csinode_of_other_node(
    "patch csinodes.storage.k8s.io node1",
    Err("can only access CSINode with the same name as the requesting node")
)]
#[case::csinode_status(
    "patch csinodes/status.storage.k8s.io node0",
    Err("CSINode status access requires CSIVolumeHealth feature")
)]
#[case::csinode_list("list csinodes.storage.k8s.io ", Err("can only get, create, update, patch, or delete a CSINode"))]
#[case::slice("delete resourceslices.resource.k8s.io slice-node0", RELATED)]
#[case::slice_of_other_node("delete resourceslices.resource.k8s.io slice-node1", UNRELATED)]
#[case::slice_create("create resourceslices.resource.k8s.io ", RELATED)]
#[case::slices("list resourceslices.resource.k8s.io  spec.nodeName=node0", RELATED)]
#[case::slices_of_other_node(
    "list resourceslices.resource.k8s.io  spec.nodeName=node1",
    Err("can only list/watch/deletecollection resourceslices with nodeName field selector")
)]
#[case::pcr("get podcertificaterequests.certificates.k8s.io ns0/pcr-node0", RELATED)]
#[case::pcr_of_other_node("get podcertificaterequests.certificates.k8s.io ns0/pcr-node1", UNRELATED)]
#[case::pcr_create("create podcertificaterequests.certificates.k8s.io ns0/", RELATED)]
#[case::pcr_list("list podcertificaterequests.certificates.k8s.io  spec.nodeName=node0", RELATED)]
#[case::pcr_list_all(
    "list podcertificaterequests.certificates.k8s.io ",
    Err("can only list/watch podcertificaterequests with nodeName field selector")
)]
#[case::pcr_update(
    "update podcertificaterequests.certificates.k8s.io ns0/pcr-node0",
    Err("nodes may not update podcertificaterequests")
)]
#[case::pod("get pods ns0/pod-node0", RELATED)]
#[case::pod_of_other_node("get pods ns0/pod-node1", UNRELATED)]
#[case::pods("list pods  spec.nodeName=node0", RELATED)]
#[case::pods_of_other_node(
    "watch pods  spec.nodeName=node1",
    Err("can only list/watch pods with spec.nodeName field selector")
)]
#[case::single_pod("watch pods ns0/pod-node0", RELATED)]
#[case::pods_all("list pods ", Err("can only list/watch pods with spec.nodeName field selector"))]
#[case::pod_create("create pods ns0/", RELATED)]
#[case::pod_delete_is_for_admission("delete pods ns0/pod-node1", RELATED)]
#[case::pod_status("patch pods/status ns0/pod-node1", RELATED)]
#[case::pod_status_get("get pods/status ns0/pod-node0", Err(""))]
#[case::pod_eviction("create pods/eviction ns0/pod-node0", RELATED)]
#[case::pod_proxy("create pods/proxy ns0/pod-node0", Err(""))]
#[case::own_node("get nodes node0", RELATED)]
#[case::other_node("get nodes node1", Err("node 'node0' cannot read 'node1', only its own Node object"))]
#[case::all_nodes("list nodes ", Err("node 'node0' cannot read all nodes, only its own Node object"))]
#[case::node_update_is_for_admission("update nodes node1", RELATED)]
#[case::node_status("patch nodes/status node0", RELATED)]
#[case::node_delete("delete nodes node0", Err(""))]
#[case::services("watch services ", RELATED)]
#[case::events("create events ns0/", RELATED)]
#[case::trust_bundles("list clustertrustbundles.certificates.k8s.io ", RELATED)]
#[case::deployments("list deployments.apps ", Err(""))]
fn requests(#[case] request: &str, #[case] expected: Result<(), &str>) {
    let user = node0();
    let parts: Vec<&str> = request.split(' ').collect();
    let (resource, group) = match parts[1].split_once('/') {
        Some((resource, rest)) => {
            let (subresource, group) = rest.split_once('.').unwrap_or((rest, ""));
            ((resource, subresource), group)
        }
        None => {
            let (resource, group) = parts[1].split_once('.').unwrap_or((parts[1], ""));
            ((resource, ""), group)
        }
    };
    let (namespace, name) = parts[2].split_once('/').unwrap_or(("", parts[2]));
    let selector: Vec<FieldRequirement> = parts
        .get(3)
        .and_then(|text| text.split_once('='))
        .map(|(field, value)| FieldRequirement { field: field.into(), equals: true, value: value.into() })
        .into_iter()
        .collect();
    let attributes = Attributes {
        subresource: resource.1,
        namespace,
        name,
        field_selector: &selector,
        ..Attributes::resource(&user, parts[0], group, resource.0)
    };
    let decision = authorizer().authorize(&attributes);
    let found = if decision.is_allow() { Ok(()) } else { Err(decision.reason().as_str()) };
    assert_eq!(found, expected);
}

#[rstest]
#[case::no_node("bob", "system:nodes", "")]
#[case::not_in_the_group("system:node:node0", "dev", "")]
#[case::unnamed("system:node:", "system:nodes", "unknown node for user \"system:node:\"")]
fn other_users(#[case] name: &str, #[case] group: &str, #[case] reason: &str) {
    let user = UserInfo::authenticated(name, &[group]);
    let attributes = Attributes { name: "node0", ..Attributes::resource(&user, "get", "", "nodes") };
    assert_eq!(authorizer().authorize(&attributes), Decision::NoOpinion(reason.into()));
}

#[test]
fn the_graph_follows_events_and_forgets() {
    let authorizer = authorizer();
    let user = node0();
    let may_get = |name: &str| {
        let attributes = Attributes { namespace: "ns0", name, ..Attributes::resource(&user, "get", "", "secrets") };
        authorizer.authorize(&attributes).is_allow()
    };
    assert!(may_get("shared") && may_get("stage-node0"));
    authorizer.apply(
        "",
        "persistentvolumes",
        Change::Put(&parse(r#"{"metadata":{"name":"pv-node0"},"spec":{}}"#).unwrap()),
    );
    assert!(!may_get("stage-node0"));
    authorizer.apply("", "pods", Change::Delete { namespace: "ns0", name: "pod-node0" });
    assert!(!may_get("shared"));
    for node in ["node0", "node1"] {
        authorizer.apply("", "pods", Change::Delete { namespace: "ns0", name: &format!("pod-{node}") });
        authorizer.apply("", "persistentvolumes", Change::Delete { namespace: "", name: &format!("pv-{node}") });
        let owned = |group, resource, namespace, name: &str| {
            authorizer.apply(group, resource, Change::Delete { namespace, name: &format!("{name}-{node}") });
        };
        owned("storage.k8s.io", "volumeattachments", "", "attachment");
        owned("resource.k8s.io", "resourceslices", "", "slice");
        owned("certificates.k8s.io", "podcertificaterequests", "ns0", "pcr");
    }
    authorizer.apply("", "pods", Change::Delete { namespace: "ns0", name: "mirror" });
    assert_eq!(authorizer.graph.read().size(), 0);
}
