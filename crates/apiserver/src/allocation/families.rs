//! IP families and the pairs of singular and plural fields of a Service. Pure.

use std::net::IpAddr;

use api::field::Path;
use api::status::Status;
use api::value::Value;

use super::{invalid, is_external_name};
use crate::settings::Cidr;

const HEADLESS: &str = "None";

/// Decides `ipFamilyPolicy` and `ipFamilies` where the client left them open.
pub fn fill(service: &mut Value, old: Option<&Value>, range: Cidr) -> Result<(), Status> {
    if is_external_name(service) {
        return Ok(());
    }
    let own = if range.base.is_ipv4() { "IPv4" } else { "IPv6" };
    let selectorless = service.at("spec.selector").as_object().is_none_or(api::value::Map::is_empty);
    let bare = service.str_at("spec.clusterIP") == HEADLESS && selectorless;
    if service.str_at("spec.ipFamilyPolicy").is_empty() {
        let policy = match old.map(|old| old.str_at("spec.ipFamilyPolicy")).filter(|policy| !policy.is_empty()) {
            Some(policy) => policy,
            None if bare => "RequireDualStack",
            None => "SingleStack",
        };
        service.set("spec.ipFamilyPolicy", policy);
    }
    let policy = service.str_at("spec.ipFamilyPolicy").to_owned();
    let mut families: Vec<String> =
        service.array_at("spec.ipFamilies").iter().filter_map(|family| family.as_str().map(str::to_owned)).collect();
    for (at, ip) in service.array_at("spec.clusterIPs").iter().filter_map(Value::as_str).enumerate() {
        let Ok(ip) = ip.parse::<IpAddr>() else { continue };
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        if at >= families.len() {
            if family != own {
                let path = Path::new("spec.clusterIPs");
                let why = format!("{family} is not configured on this cluster");
                return Err(invalid(service, &path.index(at), service.at("spec.clusterIPs").clone(), why));
            }
            families.push(family.to_owned());
        }
    }
    if families.is_empty() {
        families.push(own.to_owned());
    }
    if bare {
        if families.len() < 2 && policy != "SingleStack" {
            families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.to_owned());
        }
    } else {
        if policy == "RequireDualStack" {
            let why = "this cluster is not configured for dual-stack services".to_owned();
            return Err(invalid(service, &Path::new("spec.ipFamilyPolicy"), policy, why));
        }
        if let Some(at) = families.iter().position(|family| family != own) {
            let path = Path::new("spec.ipFamilies");
            let why = "not configured on this cluster".to_owned();
            return Err(invalid(service, &path.index(at), families[at].as_str(), why));
        }
    }
    service.set("spec.ipFamilies", families);
    Ok(())
}

/// A client that sends only `clusterIP`, or clears it, means `clusterIPs` as well.
pub fn normalize_cluster_ips(new: &mut Value, old: Option<&Value>) {
    let ip = new.str_at("spec.clusterIP").to_owned();
    let given = !new.array_at("spec.clusterIPs").is_empty();
    let Some(old) = old else {
        if !ip.is_empty() && !given {
            new.set("spec.clusterIPs", vec![ip]);
        }
        return;
    };
    let (old_ip, old_ips) = (old.str_at("spec.clusterIP"), old.array_at("spec.clusterIPs"));
    if !old_ips.is_empty() && !given && old_ip == ip {
        new.set("spec.clusterIPs", old_ips.to_vec());
    }
    let same = new.array_at("spec.clusterIPs") == old_ips;
    if old_ip != ip && same {
        match ip.is_empty() && !old_ip.is_empty() {
            true => drop(new.remove("spec.clusterIPs")),
            false => new.set("spec.clusterIPs", vec![ip]),
        }
    }
}

/// An update that leaves out what the server had chosen keeps it.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    if !is_external_name(new) && !is_external_name(old) {
        if new.str_at("spec.clusterIP").is_empty() && !old.str_at("spec.clusterIP").is_empty() {
            new.set("spec.clusterIP", old.str_at("spec.clusterIP"));
        }
        if new.array_at("spec.clusterIPs").is_empty() && !old.array_at("spec.clusterIPs").is_empty() {
            new.set("spec.clusterIPs", old.array_at("spec.clusterIPs").to_vec());
        }
    }
    if super::ports::wants(new) && super::ports::wants(old) {
        super::ports::keep(new, old);
    }
    if super::ports::wants_health_check(new)
        && super::ports::wants_health_check(old)
        && new.i64_at("spec.healthCheckNodePort").unwrap_or_default() == 0
    {
        new.set("spec.healthCheckNodePort", old.at("spec.healthCheckNodePort").clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(fields: &[(&str, Value)]) -> Value {
        let mut service = Value::object();
        service.set("metadata.name", "a");
        service.set("spec.type", "ClusterIP");
        for (path, value) in fields {
            service.set(path, value.clone());
        }
        service
    }

    fn range() -> Cidr {
        "10.96.0.0/16".parse().unwrap()
    }

    #[test]
    fn single_stack_is_the_default() {
        let mut one = service(&[]);
        fill(&mut one, None, range()).unwrap();
        assert_eq!(one.str_at("spec.ipFamilyPolicy"), "SingleStack");
        assert_eq!(one.array_at("spec.ipFamilies"), [Value::from("IPv4")]);
    }

    #[test]
    fn headless_without_selector_has_both_families() {
        let mut one = service(&[("spec.clusterIP", "None".into()), ("spec.clusterIPs", vec!["None"].into())]);
        fill(&mut one, None, range()).unwrap();
        assert_eq!(one.array_at("spec.ipFamilies").len(), 2);
    }

    #[test]
    fn dual_stack_can_not_be_required_here() {
        let mut one = service(&[("spec.ipFamilyPolicy", "RequireDualStack".into())]);
        let status = fill(&mut one, None, range()).unwrap_err();
        assert_eq!(
            status.message,
            "Service \"a\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
        );
    }

    #[test]
    fn a_patch_that_clears_the_address_clears_both_fields() {
        let old = service(&[("spec.clusterIP", "10.96.0.5".into()), ("spec.clusterIPs", vec!["10.96.0.5"].into())]);
        let mut new = service(&[("spec.clusterIPs", vec!["10.96.0.5"].into())]);
        normalize_cluster_ips(&mut new, Some(&old));
        assert!(new.at("spec.clusterIPs").is_null());
        keep_allocated(&mut new, &old);
        assert_eq!(new.str_at("spec.clusterIP"), "10.96.0.5");
    }
}
