//! A pod as the runtime's sandbox. Upstream: kuberuntime_sandbox.go.

use std::{collections::HashMap, path::Path};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{hosts, limits, security};
use crate::{
    cri::v1::{
        DnsConfig, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol, UserNamespace,
    },
    labels,
    pod::PodExt,
};

/// The node's part in it.
pub struct Settings<'a> {
    /// Of the pod.
    pub dns: DnsConfig,
    /// Usually `cluster.local`.
    pub cluster_domain: &'a str,
    /// The pod's cgroup; empty where none is made.
    pub cgroup_parent: String,
    /// Where its containers' logs go.
    pub log_directory: &'a Path,
    /// CPU and memory.
    pub limits: limits::Settings<'a>,
    /// Whom its users are on the node, where that differs.
    pub users: Option<UserNamespace>,
}

/// What the runtime is told.
///
/// # Errors
/// Where a name or a policy is none.
pub fn config(pod: &Pod, attempt: u32, settings: Settings<'_>) -> Result<PodSandboxConfig, String> {
    let hostname = if pod.host_network() {
        String::new()
    } else {
        let (hostname, domain) = hosts::names(pod, settings.cluster_domain)?;
        hosts::kernel_name(pod, &hostname, &domain)?
    };
    let mappings = pod.containers().iter().chain(pod.init_containers()).flat_map(port_mappings);
    let mut context = security::sandbox(pod)?;
    if let Some(options) = &mut context.namespace_options {
        options.userns_options = settings.users;
    }
    let linux = LinuxPodSandboxConfig {
        cgroup_parent: settings.cgroup_parent,
        security_context: Some(context),
        sysctls: sysctls(pod),
        overhead: Some(limits::overhead(pod, settings.limits)),
        resources: Some(limits::sandbox(pod, settings.limits)),
    };
    Ok(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
            namespace: pod.namespace().to_owned(),
            attempt,
        }),
        hostname,
        log_directory: settings.log_directory.display().to_string(),
        dns_config: Some(settings.dns),
        port_mappings: mappings.collect(),
        labels: labels::sandbox(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(linux),
    })
}

/// A container's ports; those with a port on the node are what the network plugin acts on.
fn port_mappings(container: &Container) -> Vec<PortMapping> {
    let mut seen = Vec::new();
    let mut mappings = Vec::new();
    for port in container.ports.iter().flatten() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let (ip, host_port) = (port.host_ip.clone().unwrap_or_default(), port.host_port.unwrap_or_default());
        let unnamed = || format!("{protocol}-{ip}:{}:{host_port}", port.container_port);
        let name = port.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(unnamed);
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let protocol = match protocol {
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        mappings.push(PortMapping {
            protocol: protocol as i32,
            container_port: port.container_port,
            host_port,
            host_ip: ip,
        });
    }
    mappings
}

/// The kernel's names have dots; a pod may write slashes.
fn sysctls(pod: &Pod) -> HashMap<String, String> {
    let own = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.sysctls.as_ref());
    own.into_iter().flatten().map(|sysctl| (dotted(&sysctl.name), sysctl.value.clone())).collect()
}

/// `net/ipv4/conf/eth0.1/x` → `net.ipv4.conf.eth0/1.x`; what has a dot first is as it should be.
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Version;
    use serde_json::json;

    #[test]
    fn a_pod_becomes_a_sandbox() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}, "annotations": {"k": "v"}},
            "spec": {"hostname": "h", "shareProcessNamespace": true,
                "securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": "5"}], "fsGroup": 7},
                "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]}]},
        }))
        .unwrap();
        let limits = limits::Settings {
            quota: true,
            period_micros: 100_000,
            memory_capacity: 1,
            huge_page_sizes: &[],
            version: Version::V1,
        };
        let settings = Settings {
            dns: DnsConfig::default(),
            cluster_domain: "c",
            cgroup_parent: "/k/podu".into(),
            log_directory: Path::new("/l"),
            limits,
            users: None,
        };
        let told = config(&pod, 2, settings).unwrap();
        let metadata = told.metadata.unwrap();
        assert_eq!((metadata.name.as_str(), metadata.attempt, told.hostname.as_str()), ("p", 2, "h"));
        assert_eq!(told.labels[labels::POD_UID], "u");
        assert_eq!(told.labels["app"], "x");
        let ports: Vec<_> = told.port_mappings.iter().map(|port| (port.container_port, port.host_port)).collect();
        assert_eq!(ports, [(80, 8080), (53, 0)]);
        let linux = told.linux.unwrap();
        assert_eq!(linux.sysctls["net.core.somaxconn"], "5");
        let context = linux.security_context.unwrap();
        assert_eq!(context.supplemental_groups, [7]);
        assert_eq!(context.namespace_options.unwrap().pid, crate::cri::v1::NamespaceMode::Pod as i32);
    }

    #[test]
    fn names_of_sysctls() {
        assert_eq!(dotted("kernel/shm_rmid_forced"), "kernel.shm_rmid_forced");
        assert_eq!(dotted("net.ipv4.conf.eth0/1.rp_filter"), "net.ipv4.conf.eth0/1.rp_filter");
        assert_eq!(dotted("net/ipv4/conf/eth0.1/rp_filter"), "net.ipv4.conf.eth0/1.rp_filter");
    }
}
