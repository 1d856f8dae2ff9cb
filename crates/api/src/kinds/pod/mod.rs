//! Pod, and the PodSpec that templates share with it.
//!
//! Start at [`RULES`]; [`spec`] judges a PodSpec, [`update`] what may change in a pod.

pub mod aggregate;
mod annotations;
mod container;
pub mod defaults;
mod env;
mod image;
mod mounts;
mod paths;
mod prepare;
mod probe;
mod projected;
pub mod scheduling;
mod security;
pub mod spec;
pub mod status;
pub mod template;
mod update;
mod volume;
pub mod volume_sources;
pub mod warnings;
mod warnings_paths;

pub use annotations::MIRROR;

use super::read::Read;
use super::{Generation, Rules, StatusRule, Subresource};
use crate::field::{FieldErrors, Path};
use crate::meta::non_negative;
use crate::names;
use crate::value::Value;

pub const RULES: Rules = Rules {
    defaults: defaults::pod,
    generation: Generation::Spec,
    status: StatusRule::Separate,
    prepare_create: |pod, _| prepare::create(pod),
    prepare_update: |new, old, _| prepare::update(new, old),
    validate: validate_create,
    validate_update: update::validate,
    subresources: &[
        Subresource {
            name: "status",
            prepare: |new, old, _| status::prepare(new, old),
            validate: status::validate,
            generation: false,
        },
        Subresource {
            name: "ephemeralcontainers",
            prepare: |new, old, _| update::prepare_ephemeral_containers(new, old),
            validate: update::validate_ephemeral_containers,
            generation: true,
        },
        Subresource {
            name: "resize",
            prepare: |new, old, _| update::prepare_resize(new, old),
            validate: update::validate_resize,
            generation: true,
        },
    ],
    warnings: |pod, old| if old.is_none() { warnings(pod) } else { Vec::new() },
    selectable: &[
        ("spec.nodeName", |pod| pod.str_at("spec.nodeName").into()),
        ("spec.restartPolicy", |pod| pod.str_at("spec.restartPolicy").into()),
        ("spec.schedulerName", |pod| pod.str_at("spec.schedulerName").into()),
        ("spec.serviceAccountName", |pod| pod.str_at("spec.serviceAccountName").into()),
        ("spec.hostNetwork", |pod| if pod.flag("spec.hostNetwork") { "true".into() } else { "false".into() }),
        ("status.phase", |pod| pod.str_at("status.phase").into()),
        ("status.podIP", |pod| {
            pod.array_at("status.podIPs").first().map(|ip| ip.str_at("ip")).unwrap_or_default().into()
        }),
        ("status.nominatedNodeName", |pod| pod.str_at("status.nominatedNodeName").into()),
    ],
    ..Rules::DEFAULT
};

/// Seconds that a deletion waits for the pod to end, given what the client asked for.
pub fn deletion_grace_seconds(pod: &Value, asked: Option<i64>) -> i64 {
    let ended = matches!(pod.str_at("status.phase"), "Failed" | "Succeeded");
    if ended || !pod.filled("spec.nodeName") {
        return 0;
    }
    let seconds = asked.or(pod.i64_at("spec.terminationGracePeriodSeconds")).unwrap_or_default();
    if seconds < 0 { 1 } else { seconds }
}

/// A `Binding` that ties a pod to a node.
pub fn validate_binding(binding: &Value, errors: &mut FieldErrors) {
    let (kind, name) = (binding.str_at("target.kind"), binding.str_at("target.name"));
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&Path::new("target.kind"), kind, &["Node", "<empty>"]);
    }
    match name {
        "" => errors.required(&Path::new("target.name"), ""),
        name if matches!(kind, "" | "Node") => {
            errors.invalid_each(&Path::new("target.name"), name, names::dns1123_subdomain(name));
        }
        _ => {}
    }
}

/// Annotations of a pod, new or changed.
fn whole_annotations(pod: &Value, errors: &mut FieldErrors) {
    let path = "metadata.annotations";
    annotations::validate(pod.at(path), pod.at("spec"), &Path::new(path), errors);
}

/// Annotations and spec of a pod, new or changed.
fn whole(pod: &Value, errors: &mut FieldErrors) {
    whole_annotations(pod, errors);
    let (metadata, pod_spec) = (pod.at("metadata"), pod.at("spec"));
    let at = Path::new("spec");
    spec::validate(pod_spec, spec::Place::Pod(metadata), &at, errors);
    if !pod_spec.filled("serviceAccountName") {
        for (index, volume) in pod_spec.array_at("volumes").iter().enumerate() {
            for (source_index, source) in volume.array_at("projected.sources").iter().enumerate() {
                if source.has("serviceAccountToken") {
                    let at = at.child("volumes");
                    let at = at.index(index);
                    let at = at.child("projected.sources");
                    let message = "must not be specified when serviceAccountName is not set";
                    errors.forbidden(&at.index(source_index).child("serviceAccountToken"), message);
                }
            }
        }
    }
    let grace = pod_spec.int("terminationGracePeriodSeconds");
    non_negative(grace, &at.child("terminationGracePeriodSeconds"), errors);
    for list in ["containers", "initContainers"] {
        for (index, one) in pod_spec.array_at(list).iter().enumerate() {
            container::only_for_pods(one, &at.child(list).index(index), errors);
        }
    }
}

fn validate_create(pod: &Value, errors: &mut FieldErrors) {
    whole(pod, errors);
    let at = Path::new("spec");
    if pod.filled("spec.ephemeralContainers") {
        errors.forbidden(&at.child("ephemeralContainers"), "cannot be set on create");
    }
    if pod.filled("spec.nodeName") && pod.filled("spec.schedulingGates") {
        errors.forbidden(&at.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::agree_with_fields(pod.at("metadata"), pod.at("spec"), &at, errors);
}

fn warnings(pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let complaints = names::dns1123_label(pod.str_at("metadata.name"));
    if !complaints.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label \
             is recommended: [{}]",
            complaints.join(" ")
        ));
    }
    warnings.extend(warnings::warnings(pod, &Path::ROOT, false));
    warnings
}

#[cfg(test)]
mod tests;
