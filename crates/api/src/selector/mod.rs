//! Selectors: which objects a list, a watch or a controller means.
//!
//! [`LabelSelector`] is both the text form (`app in (a,b),!tier`) and the object form
//! (`matchLabels`, `matchExpressions`); [`FieldSelector`] is `metadata.name=x,status.phase!=y`.
//! Errors read as upstream words them.

mod field;
mod label;
mod lexer;
mod parse;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelSelector, Operator, Requirement};

/// Why a selector can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
