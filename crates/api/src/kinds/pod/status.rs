//! Writes to a pod's status.

use super::annotations;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{dns_subdomain, qualified_name};
use crate::kinds::ip::{legacy_ip, parse_sloppy};
use crate::kinds::read::{Read, copy};
use crate::meta;
use crate::value::Value;

const STATUS: Path<'static> = Path::new("status");

/// What a status write can't touch, and what old kubelets forget.
pub fn prepare(new: &mut Value, old: &Value) {
    copy(new, old, "spec");
    new.remove("metadata.deletionTimestamp");
    copy(new, old, "metadata.ownerReferences");
    if !new.filled("status.qosClass") {
        copy(new, old, "status.qosClass");
    }
    for field in ["resourceClaimStatuses", "extendedResourceClaimStatus", "nodeAllocatableResourceClaimStatuses"] {
        let path = format!("status.{field}");
        if !new.has(&path) && old.has(&path) {
            copy(new, old, &path);
        }
    }
    if new.int("status.observedGeneration") == 0 && old.has("status.observedGeneration") {
        copy(new, old, "status.observedGeneration");
    }
    let known: Vec<(String, Value)> = old
        .array_at("status.conditions")
        .iter()
        .map(|condition| (condition.str_at("type").to_owned(), condition.at("observedGeneration").clone()))
        .collect();
    if let Some(conditions) = new.at_mut("status.conditions").and_then(Value::as_array_mut) {
        let mut known = known;
        for condition in conditions {
            let Some(at) = known.iter().position(|(kind, _)| kind == condition.str_at("type")) else { continue };
            let (_, generation) = known.remove(at);
            if condition.int("observedGeneration") == 0 && !generation.is_null() {
                condition.set("observedGeneration", generation);
            }
        }
    }
}

pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let path = "metadata.annotations";
    annotations::validate_update(new.at(path), old.at(path), new.at("spec"), &Path::new(path), errors);
    conditions(new, errors);
    nominated_node(new, old, errors);
    let observed = new.int("status.observedGeneration");
    if observed < 0 {
        errors.invalid(&STATUS.child("observedGeneration"), observed, "must be a non-negative integer");
    }
    meta::immutable(new.at("status.qosClass"), old.at("status.qosClass"), &STATUS.child("qosClass"), errors);
    restarts(new, old, errors);
    claim_statuses(new, errors);
    addresses(new, old, errors);
}

fn conditions(pod: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("conditions");
    for (index, condition) in pod.array_at("status.conditions").iter().enumerate() {
        let observed = condition.int("observedGeneration");
        if observed < 0 {
            errors.invalid(&at.index(index).child("observedGeneration"), observed, "must be a non-negative integer");
        }
        let kind = condition.str_at("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            qualified_name(kind, &at.index(index).child("Type"), errors);
        }
    }
}

fn nominated_node(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("nominatedNodeName");
    let (now, was) = (new.str_at("status.nominatedNodeName"), old.str_at("status.nominatedNodeName"));
    if now == was || now.is_empty() {
        return;
    }
    dns_subdomain(now, &at, errors);
    if old.filled("spec.nodeName") {
        errors.forbidden(&at, "may not be set on pods that are already bound to a node");
    }
}

/// A container that ended for good stays ended.
fn restarts(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let spec = old.at("spec");
    let all_may_restart = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.array_at(list))
        .flat_map(|container| container.array_at("restartPolicyRules"))
        .any(|rule| rule.str_at("action") == "RestartAllContainers");
    const LISTS: [(&str, Option<&str>); 3] = [
        ("containerStatuses", Some("containers")),
        ("initContainerStatuses", Some("initContainers")),
        ("ephemeralContainerStatuses", None),
    ];
    for (statuses, containers) in LISTS {
        if containers.is_some() && all_may_restart {
            continue;
        }
        let now = new.at("status").array_at(statuses);
        for (index, was) in old.at("status").array_at(statuses).iter().enumerate() {
            let name = was.str_at("name");
            let runs_again = now.iter().find(|status| status.str_at("name") == name && !status.has("state.terminated"));
            if !was.has("state.terminated") || runs_again.is_none() {
                continue;
            }
            let container = containers
                .and_then(|list| spec.array_at(list).iter().find(|container| container.str_at("name") == name));
            let allowed = container
                .is_some_and(|container| should_restart(container, spec, was.int("state.terminated.exitCode")));
            if !allowed {
                let message = "may not be transitioned to non-terminated state";
                errors.forbidden(&STATUS.child(statuses).index(index).child("state"), message);
            }
        }
    }
}

/// Whether the container runs again after it ended with this code.
pub fn should_restart(container: &Value, spec: &Value, exit_code: i64) -> bool {
    let own = container.str_at("restartPolicy");
    if !own.is_empty() {
        let rule = container.array_at("restartPolicyRules").iter().find(|rule| {
            let listed = rule.array_at("exitCodes.values").iter().any(|value| value.as_i64() == Some(exit_code));
            match rule.str_at("exitCodes.operator") {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        });
        if rule.is_some_and(|rule| matches!(rule.str_at("action"), "Restart" | "RestartAllContainers")) {
            return true;
        }
    }
    let policy = if own.is_empty() { spec.str_at("restartPolicy") } else { own };
    match policy {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

fn claim_statuses(pod: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("resourceClaimStatuses");
    let statuses = pod.array_at("status.resourceClaimStatuses");
    for (index, status) in statuses.iter().enumerate() {
        let at = at.index(index);
        let name = status.str_at("name");
        if !pod.array_at("spec.resourceClaims").iter().any(|claim| claim.str_at("name") == name) {
            let message = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&at.child("name"), name, message);
        }
        if statuses[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at.child("name"), name);
        }
        if status.has("resourceClaimName") {
            dns_subdomain(status.str_at("resourceClaimName"), &at.child("resourceClaimName"), errors);
        }
    }
}

fn addresses(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = STATUS.child("podIPs");
    address_list(new, old, "podIPs", errors);
    let (single, first) = (new.str_at("status.podIP"), new.array_at("status.podIPs").first());
    match first {
        None if !single.is_empty() => {
            errors.invalid(&at, new.at("status.podIPs"), "podIP and podIPs must either both be set or both be unset");
        }
        Some(_) if single.is_empty() => {
            errors.invalid(&at, new.at("status.podIPs"), "podIP and podIPs must either both be set or both be unset");
        }
        Some(first) if first.str_at("ip") != single => {
            errors.invalid(&at.index(0).child("ip"), first.str_at("ip"), "must be equal to `podIP`");
        }
        _ => {}
    }
    if let Some(first) = new.array_at("status.hostIPs").first() {
        if first.str_at("ip") != new.str_at("status.hostIP") {
            let at = STATUS.child("hostIPs");
            errors.invalid(&at.index(0).child("ip"), first.str_at("ip"), "must be equal to `hostIP`");
        }
        address_list(new, old, "hostIPs", errors);
    }
}

fn address_list(new: &Value, old: &Value, list: &str, errors: &mut FieldErrors) {
    let at = STATUS.child(list);
    let ips = |pod: &Value| -> Vec<String> {
        pod.at("status").array_at(list).iter().map(|ip| ip.str_at("ip").to_owned()).collect()
    };
    let (now, was) = (ips(new), ips(old));
    let was: Vec<&str> = was.iter().map(String::as_str).collect();
    for (index, ip) in now.iter().enumerate() {
        legacy_ip(ip, &at.index(index), &was, errors);
    }
    if now.len() > 1 {
        let parsed: Vec<_> = now.iter().filter_map(|ip| parse_sloppy(ip)).collect();
        let dual = parsed.iter().any(|ip| ip.is_ipv4()) && parsed.iter().any(|ip| ip.is_ipv6());
        if !dual || now.len() > 2 {
            let message = "may specify no more than one IP for each IP family";
            errors.invalid(&at, new.at("status").at(list), message);
        }
    }
}
