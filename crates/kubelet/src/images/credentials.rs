//! Pull secrets: the docker configurations in them, and whose registry an image is of.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::cri::v1::AuthConfig;

/// The registry of names without one, as configurations name it.
const DEFAULT_REGISTRY: &str = "index.docker.io/v1";

/// All credentials for a repository (`host/path`), the most specific registry first.
pub fn lookup(secrets: &[Arc<Secret>], repository: &str) -> Vec<AuthConfig> {
    let mut found: Vec<(String, AuthConfig)> = secrets.iter().flat_map(|secret| entries(secret)).collect();
    // Longer registries are more specific: upstream looks at them in reverse order of their names.
    found.sort_by(|a, b| b.0.cmp(&a.0));
    let matching: Vec<AuthConfig> =
        found.iter().filter(|(registry, _)| matches(registry, repository)).map(|(_, auth)| auth.clone()).collect();
    if !matching.is_empty() || !repository.starts_with("docker.io/") {
        return matching;
    }
    let default =
        |registry: &str| registry.trim_end_matches('/').starts_with(DEFAULT_REGISTRY) || registry == "index.docker.io";
    found.into_iter().filter(|(registry, _)| default(registry)).map(|(_, auth)| auth).collect()
}

/// The registries of one secret.
fn entries(secret: &Secret) -> Vec<(String, AuthConfig)> {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let (json, nested) = match (data(".dockerconfigjson"), data(".dockercfg")) {
        (Some(json), _) => (json, true),
        (None, Some(json)) => (json, false),
        (None, None) => return Vec::new(),
    };
    let Ok(config) = serde_json::from_slice::<Value>(&json.0) else { return Vec::new() };
    let auths = if nested { &config["auths"] } else { &config };
    let auths = auths.as_object().into_iter().flatten();
    auths.map(|(registry, entry)| (plain(registry), auth(registry, entry))).collect()
}

fn auth(registry: &str, entry: &Value) -> AuthConfig {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    let decoded = STANDARD.decode(text("auth")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some((user, secret)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) {
        username = user.to_owned();
        password = secret.to_owned();
    }
    AuthConfig {
        username,
        password,
        auth: String::new(),
        server_address: plain(registry),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
    }
}

/// Without scheme and the API's version.
fn plain(registry: &str) -> String {
    let host = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    ["/v1", "/v2"].iter().find_map(|version| host.strip_suffix(version)).unwrap_or(host).to_owned()
}

/// `*.example.com/team` against `reg.example.com/team/app`: hosts part by part, paths as prefixes.
fn matches(registry: &str, repository: &str) -> bool {
    let (glob_host, glob_path) = registry.split_once('/').unwrap_or((registry, ""));
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    let (globs, hosts): (Vec<_>, Vec<_>) = (glob_host.split('.').collect(), host.split('.').collect());
    globs.len() == hosts.len()
        && globs.iter().zip(&hosts).all(|(glob, part)| glob_matches(glob, part))
        && path.starts_with(glob_path)
}

fn glob_matches(glob: &str, text: &str) -> bool {
    match glob.split_once('*') {
        None => glob == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob_matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn secret(registries: &[&str]) -> Arc<Secret> {
        let auths: serde_json::Map<String, Value> = registries
            .iter()
            .map(|registry| ((*registry).to_owned(), json!({"auth": STANDARD.encode(format!("user:{registry}"))})))
            .collect();
        let json = STANDARD.encode(json!({"auths": auths}).to_string());
        Arc::new(serde_json::from_value(json!({"metadata": {}, "data": {".dockerconfigjson": json}})).unwrap())
    }

    #[rstest]
    #[case("r.example.com/a/b", &["r.example.com"], 1)]
    #[case("r.example.com/a/b", &["https://r.example.com/v1/"], 1)]
    #[case("r.example.com/a/b", &["*.example.com"], 1)]
    #[case("r.example.com/a/b", &["r.example.com/a", "r.example.com"], 2)]
    #[case("r.example.com/a/b", &["other.example.com", "r.example.com/x"], 0)]
    #[case("r.example.com:5000/a", &["r.example.com"], 0)]
    #[case("docker.io/library/nginx", &["https://index.docker.io/v1/"], 1)]
    fn registries(#[case] repository: &str, #[case] known: &[&str], #[case] count: usize) {
        assert_eq!(lookup(&[secret(known)], repository).len(), count);
    }

    #[test]
    fn the_most_specific_comes_first() {
        let found = lookup(&[secret(&["r.io", "r.io/team"])], "r.io/team/app");
        assert_eq!(found.iter().map(|auth| auth.password.as_str()).collect::<Vec<_>>(), ["r.io/team", "r.io"]);
        assert_eq!(found[0].username, "user");
    }
}
