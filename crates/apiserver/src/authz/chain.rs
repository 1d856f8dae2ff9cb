//! The chain of authorizers: `system:masters` first, then the configured modes in their order.

use std::sync::Arc;

use api::user::UserInfo;
use smol_str::SmolStr;

use super::node::NodeAuthorizer;
use super::rbac::RbacIndex;
use super::rules::PolicyRule;
use super::text::aggregate;
use super::{Attributes, Change, Decision};

/// Authorizes requests. Shared by all requests; feed it with [`Authorizer::apply`].
pub struct Authorizer {
    modes: Vec<Mode>,
    rbac: Arc<RbacIndex>,
    node: Arc<NodeAuthorizer>,
}

/// One entry of `--authorization-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
}

/// What a user may do in a namespace, as far as it can be enumerated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub rules: Vec<PolicyRule>,
    /// Some authorizer can't enumerate what it allows.
    pub incomplete: bool,
    /// What went wrong on the way, empty if nothing.
    pub error: String,
}

/// The resources (group, resource) whose events [`Authorizer::apply`] wants.
pub const WATCHED: [(&str, &str); 9] = [
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
    ("certificates.k8s.io", "podcertificaterequests"),
];

/// Members may do everything, whatever the modes say.
const MASTERS: &str = "system:masters";

// === impl Authorizer ===

impl Authorizer {
    pub fn new(modes: Vec<Mode>) -> Authorizer {
        Authorizer { modes, rbac: Arc::default(), node: Arc::default() }
    }

    /// The role index, for escalation checks.
    pub fn rbac(&self) -> &RbacIndex {
        &self.rbac
    }

    pub fn node(&self) -> &NodeAuthorizer {
        &self.node
    }

    /// Takes in one event of a resource; those outside [`WATCHED`] change nothing.
    pub fn apply(&self, group: &str, resource: &str, change: Change<'_>) {
        if group == "rbac.authorization.k8s.io" {
            self.rbac.apply(resource, change);
        } else {
            self.node.apply(group, resource, change);
        }
    }

    /// The chain's answer: the first that allows or denies decides. When none does, the reasons
    /// of all are given, each behind its authorizer's name.
    pub fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.in_group(MASTERS) {
            return Decision::Allow(SmolStr::default());
        }
        let mut reasons = Vec::new();
        for mode in &self.modes {
            match self.ask(*mode, attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(format!("{}: {reason}", mode.name())),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n").into())
    }

    fn ask(&self, mode: Mode, attributes: &Attributes<'_>) -> Decision {
        match mode {
            Mode::AlwaysAllow => Decision::Allow(SmolStr::default()),
            Mode::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".into()),
            Mode::Node => self.node.authorize(attributes),
            Mode::Rbac => self.rbac.authorize(attributes),
        }
    }

    /// What `user` may do in `namespace` (SelfSubjectRulesReview).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Rules {
        let mut all = Rules::default();
        let mut errors = Vec::new();
        for mode in &self.modes {
            let rules = match mode {
                Mode::AlwaysAllow => {
                    let rules = vec![PolicyRule::everything(), PolicyRule::everything_else()];
                    Rules { rules, ..Rules::default() }
                }
                Mode::AlwaysDeny => Rules::default(),
                Mode::Node => NodeAuthorizer::rules_for(user),
                Mode::Rbac => self.rbac.rules_for(user, namespace),
            };
            all.rules.extend(rules.rules);
            all.incomplete |= rules.incomplete;
            if !rules.error.is_empty() {
                errors.push(rules.error);
            }
        }
        if !errors.is_empty() {
            all.error = aggregate(&errors);
        }
        all
    }
}

// === impl Mode ===

impl Mode {
    /// The mode of that name in `--authorization-mode`.
    pub fn parse(name: &str) -> Option<Mode> {
        match name {
            "AlwaysAllow" => Some(Mode::AlwaysAllow),
            "AlwaysDeny" => Some(Mode::AlwaysDeny),
            "Node" => Some(Mode::Node),
            "RBAC" => Some(Mode::Rbac),
            _ => None,
        }
    }

    /// The authorizer's name in reasons.
    fn name(self) -> &'static str {
        match self {
            Mode::AlwaysAllow => "alwaysallow",
            Mode::AlwaysDeny => "alwaysdeny",
            Mode::Node => "node",
            Mode::Rbac => "rbac",
        }
    }
}
