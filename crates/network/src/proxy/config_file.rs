//! Upstream's configuration file: `kubeproxy.config.k8s.io/v1alpha1`, `KubeProxyConfiguration`.
//!
//! Fields of other modes (iptables, IPVS, Windows) are accepted and mean nothing; conntrack limits are left to the
//! machine (they belong to its first network namespace).

use super::address::{Cidr, InvalidCidr};
use super::config::{Config, LocalDetector, MASQUERADE_BIT_DEFAULT, NodePortAddresses};
use serde::Deserialize;
use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Upstream's ports.
const HEALTHZ_PORT: u16 = 10256;
const METRICS_PORT: u16 = 10249;

/// The file's fields that mean something here, under its names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct KubeProxyConfiguration {
    pub hostname_override: String,
    pub healthz_bind_address: String,
    pub metrics_bind_address: String,
    pub mode: String,
    pub nftables: NftablesConfiguration,
    pub detect_local_mode: String,
    pub detect_local: DetectLocal,
    #[serde(rename = "clusterCIDR")]
    pub cluster_cidr: String,
    pub node_port_addresses: Option<Vec<String>>,
    pub client_connection: ClientConnection,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ClientConnection {
    pub kubeconfig: PathBuf,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NftablesConfiguration {
    pub masquerade_bit: Option<u8>,
    pub masquerade_all: bool,
    /// As Go writes durations (`1s`, `500ms`).
    pub sync_period: String,
    pub min_sync_period: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct DetectLocal {
    pub bridge_interface: String,
    pub interface_name_prefix: String,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A range of addresses.
    #[error(transparent)]
    Cidr(#[from] InvalidCidr),
    /// An address to listen on.
    #[error("invalid address {0:?}: {1}")]
    Address(String, #[source] AddrParseError),
    /// A duration.
    #[error("invalid duration {0:?}: expected a number with ns, us, ms, s, m or h")]
    Duration(String),
    /// A mode other than nftables.
    #[error("unsupported proxy mode {0:?}: only \"nftables\" is")]
    Mode(String),
    /// A way of detecting local traffic that is not known, or lacks what it needs.
    #[error("invalid detectLocalMode {0:?}")]
    DetectLocal(String),
    /// A mark's bit.
    #[error("invalid masqueradeBit {0}: must be within the range [0, 31]")]
    MasqueradeBit(u8),
}

// === impl KubeProxyConfiguration ===

impl KubeProxyConfiguration {
    /// The proxy's configuration on a node.
    ///
    /// # Errors
    /// The first field that can't be used.
    pub fn config(&self, node: &str, node_ips: Vec<IpAddr>, pod_cidrs: &[Cidr]) -> Result<Config, ConfigError> {
        if !matches!(self.mode.as_str(), "" | "nftables") {
            return Err(ConfigError::Mode(self.mode.clone()));
        }
        let node = if self.hostname_override.is_empty() { node } else { &self.hostname_override };
        let cluster_cidrs: Result<Vec<Cidr>, InvalidCidr> =
            self.cluster_cidr.split(',').filter(|cidr| !cidr.trim().is_empty()).map(str::parse).collect();
        let cluster_cidrs = cluster_cidrs?;
        let mut config = Config::new(node, node_ips, cluster_cidrs.clone());
        config.detect_local = self.detect_local(cluster_cidrs, pod_cidrs)?;
        config.masquerade_all = self.nftables.masquerade_all;
        config.masquerade_bit = self.nftables.masquerade_bit.unwrap_or(MASQUERADE_BIT_DEFAULT);
        if config.masquerade_bit > 31 {
            return Err(ConfigError::MasqueradeBit(config.masquerade_bit));
        }
        let ranges = self.node_port_addresses.as_deref().unwrap_or_default();
        config.node_port_addresses = NodePortAddresses::parse(ranges, &config.node_ips)?;
        config.healthz_bind_address = Some(listen(&self.healthz_bind_address, [0, 0, 0, 0], HEALTHZ_PORT)?);
        config.metrics_bind_address = Some(listen(&self.metrics_bind_address, [127, 0, 0, 1], METRICS_PORT)?);
        if let Some(period) = duration(&self.nftables.sync_period)?.filter(|period| !period.is_zero()) {
            config.sync_period = period;
        }
        if let Some(period) = duration(&self.nftables.min_sync_period)? {
            config.min_sync_period = period;
        }
        Ok(config)
    }

    fn detect_local(&self, cluster: Vec<Cidr>, pods: &[Cidr]) -> Result<LocalDetector, ConfigError> {
        let invalid = || ConfigError::DetectLocal(self.detect_local_mode.clone());
        let or_none = |cidrs: Vec<Cidr>| match cidrs.is_empty() {
            true => LocalDetector::None,
            false => LocalDetector::Cidrs(cidrs),
        };
        let named = |name: &str| Some(name.to_string()).filter(|name| !name.is_empty()).ok_or_else(invalid);
        match self.detect_local_mode.as_str() {
            "" | "ClusterCIDR" => Ok(or_none(cluster)),
            "NodeCIDR" => Ok(or_none(pods.to_vec())),
            "BridgeInterface" => Ok(LocalDetector::Bridge(named(&self.detect_local.bridge_interface)?)),
            "InterfaceNamePrefix" => {
                Ok(LocalDetector::InterfacePrefix(named(&self.detect_local.interface_name_prefix)?))
            }
            _ => Err(invalid()),
        }
    }
}

/// An address with or without a port; empty: the default.
fn listen(text: &str, default: [u8; 4], port: u16) -> Result<SocketAddr, ConfigError> {
    if text.is_empty() {
        return Ok(SocketAddr::from((default, port)));
    }
    let address = text.parse::<SocketAddr>().or_else(|_| Ok(SocketAddr::new(text.parse()?, port)));
    address.map_err(|error| ConfigError::Address(text.to_string(), error))
}

/// A duration as Go writes it; none for an empty text.
fn duration(text: &str) -> Result<Option<Duration>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || ConfigError::Duration(text.to_string());
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        if rest == "0" {
            break;
        }
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..unit_at].parse().map_err(|_| invalid())?;
        let after = rest[unit_at..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| unit_at + at);
        let seconds = match &rest[unit_at..after] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(invalid()),
        };
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())?;
        rest = &rest[after..];
    }
    Ok(Some(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn config(file: Value) -> Result<Config, ConfigError> {
        let file: KubeProxyConfiguration = serde_json::from_value(file).unwrap();
        file.config("node", vec!["10.0.0.5".parse().unwrap()], &["10.244.1.0/24".parse().unwrap()])
    }

    #[test]
    fn defaults_are_upstreams_but_for_localhost() {
        let config = config(json!({"iptables": {"masqueradeBit": 3}, "conntrack": {"maxPerCore": 0}})).unwrap();
        assert_eq!(config.healthz_bind_address, Some("0.0.0.0:10256".parse().unwrap()));
        assert_eq!(config.metrics_bind_address, Some("127.0.0.1:10249".parse().unwrap()));
        assert_eq!((config.masquerade_bit, config.masquerade_all), (14, false));
        assert!(config.node_port_addresses.localhost);
        assert_eq!(config.detect_local, LocalDetector::None);
    }

    #[test]
    fn fields_are_honoured() {
        let config = config(json!({
            "hostnameOverride": "other", "mode": "nftables", "clusterCIDR": "10.244.0.0/16,fd00::/48",
            "healthzBindAddress": "127.0.0.1:9999", "metricsBindAddress": "::1", "nodePortAddresses": ["primary"],
            "nftables": {"masqueradeBit": 5, "masqueradeAll": true, "syncPeriod": "1m30s", "minSyncPeriod": "500ms"},
        }))
        .unwrap();
        assert_eq!(config.node_name, "other");
        assert_eq!(config.healthz_bind_address, Some("127.0.0.1:9999".parse().unwrap()));
        assert_eq!(config.metrics_bind_address, Some("[::1]:10249".parse().unwrap()));
        assert_eq!((config.sync_period, config.min_sync_period), (Duration::from_secs(90), Duration::from_millis(500)));
        assert!(config.masquerade_all && !config.node_port_addresses.localhost);
        assert!(matches!(config.detect_local, LocalDetector::Cidrs(cidrs) if cidrs.len() == 2));
    }

    #[rstest]
    #[case::bridge(json!({"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "br0"}}), Some(LocalDetector::Bridge("br0".into())))]
    #[case::bridge_without_name(json!({"detectLocalMode": "BridgeInterface"}), None)]
    #[case::node_range(json!({"detectLocalMode": "NodeCIDR"}), Some(LocalDetector::Cidrs(vec!["10.244.1.0/24".parse().unwrap()])))]
    #[case::unknown(json!({"detectLocalMode": "Magic"}), None)]
    #[case::other_mode(json!({"mode": "ipvs"}), None)]
    #[case::bad_duration(json!({"nftables": {"syncPeriod": "1 day"}}), None)]
    #[case::bad_bit(json!({"nftables": {"masqueradeBit": 32}}), None)]
    fn detects_local(#[case] file: Value, #[case] expected: Option<LocalDetector>) {
        assert_eq!(config(file).ok().map(|config| config.detect_local), expected);
    }
}
