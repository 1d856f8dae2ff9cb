//! A policy rule: what it allows, what it covers, how messages show it.
//!
//! Upstream: pkg/apis/rbac/v1/evaluation_helpers.go, component-helpers/auth/rbac/validation,
//! pkg/registry/rbac/validation/policy_compact.go.

use std::collections::HashMap;

use api::value::{Key, Map, Value};
use smol_str::SmolStr;

use super::text::quoted_list;
use super::{Attributes, verbs::Verbs};

/// One rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    pub verbs: Verbs,
    pub api_groups: Vec<SmolStr>,
    pub resources: Vec<SmolStr>,
    /// Empty allows all names.
    pub resource_names: Vec<SmolStr>,
    pub non_resource_urls: Vec<SmolStr>,
}

const ALL: &str = "*";

// === impl PolicyRule ===

impl PolicyRule {
    /// A rule as it stands in a role's `rules`.
    pub fn from_value(value: &Value) -> PolicyRule {
        PolicyRule {
            verbs: Verbs::new(strings(value, "verbs")),
            api_groups: strings(value, "apiGroups"),
            resources: strings(value, "resources"),
            resource_names: strings(value, "resourceNames"),
            non_resource_urls: strings(value, "nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn of_role(role: &Value) -> Vec<PolicyRule> {
        role.array_at("rules").iter().map(PolicyRule::from_value).collect()
    }

    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("verbs", list(self.verbs.as_slice()));
        for (key, items) in [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ] {
            if !items.is_empty() {
                map.insert(Key::new_static(key), list(items));
            }
        }
        Value::Object(map)
    }

    /// All verbs on all resources: with [`PolicyRule::everything_else`] what `cluster-admin` may do.
    pub fn everything() -> PolicyRule {
        let all = || vec![SmolStr::new_static(ALL)];
        PolicyRule { verbs: Verbs::new(all()), api_groups: all(), resources: all(), ..PolicyRule::default() }
    }

    /// All verbs on all paths outside the API.
    pub fn everything_else() -> PolicyRule {
        let all = || vec![SmolStr::new_static(ALL)];
        PolicyRule { verbs: Verbs::new(all()), non_resource_urls: all(), ..PolicyRule::default() }
    }

    /// Whether this rule allows the request.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !self.verbs.contains(attributes.verb) {
            return false;
        }
        if !attributes.is_resource {
            return self.non_resource_urls.iter().any(|url| url_covers(url, attributes.path));
        }
        self.api_groups.iter().any(|group| group == ALL || group == attributes.group)
            && self.resources.iter().any(|resource| resource_matches(resource, attributes))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == attributes.name))
    }

    /// Splits into rules of one group, resource, verb and name each, in upstream's order.
    fn atoms(&self) -> Vec<PolicyRule> {
        let mut atoms = Vec::new();
        let one = |text: &SmolStr| vec![text.clone()];
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in self.verbs.as_slice() {
                    let atom = PolicyRule {
                        verbs: Verbs::new(one(verb)),
                        api_groups: one(group),
                        resources: one(resource),
                        ..PolicyRule::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                    } else {
                        let named = |name| PolicyRule { resource_names: one(name), ..atom.clone() };
                        atoms.extend(self.resource_names.iter().map(named));
                    }
                }
            }
        }
        for url in &self.non_resource_urls {
            for verb in self.verbs.as_slice() {
                let verbs = Verbs::new(one(verb));
                atoms.push(PolicyRule { verbs, non_resource_urls: one(url), ..PolicyRule::default() });
            }
        }
        atoms
    }

    /// Whether this rule alone covers an atom.
    fn covers(&self, atom: &PolicyRule) -> bool {
        let verbs = self.verbs.as_slice();
        let names = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty() && has_all(&self.resource_names, &atom.resource_names));
        (has(verbs, ALL) || has_all(verbs, atom.verbs.as_slice()))
            && (has(&self.api_groups, ALL) || has_all(&self.api_groups, &atom.api_groups))
            && atom.resources.iter().all(|resource| self.covers_resource(resource))
            && names
            && atom.non_resource_urls.iter().all(|url| self.non_resource_urls.iter().any(|own| url_covers(own, url)))
    }

    fn covers_resource(&self, resource: &str) -> bool {
        let any_of = |subresource| self.resources.iter().any(|own| own.strip_prefix("*/") == Some(subresource));
        has(&self.resources, ALL)
            || has(&self.resources, resource)
            || resource.split_once('/').is_some_and(|(_, subresource)| any_of(subresource))
    }

    /// How escalation messages show a rule: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn compact(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", self.api_groups.as_slice()),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", self.verbs.as_slice()),
        ]
        .iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(name, items)| format!("{name}:{}", quoted_list(items)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// Which atoms of `wanted` no rule of `held` covers; empty when all are covered.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let atoms = wanted.iter().flat_map(PolicyRule::atoms);
    atoms.filter(|atom| !held.iter().any(|rule| rule.covers(atom))).collect()
}

/// Joins the verbs of rules that differ in nothing else and name one group, one resource and at most one name.
pub fn compacted(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut out: Vec<PolicyRule> = Vec::with_capacity(rules.len());
    let mut simple: HashMap<(SmolStr, SmolStr, Option<SmolStr>), usize> = HashMap::new();
    for rule in rules {
        let key = match (rule.api_groups.as_slice(), rule.resources.as_slice(), rule.resource_names.as_slice()) {
            ([group], [resource], names) if names.len() <= 1 && rule.non_resource_urls.is_empty() => {
                (group.clone(), resource.clone(), names.first().cloned())
            }
            _ => {
                out.push(rule);
                continue;
            }
        };
        match simple.get(&key) {
            Some(&at) => {
                let all = out[at].verbs.as_slice().iter().chain(rule.verbs.as_slice()).cloned().collect();
                out[at].verbs = Verbs::new(all);
            }
            None => {
                simple.insert(key, out.len());
                out.push(rule);
            }
        }
    }
    out
}

/// Equal, or the rule's URL ends in `*` and starts alike; `*` alone matches everything.
fn url_covers(rule: &str, path: &str) -> bool {
    rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// `resource`, `resource/subresource`, `*/subresource` or `*`.
fn resource_matches(rule: &str, attributes: &Attributes<'_>) -> bool {
    if rule == ALL {
        return true;
    }
    match attributes.subresource {
        "" => rule == attributes.resource,
        subresource => rule
            .strip_suffix(subresource)
            .and_then(|rest| rest.strip_suffix('/'))
            .is_some_and(|resource| resource == ALL || resource == attributes.resource),
    }
}

fn has(set: &[SmolStr], element: &str) -> bool {
    set.iter().any(|one| one == element)
}

fn has_all(set: &[SmolStr], elements: &[SmolStr]) -> bool {
    elements.iter().all(|element| has(set, element))
}

fn strings(value: &Value, key: &str) -> Vec<SmolStr> {
    let items = value.get(key).as_array().unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(SmolStr::from).collect()
}

fn list(items: &[SmolStr]) -> Value {
    Value::Array(items.iter().cloned().map(Value::String).collect())
}

#[cfg(test)]
mod tests;
