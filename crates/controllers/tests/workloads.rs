//! Workload controllers through the real pipeline, each under its own service account.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod cluster;

use client::{DeleteOptions, MetaExt, Object};
use cluster::{Cluster, Verdict};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ReplicationController};

fn is_alive(pod: &Object<Pod>) -> bool {
    !pod.is_deleting()
}

const TEMPLATE: &str = r#"{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i:1"}]}}"#;

fn set(replicas: u32) -> String {
    format!(
        r#"{{"metadata":{{"name":"web"}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"app":"web"}}}},"template":{TEMPLATE}}}}}"#
    )
}

#[tokio::test]
async fn a_replica_set_makes_replaces_and_removes_pods() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<ReplicaSet>(&set(3)).await;
    let there = cluster.until::<ReplicaSet>("web", |set| set.i64_at("status.availableReplicas") == Some(3)).await;
    assert_eq!(there.i64_at("status.observedGeneration"), Some(1));
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
    assert!(pods.iter().all(|pod| pod.controller_uid() == Some(there.str_at("metadata.uid"))));
    assert!(pods[0].name().starts_with("web-"), "{}", pods[0].name());

    // One is deleted: it is replaced.
    cluster.api::<Pod>().delete(pods[0].name(), &DeleteOptions::default().grace(0)).await.unwrap();
    cluster.until_all::<Pod>(|now| now.len() == 3 && now.iter().all(|pod| pod.uid() != pods[0].uid())).await;

    // One is taken out by its labels: it is released, and replaced.
    let freed = pods[1].name().to_owned();
    cluster.edit::<Pod>(&freed, |pod| pod.set("metadata.labels.app", "other")).await;
    let now = cluster.until_all::<Pod>(|pods| pods.len() == 4).await;
    let freed = now.iter().find(|pod| pod.name() == freed).unwrap();
    cluster.until::<Pod>(freed.name(), |pod| pod.array_at("metadata.ownerReferences").is_empty()).await;
    // Put back, it is adopted, and one too many goes.
    cluster.edit::<Pod>(freed.name(), |pod| pod.set("metadata.labels.app", "web")).await;
    cluster.until_all::<Pod>(|pods| pods.iter().filter(|pod| is_alive(pod)).count() == 3).await;

    cluster.edit::<ReplicaSet>("web", |set| set.set("spec.replicas", 1i64)).await;
    cluster.until_all::<Pod>(|pods| pods.len() == 1).await;
    let set = cluster.until::<ReplicaSet>("web", |set| set.i64_at("status.replicas") == Some(1)).await;
    assert_eq!(set.i64_at("status.observedGeneration"), Some(2));
    let events = cluster.events_about("web").await;
    assert!(events.iter().any(|event| event.starts_with("SuccessfulCreate Created pod: web-")), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("SuccessfulDelete Deleted pod: web-")), "{events:?}");
}

#[tokio::test]
async fn a_replication_controller_does_the_same() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let text = format!(
        r#"{{"metadata":{{"name":"web"}},"spec":{{"replicas":2,"selector":{{"app":"web"}},"template":{TEMPLATE}}}}}"#
    );
    cluster.create::<ReplicationController>(&text).await;
    cluster.until::<ReplicationController>("web", |one| one.i64_at("status.availableReplicas") == Some(2)).await;
}

fn deployment(replicas: u32) -> String {
    format!(
        r#"{{"metadata":{{"name":"web","annotations":{{"note":"first"}}}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"app":"web"}}}},"template":{TEMPLATE}}}}}"#
    )
}

fn condition<'a>(object: &'a api::value::Value, kind: &str) -> &'a str {
    let mut conditions = object.array_at("status.conditions").iter();
    conditions.find(|one| one.str_at("type") == kind).map_or("", |one| one.str_at("reason"))
}

fn is_complete(object: &api::value::Value) -> bool {
    condition(object, "Progressing") == "NewReplicaSetAvailable"
        && object.i64_at("status.observedGeneration") == object.i64_at("metadata.generation")
        && object.i64_at("status.updatedReplicas") == object.i64_at("spec.replicas")
        && object.i64_at("status.replicas") == object.i64_at("spec.replicas")
}

#[tokio::test]
async fn a_deployment_rolls_out_rolls_back_and_scales() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<Deployment>(&deployment(4)).await;
    let first = cluster.until::<Deployment>("web", is_complete).await;
    assert_eq!(condition(&first, "Available"), "MinimumReplicasAvailable");
    let revision = |object: &api::value::Value| {
        object.at("metadata.annotations").get("deployment.kubernetes.io/revision").as_str().unwrap_or("").to_owned()
    };
    assert_eq!(revision(&first), "1");

    cluster
        .edit::<Deployment>("web", |object| {
            let template = object.at_mut("spec.template.spec.containers").unwrap();
            template.as_array_mut().unwrap()[0].set("image", "i:2");
        })
        .await;
    let second = cluster.until::<Deployment>("web", |object| is_complete(object) && revision(object) == "2").await;
    assert_eq!(second.i64_at("metadata.generation"), Some(2));
    let sets = cluster.until_all::<ReplicaSet>(|sets| sets.len() == 2).await;
    let mut sizes: Vec<i32> = sets.iter().map(|set| set.spec.replicas.unwrap()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 4]);

    // `kubectl rollout undo`: the old template again. The old set is used again, under a new revision.
    cluster
        .edit::<Deployment>("web", |object| {
            let template = object.at_mut("spec.template.spec.containers").unwrap();
            template.as_array_mut().unwrap()[0].set("image", "i:1");
        })
        .await;
    cluster.until::<Deployment>("web", |object| is_complete(object) && revision(object) == "3").await;
    let sets = cluster.until_all::<ReplicaSet>(|sets| sets.len() == 2).await;
    let back = sets.iter().find(|set| set.spec.replicas == Some(4)).unwrap();
    assert_eq!(back.annotation("deployment.kubernetes.io/revision-history"), Some("1"));

    cluster.edit::<Deployment>("web", |object| object.set("spec.replicas", 2i64)).await;
    cluster
        .until::<Deployment>("web", |object| is_complete(object) && object.i64_at("status.replicas") == Some(2))
        .await;
    let events = cluster.events_about("web").await;
    assert!(events.iter().any(|event| event.starts_with("ScalingReplicaSet Scaled up replica set web-")), "{events:?}");
    assert!(events.iter().any(|event| event.contains("from 4 to 2")), "{events:?}");
}

#[tokio::test]
async fn a_rollout_that_does_not_become_ready_keeps_the_old_pods() {
    let cluster = Cluster::start().await;
    cluster.create_node("n1").await;
    cluster.pretend_kubelets(|pod| match pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()) {
        Some("bad") => Verdict::RunsUnready,
        _ => Verdict::Runs,
    });
    cluster.create::<Deployment>(&deployment(4)).await;
    cluster.until::<Deployment>("web", is_complete).await;
    cluster
        .edit::<Deployment>("web", |object| {
            object.set("spec.progressDeadlineSeconds", 2i64);
            object.at_mut("spec.template.spec.containers").unwrap().as_array_mut().unwrap()[0].set("image", "bad");
        })
        .await;
    let stuck = cluster
        .until::<Deployment>("web", |object| condition(object, "Progressing") == "ProgressDeadlineExceeded")
        .await;
    assert_eq!(stuck.i64_at("status.availableReplicas"), Some(3));
    assert_eq!(stuck.i64_at("status.updatedReplicas"), Some(2));
    assert_eq!(condition(&stuck, "Available"), "MinimumReplicasAvailable");
}

#[tokio::test]
async fn a_recreation_ends_all_old_pods_first() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let text = deployment(2).replace(r#""selector""#, r#""strategy":{"type":"Recreate"},"selector""#);
    cluster.create::<Deployment>(&text).await;
    cluster.until::<Deployment>("web", is_complete).await;
    let old = cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
    cluster
        .edit::<Deployment>("web", |object| {
            object.at_mut("spec.template.spec.containers").unwrap().as_array_mut().unwrap()[0].set("image", "i:2");
        })
        .await;
    let is_old = |pod: &Object<Pod>| old.iter().any(|one| one.uid() == pod.uid());
    let new = cluster.until_all::<Pod>(|pods| pods.iter().any(|pod| !is_old(pod))).await;
    assert!(!new.iter().any(is_old), "old and new pods side by side");
    cluster.until::<Deployment>("web", is_complete).await;
}

#[tokio::test]
async fn a_daemon_set_follows_the_nodes_and_updates_one_after_another() {
    let cluster = Cluster::with_nodes(&["n1", "n2"]).await;
    let text = format!(
        r#"{{"metadata":{{"name":"agent"}},"spec":{{"selector":{{"matchLabels":{{"app":"web"}}}},"template":{TEMPLATE}}}}}"#
    );
    cluster.create::<DaemonSet>(&text).await;
    cluster.until::<DaemonSet>("agent", |set| set.i64_at("status.numberAvailable") == Some(2)).await;
    cluster.create_node("n3").await;
    cluster.until::<DaemonSet>("agent", |set| set.i64_at("status.numberAvailable") == Some(3)).await;
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
    let mut nodes: Vec<_> = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
    nodes.sort();
    assert_eq!(nodes, ["n1", "n2", "n3"]);

    cluster
        .edit::<DaemonSet>("agent", |object| {
            object.at_mut("spec.template.spec.containers").unwrap().as_array_mut().unwrap()[0].set("image", "i:2");
        })
        .await;
    let is_updated = |set: &api::value::Value| {
        set.i64_at("status.updatedNumberScheduled") == Some(3) && set.i64_at("status.numberAvailable") == Some(3)
    };
    cluster.until::<DaemonSet>("agent", is_updated).await;
    let revisions = cluster.until_all::<ControllerRevision>(|all| all.len() == 2).await;
    let mut numbers: Vec<_> = revisions.iter().map(|one| one.view.revision.unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

const JOB: &str = r#""template":{"spec":{"restartPolicy":"Never","terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i"}]}}"#;

#[tokio::test]
async fn a_job_runs_to_completion_and_counts_each_pod_once() {
    let cluster = Cluster::start().await;
    cluster.create_node("n1").await;
    cluster.pretend_kubelets(|_| Verdict::Succeeds);
    cluster
        .create::<Job>(&format!(r#"{{"metadata":{{"name":"calc"}},"spec":{{"completions":5,"parallelism":2,{JOB}}}}}"#))
        .await;
    let done = cluster.until::<Job>("calc", |job| !condition(job, "Complete").is_empty()).await;
    assert_eq!(done.i64_at("status.succeeded"), Some(5));
    assert!(done.at("status.failed").is_null() && done.at("status.active").is_null());
    assert!(!done.str_at("status.completionTime").is_empty());
    let pods = cluster.until_all::<Pod>(|pods| pods.iter().all(|pod| pod.metadata.finalizers.is_none())).await;
    assert_eq!(pods.len(), 5);
    let events = cluster.events_about("calc").await;
    assert!(events.contains(&"Completed Job completed".to_owned()), "{events:?}");
}

#[tokio::test]
async fn an_indexed_job_fails_by_its_policy() {
    let cluster = Cluster::start().await;
    cluster.create_node("n1").await;
    cluster.pretend_kubelets(|pod| match pod.label("batch.kubernetes.io/job-completion-index") {
        Some("1") => Verdict::Fails,
        Some("2") => Verdict::Succeeds,
        _ => Verdict::Runs,
    });
    let spec = format!(r#""completionMode":"Indexed","completions":3,"parallelism":3,"backoffLimit":0,{JOB}"#);
    cluster.create::<Job>(&format!(r#"{{"metadata":{{"name":"calc"}},"spec":{{{spec}}}}}"#)).await;
    let failed = cluster.until::<Job>("calc", |job| !condition(job, "Failed").is_empty()).await;
    assert_eq!(condition(&failed, "Failed"), "BackoffLimitExceeded");
    assert_eq!(condition(&failed, "FailureTarget"), "BackoffLimitExceeded");
    // Whatever ran when the job failed has failed too.
    assert!(failed.i64_at("status.failed").unwrap_or(0) >= 1, "{}", failed.at("status").i64_at("failed").unwrap_or(0));
    cluster.until_all::<Pod>(|pods| pods.iter().all(|pod| pod.metadata.finalizers.is_none())).await;
}

#[tokio::test]
async fn a_suspended_job_waits() {
    let cluster = Cluster::start().await;
    cluster.create_node("n1").await;
    cluster.pretend_kubelets(|_| Verdict::Runs);
    cluster
        .create::<Job>(&format!(
            r#"{{"metadata":{{"name":"calc"}},"spec":{{"suspend":true,"parallelism":2,"completions":2,{JOB}}}}}"#
        ))
        .await;
    let waiting = cluster.until::<Job>("calc", |job| condition(job, "Suspended") == "JobSuspended").await;
    assert!(waiting.at("status.startTime").is_null());
    cluster.edit::<Job>("calc", |job| job.set("spec.suspend", false)).await;
    cluster.until::<Job>("calc", |job| job.i64_at("status.ready") == Some(2)).await;
    cluster.edit::<Job>("calc", |job| job.set("spec.suspend", true)).await;
    cluster.until_all::<Pod>(|pods| pods.is_empty()).await;
    let stopped = cluster.until::<Job>("calc", |job| job.i64_at("status.active").is_none()).await;
    assert!(stopped.at("status.failed").is_null(), "pods of a suspended job are not failures");
}

#[tokio::test]
async fn a_stateful_set_makes_its_pods_in_order_and_updates_them_backwards() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    let claim = r#"{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}"#;
    let text = format!(
        r#"{{"metadata":{{"name":"db"}},"spec":{{"serviceName":"db","replicas":2,"selector":{{"matchLabels":{{"app":"web"}}}},"volumeClaimTemplates":[{claim}],"template":{TEMPLATE}}}}}"#
    );
    cluster.create::<StatefulSet>(&text).await;
    let there = cluster.until::<StatefulSet>("db", |set| set.i64_at("status.availableReplicas") == Some(2)).await;
    assert_eq!(there.str_at("status.currentRevision"), there.str_at("status.updateRevision"));
    let pods = cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
    let first = pods.iter().find(|pod| pod.name() == "db-0").unwrap();
    let second = pods.iter().find(|pod| pod.name() == "db-1").unwrap();
    assert!(first.metadata.creation_timestamp <= second.metadata.creation_timestamp);
    let claims = cluster.until_all::<PersistentVolumeClaim>(|claims| claims.len() == 2).await;
    assert!(claims.iter().any(|claim| claim.name() == "data-db-1"));

    cluster
        .edit::<StatefulSet>("db", |object| {
            object.at_mut("spec.template.spec.containers").unwrap().as_array_mut().unwrap()[0].set("image", "i:2");
        })
        .await;
    let is_updated = |set: &api::value::Value| {
        set.i64_at("status.updatedReplicas") == Some(2)
            && set.i64_at("status.readyReplicas") == Some(2)
            && set.str_at("status.currentRevision") == set.str_at("status.updateRevision")
            && set.i64_at("status.observedGeneration") == Some(2)
    };
    cluster.until::<StatefulSet>("db", is_updated).await;
    let now = cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
    assert!(now.iter().all(|pod| pod.uid() != first.uid() && pod.uid() != second.uid()));

    cluster.edit::<StatefulSet>("db", |set| set.set("spec.replicas", 1i64)).await;
    let left = cluster.until_all::<Pod>(|pods| pods.len() == 1).await;
    assert_eq!(left[0].name(), "db-0");
    // Claims stay, whatever becomes of pods.
    assert_eq!(cluster.until_all::<PersistentVolumeClaim>(|_| true).await.len(), 2);
}

/// Nothing is polled, and nobody answers his own writes with another.
#[tokio::test]
async fn at_rest_nothing_is_written() {
    let cluster = Cluster::with_nodes(&["n1"]).await;
    cluster.create::<Deployment>(&deployment(2)).await;
    let set = format!(
        r#"{{"metadata":{{"name":"agent"}},"spec":{{"selector":{{"matchLabels":{{"app":"agent"}}}},"template":{}}}}}"#,
        TEMPLATE.replace("web", "agent")
    );
    cluster.create::<DaemonSet>(&set).await;
    cluster.create::<Job>(&format!(r#"{{"metadata":{{"name":"calc"}},"spec":{{{JOB}}}}}"#)).await;
    cluster.until::<Deployment>("web", is_complete).await;
    cluster.until::<DaemonSet>("agent", |set| set.i64_at("status.numberAvailable") == Some(1)).await;
    cluster.until::<Job>("calc", |job| job.i64_at("status.ready") == Some(1)).await;
    let revision = || async { cluster.api::<Pod>().list(&Default::default()).await.unwrap().revision };
    // What was under way when the last condition was met comes to its end.
    let mut before = revision().await;
    let settled = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let now = revision().await;
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), settled).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(revision().await, before);
}

#[tokio::test]
async fn a_finished_job_goes_when_its_time_is_over() {
    let cluster = Cluster::start().await;
    cluster.create_node("n1").await;
    cluster.pretend_kubelets(|_| Verdict::Succeeds);
    cluster
        .create::<Job>(&format!(
            r#"{{"metadata":{{"name":"calc"}},"spec":{{"ttlSecondsAfterFinished":1,"backoffLimit":0,{JOB}}}}}"#
        ))
        .await;
    cluster.until_all::<Job>(|jobs| jobs.is_empty() || jobs[0].is_deleting()).await;
    let events = cluster.events_about("calc").await;
    assert!(events.contains(&"Completed Job completed".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_cron_job_starts_a_job_and_sees_it_succeed() {
    let cluster = Cluster::start().await;
    cluster.create_node("n1").await;
    cluster.pretend_kubelets(|_| Verdict::Succeeds);
    let text = format!(
        r#"{{"metadata":{{"name":"tick"}},"spec":{{"schedule":"@every 1s","concurrencyPolicy":"Forbid","jobTemplate":{{"spec":{{{JOB}}}}}}}}}"#
    );
    cluster.create::<CronJob>(&text).await;
    let jobs = cluster.until_all::<Job>(|jobs| !jobs.is_empty()).await;
    assert!(jobs[0].name().starts_with("tick-"), "{}", jobs[0].name());
    assert_eq!(jobs[0].controller_ref().map(|owner| owner.kind.as_str()), Some("CronJob"));
    let seen = cluster.until::<CronJob>("tick", |cron| !cron.str_at("status.lastSuccessfulTime").is_empty()).await;
    assert!(!seen.str_at("status.lastScheduleTime").is_empty());
}
