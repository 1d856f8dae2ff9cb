//! What a namespace or an application may use or lose, through the real pipeline.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use client::{ClientError, MetaExt, WriteOptions};
use cluster::Cluster;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

const SET: &str = r#"{"metadata":{"name":"web"},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i"}]}}}}"#;

fn budget(spec: &str) -> String {
    format!(r#"{{"metadata":{{"name":"web"}},"spec":{{{spec},"selector":{{"matchLabels":{{"app":"web"}}}}}}}}"#)
}

async fn evict(cluster: &Cluster, pod: &str) -> Result<(), ClientError> {
    let eviction = format!(r#"{{"kind":"Eviction","apiVersion":"policy/v1","metadata":{{"name":"{pod}"}}}}"#);
    cluster.api::<Pod>().create_subresource(pod, "eviction", eviction, &WriteOptions::default()).await.map(drop)
}

#[tokio::test]
async fn a_budget_lets_pods_be_evicted_one_after_the_other() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<ReplicaSet>(SET).await;
    cluster.until::<ReplicaSet>("web", |set| set.i64_at("status.readyReplicas") == Some(3)).await;
    cluster.create::<PodDisruptionBudget>(&budget(r#""maxUnavailable":"34%""#)).await;
    let is = |allowed: i64, healthy: i64| {
        move |budget: &api::value::Value| {
            budget.i64_at("status.disruptionsAllowed") == Some(allowed)
                && budget.i64_at("status.currentHealthy") == Some(healthy)
        }
    };
    let there = cluster.until::<PodDisruptionBudget>("web", is(2, 3)).await;
    assert_eq!((there.i64_at("status.expectedPods"), there.i64_at("status.desiredHealthy")), (Some(3), Some(1)));
    assert_eq!(there.i64_at("status.observedGeneration"), Some(1));
    let condition = &there.array_at("status.conditions")[0];
    assert_eq!((condition.str_at("type"), condition.str_at("reason")), ("DisruptionAllowed", "SufficientPods"));

    cluster.edit::<PodDisruptionBudget>("web", |budget| budget.set("spec.maxUnavailable", 0i64)).await;
    cluster.until::<PodDisruptionBudget>("web", is(0, 3)).await;
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
    let refused = evict(&cluster, pods[0].name()).await.unwrap_err();
    let status = &refused.api().unwrap().status;
    assert_eq!(
        (refused.code(), status.str_at("message"), status.array_at("details.causes")[0].str_at("message")),
        (
            Some(429),
            "Cannot evict pod as it would violate the pod's disruption budget.",
            "The disruption budget web needs 3 healthy pods and has 3 currently"
        )
    );

    cluster.edit::<PodDisruptionBudget>("web", |budget| budget.set("spec.maxUnavailable", 1i64)).await;
    cluster.until::<PodDisruptionBudget>("web", is(1, 3)).await;
    evict(&cluster, pods[0].name()).await.unwrap();
    cluster.until_all::<Pod>(|now| now.len() == 3 && now.iter().all(|pod| pod.uid() != pods[0].uid())).await;
    let back = cluster.until::<PodDisruptionBudget>("web", is(1, 3)).await;
    assert!(back.at("status").field("disruptedPods").is_none(), "{back:?}");
}
