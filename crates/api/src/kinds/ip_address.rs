//! IPAddress and ServiceCIDR: the bookkeeping of cluster IPs.

use super::read::Read;
use super::{Rules, StatusRule, Subresource, ip};
use crate::field::{FieldErrors, Path};
use crate::meta::{self, IMMUTABLE, NameRule};
use crate::names;
use crate::value::Value;

const PARENT: Path<'static> = Path::new("spec.parentRef");
const CIDRS: Path<'static> = Path::new("spec.cidrs");

pub const IP_ADDRESS: Rules = Rules {
    name: NameRule::Own(|name, _| {
        let mut errors = FieldErrors::new();
        ip::canonical_ip(name, &Path::ROOT, &mut errors);
        errors.into_iter().map(|error| error.detail).collect()
    }),
    validate: validate_parent,
    validate_update: |new, old, errors| {
        validate_parent(new, errors);
        let field = "spec.parentRef";
        meta::fixed(new.at(field), old.at(field), &PARENT, errors);
    },
    ..Rules::DEFAULT
};

pub const SERVICE_CIDR: Rules = Rules {
    status: StatusRule::Separate,
    validate: |cidr, errors| validate_cidrs(cidr, errors),
    validate_update: validate_cidr_update,
    subresources: &[Subresource {
        prepare: |new, old, _| {
            super::read::copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        ..Subresource::STATUS
    }],
    ..Rules::DEFAULT
};

/// What the address belongs to: a Service, as a rule.
fn validate_parent(address: &Value, errors: &mut FieldErrors) {
    let parent = address.at("spec.parentRef");
    if parent.is_null() {
        return errors.required(&PARENT, "");
    }
    let group = parent.str_at("group");
    if !group.is_empty() {
        errors.invalid_each(&PARENT.child("group"), group, names::dns1123_subdomain(group));
    }
    for field in ["resource", "name", "namespace"] {
        match parent.str_at(field) {
            "" if field == "namespace" => {}
            "" => errors.required(&PARENT.child(field), ""),
            text => errors.invalid_each(&PARENT.child(field), text, names::path_segment(text, false)),
        }
    }
}

fn validate_cidrs(object: &Value, errors: &mut FieldErrors) {
    let cidrs: Vec<&str> = object.strings("spec.cidrs").collect();
    match cidrs.len() {
        0 => return errors.required(&CIDRS, "at least one CIDR required"),
        1 | 2 => {}
        _ => {
            let shown = super::read::as_internal(object.at("spec"), &[("CIDRs", "cidrs", Value::Null)]);
            return errors.invalid(&CIDRS, shown, "may only hold up to 2 values");
        }
    }
    for (index, cidr) in cidrs.iter().enumerate() {
        ip::canonical_cidr(cidr, &CIDRS.index(index), errors);
    }
    if let [first, second] = cidrs[..]
        && let (Some((first, _)), Some((second, _))) = (ip::parse_cidr_sloppy(first), ip::parse_cidr_sloppy(second))
        && !ip::is_dual_stack(first, second)
    {
        let message = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(&CIDRS, object.at("spec.cidrs"), message);
    }
}

/// The one change there may be is a second range, of the other family.
fn validate_cidr_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let cidrs: Vec<&str> = new.strings("spec.cidrs").collect();
    let old: Vec<&str> = old.strings("spec.cidrs").collect();
    if cidrs.len() != old.len() && (cidrs.len(), old.len()) != (2, 1) {
        return errors.invalid(&CIDRS, new.at("spec.cidrs"), IMMUTABLE);
    }
    for (index, (cidr, old)) in cidrs.iter().zip(&old).enumerate() {
        if cidr != old {
            errors.invalid(&CIDRS.index(index), *cidr, IMMUTABLE);
        }
    }
    if cidrs.len() > old.len() {
        validate_cidrs(new, errors);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case("10.0.0.1", json!({"resource": "services", "name": "s", "namespace": "n"}), "")]
    #[case("10.0.0", json!({"resource": "services", "name": "s"}),
        r#"metadata.name: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#)]
    #[case("FD00::1", json!({"resource": "services", "name": "s"}),
        r#"metadata.name: Invalid value: "FD00::1": must be in canonical form ("fd00::1")"#)]
    #[case("10.0.0.1", json!({"resource": "services"}), "spec.parentRef.name: Required value")]
    fn addresses(#[case] name: &str, #[case] parent: serde_json::Value, #[case] expected: &str) {
        let address = object(false, json!({"metadata": {"name": name}, "spec": {"parentRef": parent}}));
        assert_eq!(create(&IP_ADDRESS, false, address).err().unwrap_or_default().join("; "), expected);
    }

    #[rstest]
    #[case(json!(["10.0.0.0/24"]), json!(["10.0.0.0/24", "fd00::/64"]), "")]
    #[case(json!(["10.0.0.0/24"]), json!(["10.0.0.0/24", "10.1.0.0/24"]),
        r#"spec.cidrs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"#)]
    #[case(json!(["10.0.0.0/24"]), json!(["10.1.0.0/24"]),
        r#"spec.cidrs[0]: Invalid value: "10.1.0.0/24": field is immutable"#)]
    #[case(json!(["10.0.0.0/24", "fd00::/64"]), json!(["10.0.0.0/24"]),
        r#"spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable"#)]
    fn ranges(#[case] old: serde_json::Value, #[case] new: serde_json::Value, #[case] expected: &str) {
        let cidr = |cidrs| object(false, json!({"spec": {"cidrs": cidrs}}));
        let said = update(&SERVICE_CIDR, false, cidr(new), cidr(old)).err().unwrap_or_default();
        assert_eq!(said.join("; "), expected);
    }
}
