//! What happens to an object's own metadata when it is created, updated and deleted. Pure.

pub mod deletion;
pub mod meta;
pub mod policy;
