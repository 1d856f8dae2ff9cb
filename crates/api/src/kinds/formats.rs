//! Judgements of single fields that many kinds share.

use crate::field::{FieldErrors, Path};
use crate::names;
use crate::value::Value;

/// The transport protocols of ports, in the order in which messages name them.
pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub fn dns_label(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    errors.invalid_each(at, text, names::dns1123_label(text));
}

pub fn dns_subdomain(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    errors.invalid_each(at, text, names::dns1123_subdomain(text));
}

pub fn qualified_name(text: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    errors.invalid_each(at, text, names::label_key(text));
}

/// Reports a number with each complaint about it.
pub fn number(value: i64, at: &Path<'_>, complaints: names::Complaints, errors: &mut FieldErrors) {
    for complaint in complaints {
        errors.invalid(at, value, complaint);
    }
}

pub fn port_number(port: i64, at: &Path<'_>, errors: &mut FieldErrors) {
    number(port, at, names::port_number(port), errors);
}

/// A port by number or by name.
pub fn port_number_or_name(port: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match port {
        Value::String(name) => errors.invalid_each(at, name, names::port_name(name)),
        other => port_number(other.as_i64().unwrap_or_default(), at, errors),
    }
}

/// A text out of a closed set; empty is said to be missing.
pub fn required_one_of(text: &str, supported: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    match text {
        "" => errors.required(at, ""),
        text => one_of(text, supported, at, errors),
    }
}

/// A text out of a closed set.
pub fn one_of(text: &str, supported: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    if !supported.contains(&text) {
        errors.not_supported(at, text, supported);
    }
}

/// A domain name of two labels or more, perhaps with a dot at the end.
pub fn fully_qualified_domain_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let complaints = names::dns1123_subdomain(name);
    if !complaints.is_empty() {
        return errors.invalid(at, name, complaints.join(","));
    }
    if !name.contains('.') {
        return errors.invalid(at, name, "should be a domain with at least two segments separated by dots");
    }
    for label in name.split('.') {
        let complaints = names::dns1123_label(label);
        if !complaints.is_empty() {
            return errors.invalid(at, label, complaints.join(","));
        }
    }
}

/// A domain name of three labels or more.
pub fn fully_qualified_name(name: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let complaints = names::dns1123_subdomain(name);
    if !complaints.is_empty() {
        errors.invalid(at, name, complaints.join(","));
    } else if name.split('.').count() < 3 {
        errors.invalid(at, name, "should be a domain with at least three segments separated by dots");
    }
}

/// `acme.io/foo`: a subdomain and a URL path.
pub fn domain_prefixed_path(path: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if path.is_empty() {
        return errors.required(at, "");
    }
    let (host, rest) = match path.split_once('/') {
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => (host, rest),
        _ => {
            return errors.invalid(at, path, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        }
    };
    dns_subdomain(host, at, errors);
    if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
        let complaint = names::regex("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
        errors.invalid(at, rest, complaint);
    }
}
