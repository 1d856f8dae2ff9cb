//! Roles and bindings: names are path segments, they may hold colons.
//!
//! Upstream: `pkg/apis/rbac/validation`.

use super::Rules;
use crate::meta::NameRule;

pub const RULES: Rules = Rules { name: NameRule::PathSegment, allow_create_on_update: true, ..Rules::DEFAULT };
