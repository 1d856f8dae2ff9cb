//! # authz
//! May this user do that?
//!
//! Start at [`Attributes`] (the question), [`Decision`] (the answer) and [`Authorizer`] (the chain
//! that a server runs). [`rbac`] and [`node`] keep indexes that are fed from watch events through
//! [`Authorizer::apply`]; nothing here reads the store. [`escalation`] guards writes of roles and
//! bindings, [`noderestriction`] guards what kubelets write,
//! [`review`] answers access reviews.
#![allow(missing_docs)] // fields and accessors that say all in their name

pub mod escalation;
pub mod node;
pub mod noderestriction;
pub mod rbac;
pub mod review;
pub mod rules;

mod attributes;
mod chain;
mod decision;
mod text;
mod verbs;

pub use attributes::{Attributes, FieldRequirement, LabelOperator, LabelRequirement};
pub use chain::{Authorizer, Mode, Rules, WATCHED};
pub use decision::{Decision, forbidden};
pub use rules::PolicyRule;
pub(crate) use text::{aggregate, quoted, quoted_list};
pub use verbs::Verbs;

use api::value::Value;

/// What happened to an object, for the indexes.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It is there, new or changed; this is all of it.
    Put(&'a Value),
    /// It is gone. Cluster-scoped objects have an empty namespace.
    Delete { namespace: &'a str, name: &'a str },
}

// === impl Change ===

impl Change<'_> {
    /// Namespace and name of the object.
    pub(crate) fn key(&self) -> (&str, &str) {
        match self {
            Change::Put(object) => (object.str_at("metadata.namespace"), object.str_at("metadata.name")),
            Change::Delete { namespace, name } => (namespace, name),
        }
    }
}
