//! Claims and volumes through the real pipeline.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use api::value::Value;
use client::{DeleteOptions, Kind, MetaExt, WriteOptions, json};
use cluster::Cluster;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

fn volume(name: &str, policy: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"capacity":{{"storage":"1Gi"}},"accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"{policy}","hostPath":{{"path":"/tmp/x"}}}}}}"#
    )
}

fn claim(more: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"c"}},"spec":{{"accessModes":["ReadWriteOnce"],"resources":{{"requests":{{"storage":"500Mi"}}}}{more}}}}}"#
    )
}

/// Makes something outside of namespaces.
async fn make<K: Kind>(cluster: &Cluster, text: &str) {
    let tree = json::parse(text.as_bytes()).unwrap();
    cluster.admin.kind::<K>("").create_tree(tree, &WriteOptions::default()).await.unwrap();
}

fn phase(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |object| object.str_at("status.phase") == wanted
}

#[tokio::test]
async fn a_claim_takes_a_volume_and_gives_it_back() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<PersistentVolumeClaim>(&claim("")).await;
    // The claim is there first: the volume's coming wakes it.
    make::<PersistentVolume>(&cluster, &volume("v", "Retain")).await;
    let bound = cluster.until::<PersistentVolumeClaim>("c", phase("Bound")).await;
    assert_eq!((bound.str_at("spec.volumeName"), bound.at("status.capacity").str_at("storage")), ("v", "1Gi"));
    assert_eq!(bound.at("metadata.annotations").get("pv.kubernetes.io/bind-completed").as_str(), Some("yes"));
    let uid = bound.str_at("metadata.uid").to_owned();
    cluster
        .until_cluster_wide::<PersistentVolume>("v", |volume| {
            phase("Bound")(volume) && volume.str_at("spec.claimRef.uid") == uid
        })
        .await;

    // A pod holds its claim, and the claim its volume.
    let pod = r#"{"metadata":{"name":"p"},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]}}"#;
    cluster.create::<Pod>(pod).await;
    cluster.until::<Pod>("p", phase("Running")).await;
    cluster.api::<PersistentVolumeClaim>().delete("c", &DeleteOptions::default()).await.unwrap();
    cluster.admin.kind::<PersistentVolume>("").delete("v", &DeleteOptions::default()).await.unwrap();
    let held =
        cluster.until::<PersistentVolumeClaim>("c", |claim| claim.at("metadata").field("deletionTimestamp").is_some());
    assert_eq!(held.await.array_at("metadata.finalizers").len(), 1);
    cluster.api::<Pod>().delete("p", &DeleteOptions::default()).await.unwrap();
    cluster.until_all::<PersistentVolumeClaim>(<[_]>::is_empty).await;
    cluster.until_in(&cluster.admin.kind::<PersistentVolume>(""), <[_]>::is_empty).await;
}

#[tokio::test]
async fn a_released_volume_is_kept_or_failed() {
    let cluster = Cluster::start().await;
    for (policy, end) in [("Retain", "Released"), ("Delete", "Failed")] {
        let name = policy.to_lowercase();
        make::<PersistentVolume>(&cluster, &volume(&name, policy)).await;
        cluster.create::<PersistentVolumeClaim>(&claim(&format!(r#","volumeName":"{name}""#))).await;
        cluster.until::<PersistentVolumeClaim>("c", phase("Bound")).await;
        cluster.api::<PersistentVolumeClaim>().delete("c", &DeleteOptions::default()).await.unwrap();
        cluster.until_cluster_wide::<PersistentVolume>(&name, phase(end)).await;
    }
}

#[tokio::test]
async fn what_a_claim_waits_for() {
    let cluster = Cluster::start().await;
    let class =
        r#"{"metadata":{"name":"slow"},"provisioner":"example.com/disks","volumeBindingMode":"WaitForFirstConsumer"}"#;
    cluster.create::<PersistentVolumeClaim>(&claim(r#","storageClassName":"slow""#)).await;
    make::<StorageClass>(&cluster, class).await;
    let choose = |claim: &mut Value| {
        let annotations = claim.at_or_insert("metadata.annotations").make_object();
        annotations.insert("volume.kubernetes.io/selected-node", "n1");
    };
    cluster.edit::<PersistentVolumeClaim>("c", choose).await;
    let asked = cluster
        .until::<PersistentVolumeClaim>("c", |claim| {
            claim.at("metadata.annotations").field("volume.kubernetes.io/storage-provisioner").is_some()
        })
        .await;
    assert_eq!(asked.str_at("status.phase"), "Pending");
}

#[tokio::test]
async fn an_ephemeral_volume_has_a_claim_that_goes_with_its_pod() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let pod = r#"{"metadata":{"name":"p"},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]}}"#;
    let made = cluster.create::<Pod>(pod).await;
    let claims = cluster.until_all::<PersistentVolumeClaim>(|claims| claims.len() == 1).await;
    assert_eq!((claims[0].name(), claims[0].controller_uid()), ("p-v", Some(made.str_at("metadata.uid"))));
    cluster.until::<Pod>("p", phase("Running")).await;
    cluster.api::<Pod>().delete("p", &DeleteOptions::default()).await.unwrap();
    cluster.until_all::<PersistentVolumeClaim>(<[_]>::is_empty).await;
}
