//! What is served: resources in their versions, found by path.
//!
//! Built-in resources come from the registry's table. The catalog is immutable and swapped as a
//! whole when resources come or go, so that a request sees one consistent picture.

use std::collections::HashMap;
use std::sync::Arc;

use api::kinds::{self, Rules};
use api::registry::{Registry, Resource};
use api::schema::{self, Schema, StructId};
use api::status::{GroupResource, Status};
use api::value::Value;
use jiff::Timestamp;

use crate::request::Form;

/// One resource in one served version. Cheap to clone.
#[derive(Clone)]
pub struct Served(Arc<Inner>);

struct Inner {
    /// The row of the served version.
    resource: &'static Resource,
    /// The row of the version that is stored; the same row in most cases.
    stored: &'static Resource,
    rules: &'static Rules,
    prefix: String,
    id: u16,
}

/// All that is served.
pub struct Catalog {
    by_path: HashMap<(String, String, String), Served>,
    all: Vec<Served>,
}

// === impl Served ===

impl Served {
    pub fn group(&self) -> &str {
        &self.0.resource.group
    }

    pub fn version(&self) -> &str {
        &self.0.resource.version
    }

    pub fn kind(&self) -> &str {
        &self.0.resource.kind
    }

    /// The plural name.
    pub fn plural(&self) -> &str {
        &self.0.resource.plural
    }

    pub fn namespaced(&self) -> bool {
        self.0.resource.namespaced
    }

    pub fn resource(&self) -> &'static Resource {
        self.0.resource
    }

    pub fn rules(&self) -> &'static Rules {
        self.0.rules
    }

    /// `apps/v1`, `v1`.
    pub fn api_version(&self) -> String {
        api_version(self.group(), self.version())
    }

    /// What upstream calls objects of this kind in messages: package and type.
    pub fn go_type(&self) -> String {
        let package = match self.group() {
            "" | "events.k8s.io" => "core",
            group => group.split('.').next().unwrap_or_default(),
        };
        format!("*{package}.{}", self.kind())
    }

    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource { group: self.group(), resource: self.plural() }
    }

    /// The schema and the root type of the served version.
    pub fn schema(&self) -> (&'static Schema, StructId) {
        (schema::builtin(), self.0.resource.schema)
    }

    /// The schema and root type of the stored version.
    pub fn stored_schema(&self) -> (&'static Schema, StructId) {
        (schema::builtin(), self.0.stored.schema)
    }

    /// An annotation that upstream's conversion makes of a field, so that metadata by itself lacks it.
    pub fn converted_annotation(&self) -> Option<&'static str> {
        (self.plural() == "daemonsets").then_some("deprecated.daemonset.template.generation")
    }

    /// The group that errors name with the kind: events of either group are those of the core.
    pub fn kind_group(&self) -> &str {
        &self.0.stored.group
    }

    /// Whether upstream answers reads out of its cache, which shows in errors; events have none.
    pub fn is_cached(&self) -> bool {
        self.plural() != "events"
    }

    /// A number for this version, stable while the process lives.
    pub fn version_id(&self) -> u16 {
        self.0.id
    }

    pub fn is_stored_version(&self) -> bool {
        std::ptr::eq(self.0.resource, self.0.stored)
    }

    /// Below which the objects lie in the store: `/registry/pods/`. Empty for kinds that are not stored.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The key of one object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        match self.namespaced() {
            true => format!("{}{namespace}/{name}", self.prefix()),
            false => format!("{}{name}", self.prefix()),
        }
    }

    /// Brings a tree from the stored version to the served one.
    pub fn served_of(&self, tree: Value) -> Result<Value, Status> {
        convert(tree, self.0.stored, self.0.resource)
    }

    /// Brings a tree from the served version to the stored one.
    pub fn stored_of(&self, tree: Value) -> Result<Value, Status> {
        convert(tree, self.0.resource, self.0.stored)
    }

    /// Columns of this resource's tables, as a Table has them.
    pub fn column_definitions(&self) -> Value {
        api::table::columns(self.0.stored.group.as_str(), self.plural())
            .iter()
            .map(api::table::Column::to_value)
            .collect::<Vec<_>>()
            .into()
    }

    /// What a row says of its object as a whole (a job that is completed, for instance).
    pub fn row_conditions(&self, object: &Value) -> Vec<Value> {
        api::table::row_conditions(&self.0.stored.group, self.plural(), object)
    }

    /// The cells of one row; the object is in the stored version.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        api::table::cells(&self.0.stored.group, self.plural(), object, now)
    }
}

fn convert(mut tree: Value, from: &Resource, to: &Resource) -> Result<Value, Status> {
    if std::ptr::eq(from, to) {
        return Ok(tree);
    }
    kinds::convert::convert(&mut tree, (&from.group, &from.version), (&to.group, &to.version), &to.kind)
        .map_err(Status::internal)?;
    Ok(tree)
}

/// `apps/v1`, or `v1` in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

// === impl Catalog ===

impl Catalog {
    /// The built-in resources.
    pub fn builtin() -> Catalog {
        let registry = Registry::builtin();
        let all: Vec<Served> = registry
            .resources()
            .iter()
            .enumerate()
            .map(|(id, resource)| {
                let version = &resource.storage_version;
                let stored = registry.resource(&version.group, &version.version, &resource.plural).unwrap_or(resource);
                Served(Arc::new(Inner {
                    resource,
                    stored,
                    rules: kinds::rules(&resource.group, &resource.plural),
                    prefix: stored.storage_prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default(),
                    id: id as u16,
                }))
            })
            .collect();
        let by_path = all
            .iter()
            .map(|one| ((one.group().to_owned(), one.version().to_owned(), one.plural().to_owned()), one.clone()));
        Catalog { by_path: by_path.collect(), all }
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Served> {
        // Three short strings a request: cheaper than a lookup key type of borrowed parts.
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// The stored version of a resource, whatever version it was asked for.
    pub fn stored(&self, group: &str, plural: &str) -> Option<&Served> {
        self.all.iter().find(|one| one.group() == group && one.plural() == plural && one.is_stored_version())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Served> {
        self.all.iter()
    }

    /// Every prefix that objects are stored under.
    pub fn prefixes(&self) -> Vec<String> {
        let mut prefixes: Vec<String> =
            self.all.iter().filter(|one| !one.resource().is_virtual()).map(|one| one.prefix().to_owned()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.api_version(), self.plural())
    }
}

/// A type of `meta.k8s.io/v1` that any resource can be served as.
pub fn meta_type(form: Form) -> (&'static Schema, StructId) {
    let name = match form {
        Form::Metadata => "PartialObjectMetadata",
        Form::Table => "Table",
        Form::Object => return kind_type("", "v1", "Status"),
    };
    kind_type("meta.k8s.io", "v1", name)
}

/// The type of a built-in kind, an empty one should the tables lack it.
pub fn kind_type(group: &str, version: &str, kind: &str) -> (&'static Schema, StructId) {
    (schema::builtin(), Registry::builtin().kind(group, version, kind).unwrap_or(StructId(0)))
}
