//! IP addresses and ranges in API fields.
//!
//! Upstream: `k8s.io/apimachinery/pkg/util/validation/ip.go`, with strict validation (the
//! default since v1.36) for the fields that once took anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::{FieldErrors, Path};

/// Reads an address as Go's old parser did: zeros may lead the parts of an IPv4 address.
pub fn parse_sloppy(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    let (head, tail) = match text.rfind(':') {
        Some(at) => text.split_at(at + 1),
        None => ("", text),
    };
    let stripped: Option<Vec<String>> = tail.split('.').map(without_zeros).collect();
    let stripped = stripped?;
    if stripped.len() != 4 {
        return None;
    }
    format!("{head}{}", stripped.join(".")).parse().ok()
}

fn without_zeros(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let stripped = digits.trim_start_matches('0');
    Some(if stripped.is_empty() { "0" } else { stripped }.to_owned())
}

/// A field that predates strict validation: any valid address but not in a form that others
/// read differently. What the stored object already holds in `old` passes.
pub fn legacy_ip(text: &str, at: &Path<'_>, old: &[&str], errors: &mut FieldErrors) {
    if !old.contains(&text) {
        strict_ip(text, at, errors);
    }
}

/// A field that takes canonical addresses only.
pub fn canonical_ip(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    let ip = strict_ip(text, at, errors);
    if let (Some(ip), false) = (ip, errors.grew_since(before))
        && ip.to_string() != text
    {
        errors.invalid(at, text, format!("must be in canonical form (\"{ip}\")"));
    }
}

fn strict_ip(text: &str, at: &Path<'_>, errors: &mut FieldErrors) -> Option<IpAddr> {
    let Some(ip) = parse_sloppy(text) else {
        errors.invalid(at, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return None;
    };
    if text.parse::<IpAddr>().is_err() {
        errors.invalid(at, text, "must not have leading 0s");
    }
    if is_mapped(ip) {
        errors.invalid(at, text, "must not be an IPv4-mapped IPv6 address");
    }
    Some(ip)
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// The address a range starts from and its prefix length; sloppily like [`parse_sloppy`].
pub fn parse_cidr_sloppy(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, prefix) = text.split_once('/')?;
    let ip = parse_sloppy(ip)?;
    let prefix: u8 = without_zeros(prefix)?.parse().ok()?;
    (prefix <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, prefix))
}

/// A range in a field that predates strict validation.
pub fn legacy_cidr(text: &str, at: &Path<'_>, old: &[&str], errors: &mut FieldErrors) {
    if !old.contains(&text) {
        cidr(text, at, errors);
    }
}

/// A range: no bits beyond the prefix, no leading zeros, nothing mapped.
pub fn cidr(text: &str, at: &Path<'_>, errors: &mut FieldErrors) -> Option<(IpAddr, u8)> {
    let Some((ip, prefix)) = parse_cidr_sloppy(text) else {
        errors.invalid(at, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        return None;
    };
    let (written_ip, written_prefix) = text.split_once('/').unwrap_or_default();
    let zeros = written_ip.parse::<IpAddr>().is_err() || (written_prefix.len() > 1 && written_prefix.starts_with('0'));
    if zeros {
        errors.invalid(at, text, "must not have leading 0s in IP or prefix length");
    } else if is_mapped(ip) {
        errors.invalid(at, text, "must not have an IPv4-mapped IPv6 address");
    } else if masked(ip, prefix) != ip {
        errors.invalid(at, text, "must not have bits set beyond the prefix length");
    }
    Some((ip, prefix))
}

/// A range in canonical form.
pub fn canonical_cidr(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    if let Some((ip, prefix)) = cidr(text, at, errors) {
        let canonical = format!("{ip}/{prefix}");
        if !errors.grew_since(before) && canonical != text {
            errors.invalid(at, text, format!("must be in canonical form (\"{canonical}\")"));
        }
    }
}

/// The address with everything beyond the prefix cleared.
pub fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

/// Whether the second range lies within the first and is smaller.
pub fn is_strict_subset(outer: (IpAddr, u8), inner: (IpAddr, u8)) -> bool {
    let same_family = outer.0.is_ipv4() == inner.0.is_ipv4();
    same_family && inner.1 > outer.1 && masked(inner.0, outer.1) == masked(outer.0, outer.1)
}

/// What the user is told about an address in an odd form.
pub fn ip_warning(text: &str, at: &Path<'_>) -> Option<String> {
    let ip = parse_sloppy(text)?;
    match text.parse::<IpAddr>() {
        Ok(ip) if is_mapped(ip) => {
            let plain = ip.to_canonical();
            Some(format!("{at}: non-standard IP address \"{text}\" is invalid: use \"{plain}\""))
        }
        Ok(ip) if ip.is_ipv6() && ip.to_string() != text => {
            Some(format!("{at}: IPv6 address \"{text}\" should be in RFC 5952 canonical format (\"{ip}\")"))
        }
        Ok(_) => None,
        Err(_) => Some(format!("{at}: non-standard IP address \"{text}\" is invalid: use \"{ip}\"")),
    }
}

/// What the user is told about a range in an odd form.
pub fn cidr_warnings(text: &str, at: &Path<'_>) -> Vec<String> {
    let Some((ip, prefix)) = parse_cidr_sloppy(text) else { return Vec::new() };
    let mut warnings = Vec::new();
    let network = masked(ip, prefix);
    if network != ip {
        warnings.push(format!(
            "{at}: CIDR value \"{text}\" is ambiguous in this context (should be \"{network}/{prefix}\" or \
             \"{ip}/{}\"?)",
            if ip.is_ipv4() { 32 } else { 128 }
        ));
    }
    let (written_ip, written_prefix) = text.split_once('/').unwrap_or_default();
    let zeros = written_ip.parse::<IpAddr>().is_err() || (written_prefix.len() > 1 && written_prefix.starts_with('0'));
    if zeros || is_mapped(ip) {
        warnings.push(format!("{at}: non-standard CIDR value \"{text}\" is invalid: use \"{network}/{prefix}\""));
    } else if warnings.is_empty() && ip.is_ipv6() && written_ip != ip.to_string() {
        warnings.push(format!(
            "{at}: IPv6 CIDR value \"{text}\" should be in RFC 5952 canonical format (\"{network}/{prefix}\")"
        ));
    }
    warnings
}

/// An address that packets can be sent to: of Endpoints, EndpointSlices and external IPs.
pub fn endpoint_ip(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let Some(ip) = parse_sloppy(text) else {
        return errors.invalid(at, text, "must be a valid IP address");
    };
    let ip = ip.to_canonical();
    if ip.is_unspecified() {
        errors.invalid(at, text, format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        errors.invalid(at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (unicast, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
    };
    if unicast {
        errors.invalid(at, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        errors.invalid(at, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Whether two addresses or ranges are one of each family.
pub fn is_dual_stack(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() != b.is_ipv4()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::kinds::testing::said;

    #[rstest]
    #[case("10.0.0.1", "")]
    #[case("010.0.0.1", r#"f: Invalid value: "010.0.0.1": must not have leading 0s"#)]
    #[case("::ffff:1.2.3.4", r#"f: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address"#)]
    #[case("1.2.3", r#"f: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#)]
    #[case("FE80::1", "")]
    fn legacy(#[case] text: &str, #[case] expected: &str) {
        let mut errors = FieldErrors::new();
        legacy_ip(text, &Path::new("f"), &[], &mut errors);
        assert_eq!(said(&errors).join("; "), expected);
    }

    #[rstest]
    #[case("10.0.0.0/8", "")]
    #[case("10.0.0.1/8", r#"f: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length"#)]
    #[case("10.0.0.0/08", r#"f: Invalid value: "10.0.0.0/08": must not have leading 0s in IP or prefix length"#)]
    #[case(
        "10.0.0.0/33",
        r#"f: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#
    )]
    #[case("::/0", "")]
    fn ranges(#[case] text: &str, #[case] expected: &str) {
        let mut errors = FieldErrors::new();
        legacy_cidr(text, &Path::new("f"), &[], &mut errors);
        assert_eq!(said(&errors).join("; "), expected);
    }

    #[rstest]
    #[case("127.0.0.1", "loopback")]
    #[case("169.254.1.1", "link-local range")]
    #[case("224.0.0.7", "multicast")]
    #[case("fe80::1", "link-local range")]
    #[case("0.0.0.0", "unspecified (0.0.0.0)")]
    fn unreachable_endpoints(#[case] text: &str, #[case] expected: &str) {
        let mut errors = FieldErrors::new();
        endpoint_ip(text, &Path::new("f"), &mut errors);
        assert!(said(&errors).join("; ").contains(expected));
    }
}
