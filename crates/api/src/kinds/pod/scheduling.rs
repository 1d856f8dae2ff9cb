//! Where a pod may run: node selectors, affinity, tolerations, spreading, gates.

use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{dns_label, one_of, qualified_name};
use crate::kinds::read::{Read, as_internal};
use crate::meta;
use crate::names;
use crate::value::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

// === Node selectors ===

/// A `NodeSelector`, also of PersistentVolumes.
pub fn node_selector(selector: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at = at.child("nodeSelectorTerms");
    if !selector.filled("nodeSelectorTerms") {
        return errors.required(&at, "must have at least one node selector term");
    }
    for (index, term) in selector.array_at("nodeSelectorTerms").iter().enumerate() {
        node_selector_term(term, true, &at.index(index), errors);
    }
}

/// One term; label values are judged where the term is a must.
pub fn node_selector_term(term: &Value, judge_values: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, requirement) in term.array_at("matchExpressions").iter().enumerate() {
        node_requirement(requirement, judge_values, &at.child("matchExpressions").index(index), errors);
    }
    for (index, requirement) in term.array_at("matchFields").iter().enumerate() {
        node_field_requirement(requirement, &at.child("matchFields").index(index), errors);
    }
}

fn node_requirement(requirement: &Value, judge_values: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let (count, values) = (requirement.len_at("values"), at.child("values"));
    match requirement.str_at("operator") {
        "In" | "NotIn" if count == 0 => {
            errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if count != 1 => {
            errors.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    meta::label_key(requirement.str_at("key"), &at.child("key"), errors);
    if judge_values {
        for (index, value) in requirement.strings("values").enumerate() {
            errors.invalid_each(&values.index(index), value, names::label_value(value));
        }
    }
}

fn node_field_requirement(requirement: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match requirement.str_at("operator") {
        "In" | "NotIn" if requirement.len_at("values") != 1 => errors.required(
            &at.child("values"),
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        "In" | "NotIn" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    match requirement.str_at("key") {
        "metadata.name" => {
            for (index, value) in requirement.strings("values").enumerate() {
                errors.invalid_each(&at.child("values").index(index), value, names::dns1123_subdomain(value));
            }
        }
        other => errors.invalid(&at.child("key"), other, "not a valid field selector key"),
    }
}

// === Affinity ===

pub fn affinity(affinity: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let node = at.child("nodeAffinity");
    let required = affinity.at("nodeAffinity").at(REQUIRED);
    if !required.is_null() {
        node_selector(required, &node.child(REQUIRED), errors);
    }
    for (index, term) in affinity.at("nodeAffinity").array_at(PREFERRED).iter().enumerate() {
        let at = node.child(PREFERRED);
        let at = at.index(index);
        weight(term, &at, errors);
        node_selector_term(term.at("preference"), false, &at.child("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (affinity, at) = (affinity.at(kind), at.child(kind));
        for (index, term) in affinity.array_at(REQUIRED).iter().enumerate() {
            pod_affinity_term(term, &at.child(REQUIRED).index(index), errors);
        }
        for (index, term) in affinity.array_at(PREFERRED).iter().enumerate() {
            let at = at.child(PREFERRED);
            let at = at.index(index);
            weight(term, &at, errors);
            pod_affinity_term(term.at("podAffinityTerm"), &at.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let weight = term.int("weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(&at.child("weight"), weight, "must be in the range 1-100");
    }
}

fn pod_affinity_term(term: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    meta::label_selector(term.at("labelSelector"), &at.child("labelSelector"), errors);
    meta::label_selector(term.at("namespaceSelector"), &at.child("namespaceSelector"), errors);
    for namespace in term.strings("namespaces") {
        dns_label(namespace, &at.child("namespace"), errors);
    }
    label_keys(term, at, errors);
    let key = term.str_at("topologyKey");
    if key.is_empty() {
        errors.required(&at.child("topologyKey"), "can not be empty");
    }
    meta::label_key(key, &at.child("topologyKey"), errors);
}

/// `matchLabelKeys` and `mismatchLabelKeys` against the selector and each other. At creation
/// the keys already sit in the selector, once: a second time means that the user set it too.
fn label_keys(term: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let selector = term.at("labelSelector");
    for list in ["matchLabelKeys", "mismatchLabelKeys"].into_iter().filter(|list| term.filled(list)) {
        let at = at.child(list);
        if selector.is_null() {
            errors.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in term.strings(list).enumerate() {
            meta::label_key(key, &at.index(index), errors);
        }
    }
    let keys: Vec<&str> = term.strings("matchLabelKeys").collect();
    let mut selected: Vec<&str> = selector.entries("matchLabels").map(|(key, _)| key.as_str()).collect();
    for expression in selector.array_at("matchExpressions") {
        let key = expression.str_at("key");
        if let Some(index) = keys.iter().rposition(|one| *one == key).filter(|_| selected.contains(&key)) {
            errors.invalid(&at.index(index), key, "exists in both matchLabelKeys and labelSelector");
        }
        selected.push(key);
    }
    for (index, key) in keys.iter().enumerate() {
        if term.strings("mismatchLabelKeys").any(|other| other == *key) {
            let message = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.invalid(&at.child("matchLabelKeys").index(index), *key, message);
        }
    }
}

// === Taints and tolerations ===

pub fn tolerations(tolerations: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let at = at.index(index);
        let (key, operator) = (toleration.str_at("key"), toleration.str_at("operator"));
        let (value, effect) = (toleration.str_at("value"), toleration.str_at("effect"));
        if !key.is_empty() {
            meta::label_key(key, &at.child("key"), errors);
        }
        if key.is_empty() && operator != "Exists" {
            const MESSAGE: &str =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&at.child("operator"), operator, MESSAGE);
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            errors.invalid(&at.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        let at_operator = at.child("operator");
        match operator {
            "Equal" | "" => {
                let complaints = names::label_value(value);
                if !complaints.is_empty() {
                    errors.invalid(&at_operator, value, complaints.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid(&at_operator, value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            // Comparisons are behind a feature that is off.
            "Lt" | "Gt" => errors.not_supported(&at_operator, operator, &["Equal", "Exists", "Lt", "Gt"]),
            other => errors.not_supported(&at_operator, other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            one_of(effect, &EFFECTS, &at.child("effect"), errors);
        }
    }
}

/// The taints of a node.
pub fn taints(taints: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, taint) in taints.iter().enumerate() {
        let at = at.index(index);
        let (key, value, effect) = (taint.str_at("key"), taint.str_at("value"), taint.str_at("effect"));
        meta::label_key(key, &at.child("key"), errors);
        let complaints = names::label_value(value);
        if !complaints.is_empty() {
            errors.invalid(&at.child("value"), value, complaints.join(";"));
        }
        match effect {
            "" => errors.required(&at.child("effect"), ""),
            effect => one_of(effect, &EFFECTS, &at.child("effect"), errors),
        }
        if taints[..index].iter().any(|earlier| earlier.str_at("key") == key && earlier.str_at("effect") == effect) {
            let kind = crate::field::ErrorKind::Duplicate;
            let fields = [("Key", "key", "".into()), ("Value", "value", "".into()), ("Effect", "effect", "".into())];
            let mut shown = as_internal(taint, &fields);
            shown.set("TimeAdded", taint.at("timeAdded"));
            errors.push(kind, &at, shown, "taints must be unique by key and effect pair");
        }
    }
}

// === Spreading and gates ===

pub fn topology_spread(constraints: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, constraint) in constraints.iter().enumerate() {
        let at = at.index(index);
        let (key, action) = (constraint.str_at("topologyKey"), constraint.str_at("whenUnsatisfiable"));
        positive(constraint.int("maxSkew"), &at.child("maxSkew"), errors);
        if key.is_empty() {
            errors.required(&at.child("topologyKey"), "can not be empty");
        }
        one_of(action, &["DoNotSchedule", "ScheduleAnyway"], &at.child("whenUnsatisfiable"), errors);
        let repeats = constraints[index + 1..]
            .iter()
            .any(|later| later.str_at("topologyKey") == key && later.str_at("whenUnsatisfiable") == action);
        if repeats {
            errors.duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), format!("{{{key}, {action}}}"));
        }
        if let Some(domains) = constraint.i64_at("minDomains") {
            positive(domains, &at.child("minDomains"), errors);
            if action != "DoNotSchedule" {
                let message = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&at.child("minDomains"), domains, message);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"].into_iter().filter(|policy| constraint.has(policy)) {
            one_of(constraint.str_at(policy), &["Honor", "Ignore"], &at.child(policy), errors);
        }
        label_keys(constraint, &at, errors);
        meta::label_selector(constraint.at("labelSelector"), &at.child("labelSelector"), errors);
    }
}

fn positive(value: i64, at: &Path<'_>, errors: &mut FieldErrors) {
    if value <= 0 {
        errors.invalid(at, value, "must be greater than zero");
    }
}

pub fn scheduling_gates(gates: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, gate) in gates.iter().enumerate() {
        let name = gate.str_at("name");
        qualified_name(name, &at.index(index), errors);
        if gates[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at.index(index), name);
        }
    }
}
