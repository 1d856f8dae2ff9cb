use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::testing::parse;

/// What is in the cluster, as the naive evaluator below walks it.
#[derive(Clone, Debug, Default)]
struct Cluster {
    objects: BTreeMap<(&'static str, String, String), Value>,
}

fn object(text: &str) -> Value {
    parse(text).unwrap()
}

fn index(objects: &[(&str, &str)]) -> RbacIndex {
    let index = RbacIndex::default();
    for (resource, text) in objects {
        index.apply(resource, Change::Put(&object(text)));
    }
    index
}

const ADMIN: (&str, &str) =
    ("clusterroles", r#"{"metadata":{"name":"admin"},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#);
const READER: (&str, &str) = (
    "roles",
    r#"{"metadata":{"name":"reader","namespace":"ns1"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}"#,
);
const ADMINS_IN_NS1: (&str, &str) = (
    "rolebindings",
    r#"{"metadata":{"name":"b","namespace":"ns1"},"roleRef":{"kind":"ClusterRole","name":"admin"},
        "subjects":[{"kind":"User","name":"admin"},{"kind":"Group","name":"admins"},{"kind":"ServiceAccount","name":"sa"}]}"#,
);
const READERS: (&str, &str) = (
    "rolebindings",
    r#"{"metadata":{"name":"r","namespace":"ns1"},"roleRef":{"kind":"Role","name":"reader"},
        "subjects":[{"kind":"ServiceAccount","name":"sa","namespace":"other"}]}"#,
);
const LOST: (&str, &str) = (
    "clusterrolebindings",
    r#"{"metadata":{"name":"lost"},"roleRef":{"kind":"ClusterRole","name":"gone"},"subjects":[{"kind":"User","name":"eve"}]}"#,
);

#[rstest]
#[case::by_user(
    "admin",
    "",
    "ns1",
    Ok("RBAC: allowed by RoleBinding \"b/ns1\" of ClusterRole \"admin\" to User \"admin\"")
)]
#[case::by_group(
    "joe",
    "admins",
    "ns1",
    Ok("RBAC: allowed by RoleBinding \"b/ns1\" of ClusterRole \"admin\" to Group \"admins\"")
)]
#[case::first_subject_counts(
    "admin",
    "admins",
    "ns1",
    Ok("RBAC: allowed by RoleBinding \"b/ns1\" of ClusterRole \"admin\" to User \"admin\"")
)]
#[case::service_account_of_the_bindings_namespace(
    "system:serviceaccount:ns1:sa",
    "",
    "ns1",
    Ok("RBAC: allowed by RoleBinding \"b/ns1\" of ClusterRole \"admin\" to ServiceAccount \"sa/ns1\"")
)]
#[case::service_account_of_another(
    "system:serviceaccount:other:sa",
    "",
    "ns1",
    Ok("RBAC: allowed by RoleBinding \"r/ns1\" of Role \"reader\" to ServiceAccount \"sa/other\"")
)]
#[case::other_namespace("admin", "admins", "ns2", Err(""))]
#[case::cluster_scope("admin", "admins", "", Err(""))]
#[case::role_is_missing("eve", "", "ns1", Err("RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found"))]
fn authorizes(#[case] name: &str, #[case] group: &str, #[case] namespace: &str, #[case] expected: Result<&str, &str>) {
    let index = index(&[ADMIN, READER, ADMINS_IN_NS1, READERS, LOST]);
    let user = UserInfo::authenticated(name, &[group]);
    let attributes = Attributes { namespace, ..Attributes::resource(&user, "get", "", "pods") };
    let decision = index.authorize(&attributes);
    assert_eq!(decision.is_allow(), expected.is_ok());
    assert_eq!(decision.reason(), expected.unwrap_or_else(|reason| reason));
}

#[test]
fn rules_for_counts_a_binding_once_and_names_errors() {
    let index = index(&[ADMIN, READER, ADMINS_IN_NS1, LOST]);
    let user = UserInfo { name: "admin".into(), groups: vec!["admins".into()], ..UserInfo::default() };
    assert_eq!(index.rules_for(&user, "ns1").rules, [PolicyRule::everything()]);
    assert_eq!(index.rules_for(&user, "ns2").rules, []);
    let eve = UserInfo { name: "eve".into(), ..UserInfo::default() };
    assert_eq!(index.rules_for(&eve, "ns1").error, "clusterrole.rbac.authorization.k8s.io \"gone\" not found");
}

#[test]
fn a_deleted_binding_leaves_nothing_behind() {
    let index = index(&[ADMIN, ADMINS_IN_NS1, LOST]);
    index.apply("rolebindings", Change::Delete { namespace: "ns1", name: "b" });
    index.apply("clusterrolebindings", Change::Delete { namespace: "", name: "lost" });
    index.apply("clusterroles", Change::Delete { namespace: "", name: "admin" });
    let state = index.state.read();
    assert!(state.users.is_empty() && state.groups.is_empty() && state.bindings.is_empty() && state.roles.is_empty());
}

// === The same answers as a walk over everything ===

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, Value),
    Delete(&'static str, String, String),
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(String::from)
}

fn namespace() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["x", "y"]).prop_map(String::from)
}

fn role(resource: &'static str) -> impl Strategy<Value = Step> {
    let rule =
        (prop::sample::select(vec!["get", "list", "*", "sign"]), prop::sample::select(vec!["pods", "pods/log", "*"]));
    (name(), namespace(), prop::collection::vec(rule, 0..3)).prop_map(move |(name, namespace, rules)| {
        let rules = rules.into_iter().map(|(verb, resource)| {
            object(&format!(r#"{{"verbs":["{verb}"],"apiGroups":[""],"resources":["{resource}"]}}"#))
        });
        let mut role = Value::object();
        role.set("metadata.name", name);
        if resource == "roles" {
            role.set("metadata.namespace", namespace);
        }
        role.set("rules", rules.collect::<Vec<_>>());
        Step::Put(resource, role)
    })
}

fn binding(resource: &'static str) -> impl Strategy<Value = Step> {
    let subject =
        (prop::sample::select(vec!["User", "Group", "ServiceAccount"]), name(), prop::option::of(namespace()));
    let kind = prop::sample::select(vec!["Role", "ClusterRole"]);
    (name(), namespace(), kind, name(), prop::collection::vec(subject, 0..3)).prop_map(
        move |(name, namespace, kind, role, subjects)| {
            let subjects = subjects.into_iter().map(|(kind, name, namespace)| {
                let mut subject = Value::object();
                subject.set("kind", kind);
                subject.set("name", name);
                if let (Some(namespace), "ServiceAccount") = (namespace, kind) {
                    subject.set("namespace", namespace);
                }
                subject
            });
            let mut binding = Value::object();
            binding.set("metadata.name", name);
            if resource == "rolebindings" {
                binding.set("metadata.namespace", namespace);
            }
            binding.set("roleRef.kind", kind);
            binding.set("roleRef.name", role);
            binding.set("subjects", subjects.collect::<Vec<_>>());
            Step::Put(resource, binding)
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let resource = prop::sample::select(vec!["roles", "clusterroles", "rolebindings", "clusterrolebindings"]);
    prop_oneof![
        3 => role("roles"),
        3 => role("clusterroles"),
        3 => binding("rolebindings"),
        3 => binding("clusterrolebindings"),
        2 => (resource, name(), namespace()).prop_map(|(resource, name, namespace)| {
            let namespace = if resource.starts_with("cluster") { String::new() } else { namespace };
            Step::Delete(resource, namespace, name)
        }),
    ]
}

impl Cluster {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Put(resource, object) => {
                let key =
                    (*resource, object.str_at("metadata.namespace").into(), object.str_at("metadata.name").into());
                self.objects.insert(key, object.clone());
            }
            Step::Delete(resource, namespace, name) => {
                self.objects.remove(&(*resource, namespace.clone(), name.clone()));
            }
        }
    }

    /// Upstream's walk: every binding, every subject, every rule.
    fn allowed(&self, attributes: &Attributes<'_>) -> bool {
        self.objects.iter().any(|((resource, namespace, _), binding)| {
            let here = match *resource {
                "clusterrolebindings" => true,
                "rolebindings" => !namespace.is_empty() && namespace == attributes.namespace,
                _ => false,
            };
            let applies = binding.array_at("subjects").iter().any(|subject| {
                let name = subject.str_at("name");
                match subject.str_at("kind") {
                    "User" => name == attributes.user.name,
                    "Group" => attributes.user.in_group(name),
                    _ => {
                        let own = subject.str_at("namespace");
                        let home = if own.is_empty() { namespace } else { own };
                        !home.is_empty() && attributes.user.name == format!("system:serviceaccount:{home}:{name}")
                    }
                }
            });
            let (kind, role) = (binding.str_at("roleRef.kind"), binding.str_at("roleRef.name"));
            let role = match kind {
                "Role" => {
                    self.objects.get(&("roles", namespace.clone(), role.into())).filter(|_| !namespace.is_empty())
                }
                _ => self.objects.get(&("clusterroles", String::new(), role.into())),
            };
            let rules = role.map(PolicyRule::of_role).unwrap_or_default();
            here && applies && rules.iter().any(|rule| rule.allows(attributes))
        })
    }
}

proptest! {
    #[test]
    fn answers_as_a_walk_would(steps in prop::collection::vec(step(), 1..40)) {
        let (index, mut cluster) = (RbacIndex::default(), Cluster::default());
        for step in &steps {
            cluster.take(step);
            match step {
                Step::Put(resource, object) => index.apply(resource, Change::Put(object)),
                Step::Delete(resource, namespace, name) => index.apply(resource, Change::Delete { namespace, name }),
            }
        }
        for who in ["a", "b", "system:serviceaccount:x:a", "system:serviceaccount:y:b"] {
            for group in ["a", "c"] {
                let user = UserInfo { name: who.into(), groups: vec![group.into()], ..UserInfo::default() };
                for namespace in ["", "x", "y"] {
                    for verb in ["get", "list", "sign"] {
                        for subresource in ["", "log"] {
                            let attributes =
                                Attributes { namespace, subresource, ..Attributes::resource(&user, verb, "", "pods") };
                            let decision = index.authorize(&attributes);
                            prop_assert_eq!(decision.is_allow(), cluster.allowed(&attributes));
                            let enumerated = index.rules_for(&user, namespace).rules;
                            prop_assert_eq!(enumerated.iter().any(|rule| rule.allows(&attributes)), decision.is_allow());
                        }
                    }
                }
            }
        }
    }
}

/// How long a decision takes with upstream's roles and a thousand bindings besides:
/// `CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test -p apiserver --lib decision_time -- --ignored --nocapture`.
#[test]
#[ignore = "prints times"]
fn decision_time() {
    let index = RbacIndex::default();
    for object in crate::bootstrap::rbac::objects() {
        index.apply(crate::bootstrap::rbac::resource(&object), Change::Put(&object));
    }
    for at in 0..1000 {
        let binding = format!(
            r#"{{"metadata":{{"name":"b{at}","namespace":"ns{}"}},"roleRef":{{"kind":"ClusterRole","name":"edit"}},
            "subjects":[{{"kind":"User","name":"user{}"}},{{"kind":"Group","name":"team{}"}}]}}"#,
            at % 50,
            at % 100,
            at % 20
        );
        index.apply("rolebindings", Change::Put(&object(&binding)));
    }
    let account = UserInfo::service_account("kube-system", "deployment-controller");
    let scheduler = UserInfo::authenticated("system:kube-scheduler", &[]);
    let manager = UserInfo::authenticated("system:kube-controller-manager", &[]);
    let user = UserInfo::authenticated("user7", &["team7", "team8"]);
    for (what, user, verb, group, resource) in [
        ("a controller, allowed", &account, "update", "apps", "deployments"),
        ("a controller, not allowed", &account, "delete", "", "secrets"),
        ("the scheduler, allowed", &scheduler, "list", "", "nodes"),
        ("the controller manager, not allowed", &manager, "delete", "", "nodes"),
        ("a user, not allowed", &user, "get", "apps", "deployments"),
    ] {
        const ROUNDS: u32 = 200_000;
        let attributes = Attributes { namespace: "ns7", ..Attributes::resource(user, verb, group, resource) };
        let started = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(index.authorize(std::hint::black_box(&attributes)));
        }
        println!("{what}: {:?}, {}", started.elapsed() / ROUNDS, index.authorize(&attributes).is_allow());
    }
}
