//! The pull policy that follows from an image's name.
//!
//! Upstream: `pkg/util/parsers`, over the grammar of `github.com/distribution/reference`.

/// `Always` for the tag `latest`, given or implied; `IfNotPresent` otherwise, also for what is
/// no image name at all (validation speaks about that elsewhere).
pub fn default_pull_policy(image: &str) -> &'static str {
    if tag(image) == Some("latest") { "Always" } else { "IfNotPresent" }
}

/// The tag of a well-formed image name; `latest` where there is neither tag nor digest.
fn tag(image: &str) -> Option<&str> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let path_start = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[path_start..].find(':') {
        Some(at) => (&name[..path_start + at], Some(&name[path_start + at + 1..])),
        None => (name, None),
    };
    let well_formed = is_repository(repository) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    match (well_formed, tag, digest) {
        (false, _, _) => None,
        (true, None, None) => Some("latest"),
        (true, tag, _) => tag,
    }
}

fn is_repository(repository: &str) -> bool {
    let path = match repository.split_once('/') {
        Some((domain, path)) if is_domain(domain) => path,
        _ => repository,
    };
    path.split('/').all(is_component)
}

/// The first component names a registry if it can't be a path's.
fn is_domain(component: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    let telling =
        component == "localhost" || component.contains(['.', ':']) || component.bytes().any(|b| b.is_ascii_uppercase());
    telling && component.bytes().all(allowed)
}

/// Lowercase words joined by `.`, `_`, `__` or dashes.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    ends && bytes
        .split(|b| word(*b))
        .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|b| word(*b))
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("nginx", "Always")]
    #[case("nginx:latest", "Always")]
    #[case("localhost:5000/a/b", "Always")]
    #[case("Registry.io:5000/a:1.2", "IfNotPresent")]
    #[case("nginx:1", "IfNotPresent")]
    #[case("nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "IfNotPresent")]
    #[case("nginx:latest@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "Always")]
    #[case("", "IfNotPresent")]
    #[case("Nginx", "IfNotPresent")]
    #[case("a//b", "IfNotPresent")]
    #[case("a__b/c-_d", "IfNotPresent")]
    fn policies(#[case] image: &str, #[case] policy: &str) {
        assert_eq!(default_pull_policy(image), policy);
    }
}
