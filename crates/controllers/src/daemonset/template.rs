//! The pod of a daemon set for one node.

use api::value::{Map, Value};

use super::plan::TEMPLATE_GENERATION;
use crate::common::revisions::REVISION_HASH;

/// Taints that every daemon pod tolerates, with their effects: node problems must not drive daemons away.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// Tolerated too by pods on the host's network.
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// Adds the tolerations that every daemon pod gets.
pub fn add_tolerations(template: &mut Value) {
    let is_on_host_network = template.at("spec.hostNetwork").as_bool() == Some(true);
    let wanted = TOLERATED.into_iter().chain(is_on_host_network.then_some(NETWORK));
    let mut there = template.array_at("spec.tolerations").to_vec();
    for (key, effect) in wanted {
        let mut toleration = Map::new();
        toleration.insert("key", key);
        toleration.insert("operator", "Exists");
        toleration.insert("effect", effect);
        // One that is the same but for its time is replaced: daemons stay for ever.
        let same = there.iter().position(|one| {
            one.str_at("key") == key
                && one.str_at("effect") == effect
                && one.str_at("operator") == "Exists"
                && one.str_at("value").is_empty()
        });
        match same {
            Some(at) => there[at] = Value::Object(toleration),
            None => there.push(Value::Object(toleration)),
        }
    }
    template.set("spec.tolerations", Value::Array(there));
}

/// Marks the template's pods as of this revision.
pub fn add_labels(template: &mut Value, hash: &str, generation: Option<&str>) {
    let labels = template.at_or_insert("metadata.labels").make_object();
    if let Some(generation) = generation {
        labels.insert(TEMPLATE_GENERATION, generation);
    }
    labels.insert(REVISION_HASH, hash);
}

/// Ties the template to a node, through the scheduler: by a required affinity to the node's name.
pub fn bind_to(template: &mut Value, node: &str) {
    const TERMS: &str = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let mut field = Map::new();
    field.insert("key", "metadata.name");
    field.insert("operator", "In");
    field.insert("values", vec![node]);
    let mut term = Map::new();
    term.insert("matchFields", vec![Value::Object(field)]);
    template.set(TERMS, vec![Value::Object(term)]);
}
