//! The names under which an instance appears on the machine.
//!
//! Two clusters can live side by side on one machine: every table, bridge and CNI file carries the instance.

use std::fmt;

/// Longest name of a network interface (`IFNAMSIZ` less the closing zero).
const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// What the bridge's name begins with.
const BRIDGE_PREFIX: &str = "xb-";

/// An instance's short name: letters, digits and dashes, 12 bytes at most, so that it fits an interface name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance(String);

/// The text can't name an instance.
#[derive(Debug, thiserror::Error)]
#[error("instance name {0:?}: expected 1 to 12 of a-z, 0-9 and '-'")]
pub struct InvalidInstance(String);

// === impl Instance ===

impl Instance {
    /// # Errors
    /// Where the text is empty, longer than 12 bytes or has other characters than `a-z`, `0-9`, `-`.
    pub fn new(name: impl Into<String>) -> Result<Instance, InvalidInstance> {
        let name = name.into();
        let fits = (1..=INTERFACE_NAME_BYTES_MAX - BRIDGE_PREFIX.len()).contains(&name.len());
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if fits && plain { Ok(Instance(name)) } else { Err(InvalidInstance(name)) }
    }

    /// The nftables table of the service proxy and, in the bridge family, of the pod network.
    pub fn table(&self) -> String {
        format!("xebec-{}", self.0)
    }

    /// The nftables table of the pod network (masquerade, bridge).
    pub fn pod_table(&self) -> String {
        format!("xebec-{}-pods", self.0)
    }

    /// The bridge on which this instance's pods hang.
    pub fn bridge(&self) -> String {
        format!("{BRIDGE_PREFIX}{}", self.0)
    }

    /// The name of the CNI network, which also names the folder of host-local's address leases.
    pub fn cni_network(&self) -> String {
        format!("xebec-{}", self.0)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::usual("main", true)]
    #[case::as_long_as_a_bridge_allows("abcdefghijkl", true)]
    #[case::too_long_for_a_bridge("abcdefghijklm", false)]
    #[case::empty("", false)]
    #[case::no_injection_into_nft("a;flush", false)]
    fn names(#[case] name: &str, #[case] good: bool) {
        let instance = Instance::new(name);
        assert_eq!(instance.is_ok(), good);
        if let Ok(instance) = instance {
            assert!(instance.bridge().len() <= INTERFACE_NAME_BYTES_MAX);
        }
    }
}
