//! `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1): the fields that are honoured.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Taint;
use serde::Deserialize;

use super::Config;
use crate::quantity::Quantity;

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not YAML, or not of this shape.
    #[error("failed to decode the kubelet's configuration: {0}")]
    Shape(String),
    /// A value that says nothing.
    #[error("invalid configuration: {field}: {value:?} is not {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The file's fields. Unknown ones are ignored, as by a kubelet of another version.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the fields are documented upstream and in Config")]
pub struct KubeletConfiguration {
    pub address: Option<String>,
    pub port: Option<u16>,
    pub static_pod_path: Option<PathBuf>,
    pub container_runtime_endpoint: Option<String>,
    pub pod_logs_dir: Option<PathBuf>,
    pub cgroup_root: Option<String>,
    #[serde(rename = "cgroupsPerQOS")]
    pub cgroups_per_qos: Option<bool>,
    #[serde(rename = "clusterDNS")]
    pub cluster_dns: Option<Vec<String>>,
    pub cluster_domain: Option<String>,
    pub resolv_conf: Option<String>,
    pub register_node: Option<bool>,
    pub register_with_taints: Option<Vec<Taint>>,
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<String>,
    pub max_pods: Option<u32>,
    pub pod_pids_limit: Option<i64>,
    #[serde(rename = "cpuCFSQuota")]
    pub cpu_cfs_quota: Option<bool>,
    #[serde(rename = "cpuCFSQuotaPeriod")]
    pub cpu_cfs_quota_period: Option<String>,
    pub seccomp_default: Option<bool>,
    pub sync_frequency: Option<String>,
    pub file_check_frequency: Option<String>,
    pub node_status_update_frequency: Option<String>,
    pub node_status_report_frequency: Option<String>,
    pub node_lease_duration_seconds: Option<i32>,
    pub node_status_max_images: Option<i64>,
    pub serialize_image_pulls: Option<bool>,
    pub max_parallel_image_pulls: Option<usize>,
    #[serde(rename = "imageMinimumGCAge")]
    pub image_minimum_gc_age: Option<String>,
    #[serde(rename = "imageMaximumGCAge")]
    pub image_maximum_gc_age: Option<String>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    pub image_gc_high_threshold_percent: Option<u8>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    pub image_gc_low_threshold_percent: Option<u8>,
    pub container_log_max_size: Option<String>,
    pub container_log_max_files: Option<usize>,
    pub container_log_monitor_interval: Option<String>,
    pub crash_loop_back_off: Option<CrashLoop>,
    pub system_reserved: Option<BTreeMap<String, String>>,
    pub kube_reserved: Option<BTreeMap<String, String>>,
    pub eviction_hard: Option<BTreeMap<String, String>>,
    pub allowed_unsafe_sysctls: Option<Vec<String>>,
    pub enforce_node_allocatable: Option<Vec<String>>,
    #[serde(rename = "failCgroupV1")]
    pub fail_cgroup_v1: Option<bool>,
    pub runtime_request_timeout: Option<String>,
    pub tls_cert_file: Option<PathBuf>,
    pub tls_private_key_file: Option<PathBuf>,
    pub authentication: Authentication,
}

/// `authentication`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Authentication {
    /// By client certificate.
    pub x509: X509,
}

/// `authentication.x509`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct X509 {
    /// Who signs clients' certificates.
    #[serde(rename = "clientCAFile")]
    pub client_ca_file: Option<PathBuf>,
}

/// `crashLoopBackOff`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CrashLoop {
    /// The longest wait.
    pub max_container_restart_period: Option<String>,
}

impl KubeletConfiguration {
    /// Reads a file's text, YAML or JSON.
    ///
    /// # Errors
    /// [`ConfigError::Shape`] where it is neither or has fields of another type.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(text).map_err(|error| ConfigError::Shape(error.to_string()))
    }

    /// Puts what the file says into `config`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for durations and quantities that are none.
    pub fn apply(self, config: &mut Config) -> Result<(), ConfigError> {
        /// `set!(field => target)`: where the file says something.
        macro_rules! set {
            ($($field:ident => $target:ident),* $(,)?) => { $(if let Some(value) = self.$field { config.$target = value.into(); })* };
        }
        macro_rules! durations {
            ($($field:ident => $target:ident),* $(,)?) => { $(
                if let Some(text) = self.$field { config.$target = duration(stringify!($field), &text)?; }
            )* };
        }
        set! {
            address => address, port => port, static_pod_path => static_pod_path, container_runtime_endpoint => runtime_endpoint,
            pod_logs_dir => pod_logs_dir, cgroup_root => cgroup_root, cgroups_per_qos => cgroups, cluster_dns => cluster_dns,
            cluster_domain => cluster_domain, register_node => register_node, register_with_taints => taints,
            provider_id => provider_id, pod_cidr => pod_cidr, max_pods => max_pods, cpu_cfs_quota => cpu_quota,
            seccomp_default => seccomp_default, node_lease_duration_seconds => node_lease_duration_seconds,
            node_status_max_images => node_status_max_images, serialize_image_pulls => serialize_image_pulls,
            max_parallel_image_pulls => max_parallel_image_pulls,
            image_gc_high_threshold_percent => image_gc_high_percent, image_gc_low_threshold_percent => image_gc_low_percent,
            container_log_max_files => log_files_max, eviction_hard => eviction_hard,
            allowed_unsafe_sysctls => allowed_unsafe_sysctls, fail_cgroup_v1 => fail_cgroup_v1,
        }
        durations! {
            cpu_cfs_quota_period => cpu_quota_period, sync_frequency => sync_frequency,
            file_check_frequency => file_check_frequency, node_status_update_frequency => node_status_update_frequency,
            node_status_report_frequency => node_status_report_frequency, image_minimum_gc_age => image_minimum_gc_age,
            image_maximum_gc_age => image_maximum_gc_age, container_log_monitor_interval => log_check_interval,
            runtime_request_timeout => runtime_request_timeout,
        }
        if let Some(text) = self.crash_loop_back_off.and_then(|own| own.max_container_restart_period) {
            config.crash_loop_max = duration("crashLoopBackOff.maxContainerRestartPeriod", &text)?;
        }
        if let Some(path) = self.resolv_conf {
            config.resolv_conf = Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
        }
        if let Some(limit) = self.pod_pids_limit {
            config.pod_pids_limit = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some(text) = self.container_log_max_size {
            let bytes = quantity("containerLogMaxSize", &text)?.value();
            config.log_bytes_max = u64::try_from(bytes).unwrap_or_default();
        }
        if let Some(levels) = self.enforce_node_allocatable {
            config.enforce_allocatable = levels.iter().any(|level| level == "pods");
        }
        for (name, amount) in [self.system_reserved, self.kube_reserved].into_iter().flatten().flatten() {
            let more = quantity("systemReserved", &amount)?;
            let had = config.reserved.get(&name).and_then(|had| Quantity::parse(had)).unwrap_or_default();
            config.reserved.insert(name, had.plus(more).to_string());
        }
        Ok(())
    }
}

fn quantity(field: &'static str, text: &str) -> Result<Quantity, ConfigError> {
    let error = || ConfigError::Value { field, value: text.to_owned(), expected: "a quantity (10Mi)" };
    Quantity::parse(text).ok_or_else(error)
}

/// Go's durations: `1h2m3.5s`, `100ms`.
fn duration(field: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let error = || ConfigError::Value { field, value: text.to_owned(), expected: "a duration (1m30s)" };
    parse_duration(text).ok_or_else(error)
}

/// Reads a duration as Go prints it.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1m30s", Some(90_000))]
    #[case("100ms", Some(100))]
    #[case("1h0m0.5s", Some(3_600_500))]
    #[case("0", Some(0))]
    #[case("", None)]
    #[case("5", None)]
    #[case("5 s", None)]
    fn durations(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(parse_duration(text), millis.map(Duration::from_millis));
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupRoot: /up-n1\nclusterDNS: [10.96.0.10]\n\
                    resolvConf: \"\"\ncontainerLogMaxSize: 1Mi\nsyncFrequency: 5s\npodPidsLimit: -1\nsystemReserved: {cpu: 100m}\nkubeReserved: {cpu: 200m}\nunknownField: {a: 1}\n";
        let mut config = Config::new("n", std::path::Path::new("/k"));
        KubeletConfiguration::parse(text).unwrap().apply(&mut config).unwrap();
        assert_eq!((config.cgroup_root.as_str(), config.log_bytes_max), ("/up-n1", 1 << 20));
        assert_eq!((config.resolv_conf, config.pod_pids_limit), (None, None));
        assert_eq!(config.sync_frequency, Duration::from_secs(5));
        assert_eq!(config.reserved["cpu"], "300m");
        assert_eq!(config.max_pods, 110);
    }

    #[test]
    fn nonsense_is_named() {
        let mut config = Config::new("n", std::path::Path::new("/k"));
        let file = KubeletConfiguration { sync_frequency: Some("soon".into()), ..Default::default() };
        let error = file.apply(&mut config).unwrap_err().to_string();
        assert_eq!(error, "invalid configuration: sync_frequency: \"soon\" is not a duration (1m30s)");
    }
}
