//! What becomes of an object, by how its owners stand.

use client::Propagation;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The finalizer of objects whose dependents are to be kept.
pub const ORPHAN: &str = "orphan";
/// The finalizer of objects whose dependents are to go first.
pub const FOREGROUND: &str = "foregroundDeletion";

/// How an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Solid,
    /// It is gone, or another one has its name.
    Dangling,
    /// It waits for its dependents to go.
    Waiting,
}

/// What to do with an object that has owners.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// It stays, without the owners of these UIDs.
    Disown(Vec<String>),
    /// It goes.
    Delete(Propagation),
}

/// What a deletion that has begun waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has not begun.
    Not,
    /// Dependents are to be orphaned.
    Orphaning,
    /// Dependents are to go first.
    Foreground,
    /// Nothing that concerns the collector.
    Otherwise,
}

/// Whether an object ends, and how.
pub fn ending(meta: &ObjectMeta) -> Ending {
    match meta.deletion_timestamp {
        None => Ending::Not,
        Some(_) if has_finalizer(meta, ORPHAN) => Ending::Orphaning,
        Some(_) if has_finalizer(meta, FOREGROUND) => Ending::Foreground,
        Some(_) => Ending::Otherwise,
    }
}

/// Whether the object carries the finalizer.
pub fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|one| one == finalizer)
}

/// Decides about an object whose owners stand like this.
pub fn decide(meta: &ObjectMeta, owners: &[(OwnerReference, Standing)], has_dependents: bool) -> Decision {
    let is = |wanted: Standing| owners.iter().any(|(_, standing)| *standing == wanted);
    if is(Standing::Solid) {
        let gone = owners.iter().filter(|(_, standing)| *standing != Standing::Solid);
        let gone: Vec<String> = gone.map(|(owner, _)| owner.uid.clone()).collect();
        return if gone.is_empty() { Decision::Keep } else { Decision::Disown(gone) };
    }
    if owners.is_empty() {
        return Decision::Keep;
    }
    Decision::Delete(match () {
        () if is(Standing::Waiting) && has_dependents => Propagation::Foreground,
        () if has_finalizer(meta, ORPHAN) => Propagation::Orphan,
        () if has_finalizer(meta, FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    })
}

/// Whether a dependent holds up its owner's foreground deletion.
pub fn blocks(dependent: &ObjectMeta, owner_uid: &str) -> bool {
    let mut owners = dependent.owner_references.iter().flatten();
    owners.any(|owner| owner.uid == owner_uid && owner.block_owner_deletion == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    use Standing::{Dangling, Solid, Waiting};

    #[rstest]
    #[case::owned(&[Solid], false, "", Decision::Keep)]
    #[case::nobody_owns_it(&[], false, "", Decision::Keep)]
    #[case::owner_gone(&[Dangling], true, "", Decision::Delete(Propagation::Background))]
    #[case::one_of_two_gone(&[Dangling, Solid], false, "", Decision::Disown(vec!["0".into()]))]
    #[case::one_goes_the_other_stays(&[Solid, Waiting], true, "", Decision::Disown(vec!["1".into()]))]
    #[case::owner_waits(&[Waiting], false, "", Decision::Delete(Propagation::Background))]
    #[case::owner_waits_for_a_tree(&[Waiting, Dangling], true, "", Decision::Delete(Propagation::Foreground))]
    #[case::asked_to_orphan(&[Dangling], false, ORPHAN, Decision::Delete(Propagation::Orphan))]
    #[case::asked_to_go_last(&[Dangling], false, FOREGROUND, Decision::Delete(Propagation::Foreground))]
    fn decisions(
        #[case] standings: &[Standing],
        #[case] has_dependents: bool,
        #[case] finalizer: &str,
        #[case] expected: Decision,
    ) {
        let meta = ObjectMeta { finalizers: Some(vec![finalizer.to_owned()]), ..ObjectMeta::default() };
        let owner = |uid: usize| OwnerReference { uid: uid.to_string(), ..OwnerReference::default() };
        let owners: Vec<_> = standings.iter().enumerate().map(|(at, standing)| (owner(at), *standing)).collect();
        assert_eq!(decide(&meta, &owners, has_dependents), expected);
    }
}
