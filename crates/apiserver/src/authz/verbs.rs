//! A rule's verbs, with a mask over the usual ones: most rules are ruled out by one AND.

use smol_str::SmolStr;

/// The verbs of a rule, in the rule's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verbs {
    mask: u16,
    names: Vec<SmolStr>,
}

/// Verbs with a bit of their own; the highest bit says that the rule names others besides.
const USUAL: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const OTHERS: u16 = 1 << 15;
const ALL: &str = "*";

// === impl Verbs ===

impl Verbs {
    pub fn new(names: Vec<SmolStr>) -> Verbs {
        let mask = names.iter().fold(0, |mask, name| mask | if name == ALL { u16::MAX } else { bit(name) });
        Verbs { mask, names }
    }

    pub fn as_slice(&self) -> &[SmolStr] {
        &self.names
    }

    pub fn contains(&self, verb: &str) -> bool {
        let bit = bit(verb);
        self.mask & bit != 0 && (bit != OTHERS || self.names.iter().any(|name| name == ALL || name == verb))
    }
}

fn bit(verb: &str) -> u16 {
    USUAL.iter().position(|usual| *usual == verb).map_or(OTHERS, |at| 1 << at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verbs(names: &[&str]) -> Verbs {
        Verbs::new(names.iter().map(|name| SmolStr::from(*name)).collect())
    }

    #[test]
    fn usual_other_and_all() {
        assert!(verbs(&["get", "approve"]).contains("approve"));
        assert!(!verbs(&["get", "approve"]).contains("sign"));
        assert!(!verbs(&["get"]).contains("list"));
        assert!(verbs(&["*"]).contains("list") && verbs(&["*"]).contains("sign"));
        assert!(!verbs(&[]).contains("get"));
    }
}
