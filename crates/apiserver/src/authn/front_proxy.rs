//! Users named by a trusted proxy in headers.
//!
//! Upstream: k8s.io/apiserver/pkg/authentication/request/headerrequest.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::user::UserInfo;
use http::HeaderMap;

use super::Attempt;
use super::x509::{CertificateVerifier, Peer};

/// Which proxies are trusted (`--requestheader-*`) and which headers they set.
pub struct FrontProxy {
    pub authorities: Arc<CertificateVerifier>,
    /// Common names that may act as proxy; empty allows all that the authorities signed.
    pub allowed_names: Vec<String>,
    /// In lower case; the first with a value counts.
    pub username_headers: Vec<String>,
    pub uid_headers: Vec<String>,
    /// In lower case; all values of all of them count.
    pub group_headers: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

// === impl FrontProxy ===

impl FrontProxy {
    /// Upstream's usual headers, for proxies by these authorities.
    pub fn new(authorities: Arc<CertificateVerifier>, allowed_names: Vec<String>) -> FrontProxy {
        let one = |name: &str| vec![name.to_owned()];
        FrontProxy {
            authorities,
            allowed_names,
            username_headers: one("x-remote-user"),
            uid_headers: one("x-remote-uid"),
            group_headers: one("x-remote-group"),
            extra_prefixes: one("x-remote-extra-"),
        }
    }

    /// The user that the headers name. Without a name in them the certificate is not looked at.
    pub(super) fn user(&self, headers: &HeaderMap, peer: &Peer, now: i64) -> Attempt<UserInfo> {
        let name = first(headers, &self.username_headers);
        if name.is_empty() {
            return Ok(None);
        }
        let Some(proxy) = peer.common_name(&self.authorities, now)? else { return Ok(None) };
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&proxy) {
            return Err(format!("x509: subject with cn={proxy} is not in the allowed list"));
        }
        let groups = self.group_headers.iter().flat_map(|header| all(headers, header));
        Ok(Some(UserInfo {
            name,
            uid: first(headers, &self.uid_headers),
            groups: groups.filter(|group| !group.is_empty()).collect(),
            extra: extra(headers, &self.extra_prefixes),
        }))
    }

    /// Takes these headers out of a request, so that nobody behind believes them.
    pub(super) fn clear(&self, headers: &mut HeaderMap) {
        for name in self.username_headers.iter().chain(&self.uid_headers).chain(&self.group_headers) {
            headers.remove(name.as_str());
        }
        remove_prefixed(headers, &self.extra_prefixes);
    }
}

/// Takes the standard headers out, whatever is configured.
pub(super) fn clear_standard(headers: &mut HeaderMap) {
    for name in ["x-remote-user", "x-remote-uid", "x-remote-group"] {
        headers.remove(name);
    }
    remove_prefixed(headers, &["x-remote-extra-"]);
}

pub(super) fn remove_prefixed<P: AsRef<str>>(headers: &mut HeaderMap, prefixes: &[P]) {
    let is_named = |name: &http::HeaderName| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix.as_ref()));
    let names: Vec<_> = headers.keys().filter(|name| is_named(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Extra values by key: what follows the prefix, with `%xx` decoded.
pub(super) fn extra(headers: &HeaderMap, prefixes: &[impl AsRef<str>]) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for prefix in prefixes {
        for (name, value) in headers {
            if let Some(key) = name.as_str().strip_prefix(prefix.as_ref()) {
                extra.entry(unescape(key)).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
            }
        }
    }
    extra
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = String> + 'a {
    headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn first(headers: &HeaderMap, names: &[String]) -> String {
    let values = names.iter().filter_map(|name| all(headers, name).next());
    values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
}

/// Go's `url.PathUnescape`; malformed text stays as it is.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return text.to_owned(),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;
    use crate::pki::key::PrivateKey;
    use crate::pki::usage::Usages;
    use crate::pki::{Authority, Template, der};

    const NOW: i64 = 1_800_000_000;

    fn proxy(authority: &Authority, name: &str) -> Peer {
        let template = Template {
            subject: der::name(name, &[]),
            spki: PrivateKey::generate().unwrap().public().spki(),
            not_before: NOW - 10,
            not_after: NOW + 10,
            usages: Usages::client(),
            ..Template::default()
        };
        Peer::new(vec![CertificateDer::from(authority.issue(&template).unwrap())])
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn names_groups_and_extras_come_from_headers() {
        let authority = Authority::generate("front-proxy-ca", NOW - 100, NOW + 100).unwrap();
        let verifier = CertificateVerifier::new(&authority.to_pem()).unwrap();
        let trusted = FrontProxy::new(verifier, vec!["front-proxy-client".into()]);
        let mut headers = headers(&[
            ("x-remote-user", "bob"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-acme.com%2fproject", "one"),
            ("x-remote-extra-scopes", "x"),
            ("x-remote-extra-scopes", "y"),
            ("accept", "*/*"),
        ]);
        let user = trusted.user(&headers, &proxy(&authority, "front-proxy-client"), NOW).unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str(), user.groups.len()), ("bob", "7", 2));
        assert_eq!(user.extra["acme.com/project"], ["one"]);
        assert_eq!(user.extra["scopes"], ["x", "y"]);
        assert!(trusted.user(&headers, &proxy(&authority, "other"), NOW).unwrap_err().contains("cn=other"));
        let foreign = Authority::generate("front-proxy-ca", NOW - 100, NOW + 100).unwrap();
        assert!(trusted.user(&headers, &proxy(&foreign, "front-proxy-client"), NOW).is_err());
        assert_eq!(trusted.user(&headers, &Peer::default(), NOW).unwrap(), None);
        trusted.clear(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn malformed_escapes_stay() {
        assert_eq!(unescape("a%2Fb"), "a/b");
        assert_eq!(unescape("a%2"), "a%2");
        assert_eq!(unescape("a%zz"), "a%zz");
    }
}
