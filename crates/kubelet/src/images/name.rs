//! Names of images: `[host[:port]/]path[:tag][@digest]`. Upstream: distribution/reference.

/// The registry of names without one.
const HOST_DEFAULT: &str = "docker.io";
/// The folder of names without one, there.
const FOLDER_DEFAULT: &str = "library";
const NAME_CHARS_MAX: usize = 255;

/// The name with `:latest` where it has neither tag nor digest, as the spec wrote it otherwise.
///
/// # Errors
/// Where it is none, in upstream's words.
pub fn with_default_tag(image: &str) -> Result<String, String> {
    check(image).map_err(|why| format!("couldn't parse image name {image:?}: {why}"))?;
    let (path, digest) = image.split_once('@').map_or((image, None), |(path, digest)| (path, Some(digest)));
    if digest.is_some() || split_tag(path).1.is_some() {
        return Ok(image.to_owned());
    }
    Ok(format!("{image}:latest"))
}

/// The repository with its registry: what credentials are found by.
pub fn repository(image: &str) -> String {
    let path = image.split('@').next().unwrap_or_default();
    let name = split_tag(path).0;
    match name.split_once('/') {
        Some((host, rest)) if is_host(host) => {
            let host = if host == "index.docker.io" { HOST_DEFAULT } else { host };
            if host == HOST_DEFAULT && !rest.contains('/') {
                format!("{host}/{FOLDER_DEFAULT}/{rest}")
            } else {
                format!("{host}/{rest}")
            }
        }
        Some(_) => format!("{HOST_DEFAULT}/{name}"),
        None => format!("{HOST_DEFAULT}/{FOLDER_DEFAULT}/{name}"),
    }
}

fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.chars().any(char::is_uppercase)
}

fn split_tag(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (path, None),
    }
}

fn check(image: &str) -> Result<(), &'static str> {
    const BAD: &str = "invalid reference format";
    let (path, digest) = image.split_once('@').map_or((image, None), |(path, digest)| (path, Some(digest)));
    let (name, tag) = split_tag(path);
    let components = match name.split_once('/') {
        Some((host, rest)) if is_host(host) => {
            let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
            let good = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if !host.split('.').all(good)
                || port.is_some_and(|port| port.is_empty() || !port.chars().all(|c| c.is_ascii_digit()))
            {
                return Err(BAD);
            }
            rest
        }
        _ => name,
    };
    if components.chars().any(char::is_uppercase) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if components.is_empty() || !components.split('/').all(is_component) {
        return Err(BAD);
    }
    if tag.is_some_and(|tag| !is_tag(tag)) || digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(BAD);
    }
    if name.len() > NAME_CHARS_MAX { Err("repository name must not be more than 255 characters") } else { Ok(()) }
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = part.starts_with(plain) && part.ends_with(plain);
    let separators = part.split(plain).filter(|between| !between.is_empty());
    ends && separators
        .into_iter()
        .all(|between| matches!(between, "." | "_" | "__") || between.chars().all(|c| c == '-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("nginx", Some("nginx:latest"), "docker.io/library/nginx")]
    #[case("nginx:1.2", Some("nginx:1.2"), "docker.io/library/nginx")]
    #[case("a/b", Some("a/b:latest"), "docker.io/a/b")]
    #[case("localhost:5000/x/y__z:t", Some("localhost:5000/x/y__z:t"), "localhost:5000/x/y__z")]
    #[case(
        "r.io/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        Some("r.io/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        "r.io/a"
    )]
    #[case("Bad", None, "docker.io/library/Bad")]
    #[case("a b", None, "docker.io/library/a b")]
    #[case("", None, "docker.io/library/")]
    #[case("x:", None, "docker.io/library/x")]
    #[case("invalid@", None, "docker.io/library/invalid")]
    fn names(#[case] image: &str, #[case] full: Option<&str>, #[case] repo: &str) {
        assert_eq!(with_default_tag(image).ok().as_deref(), full);
        assert_eq!(repository(image), repo);
    }
}
