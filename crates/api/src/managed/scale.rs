//! Ownership of `replicas`, seen from the resource and from its scale subresource.

use super::PathElement;
use super::entries::{Managed, Owner, Stored, Trust};
use super::set::Set;
use crate::value::{Key, NULL, Value};

const SCALE_VERSION: &str = "autoscaling/v1";

/// Where the replicas of a resource are, in one of its versions.
pub struct ReplicasPath<'a> {
    /// `apps/v1`.
    pub version: &'a str,
    /// Field names; None for a version without a scale subresource.
    pub path: Option<&'a [&'a str]>,
}

/// The entries of the resource that own its replicas, as those of its Scale.
///
/// # Errors
/// The entries can't be read.
pub fn to_scale(parent: &Value, paths: &[ReplicasPath<'_>]) -> Result<Option<Value>, String> {
    let mut managed = Managed::decode(parent.clone(), Trust::Client(&NULL))?;
    managed.owners.retain_mut(|owner| {
        let Some(path) = path_in(paths, &owner.id.version).flatten() else { return false };
        let owns = owner.set().has(&path);
        owner.id.version = Key::new_static(SCALE_VERSION);
        owner.fields = Stored::Set(Set::of_fields(&[&["spec", "replicas"]]));
        owns
    });
    Ok(managed.encode())
}

/// The entries of the resource after its Scale got `scale` ones: who lost the replicas there loses
/// them here, and who gained them is added in `version`, the resource's.
///
/// # Errors
/// The entries can't be read.
pub fn from_scale(
    parent: &Value,
    scale: &Value,
    version: &str,
    paths: &[ReplicasPath<'_>],
) -> Result<Option<Value>, String> {
    let parents = Managed::decode(parent.clone(), Trust::Client(&NULL))?;
    let mut scales = Managed::decode(scale.clone(), Trust::Client(&NULL))?;
    let mut managed = Managed::default();
    // Upstream takes the times of new entries from the resource's entries, which have none for them.
    let times: Vec<(super::Identity, Option<Key>)> =
        parents.owners.iter().map(|owner| (owner.id.clone(), owner.time.clone())).collect();
    for mut owner in parents.owners {
        let Some(path) = path_in(paths, &owner.id.version) else { continue };
        let Some(path) = path.filter(|path| owner.set().has(path)) else {
            managed.owners.push(owner);
            continue;
        };
        match scales.find(&owner.id) {
            Some(at) => drop(scales.owners.remove(at)),
            None => {
                let mut replicas = Set::new();
                replicas.insert(path);
                owner.set().subtract(&replicas);
                if owner.set().is_empty() {
                    continue;
                }
            }
        }
        managed.owners.push(owner);
    }
    let replicas = Set::of_fields(&[&["spec", "replicas"]]);
    for mut owner in scales.owners {
        if !replicas.is_subset(owner.set()) {
            continue;
        }
        let mut set = Set::new();
        set.insert(path_in(paths, version).flatten().unwrap_or_default());
        let time = times.iter().find(|(id, _)| id.is(&owner.id)).and_then(|(_, time)| time.clone());
        let mut id = owner.id;
        id.version = Key::new(version);
        managed.owners.push(Owner { id, time, fields: Stored::Set(set) });
    }
    Ok(managed.encode())
}

/// Outer None: the version is not known. Inner None: it has no replicas.
fn path_in(paths: &[ReplicasPath<'_>], version: &str) -> Option<Option<Vec<PathElement>>> {
    let found = paths.iter().find(|path| path.version == version)?;
    Some(found.path.map(|path| path.iter().map(|name| PathElement::Field(Key::new(name))).collect()))
}
