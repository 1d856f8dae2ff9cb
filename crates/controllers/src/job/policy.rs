//! What a pod's failure means to its job, and when some successes are enough.

use client::MetaExt;
use k8s_openapi::api::batch::v1::{
    Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;
use super::model::JobExt;

/// What becomes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It counts towards the limits.
    Counts,
    /// It does not.
    Ignored,
    /// The pod's index fails at once.
    FailsIndex,
    /// The job fails at once, with this message.
    FailsJob(String),
}

/// What the job's policy says about a failed pod.
pub fn failure(job: &Job, pod: &Pod) -> Failure {
    let rules = job.spec().pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    let matched = rules.enumerate().find_map(|(at, rule)| said(rule, at, pod).map(|said| (rule, said)));
    match matched {
        None => Failure::Counts,
        Some((rule, said)) => match rule.action.as_str() {
            "Ignore" => Failure::Ignored,
            "FailIndex" => Failure::FailsIndex,
            "FailJob" => Failure::FailsJob(said),
            _ => Failure::Counts,
        },
    }
}

/// How a rule matches a pod, in words; none if it doesn't.
fn said(rule: &PodFailurePolicyRule, at: usize, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let (namespace, name, action) = (pod.namespace(), pod.name(), &rule.action);
    if let Some(wanted) = &rule.on_exit_codes {
        let containers =
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        let (container, code) =
            containers.filter_map(|one| exit_code(one, wanted).map(|code| (&one.name, code))).next()?;
        return Some(format!(
            "Container {container} for pod {namespace}/{name} failed with exit code {code} matching {action} rule at index {at}"
        ));
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    let conditions = status.conditions.iter().flatten();
    let matches = |kind: &str, is: &str| {
        patterns.clone().any(|one| one.type_ == kind && one.status.as_deref().unwrap_or("True") == is)
    };
    let condition = conditions.into_iter().find(|one| matches(&one.type_, &one.status))?;
    let kind = &condition.type_;
    Some(format!("Pod {namespace}/{name} has condition {kind} matching {action} rule at index {at}"))
}

/// The exit code of a container that failed as the rule wants it.
fn exit_code(container: &ContainerStatus, wanted: &PodFailurePolicyOnExitCodesRequirement) -> Option<i32> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let is_named = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
    let is_listed = wanted.values.contains(&code);
    let matches = match wanted.operator.as_str() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        _ => false,
    };
    (code != 0 && is_named && matches).then_some(code)
}

/// The message of the first success rule that the succeeded indexes meet.
pub fn success(job: &Job, succeeded: &Indexes) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let mut rules = job.spec().success_policy.iter().flat_map(|policy| &policy.rules);
    let at = rules.position(|rule| is_met(rule, succeeded, job.completions()))?;
    Some(format!("Matched rules at index {at}"))
}

fn is_met(rule: &SuccessPolicyRule, succeeded: &Indexes, completions: i32) -> bool {
    match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(text), count) => {
            let wanted = Indexes::parse(text, completions);
            let there = succeeded.overlap(&wanted);
            !wanted.is_empty() && (there == wanted.total() || count.is_some_and(|count| there >= count))
        }
        (None, Some(count)) => succeeded.total() >= count,
        (None, None) => false,
    }
}
