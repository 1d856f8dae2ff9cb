//! Taints and tolerations.

use super::labels::nullable;
use serde::Deserialize;

/// A taint of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Taint {
    #[serde(deserialize_with = "nullable")]
    pub key: String,
    #[serde(deserialize_with = "nullable")]
    pub value: String,
    #[serde(deserialize_with = "nullable")]
    pub effect: String,
}

/// A pod's toleration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Toleration {
    #[serde(deserialize_with = "nullable")]
    pub key: String,
    #[serde(deserialize_with = "nullable")]
    pub operator: String,
    #[serde(deserialize_with = "nullable")]
    pub value: String,
    #[serde(deserialize_with = "nullable")]
    pub effect: String,
}

// === impls ===

impl Taint {
    /// Keeps pods away that don't tolerate it.
    pub fn is_hard(&self) -> bool {
        matches!(self.effect.as_str(), "NoSchedule" | "NoExecute")
    }
}

impl Toleration {
    /// Whether it covers the taint. An empty effect covers all, an empty key with `Exists` everything.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match self.operator.as_str() {
            "" | "Equal" => self.value == taint.value,
            "Exists" => true,
            _ => false,
        };
        effect && key && value
    }
}

/// The first hard taint that nothing tolerates.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    taints.iter().filter(|taint| taint.is_hard()).find(|taint| !tolerations.iter().any(|t| t.tolerates(taint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::equal("a", "Equal", "b", "NoSchedule", true)]
    #[case::default_operator("a", "", "b", "NoSchedule", true)]
    #[case::other_value("a", "Equal", "c", "NoSchedule", false)]
    #[case::exists("a", "Exists", "", "", true)]
    #[case::everything("", "Exists", "", "", true)]
    #[case::other_effect("a", "Exists", "", "NoExecute", false)]
    fn tolerates(
        #[case] key: &str,
        #[case] operator: &str,
        #[case] value: &str,
        #[case] effect: &str,
        #[case] expected: bool,
    ) {
        let taint = Taint { key: "a".into(), value: "b".into(), effect: "NoSchedule".into() };
        let toleration =
            Toleration { key: key.into(), operator: operator.into(), value: value.into(), effect: effect.into() };
        assert_eq!(toleration.tolerates(&taint), expected);
    }
}
