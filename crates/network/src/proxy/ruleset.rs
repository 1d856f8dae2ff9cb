//! What should be in our nftables table, as data, and the difference of two such.
//!
//! A [`Fragment`] is what one Service port asks for. A [`Ruleset`] holds the fragments of all ports and resolves
//! what several ask for: an element (an address and port, say) that two claim goes to the first by name, and to
//! the next when that one is gone. Replacing a fragment costs the size of that fragment.

use super::service::PortName;
use std::collections::{BTreeMap, BTreeSet};

/// The sets and maps that are always there. Services come and go as elements of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Container {
    /// Active cluster IPs.
    ClusterIps,
    /// address . protocol . port → the service's chain.
    ServiceIps,
    /// protocol . port → the service's chain.
    NodePorts,
    /// address . protocol . port → reject or drop.
    NoEndpointServices,
    /// protocol . port → reject or drop.
    NoEndpointNodePorts,
    /// Load balancer address . protocol . port → the chain that checks the source.
    FirewallIps,
    /// endpoint . endpoint . protocol . port: an endpoint that reaches itself through its service.
    Hairpins,
}

/// A set of clients that stay with an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct AffinitySet {
    /// How long after its last connection a client is forgotten.
    pub timeout_seconds: u32,
}

/// What one Service port asks for. Names of chains and sets belong to that port alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fragment {
    /// Chains with their rules, in nftables' syntax.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Affinity sets.
    pub sets: BTreeMap<String, AffinitySet>,
    /// Elements with their values; sets' elements have an empty value.
    pub elements: BTreeMap<(Container, String), String>,
}

/// Everything that the Services ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    fragments: BTreeMap<PortName, Fragment>,
    /// Who claims an element, and with which value. The first by name has it.
    claims: BTreeMap<(Container, String), BTreeMap<PortName, String>>,
}

/// One change to the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Command {
    DeleteElement {
        container: Container,
        key: String,
        value: String,
    },
    AddSet {
        name: String,
        timeout_seconds: u32,
    },
    /// Makes the chain if it is not there.
    AddChain {
        name: String,
    },
    FlushChain {
        name: String,
    },
    AddRule {
        chain: String,
        rule: String,
    },
    AddElement {
        container: Container,
        key: String,
        value: String,
    },
    DeleteSet {
        name: String,
    },
}

/// Changes that belong into one transaction, in an order that nftables accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The changes.
    pub commands: Vec<Command>,
    /// Chains that are empty and referred to by nothing once the commands are done. Kernels before 6.2 see a little
    /// late that a map refers to a chain no more, so that they are deleted by a later transaction.
    pub retired: BTreeSet<String>,
}

// === impl Container ===

impl Container {
    /// All of them.
    pub const ALL: [Container; 7] = [
        Container::ClusterIps,
        Container::ServiceIps,
        Container::NodePorts,
        Container::NoEndpointServices,
        Container::NoEndpointNodePorts,
        Container::FirewallIps,
        Container::Hairpins,
    ];

    /// Its name in the table: upstream's, so that who knows kube-proxy's table finds the way.
    pub fn name(self) -> &'static str {
        match self {
            Container::ClusterIps => "cluster-ips",
            Container::ServiceIps => "service-ips",
            Container::NodePorts => "service-nodeports",
            Container::NoEndpointServices => "no-endpoint-services",
            Container::NoEndpointNodePorts => "no-endpoint-nodeports",
            Container::FirewallIps => "firewall-ips",
            Container::Hairpins => "hairpin-connections",
        }
    }

    /// Whether it maps to verdicts.
    pub fn is_map(self) -> bool {
        !matches!(self, Container::ClusterIps | Container::Hairpins)
    }

    /// Its key's type, with `ADDRESS` for the family's address type.
    pub fn key_type(self) -> &'static str {
        match self {
            Container::ClusterIps => "ADDRESS",
            Container::Hairpins => "ADDRESS . ADDRESS . inet_proto . inet_service",
            Container::NodePorts | Container::NoEndpointNodePorts => "inet_proto . inet_service",
            Container::ServiceIps | Container::NoEndpointServices | Container::FirewallIps => {
                "ADDRESS . inet_proto . inet_service"
            }
        }
    }
}

// === impl Fragment ===

impl Fragment {
    /// Adds an element.
    pub fn element(&mut self, container: Container, key: String, value: impl Into<String>) {
        self.elements.insert((container, key), value.into());
    }
}

// === impl Ruleset ===

impl Ruleset {
    /// A ruleset of these fragments.
    pub fn new(fragments: impl IntoIterator<Item = (PortName, Fragment)>) -> Ruleset {
        let mut ruleset = Ruleset::default();
        ruleset.replace(fragments.into_iter().map(|(name, fragment)| (name, Some(fragment))));
        ruleset
    }

    /// The number of Service ports.
    pub fn len(&self) -> usize {
        self.fragments.len()
    }

    /// Whether no Service asks for anything.
    pub fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    /// The ports in the ruleset.
    pub fn ports(&self) -> impl Iterator<Item = &PortName> {
        self.fragments.keys()
    }

    /// What a port asks for.
    pub fn fragment(&self, port: &PortName) -> Option<&Fragment> {
        self.fragments.get(port)
    }

    /// What each element is: the value of the first claim.
    pub fn elements(&self) -> impl Iterator<Item = (&(Container, String), &String)> {
        self.claims.iter().filter_map(|(key, claims)| Some((key, claims.first_key_value()?.1)))
    }

    /// Replaces fragments (or removes them: `None`) and gives the changes that bring the table after.
    pub fn replace(&mut self, changes: impl IntoIterator<Item = (PortName, Option<Fragment>)>) -> Batch {
        let mut parts = Parts::default();
        let mut before: BTreeMap<(Container, String), Option<String>> = BTreeMap::new();
        for (name, new) in changes {
            let old = match &new {
                Some(new) => self.fragments.insert(name.clone(), new.clone()),
                None => self.fragments.remove(&name),
            };
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            parts.chains(&old, &new);
            parts.sets(&old, &new);
            for key in old.elements.keys().chain(new.elements.keys()) {
                before.entry(key.clone()).or_insert_with(|| self.winner(key).cloned());
            }
            self.claim(&name, &old, &new);
        }
        for (key, old) in before {
            let new = self.winner(&key).cloned();
            parts.element(key, old, new);
        }
        parts.finish()
    }

    /// The changes from this ruleset, which has to be empty, to another.
    pub fn replace_all(mut self, other: &Ruleset) -> Batch {
        self.replace(other.fragments.iter().map(|(name, fragment)| (name.clone(), Some(fragment.clone()))))
    }

    fn winner(&self, key: &(Container, String)) -> Option<&String> {
        Some(self.claims.get(key)?.first_key_value()?.1)
    }

    fn claim(&mut self, name: &PortName, old: &Fragment, new: &Fragment) {
        for key in old.elements.keys().filter(|key| !new.elements.contains_key(key)) {
            if let Some(claims) = self.claims.get_mut(key) {
                claims.remove(name);
                if claims.is_empty() {
                    self.claims.remove(key);
                }
            }
        }
        for (key, value) in &new.elements {
            self.claims.entry(key.clone()).or_default().insert(name.clone(), value.clone());
        }
    }
}

/// The changes that bring a table which holds `old` to hold `new`.
pub fn diff(old: &Ruleset, new: &Ruleset) -> Batch {
    let gone = old.fragments.keys().filter(|name| !new.fragments.contains_key(name)).map(|name| (name.clone(), None));
    let changed = new.fragments.iter().filter(|(name, fragment)| old.fragments.get(name) != Some(fragment));
    let changed = changed.map(|(name, fragment)| (name.clone(), Some(fragment.clone())));
    let changes: Vec<_> = gone.chain(changed).collect();
    old.clone().replace(changes)
}

/// A batch's commands by phase.
#[derive(Default)]
struct Parts {
    delete_elements: Vec<Command>,
    add_sets: Vec<Command>,
    chains: Vec<Command>,
    rules: Vec<Command>,
    add_elements: Vec<Command>,
    delete_sets: Vec<Command>,
    retired: BTreeSet<String>,
}

impl Parts {
    fn chains(&mut self, old: &Fragment, new: &Fragment) {
        for (name, rules) in &new.chains {
            match old.chains.get(name) {
                Some(same) if same == rules => continue,
                Some(_) => self.chains.push(Command::FlushChain { name: name.clone() }),
                // A chain that is retired but not deleted yet is empty: adding it again is enough.
                None => self.chains.push(Command::AddChain { name: name.clone() }),
            }
            let rules = rules.iter().map(|rule| Command::AddRule { chain: name.clone(), rule: rule.clone() });
            self.rules.extend(rules);
        }
        for name in old.chains.keys().filter(|name| !new.chains.contains_key(*name)) {
            self.chains.push(Command::FlushChain { name: name.clone() });
            self.retired.insert(name.clone());
        }
    }

    fn sets(&mut self, old: &Fragment, new: &Fragment) {
        for (name, set) in new.sets.iter().filter(|(name, _)| !old.sets.contains_key(*name)) {
            self.add_sets.push(Command::AddSet { name: name.clone(), timeout_seconds: set.timeout_seconds });
        }
        for name in old.sets.keys().filter(|name| !new.sets.contains_key(*name)) {
            self.delete_sets.push(Command::DeleteSet { name: name.clone() });
        }
    }

    fn element(&mut self, (container, key): (Container, String), old: Option<String>, new: Option<String>) {
        if old == new {
            return;
        }
        if let Some(value) = old {
            self.delete_elements.push(Command::DeleteElement { container, key: key.clone(), value });
        }
        if let Some(value) = new {
            self.add_elements.push(Command::AddElement { container, key, value });
        }
    }

    fn finish(self) -> Batch {
        let phases =
            [self.delete_elements, self.add_sets, self.chains, self.rules, self.add_elements, self.delete_sets];
        Batch { commands: phases.into_iter().flatten().collect(), retired: self.retired }
    }
}

// === impl Batch ===

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.retired.is_empty()
    }
}

#[cfg(test)]
mod tests;
