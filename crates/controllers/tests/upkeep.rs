//! What keeps a cluster going, through the real pipeline: ownership, namespaces, nodes, endpoints.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use client::{DeleteOptions, MetaExt, Propagation, WriteOptions, json};
use cluster::Cluster;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRole;
use rstest::rstest;

const DEPLOYMENT: &str = r#"{"metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i:1","ports":[{"name":"http","containerPort":8080}]}]}}}}"#;

#[rstest]
#[case::background(Propagation::Background)]
#[case::foreground(Propagation::Foreground)]
#[tokio::test]
async fn a_deleted_deployment_takes_its_sets_and_pods_along(#[case] propagation: Propagation) {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<Deployment>(DEPLOYMENT).await;
    cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
    let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    cluster.api::<Deployment>().delete("web", &options).await.unwrap();
    cluster.until_all::<Deployment>(<[_]>::is_empty).await;
    if propagation == Propagation::Foreground {
        let left = cluster.api::<ReplicaSet>().list(&Default::default()).await.unwrap();
        assert!(left.items.is_empty(), "the owner went before its dependents");
    }
    cluster.until_all::<Pod>(<[_]>::is_empty).await;
    cluster.until_all::<ReplicaSet>(<[_]>::is_empty).await;
}

#[tokio::test]
async fn orphans_stay() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<Deployment>(DEPLOYMENT).await;
    cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
    let options = DeleteOptions { propagation: Some(Propagation::Orphan), ..DeleteOptions::default() };
    cluster.api::<Deployment>().delete("web", &options).await.unwrap();
    cluster.until_all::<Deployment>(<[_]>::is_empty).await;
    let sets = cluster.until_all::<ReplicaSet>(|sets| sets.len() == 1).await;
    assert_eq!(sets[0].controller_ref(), None);
    cluster.until_all::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| !pod.is_deleting())).await;
}

#[tokio::test]
async fn one_who_names_an_owner_that_never_was_goes() {
    let cluster = Cluster::start().await;
    let owned = |name: &str, owner: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","ownerReferences":[{{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"{owner}"}}]}}}}"#
        )
    };
    let owner = cluster.create::<ConfigMap>(r#"{"metadata":{"name":"owner"}}"#).await;
    cluster.create::<ConfigMap>(&owned("stays", owner.str_at("metadata.uid"))).await;
    cluster.create::<ConfigMap>(&owned("goes", "another-uid")).await;
    cluster.until_all::<ConfigMap>(|all| all.iter().all(|one| one.name() != "goes")).await;
    assert!(cluster.api::<ConfigMap>().get("stays").await.is_ok());
}

#[tokio::test]
async fn a_namespace_has_what_pods_need_and_is_emptied_before_it_goes() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let namespaces = cluster.admin.kind::<Namespace>("");
    let tree = json::parse(br#"{"metadata":{"name":"team"}}"#).unwrap();
    namespaces.create_tree(tree, &WriteOptions::default()).await.unwrap();
    let accounts = cluster.admin.kind::<ServiceAccount>("team");
    cluster.until_in(&accounts, |names| names == ["default"]).await;
    let config_maps = cluster.admin.kind::<ConfigMap>("team");
    cluster.until_in(&config_maps, |names| names == ["kube-root-ca.crt"]).await;

    let text = r#"{"metadata":{"name":"held","finalizers":["example.org/hold"]}}"#;
    config_maps.create_tree(json::parse(text.as_bytes()).unwrap(), &WriteOptions::default()).await.unwrap();
    let deployments = cluster.admin.kind::<Deployment>("team");
    deployments.create_tree(json::parse(DEPLOYMENT.as_bytes()).unwrap(), &WriteOptions::default()).await.unwrap();
    let pods = cluster.admin.kind::<Pod>("team");
    cluster.until_in(&pods, |names| names.len() == 2).await;
    namespaces.delete("team", &DeleteOptions::default()).await.unwrap();
    cluster.until_in(&pods, <[_]>::is_empty).await;
    cluster.until_in(&config_maps, |names| names == ["held"]).await;
    cluster.until_in(&namespaces, |names| names.iter().any(|name| name == "team")).await;
    let mut tree = config_maps.get("held").await.unwrap().tree().unwrap();
    tree.remove("metadata.finalizers");
    config_maps.update(tree, &WriteOptions::default()).await.unwrap();
    cluster.until_in(&namespaces, |names| names.iter().all(|name| name != "team")).await;
    let left = cluster.admin.all(&client::resources::CONFIG_MAPS).list(&Default::default()).await.unwrap();
    assert!(left.items.iter().all(|item| json::metadata_str(item, "namespace").as_deref() != Some("team")));
}

#[tokio::test]
async fn a_service_has_the_endpoints_of_its_pods() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<Deployment>(DEPLOYMENT).await;
    let text = r#"{"metadata":{"name":"web","labels":{"a":"b"}},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}}"#;
    let service = cluster.create::<Service>(text).await;
    let is_ready = |slice: &client::Object<EndpointSlice>| {
        let ready = slice
            .endpoints
            .iter()
            .flatten()
            .filter(|one| one.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true));
        ready.count() == 2
    };
    let slices = cluster.until_all::<EndpointSlice>(|slices| slices.iter().any(is_ready)).await;
    let slice = slices.iter().find(|slice| is_ready(slice)).unwrap();
    assert_eq!(slice.label("kubernetes.io/service-name"), Some("web"));
    assert_eq!((slice.label("a"), slice.controller_uid()), (Some("b"), Some(service.str_at("metadata.uid"))));
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    assert!(slice.name().starts_with("web-"));
    cluster
        .until_all::<Endpoints>(|all| {
            let web = all.iter().find(|one| one.name() == "web");
            let subset = web.and_then(|web| web.subsets.as_ref()?.first().cloned());
            subset.is_some_and(|subset| subset.addresses.is_some_and(|addresses| addresses.len() == 2))
        })
        .await;

    cluster.edit::<Deployment>("web", |object| object.set("spec.replicas", 0i64)).await;
    let empty = |slice: &client::Object<EndpointSlice>| slice.endpoints.as_ref().is_none_or(Vec::is_empty);
    cluster.until_all::<EndpointSlice>(|all| all.iter().any(|one| one.name() == slice.name() && empty(one))).await;
    cluster.api::<Service>().delete("web", &DeleteOptions::default()).await.unwrap();
    cluster.until_all::<EndpointSlice>(|all| all.iter().all(|one| one.name() != slice.name())).await;
    cluster.until_all::<Endpoints>(|all| all.iter().all(|one| one.name() != "web")).await;
}

#[tokio::test]
async fn endpoints_of_ones_own_need_no_service() {
    let cluster = Cluster::start().await;
    // Once this is there, the controllers run.
    cluster.until_all::<ConfigMap>(|all| all.iter().any(|one| one.name() == "kube-root-ca.crt")).await;
    let subsets = r#"[{"addresses":[{"ip":"10.0.0.24"}],"ports":[{"name":"http","port":80}]}]"#;
    cluster.create::<Endpoints>(&format!(r#"{{"metadata":{{"name":"own"}},"subsets":{subsets}}}"#)).await;
    let service = r#"{"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80}]}}"#;
    cluster.create::<Service>(service).await;
    cluster.until_all::<Endpoints>(|all| all.iter().any(|one| one.name() == "web")).await;
    assert!(cluster.api::<Endpoints>().get("own").await.is_ok());
}

#[tokio::test]
async fn endpoints_of_a_service_without_a_selector_are_mirrored() {
    let cluster = Cluster::start().await;
    cluster.create::<Service>(r#"{"metadata":{"name":"own"},"spec":{"ports":[{"name":"http","port":80}]}}"#).await;
    let subsets = r#"[{"addresses":[{"ip":"10.0.0.24"}],"ports":[{"name":"http","port":80}]}]"#;
    cluster.create::<Endpoints>(&format!(r#"{{"metadata":{{"name":"own"}},"subsets":{subsets}}}"#)).await;
    let of_own = |slice: &client::Object<EndpointSlice>| slice.label("kubernetes.io/service-name") == Some("own");
    let address = |slice: &client::Object<EndpointSlice>| {
        slice.endpoints.iter().flatten().flat_map(|one| one.addresses.clone()).collect::<Vec<_>>()
    };
    cluster.until_all::<EndpointSlice>(|all| all.iter().any(|one| of_own(one) && address(one) == ["10.0.0.24"])).await;
    let changed = json::parse(br#"[{"ip":"10.0.0.25"}]"#).unwrap();
    cluster
        .edit::<Endpoints>("own", |tree| {
            tree.at_mut("subsets").unwrap().as_array_mut().unwrap()[0].set("addresses", changed.clone());
        })
        .await;
    cluster.until_all::<EndpointSlice>(|all| all.iter().any(|one| of_own(one) && address(one) == ["10.0.0.25"])).await;
    cluster.api::<Endpoints>().delete("own", &DeleteOptions::default()).await.unwrap();
    cluster.until_all::<EndpointSlice>(|all| !all.iter().any(of_own)).await;
}

#[tokio::test]
async fn a_node_gets_a_range_and_is_freed_of_its_taint_when_it_is_ready() {
    let cluster = Cluster::start().await;
    let nodes = cluster.admin.kind::<Node>("");
    let tree = json::parse(br#"{"metadata":{"name":"n1"}}"#).unwrap();
    nodes.create_tree(tree, &WriteOptions::default()).await.unwrap();
    cluster.until_cluster_wide::<Node>("n1", |node| node.str_at("spec.podCIDR") == "10.244.0.0/24").await;
    let condition = |status: &str| {
        json::parse(format!(r#"{{"status":{{"conditions":[{{"type":"Ready","status":"{status}"}}]}}}}"#).as_bytes())
            .unwrap()
    };
    let report = async |status: &str| {
        let patch = client::Patch::Merge(condition(status));
        nodes.patch("n1", "status", &patch, &WriteOptions::default()).await.unwrap();
    };
    report("False").await;
    cluster
        .until_cluster_wide::<Node>("n1", |node| {
            node.array_at("spec.taints").iter().any(|one| one.str_at("key").ends_with("not-ready"))
        })
        .await;
    report("True").await;
    cluster.until_cluster_wide::<Node>("n1", |node| node.array_at("spec.taints").is_empty()).await;
}

#[tokio::test]
async fn a_taint_drives_pods_away_that_do_not_tolerate_it() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let pod = |name: &str, more: &str| {
        format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"containers":[{{"name":"c","image":"i"}}]{more}}}}}"#)
    };
    cluster.create::<Pod>(&pod("leaves", "")).await;
    cluster.create::<Pod>(&pod("stays", r#","tolerations":[{"key":"k","operator":"Exists"}]"#)).await;
    let runs = |pod: &client::Object<Pod>| {
        pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
    };
    cluster.until_all::<Pod>(|pods| pods.len() == 2 && pods.iter().all(runs)).await;
    let nodes = cluster.admin.kind::<Node>("");
    let patch = json::parse(br#"{"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}}"#).unwrap();
    nodes.patch("n1", "", &client::Patch::Merge(patch), &WriteOptions::default()).await.unwrap();
    cluster.until_all::<Pod>(|pods| pods.len() == 1 && pods[0].name() == "stays").await;
}

#[tokio::test]
async fn roles_are_aggregated() {
    let cluster = Cluster::start().await;
    let roles = cluster.admin.kind::<ClusterRole>("");
    let text = r#"{"metadata":{"name":"more","labels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}},"rules":[{"apiGroups":["example.org"],"resources":["things"],"verbs":["get"]}]}"#;
    roles.create_tree(json::parse(text.as_bytes()).unwrap(), &WriteOptions::default()).await.unwrap();
    let has_it = |role: &api::value::Value| {
        role.array_at("rules").iter().any(|rule| rule.array_at("apiGroups") == ["example.org".into()])
    };
    cluster.until_cluster_wide::<ClusterRole>("view", has_it).await;
    cluster.until_cluster_wide::<ClusterRole>("admin", has_it).await;
}

#[tokio::test]
async fn a_kubelets_request_is_approved_and_signed() {
    let cluster = Cluster::start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = json::to_tree(&ByteString(pem.into_bytes())).unwrap();
    let text = r#"{"metadata":{"name":"n1"},"spec":{"signerName":"kubernetes.io/kube-apiserver-client-kubelet","usages":["digital signature","client auth"]}}"#;
    let mut tree = json::parse(text.as_bytes()).unwrap();
    tree.set("spec.request", request);
    let requests = cluster.admin.kind::<CertificateSigningRequest>("");
    requests.create_tree(tree, &WriteOptions::default()).await.unwrap();
    let is_signed = |csr: &api::value::Value| !csr.str_at("status.certificate").is_empty();
    cluster.until_cluster_wide::<CertificateSigningRequest>("n1", is_signed).await;
}
