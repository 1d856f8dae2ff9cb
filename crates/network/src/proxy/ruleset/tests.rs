use super::*;
use crate::views::{ObjectName, Protocol};
use proptest::prelude::*;

fn name(n: u8) -> PortName {
    PortName { service: ObjectName::new("ns", format!("svc{n}")), port: String::new(), protocol: Protocol::Tcp }
}

/// What a kernel would hold after a batch; panics where nftables would refuse it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel {
    chains: BTreeMap<String, Vec<String>>,
    sets: BTreeMap<String, u32>,
    elements: BTreeMap<(Container, String), String>,
}

impl Kernel {
    fn apply(&mut self, batch: &Batch) {
        for command in batch.commands.clone() {
            match command {
                Command::AddChain { name } => {
                    self.chains.entry(name).or_default();
                }
                Command::FlushChain { name } => self.chains.get_mut(&name).expect("flush of no chain").clear(),
                Command::AddRule { chain, rule } => {
                    for target in rule.split(' ').filter(|word| word.starts_with("chain")) {
                        assert!(self.chains.contains_key(target), "{rule}");
                    }
                    for set in rule.split(' ').filter_map(|word| word.strip_prefix('@')) {
                        assert!(self.sets.contains_key(set), "{rule}");
                    }
                    self.chains.get_mut(&chain).expect("rule in no chain").push(rule);
                }
                Command::AddSet { name, timeout_seconds } => {
                    assert!(self.sets.insert(name, timeout_seconds).is_none());
                }
                Command::DeleteSet { name } => {
                    let user = self.chains.values().flatten().find(|rule| rule.contains(&format!("@{name}")));
                    assert_eq!(user, None, "set is in use");
                    assert!(self.sets.remove(&name).is_some());
                }
                Command::AddElement { container, key, value } => {
                    if let Some(target) = value.strip_prefix("goto ") {
                        assert!(self.chains.contains_key(target), "{value}");
                    }
                    assert!(self.elements.insert((container, key), value).is_none(), "element is there already");
                }
                Command::DeleteElement { container, key, value } => {
                    assert_eq!(self.elements.remove(&(container, key)), Some(value));
                }
            }
        }
        for chain in &batch.retired {
            let gone = self.chains.remove(chain).expect("retired chain is there");
            assert!(gone.is_empty(), "retired chain is flushed");
            let goto = format!("goto {chain}");
            assert!(!self.elements.values().any(|value| *value == goto), "retired chain is referred to");
            assert!(!self.chains.values().flatten().any(|rule| *rule == goto), "retired chain is referred to");
        }
    }

    fn of(ruleset: &Ruleset) -> Kernel {
        let mut kernel = Kernel::default();
        for port in ruleset.ports() {
            let fragment = ruleset.fragment(port).unwrap();
            kernel.chains.extend(fragment.chains.clone());
            kernel.sets.extend(fragment.sets.iter().map(|(name, set)| (name.clone(), set.timeout_seconds)));
        }
        kernel.elements = ruleset.elements().map(|(key, value)| (key.clone(), value.clone())).collect();
        kernel
    }
}

/// Fragments whose elements collide with other ports', as addresses and endpoints do.
fn fragment(n: u8) -> impl Strategy<Value = Fragment> {
    let rules = proptest::collection::vec(0u8..3, 0..3);
    (rules, any::<bool>(), proptest::collection::btree_set(0u8..4, 0..4)).prop_map(move |(rules, sticky, keys)| {
        let mut fragment = Fragment::default();
        let (main, side, set) = (format!("chain-{n}"), format!("chain-{n}-side"), format!("set-{n}"));
        let mut main_rules: Vec<String> = rules.iter().map(|rule| format!("rule {rule}")).collect();
        if sticky {
            fragment.chains.insert(side.clone(), vec![format!("update @{set} {{ ip saddr }}")]);
            fragment.sets.insert(set, AffinitySet { timeout_seconds: 10 });
            main_rules.push(format!("goto {side}"));
        }
        fragment.chains.insert(main.clone(), main_rules);
        for key in keys {
            fragment.element(Container::ServiceIps, format!("key-{key}"), format!("goto {main}"));
            fragment.element(Container::Hairpins, format!("pin-{key}"), "");
        }
        fragment
    })
}

fn ruleset() -> impl Strategy<Value = Ruleset> {
    let ports: Vec<_> = (0..5u8).map(|n| proptest::option::of(fragment(n))).collect();
    ports.prop_map(|fragments| {
        let named = fragments.into_iter().enumerate();
        Ruleset::new(named.filter_map(|(n, fragment)| Some((name(n as u8), fragment?))))
    })
}

proptest! {
    #[test]
    fn applying_the_difference_gives_the_new(old in ruleset(), new in ruleset()) {
        let mut kernel = Kernel::of(&old);
        kernel.apply(&diff(&old, &new));
        prop_assert_eq!(kernel, Kernel::of(&new));
    }

    #[test]
    fn changes_one_by_one_lead_to_the_same(old in ruleset(), new in ruleset()) {
        let (mut ruleset, mut kernel) = (old.clone(), Kernel::of(&old));
        for n in 0..5 {
            let batch = ruleset.replace([(name(n), new.fragment(&name(n)).cloned())]);
            kernel.apply(&batch);
        }
        prop_assert_eq!(&ruleset, &new);
        prop_assert_eq!(kernel, Kernel::of(&new));
    }

    #[test]
    fn no_change_is_no_command(ruleset in ruleset()) {
        prop_assert!(diff(&ruleset, &ruleset.clone()).is_empty());
    }
}
