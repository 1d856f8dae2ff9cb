//! Formats of names: each function gives what is wrong with a text, nothing where it is right.
//!
//! Upstream: `k8s.io/apimachinery/pkg/util/validation`, `pkg/api/validate/content`.

/// Longest label of DNS (RFC 1123), in bytes.
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest name of DNS (RFC 1123), in bytes.
pub const SUBDOMAIN_BYTES_MAX: usize = 253;
/// Longest name of a port (RFC 6335), in bytes.
const PORT_NAME_BYTES_MAX: usize = 15;

/// What is wrong, in upstream's words; empty and free of allocation where nothing is.
pub type Complaints = Vec<String>;

/// A lowercase RFC 1123 label: `my-name`.
pub fn dns1123_label(value: &str) -> Complaints {
    let mut said = too_long(value, LABEL_BYTES_MAX);
    if !is_label(value) {
        said.push(match is_subdomain(value) {
            true => "must not contain dots".to_owned(),
            false => regex(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            ),
        });
    }
    said
}

/// A lowercase RFC 1123 subdomain: `example.com`.
pub fn dns1123_subdomain(value: &str) -> Complaints {
    let mut said = too_long(value, SUBDOMAIN_BYTES_MAX);
    said.extend(no_subdomain(value));
    said
}

fn no_subdomain(value: &str) -> Complaints {
    let mut said = Vec::new();
    if !is_subdomain(value) {
        said.push(regex(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    said
}

/// A subdomain in letters of either case.
pub fn dns1123_subdomain_caseless(value: &str) -> Complaints {
    let mut said = too_long(value, SUBDOMAIN_BYTES_MAX);
    if !is_subdomain(&value.to_ascii_lowercase()) {
        said.push(regex(
            "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an \
             alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["Example.com"],
        ));
    }
    said
}

/// A subdomain whose labels may start with and hold underscores.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Complaints {
    let mut said = too_long(value, SUBDOMAIN_BYTES_MAX);
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        bounded(label, is_lower, |b| is_lower(b) || b == b'-' || b == b'_')
    };
    if !value.split('.').all(is_label) {
        said.push(regex(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and \
             must start and end with an alphanumeric character",
            r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    said
}

/// A label that starts with a letter: `abc-123`.
pub fn dns1035_label(value: &str) -> Complaints {
    let mut said = too_long(value, LABEL_BYTES_MAX);
    if !(is_label(value) && value.starts_with(|c: char| c.is_ascii_lowercase())) {
        said.push(regex(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    said
}

/// `*.` and a subdomain.
pub fn wildcard_dns1123_subdomain(value: &str) -> Complaints {
    let mut said = too_long(value, SUBDOMAIN_BYTES_MAX);
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        said.push(regex(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist \
             of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    said
}

/// A label key, also called qualified name: `example.com/MyName` or `MyName`.
pub fn label_key(value: &str) -> Complaints {
    const MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                           alphanumeric character";
    const REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let mut said = Vec::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            let message = regex(MESSAGE, REGEX, EXAMPLES);
            said.push(format!(
                "a valid label key {message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return said;
        }
        Some(("", name)) => {
            said.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            let mut complaints = too_many_bytes(prefix, SUBDOMAIN_BYTES_MAX);
            complaints.extend(no_subdomain(prefix));
            said.extend(complaints.into_iter().map(|message| format!("prefix part {message}")));
            name
        }
    };
    if name.is_empty() {
        said.push("name part must be non-empty".to_owned());
    }
    said.extend(too_many_bytes(name, LABEL_BYTES_MAX).into_iter().map(|message| format!("name part {message}")));
    if !is_label_text(name) {
        said.push(format!("name part {}", regex(MESSAGE, REGEX, EXAMPLES)));
    }
    said
}

/// A label key that must have a prefix.
pub fn prefixed_label_key(value: &str) -> Complaints {
    let mut said = label_key(value);
    if said.is_empty() && !value.contains('/') {
        said.push("must include a prefix (e.g. 'example.com/key')".to_owned());
    }
    said
}

/// A label's value: `MyValue`, possibly empty.
pub fn label_value(value: &str) -> Complaints {
    let mut said = too_many_bytes(value, LABEL_BYTES_MAX);
    if !value.is_empty() && !is_label_text(value) {
        said.push(regex(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    said
}

/// A name that is written in a URL's path; `prefix` if more will be appended.
pub fn path_segment(value: &str, prefix: bool) -> Complaints {
    if !prefix && matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    let illegal = ["/", "%"].into_iter().filter(|part| value.contains(part));
    illegal.map(|part| format!("may not contain '{part}'")).collect()
}

/// A port number, 1–65535.
pub fn port_number(port: i64) -> Complaints {
    in_range(port, 1, 65535)
}

/// A number within bounds, both included.
pub fn in_range(value: i64, min: i64, max: i64) -> Complaints {
    if (min..=max).contains(&value) {
        return Vec::new();
    }
    vec![format!("must be between {min} and {max}, inclusive")]
}

/// A Unix user or group ID.
pub fn unix_id(id: i64) -> Complaints {
    in_range(id, 0, i64::from(i32::MAX))
}

/// The name of a port: `http`.
pub fn port_name(value: &str) -> Complaints {
    let mut said = too_long(value, PORT_NAME_BYTES_MAX);
    if value.is_empty() || !value.bytes().all(|b| is_lower(b) || b == b'-') {
        said.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        said.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        said.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        said.push("must not begin or end with a hyphen".to_owned());
    }
    said
}

/// `93%`.
pub fn percent(value: &str) -> Complaints {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![regex("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"])]
}

/// The name of an HTTP header.
pub fn http_header_name(value: &str) -> Complaints {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// The name of an environment variable, as upstream takes it since relaxing the rules.
pub fn relaxed_env_var_name(value: &str) -> Complaints {
    let mut said = Vec::new();
    if value.is_empty() {
        said.push("environment variable name must be non-empty".to_owned());
    }
    if value.bytes().any(|b| !(b' '..=b'~').contains(&b) || b == b'=') {
        said.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    said
}

/// The classic name of an environment variable.
pub fn env_var_name(value: &str) -> Complaints {
    let mut said = Vec::new();
    let is_first = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'-' | b'.' | b'_');
    let mut bytes = value.bytes();
    if !(bytes.next().is_some_and(is_first) && bytes.all(|b| is_first(b) || b.is_ascii_digit())) {
        said.push(regex(
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and \
             must not start with a digit",
            "[-._a-zA-Z][-._a-zA-Z0-9]*",
            &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
        ));
    }
    said.extend(changes_directory(value));
    said
}

/// A key of a ConfigMap or Secret, which becomes a file's name.
pub fn config_map_key(value: &str) -> Complaints {
    let mut said = too_long(value, SUBDOMAIN_BYTES_MAX);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if value.is_empty() || !value.bytes().all(allowed) {
        said.push(regex(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    said.extend(changes_directory(value));
    said
}

/// An identifier of C.
pub fn c_identifier(value: &str) -> Complaints {
    let is_first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let mut bytes = value.bytes();
    if bytes.next().is_some_and(is_first) && bytes.all(|b| is_first(b) || b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![regex(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
         characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// What a format's regular expression being missed sounds like.
pub fn regex(message: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples.iter().map(|one| format!("'{one}'")).collect();
    // Upstream's separator really is ",  or " (each example brings its own comma and space).
    format!("{message} (e.g. {}, regex used for validation is '{regex}')", examples.join(",  or "))
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, of whatever length.
pub fn is_label(value: &str) -> bool {
    bounded(value, is_lower, |b| is_lower(b) || b == b'-')
}

/// Labels joined by dots, of whatever length.
pub fn is_subdomain(value: &str) -> bool {
    value.split('.').all(is_label)
}

fn is_label_text(value: &str) -> bool {
    bounded(value, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Non-empty, with ends of one kind of byte and the inner bytes of another.
fn bounded(value: &str, end: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = value.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => end(*first) && end(*last) && bytes.iter().all(|b| inner(*b)),
        _ => false,
    }
}

fn is_lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn too_long(value: &str, max: usize) -> Complaints {
    if value.len() <= max { Vec::new() } else { vec![format!("must be no more than {max} characters")] }
}

/// What upstream says of labels instead: `content.MaxLenError`.
fn too_many_bytes(value: &str, max: usize) -> Complaints {
    if value.len() <= max { Vec::new() } else { vec![format!("must be no more than {max} bytes")] }
}

fn changes_directory(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::label(dns1123_label("a-1"), &[])]
    #[case::label_dots(dns1123_label("a.b"), &["must not contain dots"])]
    #[case::label_case(dns1123_label("A"), &["a lowercase RFC 1123 label must consist of lower case alphanumeric \
        characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
        used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"])]
    #[case::label_long(dns1123_label(&"a".repeat(64)), &["must be no more than 63 characters"])]
    #[case::key_long(label_key(&format!("{}/{}", "a".repeat(254), "b".repeat(64))),
        &["prefix part must be no more than 253 bytes", "name part must be no more than 63 bytes"])]
    #[case::subdomain(dns1123_subdomain("a.b-c.d"), &[])]
    #[case::rfc1035(dns1035_label("a1"), &[])]
    #[case::key(label_key("example.com/A_b.c"), &[])]
    #[case::key_prefix(label_key("/a"), &["prefix part must be non-empty"])]
    #[case::value(label_value(""), &[])]
    #[case::port(port_number(0), &["must be between 1 and 65535, inclusive"])]
    #[case::port_name(port_name("1"), &["must contain at least one letter (a-z)"])]
    #[case::segment(path_segment("..", false), &["may not be '..'"])]
    #[case::segment_prefix(path_segment("a/%", true), &["may not contain '/'", "may not contain '%'"])]
    #[case::config_key(config_map_key("..a"), &["must not start with '..'"])]
    #[case::env(relaxed_env_var_name("1 a"), &[])]
    #[case::env_equals(relaxed_env_var_name("a=b"),
        &["a valid environment variable name must consist only of printable ASCII characters other than '='"])]
    #[case::percent(percent("10%"), &[])]
    fn complaints(#[case] said: Complaints, #[case] expected: &[&str]) {
        assert_eq!(said, expected);
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in ["", "-", "a-", ".a", "a..b", "ä"] {
            assert!(!dns1123_subdomain(bad).is_empty(), "{bad}");
        }
        assert!(!dns1035_label("1a").is_empty());
        assert!(!percent("%").is_empty());
        assert!(!label_value("a-").is_empty());
        assert!(!wildcard_dns1123_subdomain("*a").is_empty());
    }
}
