//! Reading the committed tables, which are part of the program: a line that can't be read never passes the tests.

use super::{Group, GroupVersion, GroupVersionKind, Registry, Resource, Subresource};
use crate::schema::{self, StructId};
use crate::value::Key;

static RESOURCES: &str = include_str!("../../tables/resources.txt");
static KINDS: &str = include_str!("../../tables/kinds.txt");

/// How the tables write the core group.
const CORE: &str = "-";
/// The group of kinds that every group version has.
const EVERY: &str = "*";

pub(super) fn builtin() -> Registry {
    let mut registry = Registry {
        groups: Vec::new(),
        resources: Vec::new(),
        by_path: Vec::new(),
        by_kind: Vec::new(),
        kinds: Vec::new(),
        common: Vec::new(),
    };
    registry.read_kinds();
    registry.read_resources();
    registry.settle_storage_versions();
    registry.index();
    registry
}

impl Registry {
    fn read_kinds(&mut self) {
        for line in lines(KINDS) {
            let mut columns = line.split(' ');
            let (group, version, kind, name) =
                (next(&mut columns), next(&mut columns), next(&mut columns), next(&mut columns));
            let Some(id) = schema::builtin().find(&name) else { panic!("kinds.txt: no type {name}") };
            match group.as_str() {
                EVERY => self.common.push((kind, id)),
                _ => self.kinds.push((GroupVersionKind { group: core(group), version, kind }, id)),
            }
        }
        self.kinds.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    fn read_resources(&mut self) {
        for line in lines(RESOURCES) {
            let mut columns = line.split(' ');
            match columns.next() {
                Some("group") => {
                    let name = core(next(&mut columns));
                    self.groups.push(Group { name, versions: columns.map(Key::new_static).collect() });
                }
                Some("resource") => {
                    let resource = self.read_resource(&mut columns);
                    self.resources.push(resource);
                }
                Some("sub") => self.read_subresource(&mut columns),
                _ => panic!("resources.txt: {line}"),
            }
        }
    }

    fn read_resource(&self, columns: &mut Columns) -> Resource {
        let (group, version) = (core(next(columns)), next(columns));
        let (plural, singular, kind) = (next(columns), next(columns), next(columns));
        let namespaced = next(columns) == "namespaced";
        let own = GroupVersion { group: group.clone(), version: version.clone() };
        let list_kind = Key::from(format!("{kind}List"));
        let mut resource = Resource {
            schema: self.known(&own.with_kind(kind.clone())),
            list: self.kind(&group, &version, &list_kind).map(|id| (list_kind, id)),
            group,
            version,
            kind,
            plural,
            singular,
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced,
            verbs: Vec::new(),
            subresources: Vec::new(),
            storage_prefix: None,
            storage_version: own.clone(),
            upstream_storage_version: own,
            storage_version_hash: Key::default(),
        };
        for column in columns {
            let Some((key, value)) = column.split_once('=') else { panic!("resources.txt: {column}") };
            match key {
                "short" => resource.short_names = list(value),
                "categories" => resource.categories = list(value),
                "verbs" => resource.verbs = list(value),
                "hash" => resource.storage_version_hash = Key::new_static(value),
                "key" => resource.storage_prefix = Some(Key::new_static(value)),
                "stored" => resource.upstream_storage_version = group_version(value),
                _ => panic!("resources.txt: {column}"),
            }
        }
        resource
    }

    fn read_subresource(&mut self, columns: &mut Columns) {
        let (name, kind) = (next(columns), next(columns));
        let verbs = columns.next().map(list).unwrap_or_default();
        let foreign = columns.next().map(group_version);
        let Some(parent) = self.resources.last() else { panic!("resources.txt: a subresource comes first") };
        let kind = foreign.clone().unwrap_or_else(|| parent.group_version()).with_kind(kind);
        let schema = self.known(&kind);
        if let Some(parent) = self.resources.last_mut() {
            parent.subresources.push(Subresource { name, kind, foreign: foreign.is_some(), verbs, schema });
        }
    }

    fn known(&self, kind: &GroupVersionKind) -> StructId {
        self.kind(&kind.group, &kind.version, &kind.kind).unwrap_or_else(|| panic!("kinds.txt: no {kind}"))
    }

    /// Objects are stored as upstream stores them, unless that version is not served.
    fn settle_storage_versions(&mut self) {
        let served: Vec<GroupVersion> = self.groups.iter().flat_map(Group::group_versions).collect();
        for resource in &mut self.resources {
            if served.contains(&resource.upstream_storage_version) {
                resource.storage_version = resource.upstream_storage_version.clone();
            }
        }
    }

    fn index(&mut self) {
        let all = 0..self.resources.len() as u16;
        let resources = &self.resources;
        let path = |&at: &u16| {
            let one = &resources[usize::from(at)];
            (&one.group, &one.version, &one.plural)
        };
        let kind = |&at: &u16| {
            let one = &resources[usize::from(at)];
            (&one.group, &one.version, &one.kind)
        };
        self.by_path = all.clone().collect();
        self.by_path.sort_by(|a, b| path(a).cmp(&path(b)));
        self.by_kind = all.collect();
        self.by_kind.sort_by(|a, b| kind(a).cmp(&kind(b)));
    }
}

impl Group {
    /// The group's versions, the preferred one first.
    pub fn group_versions(&self) -> impl Iterator<Item = GroupVersion> {
        self.versions.iter().map(|version| GroupVersion { group: self.name.clone(), version: version.clone() })
    }
}

type Columns = std::str::Split<'static, char>;

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#'))
}

fn next(columns: &mut Columns) -> Key {
    match columns.next() {
        Some(column) => Key::new_static(column),
        None => panic!("a table of the registry has too few columns"),
    }
}

fn core(group: Key) -> Key {
    if group == CORE { Key::default() } else { group }
}

fn list(text: &'static str) -> Vec<Key> {
    text.split(',').map(Key::new_static).collect()
}

fn group_version(text: &'static str) -> GroupVersion {
    match text.split_once('/') {
        Some((group, version)) => GroupVersion { group: Key::new_static(group), version: Key::new_static(version) },
        None => GroupVersion { group: Key::default(), version: Key::new_static(text) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn resource(group: &str, version: &str, plural: &str) -> &'static Resource {
        Registry::builtin().resource(group, version, plural).unwrap()
    }

    #[rstest]
    #[case("", "v1", "pods", Some("/registry/pods"), "v1")]
    #[case("", "v1", "nodes", Some("/registry/minions"), "v1")]
    #[case("", "v1", "services", Some("/registry/services/specs"), "v1")]
    #[case("", "v1", "endpoints", Some("/registry/services/endpoints"), "v1")]
    #[case("", "v1", "replicationcontrollers", Some("/registry/controllers"), "v1")]
    #[case("networking.k8s.io", "v1", "ingresses", Some("/registry/ingress"), "networking.k8s.io/v1")]
    #[case("events.k8s.io", "v1", "events", Some("/registry/events"), "v1")]
    #[case(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        Some("/registry/horizontalpodautoscalers"),
        "autoscaling/v2"
    )]
    #[case("resource.k8s.io", "v1", "devicetaintrules", Some("/registry/devicetaintrules"), "resource.k8s.io/v1")]
    #[case("", "v1", "bindings", None, "v1")]
    #[case("authorization.k8s.io", "v1", "subjectaccessreviews", None, "authorization.k8s.io/v1")]
    fn where_and_as_what_it_is_stored(
        #[case] group: &str,
        #[case] version: &str,
        #[case] plural: &str,
        #[case] prefix: Option<&str>,
        #[case] stored: &str,
    ) {
        let resource = resource(group, version, plural);
        assert_eq!(resource.storage_prefix.as_deref(), prefix);
        assert_eq!(resource.is_virtual(), prefix.is_none());
        assert_eq!(resource.storage_version.to_string(), stored);
    }

    #[test]
    fn lookups() {
        let registry = Registry::builtin();
        for one in registry.resources() {
            assert_eq!(registry.resource(&one.group, &one.version, &one.plural).unwrap().kind, one.kind);
            assert_eq!(registry.resource_for_kind(&one.group, &one.version, &one.kind).unwrap().plural, one.plural);
            assert_eq!(one.list.is_some(), one.allows("list"), "{}", one.plural);
        }
        assert!(registry.resource("", "v1", "nothing").is_none());
        assert_eq!(registry.preferred("autoscaling", "horizontalpodautoscalers").unwrap().version, "v2");
        assert_eq!(resource("", "v1", "pods").group_resource().to_string(), "pods");
        assert_eq!(resource("apps", "v1", "deployments").group_resource().to_string(), "deployments.apps");
    }

    #[test]
    fn kinds_of_every_group() {
        let registry = Registry::builtin();
        let options = registry.kind("apps", "v1", "DeleteOptions").unwrap();
        assert_eq!(registry.kind("", "v1", "DeleteOptions"), Some(options));
        assert_eq!(schema::builtin().get(options).name, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
        assert!(registry.kind("", "v1", "PodList").is_some());
        assert!(registry.kind("extensions", "v1beta1", "Ingress").is_some());
        assert!(registry.kind("apps", "v1", "Pod").is_none());
    }

    #[test]
    fn subresources_know_their_kinds() {
        let pods = resource("", "v1", "pods");
        assert_eq!(pods.subresource("eviction").unwrap().kind.to_string(), "policy/v1, Kind=Eviction");
        assert_eq!(pods.subresource("status").unwrap().kind.kind, "Pod");
        let scale = resource("apps", "v1", "deployments").subresource("scale").unwrap();
        assert_eq!(scale.kind.to_string(), "autoscaling/v1, Kind=Scale");
        assert!(scale.foreign && scale.allows("patch") && !scale.allows("delete"));
    }
}
