//! What a namespace or an application may use or lose, through the real pipeline.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use client::{ClientError, DeleteOptions, Kind, MetaExt, WriteOptions, json};
use cluster::Cluster;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Pod, ResourceQuota, Service};
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

fn pod(name: &str, cpu: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"containers":[{{"name":"c","image":"i","resources":{{"requests":{{"cpu":"{cpu}"}}}}}}]}}}}"#
    )
}

async fn refusal<K: Kind>(cluster: &Cluster, text: &str) -> String {
    let tree = json::parse(text.as_bytes()).unwrap();
    let refused = cluster.api::<K>().create_tree(tree, &WriteOptions::default()).await.unwrap_err();
    assert_eq!(refused.code(), Some(403), "{refused}");
    refused.api().unwrap().message.clone()
}

fn used(what: &'static str, amount: &'static str) -> impl Fn(&api::value::Value) -> bool {
    move |quota| quota.at("status.used").get(what).as_str() == Some(amount)
}

#[tokio::test]
async fn a_quota_is_charged_with_what_it_counts_and_given_back() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let quota =
        r#"{"metadata":{"name":"q"},"spec":{"hard":{"pods":"2","cpu":"1","services":"2","count/configmaps":"3"}}}"#;
    cluster.create::<ResourceQuota>(quota).await;
    // The namespace's root certificate is one.
    cluster.until::<ResourceQuota>("q", used("count/configmaps", "1")).await;

    cluster.create::<Pod>(&pod("a", "600m")).await;
    let charged = cluster.api::<ResourceQuota>().get("q").await.unwrap().tree().unwrap();
    assert!(used("cpu", "600m")(&charged) && used("pods", "1")(&charged), "at once: {charged:?}");
    assert_eq!(
        refusal::<Pod>(&cluster, &pod("b", "500m")).await,
        "pods \"b\" is forbidden: exceeded quota: q, requested: cpu=500m, used: cpu=600m, limited: cpu=1"
    );
    let unsaid = r#"{"metadata":{"name":"c"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    assert_eq!(
        refusal::<Pod>(&cluster, unsaid).await,
        "pods \"c\" is forbidden: failed quota: q: must specify cpu for: c"
    );
    let service = |name: &str| format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"ports":[{{"port":80}}]}}}}"#);
    cluster.create::<Service>(&service("a")).await;
    assert!(refusal::<Service>(&cluster, &service("b")).await.contains("exceeded quota: q, requested: services=1"));

    cluster.api::<Pod>().delete("a", &DeleteOptions::default().grace(0)).await.unwrap();
    cluster.until::<ResourceQuota>("q", used("cpu", "0")).await;
    cluster.create::<Pod>(&pod("b", "1")).await;
}

#[tokio::test]
async fn the_last_of_something_goes_to_one_of_many() {
    let cluster = Cluster::start().await;
    cluster.create::<ResourceQuota>(r#"{"metadata":{"name":"q"},"spec":{"hard":{"configmaps":"6"}}}"#).await;
    cluster.until::<ResourceQuota>("q", used("configmaps", "1")).await;
    let api = cluster.api::<ConfigMap>();
    let writes = (0..20).map(|n| {
        let api = api.clone();
        async move {
            let tree = json::parse(format!(r#"{{"metadata":{{"name":"m{n}"}}}}"#).as_bytes()).unwrap();
            api.create_tree(tree, &WriteOptions::default()).await.is_ok()
        }
    });
    let written = futures::future::join_all(writes).await.into_iter().filter(|ok| *ok).count();
    let there = api.list(&Default::default()).await.unwrap().items.len();
    assert_eq!((written, there), (5, 6));
}

#[tokio::test]
async fn a_limit_range_fills_in_and_refuses() {
    let cluster = Cluster::start().await;
    let range = r#"{"metadata":{"name":"r"},"spec":{"limits":[{"type":"Container","max":{"cpu":"2"},"default":{"cpu":"1"},"defaultRequest":{"cpu":"100m"}}]}}"#;
    cluster.create::<LimitRange>(range).await;
    let made =
        cluster.create::<Pod>(r#"{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#).await;
    let resources = made.array_at("spec.containers")[0].at("resources");
    assert_eq!(resources, &json::parse(br#"{"limits":{"cpu":"1"},"requests":{"cpu":"100m"}}"#).unwrap());
    let large = r#"{"metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"3"}}}]}}"#;
    assert_eq!(
        refusal::<Pod>(&cluster, large).await,
        "pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
}
