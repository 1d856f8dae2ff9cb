//! Who a client is by the certificate it presented; the handshake has verified it.

use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// Its name.
    pub username: String,
    /// Its UID, where it has one.
    pub uid: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// What authorizers may want to know besides.
    pub extra: Map<String, Value>,
}

/// The user whom a chain names; none where it names none.
pub fn identify(chain: &[CertificateDer<'_>]) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let subject = certificate.subject();
    // Go takes the last of several common names.
    let username = subject.iter_common_name().filter_map(|name| name.as_str().ok()).last()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    Some(User { username, groups: groups.collect(), ..User::default() })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::an_administrator(Some("admin"), Some("system:masters"), Some("admin"))]
    #[case::somebody(Some("system:serviceaccount:a:b"), None, Some("system:serviceaccount:a:b"))]
    #[case::a_group_alone(None, Some("system:masters"), None)]
    fn by_subject(#[case] user: Option<&str>, #[case] group: Option<&str>, #[case] expected: Option<&str>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(user) = user {
            params.distinguished_name.push(DnType::CommonName, user);
        }
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = identify(&[certificate.der().clone()]);
        let groups: Vec<String> = group.into_iter().map(str::to_owned).collect();
        assert_eq!(found, expected.map(|name| User { username: name.to_owned(), groups, ..User::default() }));
    }

    #[test]
    fn nobody() {
        assert_eq!(identify(&[]), None);
    }
}
