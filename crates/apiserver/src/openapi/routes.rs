//! Routes: what can be done where, as upstream's API server registers it. Dialects make paths of them ([`super::paths`]).
//!
//! The order of things and the words are those of `apiserver/pkg/endpoints/installer.go`.

use api::registry::{Registry, Resource, Subresource};
use api::schema::StructId;
use api::value::Map;

use super::parameters::Parameter;
use super::prose::Prose;
use super::{group_version_kind, root};
use crate::lifecycle::policy;

/// One method on one path.
pub struct Route {
    pub path: String,
    pub method: &'static str,
    /// `operationId`, without the group and version behind its first word.
    pub id: (&'static str, String),
    pub description: String,
    /// What is done to which kind; nothing where there is none.
    pub action: Option<(&'static str, Map)>,
    pub parameters: Vec<Parameter>,
    pub body: Option<Content>,
    pub consumes: &'static [&'static str],
    pub produces: Vec<&'static str>,
    /// With success: code and word.
    pub answers: &'static [(&'static str, &'static str)],
    pub answer: Option<Content>,
}

/// What is sent or answered.
#[derive(Clone, Copy)]
pub enum Content {
    Struct(StructId),
    /// What is sent may also be left out.
    Optional(StructId),
    /// A type that is not among the API's own.
    Named(&'static str),
    Text,
}

/// What can be done to resources and their parts.
struct Action {
    name: &'static str,
    method: &'static str,
    /// The verb that allows it.
    verb: &'static str,
    /// The first word of its operations.
    operation: &'static str,
    /// Types whose fields are parameters.
    options: &'static [&'static str],
    answers: &'static [(&'static str, &'static str)],
}

pub const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

pub const ANY: &[&str] = &["*/*"];
pub const OBJECTS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// Beside objects.
const EVENTS: &[&str] = &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Methods on collections.
#[rustfmt::skip]
static COLLECTION: &[Action] = &[
    Action { name: "list", method: "get", verb: "list", operation: "list", options: &["ListOptions"], answers: &[OK] },
    Action { name: "post", method: "post", verb: "create", operation: "create", options: &["CreateOptions"],
             answers: &[OK, CREATED, ACCEPTED] },
    Action { name: "deletecollection", method: "delete", verb: "deletecollection", operation: "delete",
             options: &["DeleteOptions", "ListOptions"], answers: &[OK] },
];
/// Methods on objects and their parts.
#[rustfmt::skip]
static SINGLE: &[Action] = &[
    Action { name: "get", method: "get", verb: "get", operation: "read", options: &[], answers: &[OK] },
    Action { name: "put", method: "put", verb: "update", operation: "replace", options: &["UpdateOptions"],
             answers: &[OK, CREATED] },
    Action { name: "patch", method: "patch", verb: "patch", operation: "patch", options: &["PatchOptions"],
             answers: &[OK, CREATED] },
    Action { name: "delete", method: "delete", verb: "delete", operation: "delete", options: &["DeleteOptions"],
             answers: &[OK, ACCEPTED] },
];
/// Paths that only watch.
const WATCH: Action = Action {
    name: "watch",
    method: "get",
    verb: "watch",
    operation: "watch",
    options: &["ListOptions"],
    answers: &[OK],
};
const WATCH_LIST: Action = Action { name: "watchlist", ..WATCH };

/// What streams and proxies take: the method, and the verb that allows it.
const CONNECT: &[(&str, &str)] = &[
    ("get", "get"),
    ("put", "update"),
    ("post", "create"),
    ("patch", "patch"),
    ("delete", "delete"),
    ("head", "delete"),
    ("options", "delete"),
];

/// All that can be done to the resources of a group and version.
pub fn of(group: &str, version: &str, prose: &Prose) -> Vec<Route> {
    let mut routes = Vec::new();
    let resources: Vec<&Resource> = Registry::builtin().resources_of(group, version).collect();
    for resource in resources {
        let base = root(group, version);
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let plural = &resource.plural;
        let collection = Target::new(resource, prose, format!("{base}{scope}/{plural}"));
        let everywhere =
            Target { suffix: "ForAllNamespaces", ..Target::new(resource, prose, format!("{base}/{plural}")) };
        let single = Target::new(resource, prose, format!("{base}{scope}/{plural}/{{name}}"));
        routes.extend(collection.all(COLLECTION));
        if resource.namespaced {
            routes.extend(everywhere.all(&COLLECTION[..1]));
        }
        routes.extend(single.all(SINGLE));
        if resource.allows("watch") {
            routes.push(collection.watched(&base).route(&WATCH_LIST));
            if resource.namespaced {
                routes.push(everywhere.watched(&base).route(&WATCH_LIST));
            }
            routes.push(single.watched(&base).route(&WATCH));
        }
        for sub in &resource.subresources {
            let of_sub = Target { sub: Some(sub), ..single.at(format!("{}/{}", single.path, sub.name)) };
            match sub.kind.kind.ends_with("Options") {
                true => routes.extend(of_sub.connected()),
                // Some parts are created as a collection's objects are.
                false => routes.extend(of_sub.all(&COLLECTION[1..2]).chain(of_sub.all(SINGLE))),
            }
        }
    }
    routes
}

/// What actions apply to.
#[derive(Clone)]
struct Target<'r> {
    prose: &'r Prose,
    resource: &'r Resource,
    sub: Option<&'r Subresource>,
    path: String,
    /// At the end of operations' names.
    suffix: &'static str,
}

// === impl Target ===

impl<'r> Target<'r> {
    fn new(resource: &'r Resource, prose: &'r Prose, path: String) -> Target<'r> {
        Target { prose, resource, sub: None, path, suffix: "" }
    }

    fn at(&self, path: String) -> Target<'r> {
        Target { path, ..self.clone() }
    }

    fn watched(&self, base: &str) -> Target<'r> {
        self.at(format!("{base}/watch{}", self.path.strip_prefix(base).unwrap_or_default()))
    }

    fn all<'a>(&'a self, actions: &'static [Action]) -> impl Iterator<Item = Route> + use<'a, 'r> {
        actions.iter().filter(|action| self.allows(action.verb)).map(|action| self.route(action))
    }

    fn allows(&self, verb: &str) -> bool {
        self.sub.map_or_else(|| self.resource.allows(verb), |sub| sub.allows(verb))
    }

    fn route(&self, action: &'static Action) -> Route {
        let is_log = self.sub.is_some_and(|sub| sub.name == "log");
        let options = action.options.iter().chain(is_log.then_some(&"PodLogOptions"));
        let mut parameters = vec![Parameter::pretty()];
        for (at, options) in options.enumerate() {
            // Of two types that both have a field, the first one's counts; no collection is watched while it is deleted.
            let left_out: &[&str] = if at > 0 { &["watch", "allowWatchBookmarks"] } else { &[] };
            parameters.extend(Parameter::of_options(options, left_out, self.prose));
        }
        let produces = match action.name {
            "list" | "watch" | "watchlist" => [OBJECTS, EVENTS].concat(),
            _ if is_log => [&["text/plain"][..], OBJECTS].concat(),
            _ => OBJECTS.to_vec(),
        };
        Route {
            method: action.method,
            id: (action.operation, self.operation(action)),
            description: self.description(action),
            action: Some((action.name, self.kind())),
            body: self.body(action),
            consumes: if action.name == "patch" { PATCHES } else { ANY },
            produces,
            answers: action.answers,
            answer: if is_log { Some(Content::Text) } else { self.answer(action) },
            ..self.placed(parameters)
        }
    }

    /// Streams and proxies, and proxies with a path behind them.
    fn connected(&self) -> Vec<Route> {
        let Some(sub) = self.sub else { return Vec::new() };
        let mut targets = vec![self.clone()];
        if sub.name == "proxy" {
            targets.push(Target { suffix: "WithPath", ..self.at(format!("{}/{{path}}", self.path)) });
        }
        let methods = |target: &Target| {
            let methods = CONNECT.iter().filter(|(_, verb)| sub.allows(verb));
            methods.map(|(method, _)| target.connect(method, sub)).collect::<Vec<_>>()
        };
        targets.iter().flat_map(methods).collect()
    }

    fn connect(&self, method: &'static str, sub: &Subresource) -> Route {
        let upper = method.to_uppercase();
        let placed = self.placed(Parameter::of_fields(sub.schema, &[], self.prose));
        Route {
            method,
            id: ("connect", format!("{}{}", capitalized(method), self.noun())),
            description: format!("connect {upper} requests to {} of {}", sub.name, self.resource.kind),
            action: Some(("connect", self.kind())),
            consumes: ANY,
            produces: ANY.to_vec(),
            answers: &[OK],
            answer: Some(Content::Text),
            ..placed
        }
    }

    /// Nothing but the path and its parameters, beside others.
    fn placed(&self, mut parameters: Vec<Parameter>) -> Route {
        let kind = self.sub.map_or(&self.resource.kind, |sub| &sub.kind.kind);
        let of_path = [
            ("name", format!("name of the {kind}")),
            ("namespace", "object name and auth scope, such as for teams and projects".to_owned()),
            ("path", "path to the resource".to_owned()),
        ];
        for (name, description) in of_path {
            if self.path.contains(&format!("{{{name}}}")) {
                parameters.push(Parameter::of_path(name, &description));
            }
        }
        Route { parameters, ..Route::new(self.path.clone()) }
    }

    fn kind(&self) -> Map {
        let Resource { group, version, kind, .. } = self.resource;
        match self.sub {
            Some(sub) if sub.foreign => group_version_kind(&sub.kind.group, &sub.kind.version, &sub.kind.kind),
            Some(sub) => group_version_kind(group, version, &sub.kind.kind),
            None => group_version_kind(group, version, kind),
        }
    }

    /// `NamespacedPodStatus`.
    fn noun(&self) -> String {
        let scope = if self.resource.namespaced && self.suffix != "ForAllNamespaces" { "Namespaced" } else { "" };
        let sub = self.sub.map_or_else(String::new, |sub| capitalized(&sub.name));
        format!("{scope}{}{sub}{}", self.resource.kind, self.suffix)
    }

    fn operation(&self, action: &Action) -> String {
        let noun = self.noun();
        match action.name {
            "deletecollection" => format!("Collection{noun}"),
            "watchlist" => match noun.strip_suffix(self.suffix) {
                Some(noun) => format!("{noun}List{}", self.suffix),
                None => noun,
            },
            _ => noun,
        }
    }

    fn description(&self, action: &Action) -> String {
        let kind = self.resource.kind.as_str();
        let a_kind = with_article(kind);
        let of = |sub: &Subresource, kind: &str| format!("{} of {kind}", sub.name);
        let specified = |verb: &str| match self.sub {
            Some(sub) => format!("{verb} {} of the specified {kind}", sub.name),
            None => format!("{verb} the specified {kind}"),
        };
        let one = |verb: &str| match self.sub {
            Some(sub) => format!("{verb} {}", of(sub, &a_kind)),
            None => format!("{verb} {a_kind}"),
        };
        const DEPRECATED: &str = "deprecated: use the 'watch' parameter with a list operation instead";
        match action.name {
            "get" => specified("read"),
            "put" => specified("replace"),
            "patch" => specified("partially update"),
            "post" => one("create"),
            "delete" => one("delete"),
            "list" if self.allows("watch") => format!("list or watch objects of kind {kind}"),
            "list" => format!("list objects of kind {kind}"),
            "deletecollection" => format!("delete collection of {kind}"),
            "watchlist" => format!("watch individual changes to a list of {kind}. {DEPRECATED}."),
            _ => format!(
                "watch changes to an object of kind {kind}. {DEPRECATED}, filtered to a single item with the \
                 'fieldSelector' parameter."
            ),
        }
    }

    fn body(&self, action: &Action) -> Option<Content> {
        match action.name {
            "post" | "put" => Some(self.content()),
            "patch" => Some(Content::Named(PATCH)),
            "delete" | "deletecollection" => known("", "v1", "DeleteOptions").map(Content::Optional),
            _ => None,
        }
    }

    fn answer(&self, action: &Action) -> Option<Content> {
        let Resource { group, plural, .. } = self.resource;
        let returns_object = || plural != "namespaces" && policy::of_resource_returns_deleted_object(group, plural);
        match action.name {
            "list" => self.resource.list.as_ref().map(|(_, id)| Content::Struct(*id)),
            "watch" | "watchlist" => known("", "v1", "WatchEvent").map(Content::Struct),
            "delete" if returns_object() => Some(self.content()),
            "delete" | "deletecollection" => known("", "v1", "Status").map(Content::Struct),
            _ => Some(self.content()),
        }
    }

    /// What is read and written here.
    fn content(&self) -> Content {
        Content::Struct(self.sub.map_or(self.resource.schema, |sub| sub.schema))
    }
}

// === impl Route ===

impl Route {
    /// A method that gives something, to be said what.
    pub fn new(path: String) -> Route {
        Route {
            path,
            method: "get",
            id: ("", String::new()),
            description: String::new(),
            action: None,
            parameters: Vec::new(),
            body: None,
            consumes: &[],
            produces: Vec::new(),
            answers: &[OK],
            answer: None,
        }
    }

    /// The group as words, and the version: `/apis/rbac.authorization.k8s.io/v1` has `rbac.authorization` and `v1`.
    fn place(&self) -> Option<(&str, Option<&str>)> {
        let mut parts = self.path.trim_matches('/').split('/');
        match parts.next()? {
            "api" => Some(("core", parts.next())),
            "apis" => parts.next().map(|group| (group.strip_suffix(".k8s.io").unwrap_or(group), parts.next())),
            _ => None,
        }
    }

    /// `operationId`.
    pub fn operation_id(&self) -> String {
        let (verb, rest) = &self.id;
        let (group, version) = self.place().unwrap_or_default();
        format!("{verb}{}{}{rest}", joined(group, true), joined(version.unwrap_or_default(), true))
    }

    pub fn tag(&self) -> String {
        match self.place() {
            Some((group, Some(version))) => format!("{}_{}", joined(group, false), joined(version, false)),
            Some((group, None)) => joined(group, false),
            None => joined(self.path.trim_matches('/').split('/').next().unwrap_or_default(), false),
        }
    }
}

pub fn known(group: &str, version: &str, kind: &str) -> Option<StructId> {
    Registry::builtin().kind(group, version, kind)
}

/// Words joined by capitals: what is no letter, digit or underscore ends a word.
fn joined(text: &str, first: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut capital = first;
    for (at, c) in text.chars().enumerate() {
        match c.is_alphabetic() || c == '_' || (at > 0 && c.is_numeric()) {
            true if std::mem::take(&mut capital) => out.extend(c.to_uppercase()),
            true => out.push(c),
            false => capital = true,
        }
    }
    out
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// `a Pod`, `an Event`, `Endpoints`.
fn with_article(kind: &str) -> String {
    if kind.ends_with('s') && !kind.ends_with("ss") {
        return kind.to_owned();
    }
    let vowel = kind.starts_with(|c: char| "aeiou".contains(c.to_ascii_lowercase()));
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("rbac.authorization", true, "RbacAuthorization")]
    #[case("internal.apiserver", false, "internalApiserver")]
    #[case(".well-known", false, "WellKnown")]
    #[case("v1beta1", true, "V1beta1")]
    fn words(#[case] text: &str, #[case] first: bool, #[case] expected: &str) {
        assert_eq!(joined(text, first), expected);
    }

    #[rstest]
    #[case("Pod", "a Pod")]
    #[case("Event", "an Event")]
    #[case("Endpoints", "Endpoints")]
    #[case("IngressClass", "an IngressClass")]
    fn articles(#[case] kind: &str, #[case] expected: &str) {
        assert_eq!(with_article(kind), expected);
    }
}
