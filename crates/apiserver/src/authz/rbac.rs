//! RBAC over an index: which bindings apply is looked up by the user's name and groups.
//!
//! Upstream walks all bindings for each request (plugin/pkg/auth/authorizer/rbac); the answers
//! here are the same, a test holds them against such a walk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::user::UserInfo;
use api::value::Value;
use parking_lot::RwLock;
use smol_str::{SmolStr, format_smolstr};

use super::rules::PolicyRule;
use super::text::{aggregate, quoted};
use super::{Attributes, Change, Decision, Rules};

/// Roles, bindings, and the bindings of each subject. Readers share a lock that writers hold for
/// microseconds.
#[derive(Default)]
pub struct RbacIndex {
    state: RwLock<State>,
}

/// An object's namespace (empty for cluster scope) and name.
type Id = (SmolStr, SmolStr);

#[derive(Default)]
struct State {
    /// ClusterRoles have an empty namespace.
    roles: HashMap<SmolStr, HashMap<SmolStr, Arc<[PolicyRule]>>>,
    /// ClusterRoleBindings have an empty namespace.
    bindings: HashMap<Id, Arc<Binding>>,
    users: HashMap<SmolStr, Grants>,
    groups: HashMap<SmolStr, Grants>,
}

/// The bindings that name one subject: by namespace (empty for cluster scope), then by name.
type Grants = HashMap<SmolStr, BTreeMap<SmolStr, Arc<Binding>>>;

/// A RoleBinding or ClusterRoleBinding.
struct Binding {
    /// Empty for a ClusterRoleBinding.
    namespace: SmolStr,
    name: SmolStr,
    role: RoleRef,
    subjects: Vec<Subject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RoleRef {
    kind: SmolStr,
    name: SmolStr,
}

struct Subject {
    who: Who,
    /// `RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "g"`.
    reason: SmolStr,
}

enum Who {
    User(SmolStr),
    Group(SmolStr),
    /// Of a kind that RBAC does not know, or a service account without a namespace.
    Nobody,
}

// === impl RbacIndex ===

impl RbacIndex {
    /// Takes in an event of `clusterroles`, `roles`, `clusterrolebindings` or `rolebindings`.
    pub fn apply(&self, resource: &str, change: Change<'_>) {
        let (namespace, name) = change.key();
        let id: Id = (namespace.into(), name.into());
        match (resource, change) {
            ("roles" | "clusterroles", Change::Put(role)) => self.put_role(id, PolicyRule::of_role(role)),
            ("roles" | "clusterroles", Change::Delete { .. }) => self.remove_role(&id),
            ("rolebindings" | "clusterrolebindings", Change::Put(binding)) => {
                let binding = Arc::new(Binding::new(binding));
                self.state.write().put_binding(id, binding);
            }
            ("rolebindings" | "clusterrolebindings", Change::Delete { .. }) => self.state.write().remove_binding(&id),
            _ => {}
        }
    }

    fn put_role(&self, (namespace, name): Id, rules: Vec<PolicyRule>) {
        self.state.write().roles.entry(namespace).or_default().insert(name, rules.into());
    }

    fn remove_role(&self, (namespace, name): &Id) {
        let mut state = self.state.write();
        if let Some(roles) = state.roles.get_mut(namespace) {
            roles.remove(name);
            if roles.is_empty() {
                state.roles.remove(namespace);
            }
        }
    }

    /// Allows when a rule of a binding that applies does; else says which roles were missing.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let state = self.state.read();
        let mut missing = Vec::new();
        let mut decision = None;
        state.visit(attributes.user, attributes.namespace, |binding| match state.rules(binding) {
            Ok(rules) if rules.iter().any(|rule| rule.allows(attributes)) => {
                decision = Some(Decision::Allow(binding.reason_for(attributes.user)));
                true
            }
            Ok(_) => false,
            Err(error) => {
                missing.push(error);
                false
            }
        });
        match decision {
            Some(allowed) => allowed,
            None if missing.is_empty() => Decision::none(),
            None => {
                missing.sort();
                Decision::NoOpinion(format_smolstr!("RBAC: {}", aggregate(&missing)))
            }
        }
    }

    /// All rules that apply to the user in the namespace: cluster-wide bindings first, each once.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Rules {
        let state = self.state.read();
        let mut applying: BTreeMap<(&str, &str), &Binding> = BTreeMap::new();
        state.visit(user, namespace, |binding| {
            applying.insert((&binding.namespace, &binding.name), binding);
            false
        });
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for binding in applying.values() {
            match state.rules(binding) {
                Ok(found) => rules.extend_from_slice(found),
                Err(error) => errors.push(error),
            }
        }
        let error = if errors.is_empty() { String::new() } else { aggregate(&errors) };
        Rules { rules, incomplete: false, error }
    }

    /// The rules of the role that a binding in `namespace` (empty: cluster scope) refers to.
    ///
    /// # Errors
    /// The role is not there or of an unknown kind, in upstream's words.
    pub fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Result<Arc<[PolicyRule]>, String> {
        self.state.read().role(kind, name, namespace).cloned()
    }

    /// Names of all users and groups that some binding names; for tests and diagnostics.
    pub fn subjects(&self) -> BTreeSet<SmolStr> {
        let state = self.state.read();
        state.users.keys().chain(state.groups.keys()).cloned().collect()
    }
}

// === impl State ===

impl State {
    fn put_binding(&mut self, id: Id, binding: Arc<Binding>) {
        self.remove_binding(&id);
        for subject in &binding.subjects {
            if let Some((index, who)) = self.index(&subject.who) {
                let grants = index.entry(who.clone()).or_default();
                grants.entry(id.0.clone()).or_default().insert(id.1.clone(), binding.clone());
            }
        }
        self.bindings.insert(id, binding);
    }

    fn remove_binding(&mut self, id: &Id) {
        let Some(binding) = self.bindings.remove(id) else { return };
        for subject in &binding.subjects {
            let Some((index, who)) = self.index(&subject.who) else { continue };
            let Some(grants) = index.get_mut(who) else { continue };
            if let Some(named) = grants.get_mut(&id.0) {
                named.remove(&id.1);
                if named.is_empty() {
                    grants.remove(&id.0);
                }
            }
            if grants.is_empty() {
                index.remove(who);
            }
        }
    }

    fn index<'a>(&mut self, who: &'a Who) -> Option<(&mut HashMap<SmolStr, Grants>, &'a SmolStr)> {
        match who {
            Who::User(name) => Some((&mut self.users, name)),
            Who::Group(name) => Some((&mut self.groups, name)),
            Who::Nobody => None,
        }
    }

    /// Calls `visit` with each binding that applies, cluster-wide ones first, until it returns
    /// true. A binding that names the user in several ways comes several times.
    fn visit<'a>(&'a self, user: &UserInfo, namespace: &str, mut visit: impl FnMut(&'a Binding) -> bool) {
        let by_user = self.users.get(user.name.as_str());
        let by_group = user.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let scopes = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        for scope in scopes.into_iter().flatten() {
            let named = by_user.into_iter().chain(by_group.clone()).filter_map(|grants| grants.get(scope));
            if named.flat_map(BTreeMap::values).any(|binding| visit(binding)) {
                return;
            }
        }
    }

    fn rules(&self, binding: &Binding) -> Result<&Arc<[PolicyRule]>, String> {
        self.role(&binding.role.kind, &binding.role.name, &binding.namespace)
    }

    fn role(&self, kind: &str, name: &str, namespace: &str) -> Result<&Arc<[PolicyRule]>, String> {
        let (scope, resource) = match kind {
            "ClusterRole" => ("", "clusterrole"),
            "Role" => (namespace, "role"),
            _ => return Err(format!("unsupported role reference kind: {}", quoted(kind))),
        };
        let found = match (kind, scope) {
            // A ClusterRoleBinding can't refer to a Role: there is no namespace to find it in.
            ("Role", "") => None,
            _ => self.roles.get(scope).and_then(|roles| roles.get(name)),
        };
        found.ok_or_else(|| format!("{resource}.rbac.authorization.k8s.io {} not found", quoted(name)))
    }
}

// === impl Binding ===

impl Binding {
    fn new(value: &Value) -> Binding {
        let (namespace, name) = (value.str_at("metadata.namespace"), value.str_at("metadata.name"));
        let role = RoleRef { kind: value.str_at("roleRef.kind").into(), name: value.str_at("roleRef.name").into() };
        let shown = match namespace {
            "" => format!("ClusterRoleBinding {}", quoted(name)),
            _ => format!("RoleBinding {}", quoted(&format!("{name}/{namespace}"))),
        };
        let source = format!("RBAC: allowed by {shown} of {} {}", role.kind, quoted(&role.name));
        let subjects = value.array_at("subjects").iter().map(|subject| Subject::new(subject, namespace, &source));
        Binding { namespace: namespace.into(), name: name.into(), role, subjects: subjects.collect() }
    }

    /// Why this binding allows a user whom it names: by the first subject that is that user.
    fn reason_for(&self, user: &UserInfo) -> SmolStr {
        let mut subjects = self.subjects.iter();
        let subject = subjects.find(|subject| match &subject.who {
            Who::User(name) => *name == user.name,
            Who::Group(name) => user.in_group(name),
            Who::Nobody => false,
        });
        subject.map(|subject| subject.reason.clone()).unwrap_or_default()
    }
}

// === impl Subject ===

impl Subject {
    /// Service accounts without a namespace are those of the binding's.
    fn new(value: &Value, binding_namespace: &str, source: &str) -> Subject {
        let (kind, name) = (value.str_at("kind"), value.str_at("name"));
        let namespace = match value.str_at("namespace") {
            "" => binding_namespace,
            own => own,
        };
        let who = match kind {
            "User" => Who::User(name.into()),
            "Group" => Who::Group(name.into()),
            "ServiceAccount" if !namespace.is_empty() => {
                Who::User(format_smolstr!("system:serviceaccount:{namespace}:{name}"))
            }
            _ => Who::Nobody,
        };
        let shown = match kind {
            "ServiceAccount" => quoted(&format!("{name}/{namespace}")),
            _ => quoted(name),
        };
        Subject { who, reason: format_smolstr!("{source} to {kind} {shown}") }
    }
}

#[cfg(test)]
mod tests;
