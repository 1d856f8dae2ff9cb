//! Fields that an apply would take from others, and the answer that lists them.

use super::entries::{Identity, Operation};
use super::set::display;
use super::{PathElement, Set};
use crate::patch::gofmt::quoted;
use crate::status::{Details, Status};

/// One field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub owner: Identity,
    /// Which field.
    pub path: Vec<PathElement>,
}

impl Conflict {
    /// `"kubectl-edit" using apps/v1`.
    fn owner_name(&self) -> String {
        let mut name = quoted(&self.owner.manager);
        if !self.owner.subresource.is_empty() {
            name += &format!(" with subresource {}", quoted(&self.owner.subresource));
        }
        if self.owner.operation == Operation::Update {
            name += &format!(" using {}", self.owner.version);
        }
        name
    }
}

/// All paths in conflict.
pub(super) fn paths(conflicts: &[Conflict]) -> Set {
    let mut set = Set::new();
    for conflict in conflicts {
        set.insert(conflict.path.iter().cloned());
    }
    set
}

/// The answer to an apply with conflicts, which are sorted by owner.
pub(super) fn status(conflicts: &[Conflict]) -> Status {
    let message = match conflicts {
        [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.owner_name(), display(&one.path)),
        many => {
            let mut lines = Vec::new();
            let mut owner = None;
            for conflict in many {
                if owner.replace(&conflict.owner) != Some(&conflict.owner) {
                    lines.push(format!("conflicts with {}:", conflict.owner_name()));
                }
                lines.push(format!("- {}", display(&conflict.path)));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let mut status = Status::new(409, "Conflict", message);
    status.details = Some(Details::default());
    conflicts.iter().fold(status, |status, conflict| {
        let message = format!("conflict with {}", conflict.owner_name());
        status.cause("FieldManagerConflict", message, &display(&conflict.path))
    })
}
