//! Who may use the kubelet's server: the API server and administrators. Their certificates were verified by the
//! handshake; what is said in them is judged here.

use http::StatusCode;
use rustls::pki_types::CertificateDer;

/// The user of the API server's certificate for kubelets, as kubeadm names it.
const API_SERVER: &str = "kube-apiserver-kubelet-client";
/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// Whether whoever presented this chain may go on.
///
/// # Errors
/// 401 without a certificate, 403 with one of somebody else.
pub fn judge(chain: &[CertificateDer<'_>]) -> Result<(), StatusCode> {
    let leaf = chain.first().ok_or(StatusCode::UNAUTHORIZED)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).map_err(|_| StatusCode::UNAUTHORIZED)?;
    let subject = certificate.subject();
    // Go takes the last of several common names.
    let user = subject.iter_common_name().filter_map(|name| name.as_str().ok()).last();
    let is_master = subject.iter_organization().any(|group| group.as_str().is_ok_and(|group| group == MASTERS));
    match user {
        None => Err(StatusCode::UNAUTHORIZED),
        Some(user) if user == API_SERVER || is_master => Ok(()),
        Some(_) => Err(StatusCode::FORBIDDEN),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_api_server(Some(API_SERVER), None, Ok(()))]
    #[case::an_administrator(Some("admin"), Some(MASTERS), Ok(()))]
    #[case::a_pod(Some("system:serviceaccount:a:b"), Some("system:nodes"), Err(StatusCode::FORBIDDEN))]
    #[case::a_group_alone(None, Some(MASTERS), Err(StatusCode::UNAUTHORIZED))]
    fn by_subject(#[case] user: Option<&str>, #[case] group: Option<&str>, #[case] expected: Result<(), StatusCode>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(user) = user {
            params.distinguished_name.push(DnType::CommonName, user);
        }
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(judge(&[certificate.der().clone()]), expected);
    }

    #[test]
    fn nobody() {
        assert_eq!(judge(&[]), Err(StatusCode::UNAUTHORIZED));
    }
}
