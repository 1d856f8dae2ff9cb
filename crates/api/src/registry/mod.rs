//! Which resources are served, and which kinds have a type: the tables `resources.txt` and `kinds.txt`.
//!
//! Everything that v1.37 serves by default is here, in discovery's order. Kinds are more: also
//! lists, options, and versions that are not served but can be decoded.

mod load;
mod version;

use std::sync::LazyLock;

use crate::schema::StructId;
use crate::status::GroupResource;
use crate::value::Key;

pub use version::{GroupVersion, GroupVersionKind};

/// All served resources and all known kinds.
#[derive(Debug)]
pub struct Registry {
    groups: Vec<Group>,
    resources: Vec<Resource>,
    /// Places in `resources`, by (group, version, plural).
    by_path: Vec<u16>,
    /// Places in `resources`, by (group, version, kind).
    by_kind: Vec<u16>,
    /// Sorted by group, version, kind.
    kinds: Vec<(GroupVersionKind, StructId)>,
    /// Registered in every group version: `DeleteOptions`, `WatchEvent` …
    common: Vec<(Key, StructId)>,
}

/// An API group.
#[derive(Debug)]
pub struct Group {
    /// Empty for the core group.
    pub name: Key,
    /// Served versions, the preferred one first.
    pub versions: Vec<Key>,
}

/// A served resource of one group version.
#[derive(Debug)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Key,
    pub version: Key,
    pub kind: Key,
    pub plural: Key,
    pub singular: Key,
    pub short_names: Vec<Key>,
    pub categories: Vec<Key>,
    pub namespaced: bool,
    /// As in discovery: `create`, `delete`, `deletecollection`, `get`, `list`, `patch`, `update`, `watch`.
    pub verbs: Vec<Key>,
    pub subresources: Vec<Subresource>,
    pub schema: StructId,
    /// The list's kind and type, where the resource can be listed.
    pub list: Option<(Key, StructId)>,
    /// The folder of its keys (`/registry/pods`, no slash at the end), as upstream lays them out;
    /// none for what is not stored (reviews, bindings, component statuses).
    pub storage_prefix: Option<Key>,
    /// The version in which its objects are stored: as upstream stores them by default, or the
    /// preferred served version where upstream still writes one that is not served.
    pub storage_version: GroupVersion,
    /// The version in which upstream stores its objects by default.
    pub upstream_storage_version: GroupVersion,
    /// `storageVersionHash` in discovery; empty where there is none.
    pub storage_version_hash: Key,
}

/// A subresource, as discovery lists it.
#[derive(Debug)]
pub struct Subresource {
    /// `status`, `scale` …
    pub name: Key,
    /// What requests to it carry.
    pub kind: GroupVersionKind,
    /// Discovery names the kind's group version: it is not the resource's own.
    pub foreign: bool,
    pub verbs: Vec<Key>,
    pub schema: StructId,
}

// === impl Registry ===

impl Registry {
    /// What v1.37 serves by default, read from the committed tables on first use.
    pub fn builtin() -> &'static Registry {
        static REGISTRY: LazyLock<Registry> = LazyLock::new(load::builtin);
        &REGISTRY
    }

    /// The groups, the core group first, then as discovery orders them.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// All resources in discovery's order.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The resources of a group version in discovery's order.
    pub fn resources_of<'a>(&'a self, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |one| one.group == group && one.version == version)
    }

    /// The resource of a request's path.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        let found = self.by_path.binary_search_by(|&at| {
            let one = &self.resources[usize::from(at)];
            (one.group.as_str(), one.version.as_str(), one.plural.as_str()).cmp(&(group, version, plural))
        });
        found.ok().map(|at| &self.resources[usize::from(self.by_path[at])])
    }

    /// The resource whose objects have this kind.
    pub fn resource_for_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        let found = self.by_kind.binary_search_by(|&at| {
            let one = &self.resources[usize::from(at)];
            (one.group.as_str(), one.version.as_str(), one.kind.as_str()).cmp(&(group, version, kind))
        });
        found.ok().map(|at| &self.resources[usize::from(self.by_kind[at])])
    }

    /// The resource in its group's preferred version.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<&Resource> {
        let group = self.groups.iter().find(|one| one.name == group)?;
        group.versions.iter().find_map(|version| self.resource(&group.name, version, plural))
    }

    /// The type of a kind, served or not, lists and options included.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<StructId> {
        let found = self.kinds.binary_search_by(|(one, _)| {
            (one.group.as_str(), one.version.as_str(), one.kind.as_str()).cmp(&(group, version, kind))
        });
        match found {
            Ok(at) => Some(self.kinds[at].1),
            Err(_) => self.common.iter().find(|(name, _)| name == kind).map(|(_, id)| *id),
        }
    }

    /// All kinds that belong to a group version, sorted.
    pub fn kinds(&self) -> &[(GroupVersionKind, StructId)] {
        &self.kinds
    }

    /// The kinds that are registered in every group version: the options and `WatchEvent`.
    pub fn common_kinds(&self) -> &[(Key, StructId)] {
        &self.common
    }
}

// === impl Resource ===

impl Resource {
    /// `pods`, `deployments.apps`.
    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource { group: &self.group, resource: &self.plural }
    }

    /// `v1`, `apps/v1`.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }

    /// As objects have it in `apiVersion`: `v1`, `apps/v1`.
    pub fn api_version(&self) -> Key {
        self.group_version().to_key()
    }

    /// Nothing is stored: reviews, bindings, component statuses.
    pub fn is_virtual(&self) -> bool {
        self.storage_prefix.is_none()
    }

    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|one| one.name == name)
    }
}

// === impl Subresource ===

impl Subresource {
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }
}
