//! Which flow a request belongs to: the first FlowSchema that matches it, and the priority level that this one names.
//!
//! Answers name both by their UIDs, and FlowSchemas say in their status whether their level exists. Seats are not yet
//! given by level: see [`Flow`](super::Flow).
//!
//! Upstream: `apiserver/pkg/util/flowcontrol` (`rule.go`, `apf_controller.go`), `…/server/filters`.

use std::collections::HashMap;
use std::sync::Arc;

use api::codec::json;
use api::user::UserInfo;
use api::value::Value;
use arc_swap::ArcSwap;
use bytes::Bytes;
use client::{Client, Patch, Resource, WriteOptions};
use http::HeaderValue;
use jiff::Timestamp;
use store::{Scope, Watch, WatchError};

use crate::api::Api;
use crate::lifecycle::meta::rfc3339;
use crate::request::RequestInfo;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const SCHEMAS: Resource = Resource::fixed(GROUP, "v1", "flowschemas", "FlowSchema", false);
/// Who writes the condition, in managed fields.
const FIELD_MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
const DANGLING: &str = "Dangling";

/// The FlowSchemas in the order in which they are tried; those whose level is missing are none.
#[derive(Default)]
pub struct Schemas(ArcSwap<Vec<Schema>>);

/// What a request was matched with, by UID.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    pub schema: HeaderValue,
    pub level: HeaderValue,
}

struct Schema {
    precedence: i64,
    name: String,
    matched: Matched,
    rules: Vec<Rule>,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

enum Subject {
    User(String),
    Group(String),
    /// Namespace and name.
    ServiceAccount(String, String),
}

struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster_scope: bool,
}

struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

// === impl Schemas ===

impl Schemas {
    /// The flow of a request. Nothing matches only while a cluster lacks what it must have; then it has no names.
    pub fn classify(&self, user: &UserInfo, info: &RequestInfo) -> Matched {
        let schemas = self.0.load();
        let found = schemas.iter().find(|schema| schema.rules.iter().any(|rule| rule.matches(user, info)));
        let nothing = HeaderValue::from_static("");
        found.map_or(Matched { schema: nothing.clone(), level: nothing }, |schema| schema.matched.clone())
    }
}

// === impl Rule ===

impl Rule {
    fn of(rule: &Value) -> Rule {
        let texts = |value: &Value, field: &str| -> Vec<String> {
            value.array_at(field).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let resource = |rule: &Value| ResourceRule {
            verbs: texts(rule, "verbs"),
            groups: texts(rule, "apiGroups"),
            resources: texts(rule, "resources"),
            namespaces: texts(rule, "namespaces"),
            cluster_scope: rule.at("clusterScope").as_bool() == Some(true),
        };
        let path = |rule: &Value| PathRule { verbs: texts(rule, "verbs"), paths: texts(rule, "nonResourceURLs") };
        Rule {
            subjects: rule.array_at("subjects").iter().filter_map(Subject::of).collect(),
            resources: rule.array_at("resourceRules").iter().map(resource).collect(),
            paths: rule.array_at("nonResourceRules").iter().map(path).collect(),
        }
    }

    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.subjects.iter().any(|subject| subject.is(user))
            && match info.is_resource {
                true => self.resources.iter().any(|rule| rule.matches(info)),
                false => self.paths.iter().any(|rule| rule.matches(info)),
            }
    }
}

// === impl Subject ===

impl Subject {
    fn of(subject: &Value) -> Option<Subject> {
        let text = |path: &str| subject.str_at(path).to_owned();
        match subject.str_at("kind") {
            "User" => Some(Subject::User(text("user.name"))),
            "Group" => Some(Subject::Group(text("group.name"))),
            "ServiceAccount" => {
                Some(Subject::ServiceAccount(text("serviceAccount.namespace"), text("serviceAccount.name")))
            }
            _ => None,
        }
    }

    fn is(&self, user: &UserInfo) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == user.name,
            Subject::Group(name) => name == "*" || user.in_group(name),
            Subject::ServiceAccount(namespace, name) => user
                .name
                .strip_prefix("system:serviceaccount:")
                .and_then(|rest| rest.strip_prefix(namespace.as_str()))
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|own| name == "*" || own == name),
        }
    }
}

/// Whether a list has a text, or stands for all.
fn has(list: &[String], text: &str) -> bool {
    matches!(list, [all] if all == "*") || list.iter().any(|one| one == text)
}

// === impl ResourceRule ===

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        // `pods` or `pods/status`, without making the text.
        let is_asked = |one: &String| match info.subresource.as_str() {
            "" => *one == info.resource,
            sub => one.strip_prefix(info.resource.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(sub),
        };
        let resource = matches!(self.resources.as_slice(), [all] if all == "*") || self.resources.iter().any(is_asked);
        resource
            && has(&self.verbs, info.verb)
            && has(&self.groups, &info.group)
            && match info.namespace.as_str() {
                "" => self.cluster_scope,
                namespace => has(&self.namespaces, namespace),
            }
    }
}

// === impl PathRule ===

impl PathRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let covers = |rule: &String| {
            let root = rule.trim_end_matches('*').trim_end_matches('/');
            let below = info.path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
            rule == "*" || *rule == info.path || below
        };
        has(&self.verbs, info.verb) && self.paths.iter().any(covers)
    }
}

/// The schemas that count, in their order, and the conditions that have to be written: name and condition.
fn digest(schemas: &[Value], levels: &[Value], now: Timestamp) -> (Vec<Schema>, Vec<(String, Value)>) {
    let uid = |object: &Value| {
        HeaderValue::from_maybe_shared(Bytes::from(object.str_at("metadata.uid").to_owned()))
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    };
    let levels: HashMap<&str, HeaderValue> =
        levels.iter().map(|level| (level.str_at("metadata.name"), uid(level))).collect();
    let (mut counting, mut conditions) = (Vec::new(), Vec::new());
    for schema in schemas {
        let name = schema.str_at("metadata.name");
        let level = schema.str_at("spec.priorityLevelConfiguration.name");
        let found = levels.get(level);
        if let Some(condition) = missing_condition(schema, level, found.is_some(), now) {
            conditions.push((name.to_owned(), condition));
        }
        counting.extend(found.map(|level| Schema {
            precedence: schema.i64_at("spec.matchingPrecedence").unwrap_or_default(),
            name: name.to_owned(),
            matched: Matched { schema: uid(schema), level: level.clone() },
            rules: schema.array_at("spec.rules").iter().map(Rule::of).collect(),
        }));
    }
    counting.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    (counting, conditions)
}

/// The condition that a schema should have about its level, unless it has it.
fn missing_condition(schema: &Value, level: &str, found: bool, now: Timestamp) -> Option<Value> {
    let (status, reason, end) = match found {
        true => ("False", "Found", "it exists"),
        false => ("True", "NotFound", "there is no such object"),
    };
    let link = if found { "and" } else { "but" };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {link} {end}");
    let is = schema.array_at("status.conditions").iter().find(|one| one.str_at("type") == DANGLING);
    let fits = |one: &Value| {
        [("status", status), ("reason", reason), ("message", &message)]
            .iter()
            .all(|(key, text)| one.str_at(key) == *text)
    };
    if is.is_some_and(fits) {
        return None;
    }
    let mut condition = Value::object();
    condition.set("type", DANGLING);
    condition.set("status", status);
    condition.set("lastTransitionTime", rfc3339(now));
    condition.set("reason", reason);
    condition.set("message", message);
    Some(condition)
}

/// Follows FlowSchemas and priority levels as long as the store lives.
pub async fn keep(api: Arc<Api>, client: Client) {
    let prefixes = ["flowschemas", "prioritylevelconfigurations"]
        .map(|plural| api.catalog.load().stored(GROUP, plural).map(|served| served.prefix().to_owned()));
    let [Some(schemas), Some(levels)] = prefixes else { return };
    let watch = |prefix: &str| {
        let after = api.store.snapshot(prefix).revision();
        api.store.watch(prefix, Scope::default(), after)
    };
    loop {
        let (Ok(mut of_schemas), Ok(mut of_levels)) = (watch(&schemas), watch(&levels)) else { return };
        loop {
            let now = api.clock.now();
            let (counting, conditions) = digest(&all(&api, &schemas), &all(&api, &levels), now);
            api.flow.schemas.0.store(Arc::new(counting));
            for (name, condition) in conditions {
                write(&client, &name, condition).await;
            }
            match any(&mut of_schemas, &mut of_levels).await {
                Ok(()) => {}
                Err(WatchError::Closed) => return,
                // Too far behind: from the whole state again.
                Err(_) => break,
            }
        }
    }
}

/// Waits until something happens to either.
async fn any(one: &mut Watch, other: &mut Watch) -> Result<(), WatchError> {
    let (mut batch, mut others) = (Vec::new(), Vec::new());
    tokio::select! {
        delivered = one.next(&mut batch) => delivered.map(drop),
        delivered = other.next(&mut others) => delivered.map(drop),
    }
}

fn all(api: &Api, prefix: &str) -> Vec<Value> {
    let snapshot = api.store.snapshot(prefix);
    snapshot.iter().filter_map(|entry| json::parse(&entry.value).ok()).collect()
}

async fn write(client: &Client, name: &str, condition: Value) {
    let mut schema = Value::object();
    schema.set("kind", "FlowSchema");
    schema.set("apiVersion", format!("{GROUP}/v1"));
    schema.set("metadata.name", name);
    schema.set("status.conditions", vec![condition]);
    let patch = Patch::Apply { object: schema, force: true };
    match client.all(&SCHEMAS).patch(name, "status", &patch, &WriteOptions::manager(FIELD_MANAGER)).await {
        Err(error) if !error.is_not_found() => tracing::warn!(%error, name, "a FlowSchema's condition was not written"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use rstest::rstest;

    use super::*;
    use crate::bootstrap::flowcontrol;
    use crate::request::Query;
    use crate::testing::parse;

    fn fresh() -> (Vec<Value>, Vec<Value>) {
        let with_uid = |mut object: Value| {
            let name = object.str_at("metadata.name").to_owned();
            object.set("metadata.uid", name);
            object
        };
        flowcontrol::objects().map(with_uid).partition(|object| object.str_at("kind") == "FlowSchema")
    }

    #[rstest]
    #[case::administrator("admin", "system:masters", "/api/v1/pods", "exempt", "exempt")]
    #[case::probe("x", "system:unauthenticated", "/healthz", "probes", "exempt")]
    #[case::node("system:node:a", "system:nodes", "/api/v1/nodes/a", "system-node-high", "node-high")]
    #[case::node_elsewhere("system:node:a", "system:nodes", "/api/v1/pods", "system-nodes", "system")]
    #[case::account(
        "system:serviceaccount:a:b",
        "system:serviceaccounts",
        "/api/v1/pods",
        "service-accounts",
        "workload-low"
    )]
    #[case::anybody("jane", "people", "/api/v1/pods", "global-default", "global-default")]
    fn requests_of_a_fresh_cluster(
        #[case] user: &str,
        #[case] group: &str,
        #[case] path: &str,
        #[case] schema: &str,
        #[case] level: &str,
    ) {
        let (schemas, levels) = fresh();
        let flows = Schemas::default();
        flows.0.store(Arc::new(digest(&schemas, &levels, Timestamp::UNIX_EPOCH).0));
        let user = match group {
            "system:unauthenticated" => UserInfo::anonymous(),
            group => UserInfo::authenticated(user, &[group]),
        };
        let info = RequestInfo::parse(&Method::GET, path, &Query::parse(""));
        let matched = flows.classify(&user, &info);
        assert_eq!((matched.schema.to_str().unwrap(), matched.level.to_str().unwrap()), (schema, level));
    }

    #[test]
    fn a_schema_without_its_level_dangles_and_does_not_count() {
        let schema = parse(r#"{"metadata":{"name":"s"},"spec":{"priorityLevelConfiguration":{"name":"l"}}}"#).unwrap();
        let (counting, conditions) = digest(std::slice::from_ref(&schema), &[], Timestamp::UNIX_EPOCH);
        assert!(counting.is_empty());
        let (name, condition) = &conditions[0];
        assert_eq!((name.as_str(), condition.str_at("status"), condition.str_at("reason")), ("s", "True", "NotFound"));
        let mut told = schema;
        told.set("status.conditions", vec![condition.clone()]);
        assert!(digest(&[told], &[], Timestamp::UNIX_EPOCH).1.is_empty());
    }
}
