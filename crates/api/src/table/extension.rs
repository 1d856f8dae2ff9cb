//! What extends the cluster or moves it on: custom resources, pods' certificates, tainted devices, migrations.

use super::cells;
use super::{AGE, CREATED_AT, Column, NAME, Table, age, boolean, text};
use crate::value::Value;

/// Upstream: `pkg/registry/customresourcedefinition/tableconvertor` of apiextensions-apiserver.
pub static CUSTOM_RESOURCES: Table = Table {
    columns: &[
        NAME,
        text("Scope", "Whether its objects lie in namespaces."),
        text("Versions", "What is served."),
        CREATED_AT,
        text("Group", "Its API group.").wide(),
        text("Kind", "What its objects are called.").wide(),
        text("ShortNames", "What it is called for short.").wide(),
        boolean("Established", "Whether it is served.").wide(),
    ],
    cells: |definition, _| {
        let mut versions: Vec<String> = definition
            .array_at("spec.versions")
            .iter()
            .filter(|version| version.at("served") == &Value::from(true))
            .map(|version| {
                let stored = if version.at("storage") == &Value::from(true) { "(storage)" } else { "" };
                format!("{}{stored}", version.str_at("name"))
            })
            .collect();
        versions.sort_unstable();
        let short: Vec<&str> = definition.array_at("spec.names.shortNames").iter().filter_map(Value::as_str).collect();
        vec![
            cells::name(definition),
            definition.str_at("spec.scope").into(),
            versions.join(",").into(),
            definition.at("metadata.creationTimestamp").clone(),
            definition.str_at("spec.group").into(),
            definition.str_at("spec.names.kind").into(),
            short.join(",").into(),
            (condition(definition, &["Established"]) == Some("Established")).into(),
        ]
    },
};

pub static POD_CERTIFICATE_REQUESTS: Table = Table {
    columns: &[
        NAME,
        text("PodName", "For which pod."),
        text("ServiceAccountName", "As whom the pod runs."),
        text("NodeName", "Where it runs."),
        text("SignerName", "Who is to sign."),
        text("State", "Is the request Pending, Issued, Denied, or Failed?"),
        text("UnverifiedUserAnnotations", "What the pod's author tells the signer."),
    ],
    cells: |request, _| {
        let of = |path| Value::from(request.str_at(path));
        let states = request.array_at("status.conditions").iter().map(|one| one.str_at("type"));
        let state = states.rev().find(|state| ["Issued", "Denied", "Failed"].contains(state));
        vec![
            cells::name(request),
            of("spec.podName"),
            of("spec.serviceAccountName"),
            of("spec.nodeName"),
            of("spec.signerName"),
            state.unwrap_or("Pending").into(),
            cells::labels(request.at("spec.unverifiedUserAnnotations")).into(),
        ]
    },
};

pub static DEVICE_TAINT_RULES: Table = Table {
    columns: &[
        NAME,
        text("Key", "The taint's key."),
        text("Value", "The taint's value."),
        text("Effect", "What becomes of those who don't tolerate it."),
        text("TimeAdded", "Time since the taint is there."),
        AGE,
    ],
    cells: |rule, now| {
        let of = |path| Value::from(rule.str_at(path));
        let added = match rule.at("spec.taint.timeAdded") {
            Value::Null => String::new(),
            time => age::since(time, now),
        };
        vec![
            cells::name(rule),
            of("spec.taint.key"),
            of("spec.taint.value"),
            of("spec.taint.effect"),
            added.into(),
            cells::age(rule, now),
        ]
    },
};

pub static MIGRATIONS: Table = Table {
    // Upstream does not mark the name as such.
    columns: &[
        Column { format: "", ..NAME },
        text("Resource", "What is stored anew."),
        text("Status", "How far it is."),
    ],
    cells: |migration, _| {
        let resource = match (migration.str_at("spec.resource.resource"), migration.str_at("spec.resource.group")) {
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        };
        let status = condition(migration, &["Running", "Failed", "Succeeded"]).unwrap_or("Unknown");
        vec![cells::name(migration), resource.into(), status.into()]
    },
};

/// The last of these conditions that is true.
fn condition<'a>(object: &'a Value, types: &[&str]) -> Option<&'a str> {
    let conditions = object.array_at("status.conditions").iter().rev();
    conditions
        .filter(|one| one.str_at("status") == "True")
        .map(|one| one.str_at("type"))
        .find(|one| types.contains(one))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    fn shown(table: &Table, object: serde_json::Value) -> Vec<Value> {
        (table.cells)(&tree(object), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_custom_resource_shows_its_served_versions() {
        let row = shown(
            &CUSTOM_RESOURCES,
            json!({"spec": {"scope": "Namespaced", "names": {"kind": "K", "shortNames": ["a", "b"]}, "versions": [
                {"name": "v2", "served": true}, {"name": "v1", "served": true, "storage": true}, {"name": "v0"}]},
                "status": {"conditions": [{"type": "Established", "status": "True"}]}}),
        );
        assert_eq!(row[1..3], ["Namespaced".into(), Value::from("v1(storage),v2")]);
        assert_eq!(row[5..], ["K".into(), "a,b".into(), Value::from(true)]);
    }

    #[test]
    fn requests_and_migrations_show_their_state() {
        let pending = shown(&POD_CERTIFICATE_REQUESTS, json!({"spec": {"podName": "p"}}));
        assert_eq!((&pending[1], &pending[5], &pending[6]), (&"p".into(), &"Pending".into(), &"<none>".into()));
        let issued = shown(&POD_CERTIFICATE_REQUESTS, json!({"status": {"conditions": [{"type": "Issued"}]}}));
        assert_eq!(issued[5], "Issued".into());
        let migration = shown(
            &MIGRATIONS,
            json!({"spec": {"resource": {"group": "apps", "resource": "deployments"}}, "status": {"conditions": [
                {"type": "Running", "status": "False"}, {"type": "Succeeded", "status": "True"}]}}),
        );
        assert_eq!(migration[1..], ["deployments.apps".into(), Value::from("Succeeded")]);
        assert_eq!(shown(&MIGRATIONS, json!({}))[2], "Unknown".into());
    }

    #[test]
    fn a_device_taint_without_time_shows_none() {
        let row = shown(&DEVICE_TAINT_RULES, json!({"spec": {"taint": {"key": "k", "effect": "NoExecute"}}}));
        assert_eq!(row[1..5], ["k".into(), "".into(), "NoExecute".into(), Value::from("")]);
    }
}
