//! Pods: the status column tells in a word what all containers are at.

use jiff::Timestamp;

use super::cells::{self, NONE};
use super::{AGE, Column, NAME, Table, age, text};
use crate::kinds::read::Read;
use crate::value::Value;

pub static PODS: Table = Table {
    columns: &[
        NAME,
        text("Ready", "Containers that are ready, of all."),
        text("Status", "What the pod's containers are at."),
        text("Restarts", "How often containers were restarted, and when last."),
        AGE,
        text("IP", "The pod's address.").wide(),
        text("Node", "Where the pod runs.").wide(),
        text("Nominated Node", "Where the pod will run once room is made.").wide(),
        text("Readiness Gates", "Further conditions of readiness that are true, of all.").wide(),
    ],
    cells: pod_cells,
};

pub static POD_TEMPLATES: Table = Table {
    columns: &[
        NAME,
        // Shown always here, not only with `-o wide`.
        Column { priority: 0, ..super::CONTAINERS },
        Column { priority: 0, ..super::IMAGES },
        text("Pod Labels", "Labels of the template."),
    ],
    cells: |template, _| {
        let [names, images] = cells::containers(template, "template");
        let labels = cells::labels(template.at("template.metadata.labels"));
        vec![cells::name(template), names, images, labels.into()]
    },
};

/// What the first columns say.
#[derive(Debug, Default)]
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn pod_cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, age::human_duration(age::whole_seconds(last, now)))
        }
        _ => summary.restarts.to_string(),
    };
    let ip = pod.array_at("status.podIPs").first().map(|ip| ip.str_at("ip")).filter(|ip| !ip.is_empty());
    vec![
        cells::name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        cells::age(pod, now),
        ip.unwrap_or(NONE).into(),
        cells::or(pod, "spec.nodeName", NONE).into(),
        cells::or(pod, "status.nominatedNodeName", NONE).into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = pod.array_at("spec.readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let is_open = |gate: &&Value| condition(pod, gate.str_at("conditionType")).str_at("status") == "True";
    format!("{}/{}", gates.iter().filter(is_open).count(), gates.len())
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let conditions = pod.array_at("status.conditions");
    conditions.iter().find(|one| one.str_at("type") == kind).unwrap_or(&crate::value::NULL)
}

fn summarize(pod: &Value) -> Summary {
    let mut summary =
        Summary { reason: cells::or(pod, "status.reason", pod.str_at("status.phase")).into(), ..Summary::default() };
    let gated = |one: &Value| one.str_at("type") == "PodScheduled" && one.str_at("reason") == "SchedulingGated";
    if pod.array_at("status.conditions").iter().any(gated) {
        summary.reason = "SchedulingGated".to_owned();
    }
    let sidecars: Vec<&str> = pod
        .array_at("spec.initContainers")
        .iter()
        .filter(|container| container.str_at("restartPolicy") == "Always")
        .map(|container| container.str_at("name"))
        .collect();
    summary.total = pod.len_at("spec.containers") + sidecars.len();
    let (initializing, of_sidecars) = init_containers(pod, &sidecars, &mut summary);
    if !initializing || condition(pod, "Initialized").str_at("status") == "True" {
        (summary.restarts, summary.last_restart) = of_sidecars;
        main_containers(pod, &mut summary);
    }
    if pod.has("metadata.deletionTimestamp") {
        if pod.str_at("status.reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(pod.str_at("status.phase"), "Failed" | "Succeeded") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

type Restarts = (i64, Option<Timestamp>);

fn count(status: &Value, (restarts, last): Restarts) -> Restarts {
    let ended = age::instant(status.at("lastState.terminated.finishedAt"));
    (restarts + status.int("restartCount"), last.max(ended))
}

/// Goes through the init containers up to the one that runs or failed. Says whether there is
/// one, and gives the sidecars' restarts.
fn init_containers(pod: &Value, sidecars: &[&str], summary: &mut Summary) -> (bool, Restarts) {
    let mut of_sidecars = (0, None);
    for (index, status) in pod.array_at("status.initContainerStatuses").iter().enumerate() {
        (summary.restarts, summary.last_restart) = count(status, (summary.restarts, summary.last_restart));
        let is_sidecar = sidecars.contains(&status.str_at("name"));
        if is_sidecar {
            of_sidecars = count(status, of_sidecars);
        }
        let terminated = status.at("state.terminated");
        let waiting = status.str_at("state.waiting.reason");
        if !terminated.is_null() && terminated.int("exitCode") == 0 {
            continue;
        }
        if is_sidecar && status.flag("started") {
            summary.ready += usize::from(status.flag("ready"));
            continue;
        }
        summary.reason = if !terminated.is_null() {
            format!("Init:{}", exit(terminated))
        } else if !matches!(waiting, "" | "PodInitializing") {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", pod.len_at("spec.initContainers"))
        };
        return (true, of_sidecars);
    }
    (false, of_sidecars)
}

fn main_containers(pod: &Value, summary: &mut Summary) {
    let (mut running, mut failure) = (false, String::new());
    for status in pod.array_at("status.containerStatuses").iter().rev() {
        (summary.restarts, summary.last_restart) = count(status, (summary.restarts, summary.last_restart));
        let terminated = status.at("state.terminated");
        let waiting = status.str_at("state.waiting.reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if !terminated.is_null() {
            summary.reason = exit(terminated);
            if terminated.int("exitCode") != 0 {
                failure.clone_from(&summary.reason);
            }
        } else if status.flag("ready") && status.has("state.running") {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        let ready = pod
            .array_at("status.conditions")
            .iter()
            .any(|one| one.str_at("type") == "Ready" && one.str_at("status") == "True");
        if running && ready {
            summary.reason = "Running".to_owned();
        } else if !failure.is_empty() {
            summary.reason = failure;
        } else if running {
            summary.reason = "NotReady".to_owned();
        }
    }
}

fn exit(terminated: &Value) -> String {
    match (terminated.str_at("reason"), terminated.int("signal")) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    fn shown(pod: serde_json::Value) -> String {
        let cells = pod_cells(&tree(pod), Timestamp::from_second(1000).unwrap());
        cells[1..4].iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[rstest]
    #[case::pending(json!({"spec": {"containers": [{}]}, "status": {"phase": "Pending"}}), "0/1 Pending 0")]
    #[case::running(json!({"spec": {"containers": [{}, {}]}, "status": {"phase": "Running", "containerStatuses": [
        {"ready": true, "state": {"running": {}}}, {"restartCount": 3, "ready": true, "state": {"running": {}}}]}}), "2/2 Running 3")]
    #[case::restarted(json!({"spec": {"containers": [{}]}, "status": {"phase": "Running", "containerStatuses": [
        {"restartCount": 1, "lastState": {"terminated": {"finishedAt": "1970-01-01T00:16:30Z"}}, "ready": true, "state": {"running": {}}}]}}), "1/1 Running 1 (10s ago)")]
    #[case::waiting(json!({"spec": {"containers": [{}]}, "status": {"phase": "Pending", "containerStatuses": [
        {"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}), "0/1 ImagePullBackOff 0")]
    #[case::crashed(json!({"spec": {"containers": [{}]}, "status": {"phase": "Running", "containerStatuses": [
        {"state": {"terminated": {"exitCode": 3}}}]}}), "0/1 ExitCode:3 0")]
    #[case::killed(json!({"spec": {"containers": [{}]}, "status": {"phase": "Running", "containerStatuses": [
        {"state": {"terminated": {"signal": 9, "exitCode": 137}}}]}}), "0/1 Signal:9 0")]
    #[case::init(json!({"spec": {"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{}]}, "status": {"phase": "Pending",
        "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}}), "0/1 Init:1/2 0")]
    #[case::init_failed(json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{}]}, "status": {"phase": "Pending",
        "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}}), "0/1 Init:Error 0")]
    #[case::sidecar(json!({"spec": {"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{}]}, "status": {"phase": "Running",
        "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 2, "state": {"running": {}}}],
        "containerStatuses": [{"ready": true, "state": {"running": {}}}]}}), "2/2 Running 2")]
    #[case::completed(json!({"spec": {"containers": [{}]}, "status": {"phase": "Succeeded", "containerStatuses": [
        {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}}), "0/1 Completed 0")]
    #[case::half_completed(json!({"spec": {"containers": [{}, {}]}, "status": {"phase": "Running", "containerStatuses": [
        {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, {"ready": true, "state": {"running": {}}}]}}), "1/2 NotReady 0")]
    #[case::terminating(json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"containers": [{}]}, "status": {"phase": "Running"}}), "0/1 Terminating 0")]
    #[case::lost(json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"containers": [{}]}, "status": {"phase": "Running", "reason": "NodeLost"}}), "0/1 Unknown 0")]
    #[case::gated(json!({"spec": {"containers": [{}]}, "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}}), "0/1 SchedulingGated 0")]
    fn the_status_in_a_word(#[case] pod: serde_json::Value, #[case] expected: &str) {
        assert_eq!(shown(pod), expected);
    }
}
