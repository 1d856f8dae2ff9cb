//! # bootstrap
//! What a server creates in a cluster after its start, as data; and how what is there already is
//! brought up to date.
//!
//! The tables come from upstream's own packages by `tools/bootstrap-gen`. [`rbac`] has roles and
//! bindings, [`flowcontrol`] flow schemas and priority levels, [`objects`] the rest. All functions
//! are pure: the caller lists what is there and performs the [`Step`]s.
#![allow(missing_docs)] // fields and accessors that say all in their name

pub mod flowcontrol;
pub mod objects;
pub mod rbac;

use api::codec::json;
use api::value::Value;

pub use rbac::node_rules;

/// What is to be done so that an object becomes what it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is as it should be, or its owner opted out of updates.
    None,
    Create(Value),
    /// Put this over the stored object; it carries that object's resourceVersion.
    Update(Value),
    /// Delete the stored object (with its uid as precondition), then create this one.
    Recreate(Value),
}

/// The objects of a table, in their order of creation.
fn rows(table: &'static str) -> impl Iterator<Item = Value> {
    // Tables are committed; a test parses every line.
    table.lines().filter_map(|line| json::parse(line.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_every_table_is_an_object() {
        for table in [rbac::TABLE, rbac::NODE_RULES, flowcontrol::TABLE, objects::PRIORITY_CLASSES] {
            assert_eq!(rows(table).filter(|row| !row.str_at("kind").is_empty()).count(), table.lines().count());
        }
    }
}
