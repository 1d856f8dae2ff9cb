//! Containers of all three kinds: what they share, and what each kind may have.
//!
//! Upstream: `pkg/apis/core/validation` (`validateContainers`, `validateInitContainers`,
//! `validateEphemeralContainers`, `validateContainerCommon`).

use super::spec::Scope;
use super::{env, mounts, probe, security, volume};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{PROTOCOLS, dns_label, one_of, port_number, required_one_of};
use crate::kinds::read::{Read, is_empty};
use crate::kinds::resources;
use crate::names;
use crate::value::Value;

const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const NOT_RESTARTABLE: &str = "may not be set for init containers without restartPolicy=Always";
const EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// The regular containers.
pub fn containers(spec: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let containers = spec.array_at("containers");
    if containers.is_empty() {
        return errors.required(at, "");
    }
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        common(container, scope, &at, errors);
        let name = container.str_at("name");
        if containers[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at.child("name"), name);
        }
        probe::lifecycle(container, scope, &at, errors);
        probe::probes(container, scope, &at, errors);
        restart_policy(container, &at, errors);
    }
    host_port_conflicts(containers.iter().enumerate(), at, errors);
}

/// Init containers, and the sidecars among them.
pub fn init_containers(spec: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let regular = spec.array_at("containers");
    let containers = spec.array_at("initContainers");
    for (index, container) in containers.iter().enumerate() {
        let here = at.index(index);
        common(container, scope, &here, errors);
        restart_policy(container, &here, errors);
        let name = container.str_at("name");
        if regular.iter().chain(&containers[..index]).any(|other| other.str_at("name") == name) {
            errors.duplicate(&here.child("name"), name);
        }
        // Init containers run one by one: only ports of the same one collide.
        host_port_conflicts(std::iter::once((0, container)), at, errors);
        if container.str_at("restartPolicy") == "Always" {
            probe::lifecycle(container, scope, &here, errors);
            probe::probes(container, scope, &here, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.has(field) {
                errors.forbidden(&here.child(field), NOT_RESTARTABLE);
            }
        }
        for (rule, policy) in container.array_at("resizePolicy").iter().enumerate() {
            if policy.str_at("restartPolicy") == "RestartContainer" {
                const MESSAGE: &str = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                let here = here.child("resizePolicy");
                errors.invalid(&here.index(rule).child("restartPolicy"), "RestartContainer", MESSAGE);
            }
        }
    }
}

/// Containers that were added to a running pod for debugging.
pub fn ephemeral_containers(spec: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let lasting = || spec.array_at("containers").iter().chain(spec.array_at("initContainers"));
    let containers = spec.array_at("ephemeralContainers");
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        common(container, scope, &at, errors);
        only_for_pods(container, &at, errors);
        let name = container.str_at("name");
        if lasting().chain(&containers[..index]).any(|other| other.str_at("name") == name) {
            errors.duplicate(&at.child("name"), name);
        }
        let target = container.str_at("targetContainerName");
        if !target.is_empty() && !lasting().any(|other| other.str_at("name") == target) {
            errors.not_found(&at.child("targetContainerName"), target);
        }
        const FORBIDDEN: [&str; 9] = [
            "ports",
            "resources",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ];
        for field in FORBIDDEN {
            let value = container.at(field);
            let set = match value {
                Value::Object(map) if field == "resources" => map.values().any(|value| !is_empty(value)),
                Value::Object(_) => true,
                other => !is_empty(other),
            };
            if set {
                errors.forbidden(&at.child(field), EPHEMERAL);
            }
        }
        for (mount_index, mount) in container.array_at("volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"].into_iter().filter(|field| mount.filled(field)) {
                errors.forbidden(&at.child("volumeMounts").index(mount_index).child(field), EPHEMERAL);
            }
        }
    }
}

/// What templates are spared.
pub fn only_for_pods(container: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let image = container.str_at("image");
    if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
}

fn common(container: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    match container.str_at("name") {
        "" => errors.required(&at.child("name"), ""),
        name => dns_label(name, &at.child("name"), errors),
    }
    if !container.filled("image") {
        errors.required(&at.child("image"), "");
    }
    let policy = container.str_at("terminationMessagePolicy");
    required_one_of(policy, &["File", "FallbackToLogsOnError"], &at.child("terminationMessagePolicy"), errors);
    ports(container.array_at("ports"), &at.child("ports"), errors);
    env::variables(container.array_at("env"), &at.child("env"), errors);
    env::env_from(container.array_at("envFrom"), &at.child("envFrom"), errors);
    mounts::volume_mounts(container, &scope.volumes, &at.child("volumeMounts"), errors);
    mounts::volume_devices(container, &scope.volumes, &at.child("volumeDevices"), errors);
    volume::pull_policy(container.str_at("imagePullPolicy"), &at.child("imagePullPolicy"), errors);
    let requirements = container.at("resources");
    resources::requirements(requirements, resources::container_name, &scope.claims, &at.child("resources"), errors);
    resize_policy(container, scope, &at.child("resizePolicy"), errors);
    security::container(container.at("securityContext"), scope, &at.child("securityContext"), errors);
}

fn ports(ports: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = port.str_at("name");
        if !name.is_empty() {
            let complaints = names::port_name(name);
            let taken = ports[..index].iter().any(|earlier| earlier.str_at("name") == name);
            if complaints.is_empty() && taken {
                errors.duplicate(&at.child("name"), name);
            }
            errors.invalid_each(&at.child("name"), name, complaints);
        }
        match port.int("containerPort") {
            0 => errors.required(&at.child("containerPort"), ""),
            number => port_number(number, &at.child("containerPort"), errors),
        }
        if port.int("hostPort") != 0 {
            port_number(port.int("hostPort"), &at.child("hostPort"), errors);
        }
        required_one_of(port.str_at("protocol"), &PROTOCOLS, &at.child("protocol"), errors);
    }
}

fn host_port_conflicts<'a>(
    containers: impl Iterator<Item = (usize, &'a Value)>,
    at: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let mut seen: Vec<String> = Vec::new();
    for (container_index, container) in containers {
        for (index, port) in container.array_at("ports").iter().enumerate() {
            let number = port.int("hostPort");
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.str_at("protocol"), port.str_at("hostIP"));
            match seen.contains(&key) {
                true => errors.duplicate(&at.index(container_index).child("ports").index(index).child("hostPort"), key),
                false => seen.push(key),
            }
        }
    }
}

fn resize_policy(container: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let policies = container.array_at("resizePolicy");
    for (index, policy) in policies.iter().enumerate() {
        let (resource, restart) = (policy.str_at("resourceName"), policy.str_at("restartPolicy"));
        if policies[..index].iter().any(|earlier| earlier.str_at("resourceName") == resource) {
            errors.duplicate(&at.index(index), resource);
        }
        required_one_of(resource, &["cpu", "memory"], at, errors);
        required_one_of(restart, &["NotRequired", "RestartContainer"], at, errors);
        if scope.restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid(at, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

/// The restart policy that a container has of its own, and its rules.
fn restart_policy(container: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let rules = container.array_at("restartPolicyRules");
    if container.has("restartPolicy") {
        let policy = container.str_at("restartPolicy");
        one_of(policy, &["Always", "Never", "OnFailure"], &at.child("restartPolicy"), errors);
    } else if !rules.is_empty() {
        errors.required(&at.child("restartPolicy"), "must specify restartPolicy when restart rules are used");
        if rules.len() <= RESTART_RULES_MAX {
            return;
        }
    }
    let at = at.child("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&at, rules.len(), RESTART_RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        one_of(rule.str_at("action"), &["Restart", "RestartAllContainers"], &at.child("action"), errors);
        let codes = at.child("exitCodes");
        if !rule.has("exitCodes") {
            errors.required(&codes, "must be specified");
            continue;
        }
        one_of(rule.str_at("exitCodes.operator"), &["In", "NotIn"], &codes.child("operator"), errors);
        let count = rule.len_at("exitCodes.values");
        if count > EXIT_CODES_MAX {
            errors.too_many(&codes.child("values"), count, EXIT_CODES_MAX);
        }
    }
}
