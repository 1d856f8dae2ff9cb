//! Who may do what, and who is asked: role bindings, signing requests, webhooks, policies,
//! flow control, aggregated APIs.

use super::age::human_duration;
use super::cells::{self, NONE, UNSET};
use super::{AGE, NAME, Table, integer, text};
use crate::kinds::read::Read;
use crate::value::Value;

pub static ROLE_BINDINGS: Table = Table {
    columns: &[
        NAME,
        text("Role", "What is granted."),
        AGE,
        text("Users", "Users that have the role.").wide(),
        text("Groups", "Groups that have the role.").wide(),
        text("ServiceAccounts", "Service accounts that have the role.").wide(),
    ],
    cells: |binding, now| {
        let subjects = |kind: &str| -> Value {
            let names: Vec<String> = binding
                .array_at("subjects")
                .iter()
                .filter(|subject| subject.str_at("kind") == kind)
                .map(|subject| match (kind, subject.str_at("namespace")) {
                    ("ServiceAccount", namespace) if !namespace.is_empty() => {
                        format!("{namespace}/{}", subject.str_at("name"))
                    }
                    _ => subject.str_at("name").to_owned(),
                })
                .collect();
            names.join(", ").into()
        };
        let role = binding.at("roleRef");
        vec![
            cells::name(binding),
            format!("{}/{}", role.str_at("kind"), role.str_at("name")).into(),
            cells::age(binding, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

pub static SIGNING_REQUESTS: Table = Table {
    columns: &[
        NAME,
        AGE,
        text("SignerName", "Who is asked to sign."),
        text("Requestor", "Who asks."),
        text("RequestedDuration", "How long it is to be valid."),
        text("Condition", "What became of it."),
    ],
    cells: |request, now| {
        let seconds = request.i64_at("spec.expirationSeconds");
        vec![
            cells::name(request),
            cells::age(request, now),
            cells::or(request, "spec.signerName", NONE).into(),
            request.str_at("spec.username").into(),
            seconds.map_or_else(|| NONE.to_owned(), human_duration).into(),
            signing_state(request).into(),
        ]
    },
};

fn signing_state(request: &Value) -> String {
    let has = |kind: &str| request.array_at("status.conditions").iter().any(|one| one.str_at("type") == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if request.filled("status.certificate") {
        state.push_str(",Issued");
    }
    state
}

pub static TRUST_BUNDLES: Table = Table {
    columns: &[NAME, text("SignerName", "Whose certificates it is for.")],
    cells: |bundle, _| vec![cells::name(bundle), cells::or(bundle, "spec.signerName", NONE).into()],
};

pub static WEBHOOKS: Table = Table {
    columns: &[NAME, integer("Webhooks", "How many there are."), AGE],
    cells: |configuration, now| {
        let count = configuration.len_at("webhooks") as i64;
        vec![cells::name(configuration), count.into(), cells::age(configuration, now)]
    },
};

pub static VALIDATING_POLICIES: Table = Table {
    columns: &[
        NAME,
        integer("Validations", "How many rules there are."),
        text("ParamKind", "What parametrizes them."),
        AGE,
    ],
    cells: |policy, now| {
        let count = policy.len_at("spec.validations") as i64;
        vec![cells::name(policy), count.into(), param_kind(policy), cells::age(policy, now)]
    },
};

pub static MUTATING_POLICIES: Table = Table {
    columns: &[
        NAME,
        integer("Mutations", "How many rules there are."),
        text("ParamKind", "What parametrizes them."),
        AGE,
    ],
    cells: |policy, now| {
        let count = policy.len_at("spec.mutations") as i64;
        vec![cells::name(policy), count.into(), param_kind(policy), cells::age(policy, now)]
    },
};

fn param_kind(policy: &Value) -> Value {
    let kind = policy.at("spec.paramKind");
    match kind.is_null() {
        true => UNSET.into(),
        false => format!("{}/{}", kind.str_at("apiVersion"), kind.str_at("kind")).into(),
    }
}

pub static POLICY_BINDINGS: Table = Table {
    columns: &[
        NAME,
        text("PolicyName", "Which policy is put to work."),
        text("ParamRef", "With which parameters."),
        AGE,
    ],
    cells: |binding, now| {
        let reference = binding.at("spec.paramRef");
        let shown = match (reference.str_at("name"), reference.str_at("namespace")) {
            ("", _) => UNSET.to_owned(),
            (name, "") => format!("*/{name}"),
            (name, namespace) => format!("{namespace}/{name}"),
        };
        vec![cells::name(binding), binding.str_at("spec.policyName").into(), shown.into(), cells::age(binding, now)]
    },
};

pub static FLOW_SCHEMAS: Table = Table {
    columns: &[
        NAME,
        text("PriorityLevel", "Where its requests wait."),
        text("MatchingPrecedence", "Lower ones are matched first."),
        text("DistinguisherMethod", "What tells flows apart."),
        AGE,
        text("MissingPL", "Whether the priority level is missing."),
    ],
    cells: |schema, now| {
        let dangling = schema.array_at("status.conditions").iter().find(|one| one.str_at("type") == "Dangling");
        vec![
            cells::name(schema),
            schema.str_at("spec.priorityLevelConfiguration.name").into(),
            schema.int("spec.matchingPrecedence").into(),
            cells::or(schema, "spec.distinguisherMethod.type", NONE).into(),
            cells::age(schema, now),
            dangling.map_or("?", |one| one.str_at("status")).into(),
        ]
    },
};

pub static PRIORITY_LEVELS: Table = Table {
    columns: &[
        NAME,
        text("Type", "Whether it is limited."),
        text("NominalConcurrencyShares", "Its share of the server."),
        text("Queues", "How many queues there are."),
        text("HandSize", "How many queues a flow may use."),
        text("QueueLengthLimit", "How many requests wait in each."),
        AGE,
    ],
    cells: |level, now| {
        let number = |path: &str| level.i64_at(path).map_or_else(|| Value::from(NONE), Value::from);
        vec![
            cells::name(level),
            level.str_at("spec.type").into(),
            number("spec.limited.nominalConcurrencyShares"),
            number("spec.limited.limitResponse.queuing.queues"),
            number("spec.limited.limitResponse.queuing.handSize"),
            number("spec.limited.limitResponse.queuing.queueLengthLimit"),
            cells::age(level, now),
        ]
    },
};

/// Upstream: `k8s.io/kube-aggregator/pkg/registry/apiservice/etcd`.
pub static API_SERVICES: Table = Table {
    columns: &[NAME, text("Service", "Who serves it."), text("Available", "Whether it answers."), AGE],
    cells: |service, now| {
        let reference = service.at("spec.service");
        let shown = match reference.is_null() {
            true => "Local".to_owned(),
            false => format!("{}/{}", reference.str_at("namespace"), reference.str_at("name")),
        };
        let available = service.array_at("status.conditions").iter().find(|one| one.str_at("type") == "Available");
        let available = match available.map(|one| (one.str_at("status"), one.str_at("reason"))) {
            None => "Unknown".to_owned(),
            Some(("True", _)) => "True".to_owned(),
            Some((status, reason)) => format!("{status} ({reason})"),
        };
        vec![cells::name(service), shown.into(), available.into(), cells::age(service, now)]
    },
};

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[test]
    fn a_binding_names_its_subjects() {
        let binding = tree(json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "ns", "name": "s"}, {"kind": "User", "name": "v"}]}));
        let row = (ROLE_BINDINGS.cells)(&binding, Timestamp::UNIX_EPOCH);
        assert_eq!(
            row,
            ["b".into(), "Role/r".into(), "<unknown>".into(), "u, v".into(), "".into(), Value::from("ns/s")]
        );
    }

    #[test]
    fn a_request_is_approved_and_issued() {
        let request = tree(
            json!({"spec": {"expirationSeconds": 3600}, "status": {"conditions": [{"type": "Approved"}], "certificate": "x"}}),
        );
        let row = (SIGNING_REQUESTS.cells)(&request, Timestamp::UNIX_EPOCH);
        assert_eq!(row[2..], [NONE.into(), "".into(), "60m".into(), Value::from("Approved,Issued")]);
    }
}
