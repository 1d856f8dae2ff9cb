//! Controllers of pods, and what bounds them.

use jiff::Timestamp;

use super::cells::{self, NONE};
use super::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, Table, age, boolean, integer, text};
use crate::kinds::read::Read;
use crate::kinds::resources::quantity;
use crate::meta::controller_of;
use crate::selector::LabelSelector;
use crate::value::Value;

const DESIRED: Column = integer("Desired", "Pods that should be there.");
const CURRENT: Column = integer("Current", "Pods that are there.");
const READY: Column = integer("Ready", "Pods that are ready.");

static SET_COLUMNS: [Column; 8] = [NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR];

pub static REPLICA_SETS: Table =
    Table { columns: &SET_COLUMNS, cells: |set, now| set_cells(set, now, cells::selector(set.at("spec.selector"))) };

pub static REPLICATION_CONTROLLERS: Table =
    Table { columns: &SET_COLUMNS, cells: |set, now| set_cells(set, now, cells::labels(set.at("spec.selector"))) };

fn set_cells(set: &Value, now: Timestamp, selector: String) -> Vec<Value> {
    let [names, images] = cells::containers(set, "spec.template");
    vec![
        cells::name(set),
        set.int("spec.replicas").into(),
        set.int("status.replicas").into(),
        set.int("status.readyReplicas").into(),
        cells::age(set, now),
        names,
        images,
        selector.into(),
    ]
}

pub static DEPLOYMENTS: Table = Table {
    columns: &[
        NAME,
        text("Ready", "Pods that are ready, of those wanted."),
        text("Up-to-date", "Pods of the newest template."),
        text("Available", "Pods that were ready long enough."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |deployment, now| {
        let [names, images] = cells::containers(deployment, "spec.template");
        let selector = LabelSelector::from_object(deployment.at("spec.selector"));
        vec![
            cells::name(deployment),
            ratio(deployment, "status.readyReplicas", "spec.replicas"),
            deployment.int("status.updatedReplicas").into(),
            deployment.int("status.availableReplicas").into(),
            cells::age(deployment, now),
            names,
            images,
            selector.map_or_else(|_| "<invalid>".to_owned(), |selector| selector.to_string()).into(),
        ]
    },
};

fn ratio(object: &Value, part: &str, whole: &str) -> Value {
    format!("{}/{}", object.int(part), object.int(whole)).into()
}

pub static STATEFUL_SETS: Table = Table {
    columns: &[NAME, text("Ready", "Pods that are ready, of those wanted."), AGE, CONTAINERS, IMAGES],
    cells: |set, now| {
        let [names, images] = cells::containers(set, "spec.template");
        let ready = ratio(set, "status.readyReplicas", "spec.replicas");
        vec![cells::name(set), ready, cells::age(set, now), names, images]
    },
};

pub static DAEMON_SETS: Table = Table {
    columns: &[
        NAME,
        integer("Desired", "Nodes that should run the pod."),
        integer("Current", "Nodes that run the pod and should."),
        integer("Ready", "Nodes whose pod is ready."),
        integer("Up-to-date", "Nodes whose pod is of the newest template."),
        integer("Available", "Nodes whose pod was ready long enough."),
        text("Node Selector", "Labels that a node must have."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |set, now| {
        const COUNTS: [&str; 5] = [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        ];
        let mut row = vec![cells::name(set)];
        row.extend(COUNTS.iter().map(|count| Value::from(set.at("status").int(count))));
        row.push(cells::labels(set.at("spec.template.spec.nodeSelector")).into());
        row.push(cells::age(set, now));
        row.extend(cells::containers(set, "spec.template"));
        row.push(cells::selector(set.at("spec.selector")).into());
        row
    },
};

pub static CONTROLLER_REVISIONS: Table = Table {
    columns: &[
        NAME,
        text("Controller", "Whose history this is part of."),
        text("Revision", "Its number in the history."),
        AGE,
    ],
    cells: |revision, now| {
        let controller = controller_of(revision).map_or_else(
            || NONE.to_owned(),
            |owner| {
                let group = owner.str_at("apiVersion").split_once('/').map_or("", |(group, _)| group);
                let kind = crate::status::GroupResource { group, resource: owner.str_at("kind") };
                format!("{}/{}", kind.to_string().to_lowercase(), owner.str_at("name"))
            },
        );
        vec![cells::name(revision), controller.into(), revision.int("revision").into(), cells::age(revision, now)]
    },
};

// === Jobs ===

pub static JOBS: Table = Table {
    columns: &[
        NAME,
        text("Status", "What the job is at."),
        text("Completions", "Pods that succeeded, of those needed."),
        text("Duration", "How long the job took or has been running."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |job, now| {
        let [names, images] = cells::containers(job, "spec.template");
        vec![
            cells::name(job),
            job_status(job).into(),
            job_completions(job).into(),
            job_duration(job, now).into(),
            cells::age(job, now),
            names,
            images,
            cells::selector(job.at("spec.selector")).into(),
        ]
    },
};

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        let found = job.array_at("status.conditions").iter().find(|one| one.str_at("type") == kind);
        found.is_some_and(|one| one.str_at("status") == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job.has("metadata.deletionTimestamp") => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn job_completions(job: &Value) -> String {
    let succeeded = job.int("status.succeeded");
    match (job.i64_at("spec.completions"), job.int("spec.parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn job_duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = age::instant(job.at("status.startTime")) else { return String::new() };
    let end = age::instant(job.at("status.completionTime")).unwrap_or(now);
    age::human_duration(age::whole_seconds(start, end))
}

pub static CRON_JOBS: Table = Table {
    columns: &[
        NAME,
        text("Schedule", "When jobs start, in cron's notation."),
        text("Timezone", "Where the schedule's clock stands."),
        boolean("Suspend", "Whether no further jobs start."),
        integer("Active", "Jobs that are running."),
        text("Last Schedule", "When a job was last started."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |cron, now| {
        let [names, images] = cells::containers(cron, "spec.jobTemplate.spec.template");
        let last = cron.at("status.lastScheduleTime");
        let suspend = match cron.at("spec.suspend").as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        vec![
            cells::name(cron),
            cron.str_at("spec.schedule").into(),
            cells::pointer(cron, "spec.timeZone", NONE).into(),
            suspend.into(),
            (cron.len_at("status.active") as i64).into(),
            if last.is_null() { NONE.into() } else { age::since(last, now).into() },
            cells::age(cron, now),
            names,
            images,
            cells::selector(cron.at("spec.jobTemplate.spec.selector")).into(),
        ]
    },
};

// === What bounds them ===

pub static DISRUPTION_BUDGETS: Table = Table {
    columns: &[
        NAME,
        text("Min Available", "Pods that must stay."),
        text("Max Unavailable", "Pods that may be missing."),
        integer("Allowed Disruptions", "Pods that may be evicted now."),
        AGE,
    ],
    cells: |budget, now| {
        vec![
            cells::name(budget),
            cells::int_or_string(budget.at("spec.minAvailable"), "N/A").into(),
            cells::int_or_string(budget.at("spec.maxUnavailable"), "N/A").into(),
            budget.int("status.disruptionsAllowed").into(),
            cells::age(budget, now),
        ]
    },
};

pub static AUTOSCALERS: Table = Table {
    columns: &[
        NAME,
        text("Reference", "What is scaled."),
        text("Targets", "Metrics: current and wanted."),
        text("MinPods", "Fewest replicas."),
        text("MaxPods", "Most replicas."),
        text("Replicas", "Replicas that are there."),
        AGE,
    ],
    cells: |scaler, now| {
        let target = scaler.at("spec.scaleTargetRef");
        vec![
            cells::name(scaler),
            format!("{}/{}", target.str_at("kind"), target.str_at("name")).into(),
            metrics(scaler.array_at("spec.metrics"), scaler.array_at("status.currentMetrics")).into(),
            scaler.i64_at("spec.minReplicas").map_or_else(|| "<unset>".to_owned(), |min| min.to_string()).into(),
            scaler.int("spec.maxReplicas").into(),
            scaler.int("status.currentReplicas").into(),
            cells::age(scaler, now),
        ]
    },
};

/// Metrics before `+ n more...`.
const METRICS_SHOWN: usize = 2;

fn metrics(specs: &[Value], statuses: &[Value]) -> String {
    if specs.is_empty() {
        return NONE.to_owned();
    }
    let null = Value::Null;
    let shown: Vec<String> =
        specs.iter().enumerate().map(|(at, spec)| metric(spec, statuses.get(at).unwrap_or(&null))).collect();
    let text = shown[..shown.len().min(METRICS_SHOWN)].join(", ");
    match shown.len() {
        count if count > METRICS_SHOWN => format!("{text} + {} more...", count - METRICS_SHOWN),
        _ => text,
    }
}

fn metric(spec: &Value, status: &Value) -> String {
    let source = match spec.str_at("type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (spec.at(source).at("target"), status.at(source).at("current"));
    let amount = |value: &Value| match value.is_null() {
        true => "<unknown>".to_owned(),
        false => quantity(value).to_string(),
    };
    let averaged = target.has("averageValue");
    match source {
        "external" | "object" if averaged => {
            format!("{}/{} (avg)", amount(current.at("averageValue")), amount(target.at("averageValue")))
        }
        "external" | "object" => format!("{}/{}", amount(current.at("value")), amount(target.at("value"))),
        "pods" => format!("{}/{}", amount(current.at("averageValue")), amount(target.at("averageValue"))),
        _ => {
            let name = spec.at(source).str_at("name");
            if averaged {
                return format!("{name}: {}/{}", amount(current.at("averageValue")), amount(target.at("averageValue")));
            }
            let percent = |value: &Value, absent: &str| match value.as_i64() {
                Some(percent) => format!("{percent}%"),
                None => absent.to_owned(),
            };
            let current = percent(current.at("averageUtilization"), "<unknown>");
            format!("{name}: {current}/{}", percent(target.at("averageUtilization"), "<auto>"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    fn row(table: &Table, object: serde_json::Value) -> Vec<Value> {
        (table.cells)(&tree(object), Timestamp::from_second(100).unwrap())
    }

    #[test]
    fn a_deployment() {
        let row = row(
            &DEPLOYMENTS,
            json!({
            "metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
        );
        let expected: [Value; 8] = [
            "web".into(),
            "2/3".into(),
            3i64.into(),
            2i64.into(),
            "100s".into(),
            "a,b".into(),
            "i,j".into(),
            "app=web".into(),
        ];
        assert_eq!(row, expected);
    }

    #[test]
    fn a_job() {
        let row = row(
            &JOBS,
            json!({"metadata": {"name": "j", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"completions": 2}, "status": {"succeeded": 1, "startTime": "1970-01-01T00:00:40Z"}}),
        );
        assert_eq!(row[1..4], ["Running".into(), "1/2".into(), "60s".into()]);
    }

    #[test]
    fn a_scaler() {
        let row = row(
            &AUTOSCALERS,
            json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]},
            "status": {"currentReplicas": 1}}),
        );
        assert_eq!(row[1..4], ["Deployment/web".into(), "cpu: <unknown>/80%".into(), "<unset>".into()]);
    }
}
