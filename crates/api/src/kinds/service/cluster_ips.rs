//! `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`, which depend on each other.

use super::{is_headless, needs_cluster_ip};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::one_of;
use crate::kinds::ip::{legacy_ip, parse_sloppy};
use crate::kinds::read::Read;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");

/// The fields together. The apiserver asks this also while it allocates.
pub fn validate(service: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    if !needs_cluster_ip(service) {
        return;
    }
    let spec = service.at("spec");
    let at = SPEC.child("clusterIPs");
    let ips: Vec<&str> = spec.strings("clusterIPs").collect();
    match (spec.str_at("clusterIP"), ips.first()) {
        ("", Some(_)) => errors.invalid(&at, spec.at("clusterIPs"), "must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => errors.required(&at, ""),
        (single, Some(first)) if single != *first => {
            errors.invalid(&at, spec.at("clusterIPs"), "first value must match `clusterIP`");
        }
        _ => {}
    }
    families(spec, errors);
    if !addresses(spec, &ips, old, errors) {
        return;
    }
    if ips.len() > 1 {
        let parsed: Vec<_> = ips.iter().filter_map(|ip| parse_sloppy(ip)).collect();
        let dual = parsed.iter().any(|ip| ip.is_ipv4()) && parsed.iter().any(|ip| ip.is_ipv6());
        if !dual {
            errors.invalid(&at, spec.at("clusterIPs"), "may specify no more than one IP for each IP family");
        }
    }
    if !is_headless(service) {
        for (index, (ip, family)) in ips.iter().zip(spec.strings("ipFamilies")).enumerate() {
            let is_v6 = parse_sloppy(ip).is_some_and(|ip| ip.is_ipv6());
            if family == "IPv4" && is_v6 || family == "IPv6" && !is_v6 {
                let message = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
                errors.invalid(&at.index(index), *ip, message);
            }
        }
    }
}

fn families(spec: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("ipFamilies");
    let families: Vec<&str> = spec.strings("ipFamilies").collect();
    for (index, family) in families.iter().enumerate() {
        one_of(family, &["IPv4", "IPv6"], &at.index(index), errors);
        if families[..index].contains(family) {
            errors.duplicate(&at.index(index), *family);
        }
    }
    if spec.has("ipFamilyPolicy") {
        const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        one_of(spec.str_at("ipFamilyPolicy"), &POLICIES, &SPEC.child("ipFamilyPolicy"), errors);
    }
}

/// Each address alone; whether it makes sense to go on and compare them.
fn addresses(spec: &Value, ips: &[&str], old: Option<&Value>, errors: &mut FieldErrors) -> bool {
    let at = SPEC.child("clusterIPs");
    let existing: Vec<&str> = old.into_iter().flat_map(|old| old.strings("spec.clusterIPs")).collect();
    let mut sound = true;
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if ips.len() > 1 {
                sound = false;
                errors.invalid(&at, spec.at("clusterIPs"), "'None' must be the first and only value");
            }
            continue;
        }
        let before = errors.len();
        legacy_ip(ip, &at.index(index), &existing, errors);
        sound &= !errors.grew_since(before);
    }
    if ips.len() > 2 {
        errors.invalid(&at, spec.at("clusterIPs"), "may only hold up to 2 values");
    }
    sound
}

/// Addresses and families may be added and removed behind the first, which stays.
pub fn validate_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    if !needs_cluster_ip(new) || !needs_cluster_ip(old) {
        return;
    }
    let (new_headless, old_headless) = (is_headless(new), is_headless(old));
    if !(new_headless && old_headless) {
        changed_addresses(new, old, errors);
    }
    if !new_headless && !old_headless {
        changed_families(new, old, errors);
    }
}

fn changed_addresses(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("clusterIPs");
    let shown = new.at("spec.clusterIPs");
    let now: Vec<&str> = new.strings("spec.clusterIPs").collect();
    let was: Vec<&str> = old.strings("spec.clusterIPs").collect();
    if was.len() == now.len() {
        for (index, (was, now)) in was.iter().zip(&now).enumerate() {
            if was != now {
                errors.invalid(&at.index(index), shown, "may not change once set");
            }
        }
        return;
    }
    if was.len() > now.len() && now.is_empty() {
        errors.invalid(&at.index(0), shown, "primary clusterIP can not be unset");
    }
    if let (Some(was), Some(now)) = (was.first(), now.first())
        && was != now
    {
        errors.invalid(&at.index(0), shown, "may not change once set");
    }
    if was.len() > now.len() && now.len() == 1 {
        single_stack_said(new, "clusterIP", errors);
    }
}

fn changed_families(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let at = SPEC.child("ipFamilies");
    let shown = new.at("spec.ipFamilies");
    let now: Vec<&str> = new.strings("spec.ipFamilies").collect();
    let was: Vec<&str> = old.strings("spec.ipFamilies").collect();
    if was.len() == now.len() {
        for _ in was.iter().zip(&now).filter(|(was, now)| was != now) {
            errors.invalid(&at.index(0), shown, "may not change once set");
        }
        return;
    }
    if was.len() > now.len() && !new.filled("spec.clusterIPs") {
        errors.invalid(&at.index(0), shown, "primary ipFamily can not be unset");
    }
    if let (Some(was), Some(now)) = (was.first(), now.first())
        && was != now
    {
        errors.invalid(&at.index(0), new.at("spec.clusterIPs"), "may not change once set");
    }
    if was.len() > now.len() && now.len() == 1 {
        single_stack_said(new, "ipFamily", errors);
    }
}

fn single_stack_said(new: &Value, released: &str, errors: &mut FieldErrors) {
    if new.str_at("spec.ipFamilyPolicy") != "SingleStack" {
        let message = format!("must be set to 'SingleStack' when releasing the secondary {released}");
        errors.invalid(&SPEC.child("ipFamilyPolicy"), new.at("spec.ipFamilyPolicy"), message);
    }
}
