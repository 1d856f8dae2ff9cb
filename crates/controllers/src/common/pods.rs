//! What a pod's state means to its controller.

use client::MetaExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};

/// `status.phase`, empty before it is set.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether all containers have ended for good.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod counts as a replica: neither ended nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !pod.is_deleting()
}

/// Whether the pod is being deleted and has not ended.
pub fn is_terminating(pod: &Pod) -> bool {
    !is_finished(pod) && pod.is_deleting()
}

/// The pod's spec, empty where there is none.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The node the pod is bound to, empty before that.
pub fn node_name(pod: &Pod) -> &str {
    spec(pod).node_name.as_deref().unwrap_or_default()
}

/// One of the pod's conditions.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    conditions(pod.status.as_ref()).find(|condition| condition.type_ == kind)
}

fn conditions(status: Option<&PodStatus>) -> impl Iterator<Item = &PodCondition> {
    status.and_then(|status| status.conditions.as_ref()).into_iter().flatten()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    condition(pod, "Ready").filter(|condition| condition.status == "True")
}

/// Whether the pod serves.
pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Since when the pod serves.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether the pod has been ready for `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds == 0
            || ready_since(pod).is_some_and(|since| now.duration_since(since) >= seconds(min_ready_seconds)))
}

/// When the first of the pods that are ready but not yet available will be, from now on.
pub fn next_availability<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<std::time::Duration> {
    let waits = pods.into_iter().filter_map(|pod| {
        let wait = seconds(min_ready_seconds) - now.duration_since(ready_since(pod)?);
        std::time::Duration::try_from(wait).ok().filter(|wait| !wait.is_zero())
    });
    waits.min()
}

fn seconds(seconds: i32) -> SignedDuration {
    SignedDuration::from_secs(seconds.into())
}

/// The most restarts of any container, and of any sidecar.
pub fn restarts(pod: &Pod) -> (i32, i32) {
    let status = pod.status.as_ref();
    let most = |statuses: Option<&Vec<k8s_openapi::api::core::v1::ContainerStatus>>, wanted: &dyn Fn(&str) -> bool| {
        let counts = statuses.into_iter().flatten().filter(|one| wanted(&one.name)).map(|one| one.restart_count);
        counts.max().unwrap_or(0)
    };
    let is_sidecar = |name: &str| {
        let inits = spec(pod).init_containers.iter().flatten();
        inits.filter(|one| one.restart_policy.as_deref() == Some("Always")).any(|one| one.name == name)
    };
    (
        most(status.and_then(|status| status.container_statuses.as_ref()), &|_| true),
        most(status.and_then(|status| status.init_container_statuses.as_ref()), &is_sidecar),
    )
}

/// The claims that the pod's volumes need, those of its ephemeral volumes too.
pub fn claims(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    spec(pod).volumes.iter().flatten().filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(ephemeral_claim(pod, &volume.name)),
        (None, None) => None,
    })
}

/// The name of the claim that is made for an ephemeral volume.
pub fn ephemeral_claim(pod: &Pod, volume: &str) -> String {
    format!("{}-{volume}", pod.name())
}

/// Index of pods by namespace and claim, for [`claim_index`].
pub const CLAIM_INDEX: &str = "pod-pvc-index";

/// Files pods under `namespace/claim`.
pub fn claim_index(pod: &Pod) -> Vec<smol_str::SmolStr> {
    claims(pod).map(|claim| format!("{}/{claim}", pod.namespace()).into()).collect()
}
