//! A pod's host name and its `/etc/hosts`.

use std::fmt::Write;

use k8s_openapi::api::core::v1::{HostAlias, Pod};

use crate::pod::PodExt;

const HOSTNAME_CHARS_MAX: usize = 63;
/// What the kernel takes.
const NODENAME_CHARS_MAX: usize = 64;

/// The pod's host name and, with a subdomain, its domain.
///
/// # Errors
/// Where a name can't be one.
pub fn names(pod: &Pod, cluster_domain: &str) -> Result<(String, String), String> {
    let spec = crate::pod::spec(pod);
    if let Some(own) = &spec.hostname_override {
        return Ok((truncate(own, pod)?, String::new()));
    }
    let hostname = spec.hostname.as_deref().filter(|own| !own.is_empty()).unwrap_or(pod.name());
    let hostname = truncate(hostname, pod)?;
    let domain = match spec.subdomain.as_deref().filter(|own| !own.is_empty()) {
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace()),
        None => String::new(),
    };
    Ok((hostname, domain))
}

/// What the kernel is told: the host name, or with `setHostnameAsFQDN` all of it.
///
/// # Errors
/// Where it is too long.
pub fn kernel_name(pod: &Pod, hostname: &str, domain: &str) -> Result<String, String> {
    let whole = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or_default();
    if domain.is_empty() || !whole {
        return Ok(hostname.to_owned());
    }
    let fqdn = format!("{hostname}.{domain}");
    if fqdn.len() > NODENAME_CHARS_MAX {
        let (max, length) = (NODENAME_CHARS_MAX, fqdn.len());
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({max} characters is the max, {length} characters requested)"
        ));
    }
    Ok(fqdn)
}

fn truncate(hostname: &str, pod: &Pod) -> Result<String, String> {
    if hostname.len() <= HOSTNAME_CHARS_MAX {
        return Ok(hostname.to_owned());
    }
    let cut: String = hostname.chars().take(HOSTNAME_CHARS_MAX).collect();
    match cut.trim_end_matches(['-', '.']) {
        "" => Err(format!("hostname for pod {:?} was invalid: {hostname:?}", pod.name())),
        cut => Ok(cut.to_owned()),
    }
}

/// The file for a pod with its own network.
pub fn managed(ips: &[String], hostname: &str, domain: &str, aliases: &[HostAlias]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        // Writing to a string can't fail.
        let _ = match domain {
            "" => writeln!(text, "{ip}\t{hostname}"),
            _ => writeln!(text, "{ip}\t{hostname}.{domain}\t{hostname}"),
        };
    }
    text + &entries(aliases)
}

/// The file for a pod in the node's network.
pub fn of_node(node_file: &str, aliases: &[HostAlias]) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_file}{}", entries(aliases))
}

fn entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let line =
        |alias: &HostAlias| format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
    format!("\n# Entries added by HostAliases.\n{}", aliases.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(name: &str, spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
    }

    #[rstest]
    #[case(json!({"containers": []}), "p", "", "p")]
    #[case(json!({"containers": [], "hostname": "h", "subdomain": "s"}), "h", "s.ns.svc.cluster.local", "h")]
    #[case(json!({"containers": [], "hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}), "h", "s.ns.svc.cluster.local", "h.s.ns.svc.cluster.local")]
    #[case(json!({"containers": [], "hostnameOverride": "a.b"}), "a.b", "", "a.b")]
    fn host_names(#[case] spec: Value, #[case] hostname: &str, #[case] domain: &str, #[case] kernel: &str) {
        let pod = pod("p", spec);
        let found = names(&pod, "cluster.local").unwrap();
        assert_eq!(found, (hostname.to_owned(), domain.to_owned()));
        assert_eq!(kernel_name(&pod, hostname, domain).unwrap(), kernel);
    }

    #[test]
    fn long_names_are_cut_where_a_name_may_end() {
        let name = format!("{}-xyz", "a".repeat(62));
        assert_eq!(names(&pod(&name, json!({"containers": []})), "c").unwrap().0, "a".repeat(62));
    }

    #[test]
    fn the_file_names_the_pod_and_the_aliases() {
        let aliases = [HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["foo".into(), "bar".into()]) }];
        let text = managed(&["10.0.0.2".into()], "h", "s.ns.svc.c", &aliases);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with(
            "fe00::2\tip6-allrouters\n10.0.0.2\th.s.ns.svc.c\th\n\n# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n"
        ));
    }
}
