//! `/configz`: the configuration as `KubeletConfiguration`, as far as it is honoured.

use serde_json::{Map, Value, json};

use crate::{config::Config, plan::backoff::go_duration};

/// What upstream answers under the name of the component.
pub fn configz(config: &Config) -> Value {
    let fields = vec![
        ("kind", json!("KubeletConfiguration")),
        ("apiVersion", json!("kubelet.config.k8s.io/v1beta1")),
        ("enableServer", json!(true)),
        ("staticPodPath", json!(config.static_pod_path)),
        ("podLogsDir", json!(config.pod_logs_dir)),
        ("syncFrequency", json!(go_duration(config.sync_frequency))),
        ("fileCheckFrequency", json!(go_duration(config.file_check_frequency))),
        ("address", json!(config.address)),
        ("port", json!(config.port)),
        (
            "authentication",
            json!({
                "x509": {},
                "webhook": {"enabled": true, "cacheTTL": "2m0s"},
                "anonymous": {"enabled": false},
            }),
        ),
        (
            "authorization",
            json!({
                "mode": "Webhook",
                "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
            }),
        ),
        ("clusterDomain", json!(config.cluster_domain)),
        ("clusterDNS", json!(config.cluster_dns)),
        ("nodeStatusUpdateFrequency", json!(go_duration(config.node_status_update_frequency))),
        ("nodeStatusReportFrequency", json!(go_duration(config.node_status_report_frequency))),
        ("nodeLeaseDurationSeconds", json!(config.node_lease_duration_seconds)),
        ("imageMinimumGCAge", json!(go_duration(config.image_minimum_gc_age))),
        ("imageMaximumGCAge", json!(go_duration(config.image_maximum_gc_age))),
        ("imageGCHighThresholdPercent", json!(config.image_gc_high_percent)),
        ("imageGCLowThresholdPercent", json!(config.image_gc_low_percent)),
        ("cgroupRoot", json!(config.cgroup_root)),
        ("cgroupsPerQOS", json!(config.cgroups)),
        ("cgroupDriver", json!("cgroupfs")),
        ("cpuManagerPolicy", json!("none")),
        ("memoryManagerPolicy", json!("None")),
        ("topologyManagerPolicy", json!("none")),
        ("runtimeRequestTimeout", json!(go_duration(config.runtime_request_timeout))),
        ("maxPods", json!(config.max_pods)),
        ("podCIDR", json!(config.pod_cidr)),
        ("podPidsLimit", json!(config.pod_pids_limit.unwrap_or(-1))),
        ("resolvConf", json!(config.resolv_conf)),
        ("cpuCFSQuota", json!(config.cpu_quota)),
        ("cpuCFSQuotaPeriod", json!(go_duration(config.cpu_quota_period))),
        ("nodeStatusMaxImages", json!(config.node_status_max_images)),
        ("serializeImagePulls", json!(config.serialize_image_pulls)),
        ("maxParallelImagePulls", json!(config.max_parallel_image_pulls)),
        ("evictionHard", json!(config.eviction_hard)),
        ("systemReserved", json!(config.reserved)),
        ("enforceNodeAllocatable", json!(if config.enforce_allocatable { vec!["pods"] } else { vec!["none"] })),
        ("allowedUnsafeSysctls", json!(config.allowed_unsafe_sysctls)),
        ("failCgroupV1", json!(config.fail_cgroup_v1)),
        ("containerLogMaxSize", json!(config.log_bytes_max.to_string())),
        ("containerLogMaxFiles", json!(config.log_files_max)),
        ("containerLogMonitorInterval", json!(go_duration(config.log_check_interval))),
        ("crashLoopBackOff", json!({"maxContainerRestartPeriod": go_duration(config.crash_loop_max)})),
        ("seccompDefault", json!(config.seccomp_default)),
        ("registerNode", json!(config.register_node)),
        ("registerWithTaints", json!(config.taints)),
        ("providerID", json!(config.provider_id)),
        ("containerRuntimeEndpoint", json!(config.runtime_endpoint)),
    ];
    let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    json!({"kubeletconfig": fields})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is shown could be read back.
    #[test]
    fn it_is_a_configuration() {
        let mut config = Config::new("n", std::path::Path::new("/k"));
        config.cluster_dns = vec!["10.96.0.10".into()];
        config.sync_frequency = std::time::Duration::from_secs(5);
        let shown = configz(&config)["kubeletconfig"].to_string();
        let mut again = Config::new("n", std::path::Path::new("/k"));
        crate::config::KubeletConfiguration::parse(&shown).unwrap().apply(&mut again).unwrap();
        assert_eq!(again, config);
    }
}
