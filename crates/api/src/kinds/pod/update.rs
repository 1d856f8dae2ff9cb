//! What may change in a pod: images, deadlines, tolerations that are added, gates that go;
//! through subresources, debug containers and resources.
//!
//! Upstream: `pkg/apis/core/validation` (`ValidatePodUpdate`, `ValidatePodResize` …).

use super::annotations::{self, MIRROR};
use super::{aggregate, scheduling, whole, whole_annotations};
use crate::field::{FieldErrors, Path};
use crate::kinds::diff::diff;
use crate::kinds::read::{Read, copy, same};
use crate::names;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn validate(new: &Value, old: &Value, errors: &mut FieldErrors) {
    if has_same_spec(new, old) {
        // It was judged when it was written.
        whole_annotations(new, errors);
        return update_annotations(new, old, errors);
    }
    whole(new, errors);
    update_annotations(new, old, errors);
    for list in ["containers", "initContainers"] {
        if !images(new, old, list, errors) {
            return;
        }
    }
    if !active_deadline(new, old, errors) {
        return;
    }
    added_tolerations(new, old, errors);
    deleted_gates(new, old, errors);
    let (new_spec, old_spec) = (new.at("spec"), old.at("spec"));
    if same(new_spec, old_spec) {
        return;
    }
    let mut rest = new_spec.clone();
    take_over_updatable(&mut rest, old_spec);
    if old_spec.filled("schedulingGates") {
        gated_pod(&mut rest, old_spec, errors);
    }
    if !same(&rest, old_spec) {
        let message = format!("pod updates may not change fields other than {UPDATABLE}\n{}", diff(old_spec, &rest));
        errors.forbidden(&SPEC, message);
    }
}

/// Whether the spec, and what its rules read besides, is what it was.
fn has_same_spec(new: &Value, old: &Value) -> bool {
    let annotations = "metadata.annotations";
    new.at("spec") == old.at("spec") && new.entry(annotations, MIRROR) == old.entry(annotations, MIRROR)
}

fn update_annotations(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let path = "metadata.annotations";
    annotations::validate_update(new.at(path), old.at(path), new.at("spec"), &Path::new(path), errors);
}

/// Whether there are as many containers as before.
fn images(new: &Value, old: &Value, list: &str, errors: &mut FieldErrors) -> bool {
    let at = SPEC.child(list);
    let (new, old) = (new.at("spec").array_at(list), old.at("spec").array_at(list));
    if new.len() != old.len() {
        errors.forbidden(&at, "pod updates may not add or remove containers");
        return false;
    }
    for (index, container) in new.iter().enumerate() {
        if !container.filled("image") {
            errors.required(&at.index(index).child("image"), "");
        }
        super::container::only_for_pods(container, &at.index(index), errors);
    }
    true
}

/// A deadline may be set once and shortened after. Says whether the rest can be judged.
fn active_deadline(new: &Value, old: &Value, errors: &mut FieldErrors) -> bool {
    let field = "spec.activeDeadlineSeconds";
    let at = Path::new(field);
    match (new.i64_at(field), old.i64_at(field)) {
        (Some(now), was) => {
            let complaints = names::in_range(now, 0, i64::from(i32::MAX));
            if !complaints.is_empty() {
                crate::kinds::formats::number(now, &at, complaints, errors);
                return false;
            }
            if was.is_some_and(|was| was < now) {
                errors.invalid(&at, now, "must be less than or equal to previous value");
                return false;
            }
        }
        (None, Some(_)) => errors.invalid(&at, Value::Null, "must not update from a positive integer to nil value"),
        (None, None) => {}
    }
    true
}

fn added_tolerations(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("tolerations");
    let now = new.array_at("spec.tolerations");
    let kept = |was: &Value| {
        now.iter().any(|toleration| {
            let mut was = was.clone();
            copy(&mut was, toleration, "tolerationSeconds");
            same(&was, toleration)
        })
    };
    if !old.array_at("spec.tolerations").iter().all(kept) {
        return errors.forbidden(&at, "existing toleration can not be modified except its tolerationSeconds");
    }
    scheduling::tolerations(now, &at, errors);
}

fn deleted_gates(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("schedulingGates");
    let known = |name: &str| old.array_at("spec.schedulingGates").iter().any(|gate| gate.str_at("name") == name);
    for (index, gate) in new.array_at("spec.schedulingGates").iter().enumerate() {
        let name = gate.str_at("name");
        if !known(name) {
            let message = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&at.index(index).child("name"), message);
        }
    }
}

fn take_over_updatable(spec: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let images: Vec<Value> = old.array_at(list).iter().map(|container| container.at("image").clone()).collect();
        if let Some(containers) = spec.at_mut(list).and_then(Value::as_array_mut) {
            for (container, image) in containers.iter_mut().zip(images) {
                container.set("image", image);
            }
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        copy(spec, old, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if old.int(grace) < 0 && spec.int(grace) == 1 {
        copy(spec, old, grace);
    }
}

/// A pod that waits behind gates may still be narrowed down to fewer nodes.
fn gated_pod(spec: &mut Value, old: &Value, errors: &mut FieldErrors) {
    if !same(spec.at("nodeSelector"), old.at("nodeSelector")) {
        let kept = old.entries("nodeSelector").all(|(key, value)| spec.entry("nodeSelector", key) == value);
        if !kept {
            let at = SPEC.child("nodeSelector");
            errors.invalid(&at, spec.at("nodeSelector"), "only additions are allowed (no mutations or deletions)");
        }
        copy(spec, old, "nodeSelector");
    }
    let path = "affinity.nodeAffinity";
    if !same(spec.at(path), old.at(path)) {
        let required = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        node_affinity(spec.at(path).array_at(required), old.at(path).array_at(required), spec.at(path), errors);
        copy(spec, old, path);
        if !old.has("affinity") && spec.entries("affinity").next().is_none() {
            spec.remove("affinity");
        }
    }
}

/// Terms are alternatives: each may only become stricter.
fn node_affinity(new: &[Value], old: &[Value], shown: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("affinity.nodeAffinity");
    let at_terms = at.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if old.is_empty() {
        return;
    }
    if new.len() != old.len() {
        let message = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(
            &at_terms,
            shown.at("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"),
            message,
        );
    }
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        let only_added = ["matchExpressions", "matchFields"].iter().all(|list| {
            let (new, old) = (new.array_at(list), old.array_at(list));
            new.len() >= old.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        });
        let was_empty = !old.filled("matchExpressions") && !old.filled("matchFields");
        let changed = new.filled("matchExpressions") || new.filled("matchFields");
        if !only_added || was_empty && changed {
            errors.invalid(&at_terms.index(index), new, "only additions are allowed (no mutations or deletions)");
        }
    }
}

// === Subresources ===

/// Puts everything but `ephemeralContainers` and light metadata back.
pub fn prepare_ephemeral_containers(new: &mut Value, old: &Value) {
    let added = new.at("spec.ephemeralContainers").clone();
    reset(new, old);
    match added.is_null() {
        true => drop(new.remove("spec.ephemeralContainers")),
        false => new.set("spec.ephemeralContainers", added),
    }
}

pub fn validate_ephemeral_containers(new: &Value, old: &Value, errors: &mut FieldErrors) {
    if !old.entry("metadata.annotations", MIRROR).is_null() {
        return errors.forbidden(&Path::ROOT, "static pods do not support ephemeral containers");
    }
    whole(new, errors);
    update_annotations(new, old, errors);
    let at = SPEC.child("ephemeralContainers");
    let now = new.array_at("spec.ephemeralContainers");
    for old in old.array_at("spec.ephemeralContainers") {
        let name = old.str_at("name");
        match now.iter().rfind(|container| container.str_at("name") == name) {
            None => errors.forbidden(&at, format!("existing ephemeral containers \"{name}\" may not be removed\n")),
            Some(new) if !same(new, old) => {
                let message =
                    format!("existing ephemeral containers \"{name}\" may not be changed\n{}", diff(old, new));
                errors.forbidden(&at, message);
            }
            Some(_) => {}
        }
    }
}

/// Puts everything but resources and resize policies back.
pub fn prepare_resize(new: &mut Value, old: &Value) {
    let counts = |pod: &Value| (pod.len_at("spec.containers"), pod.len_at("spec.initContainers"));
    if counts(new) != counts(old) {
        return;
    }
    let asked = new.at("spec").clone();
    reset(new, old);
    match asked.has("resources") {
        true => new.set("spec.resources", asked.at("resources").clone()),
        false => drop(new.remove("spec.resources")),
    }
    for list in ["containers", "initContainers"] {
        let Some(containers) = new.at_mut("spec").and_then(|spec| spec.at_mut(list)).and_then(Value::as_array_mut)
        else {
            continue;
        };
        for (index, container) in containers.iter_mut().enumerate() {
            let wanted = &asked.array_at(list)[index];
            container.set("name", wanted.at("name").clone());
            for field in ["resources", "resizePolicy"] {
                copy(container, wanted, field);
            }
        }
    }
}

/// Metadata of subresource writes: labels and annotations stay the client's, ownership doesn't.
fn reset(new: &mut Value, old: &Value) {
    copy(new, old, "spec");
    copy(new, old, "status");
    for field in
        ["deletionTimestamp", "generation", "selfLink", "labels", "annotations", "finalizers", "ownerReferences"]
    {
        copy(new, old, &format!("metadata.{field}"));
    }
}

pub fn validate_resize(new: &Value, old: &Value, errors: &mut FieldErrors) {
    if !old.entry("metadata.annotations", MIRROR).is_null() {
        return errors.forbidden(&Path::ROOT, "static pods cannot be resized");
    }
    if old.str_at("spec.os.name") == "windows" {
        return errors.forbidden(&Path::ROOT, "windows pods cannot be resized");
    }
    let before = errors.len();
    whole(new, errors);
    let was = match old.str_at("status.qosClass") {
        "" => aggregate::qos_class(old.at("spec")),
        class => class,
    };
    if was != aggregate::qos_class(new.at("spec")) {
        let message = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&SPEC, new.str_at("status.qosClass"), message);
    }
    let running = old.array_at("status.containerStatuses").iter().find(|status| status.has("state.running"));
    if running.is_some_and(|status| !status.has("resources")) {
        errors.forbidden(&SPEC, "Pod running on node without support for resize");
    }
    pod_level_resize(new, old, errors);
    if !same_containers(new, old, errors) {
        return;
    }
    let mut rest = new.at("spec").clone();
    keep_cpu_and_memory(&mut rest, old.at("spec"));
    for list in ["initContainers", "containers"] {
        for (index, (new, old)) in new.at("spec").array_at(list).iter().zip(old.at("spec").array_at(list)).enumerate() {
            let at = SPEC.child(list);
            let at = at.index(index);
            for (amounts, message) in
                [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")]
            {
                if removed(new.at("resources"), old.at("resources"), amounts) {
                    errors.forbidden(&at.child("resources").child(amounts), message);
                }
            }
            let same_otherwise = same(&rest.array_at(list)[index], old);
            match list {
                "containers" if !same_otherwise => {
                    errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
                }
                "initContainers" if !same_otherwise => {
                    errors.forbidden(&at, "only cpu and memory resources for init or sidecar containers are mutable");
                }
                _ => {}
            }
            let sidecar = new.str_at("restartPolicy") == "Always";
            let restarts = new.array_at("resizePolicy").iter().any(|p| p.str_at("restartPolicy") == "RestartContainer");
            if list == "initContainers" && !sidecar && restarts && !same(new, old) {
                const MESSAGE: &str =
                    "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
                errors.forbidden(&at, MESSAGE);
            }
        }
    }
    if !errors.grew_since(before) && !same(&rest, old.at("spec")) {
        errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
    }
}

fn pod_level_resize(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let (new, old) = (new.at("spec.resources"), old.at("spec.resources"));
    if old.is_null() {
        return;
    }
    let at = SPEC.child("resources");
    if new.is_null() {
        return errors.forbidden(&at, "pod-level resources cannot be removed");
    }
    for amounts in ["requests", "limits"] {
        if removed(new, old, amounts) {
            errors.forbidden(&at.child(amounts), format!("pod-level resource {amounts} cannot be removed"));
        }
    }
}

fn removed(new: &Value, old: &Value, amounts: &str) -> bool {
    old.entries(amounts).any(|(name, _)| new.entry(amounts, name).is_null())
}

fn same_containers(new: &Value, old: &Value, errors: &mut FieldErrors) -> bool {
    let before = errors.len();
    for list in ["containers", "initContainers"] {
        let at = SPEC.child(list);
        let (new, old) = (new.at("spec").array_at(list), old.at("spec").array_at(list));
        if new.len() != old.len() {
            errors.forbidden(&at, format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (a, b))| a.str_at("name") != b.str_at("name")) {
            errors
                .forbidden(&at.index(index).child("name"), format!("{list} may not be renamed or reordered on resize"));
        }
    }
    !errors.grew_since(before)
}

/// Replaces CPU and memory of all containers by the old amounts.
fn keep_cpu_and_memory(spec: &mut Value, old: &Value) {
    let keep = |value: &mut Value, old: &Value| {
        for amounts in ["resources.requests", "resources.limits"] {
            for name in ["cpu", "memory"] {
                let path = format!("{amounts}.{name}");
                if value.has(&path) || old.has(&path) {
                    copy(value, old, &path);
                }
            }
        }
    };
    keep(spec, old);
    for list in ["containers", "initContainers"] {
        if let Some(containers) = spec.at_mut(list).and_then(Value::as_array_mut) {
            containers.iter_mut().zip(old.array_at(list)).for_each(|(container, old)| keep(container, old));
        }
    }
}
