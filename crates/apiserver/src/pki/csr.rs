//! Certificate requests: reading them, and signing them under a policy.
//!
//! Upstream: pkg/controller/certificates/authority. The controllers' signers call [`sign_csr`].

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::certificate::{AltNames, Authority, Template};
use super::usage::Usages;
use super::{PkiError, pem};

/// What a request asks for; its signature was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub names: AltNames,
    /// The subject, byte for byte.
    pub subject: Vec<u8>,
    /// The public key, byte for byte.
    pub spki: Vec<u8>,
}

/// How a signer signs.
#[derive(Clone, Debug)]
pub struct Profile {
    pub usages: Usages,
    /// How long certificates are valid.
    pub ttl_seconds: i64,
    /// How much earlier than now they begin, for clocks that are behind.
    pub backdate_seconds: i64,
}

/// Upstream's `--cluster-signing-duration`: one year.
pub const TTL_SECONDS: i64 = 365 * 24 * 3600;
/// What upstream's signers backdate by: five minutes.
pub const BACKDATE_SECONDS: i64 = 5 * 60;
/// Certificates shorter than eight hours keep their whole life after now.
const SHORT_SECONDS: i64 = 8 * 3600;

/// Signs a request (DER): subject, key and alternative names as requested, usages and life by the
/// profile, at most as long as the authority lives. Gives the certificate's DER.
///
/// # Errors
/// The request is malformed or not signed by its own key, or the authority is over.
pub fn sign_csr(request: &[u8], authority: &Authority, profile: &Profile, now: i64) -> Result<Vec<u8>, PkiError> {
    let request = CertificateRequest::from_der(request)?;
    if now >= authority.not_after() {
        return Err(PkiError::AuthorityExpired(authority.not_after()));
    }
    let end = if profile.ttl_seconds < SHORT_SECONDS { now } else { now - profile.backdate_seconds };
    authority.issue(&Template {
        subject: request.subject,
        spki: request.spki,
        not_before: now - profile.backdate_seconds,
        not_after: (end + profile.ttl_seconds).min(authority.not_after()),
        usages: profile.usages.clone(),
        is_ca: false,
        names: request.names,
    })
}

// === impl CertificateRequest ===

impl CertificateRequest {
    /// From `spec.request` of a CertificateSigningRequest: one PEM block.
    pub fn parse(text: &[u8]) -> Result<CertificateRequest, PkiError> {
        let block = pem::blocks(text)?.into_iter().next();
        match block {
            Some(block) if block.label == "CERTIFICATE REQUEST" => CertificateRequest::from_der(&block.der),
            _ => Err(PkiError::malformed("PEM block type must be CERTIFICATE REQUEST")),
        }
    }

    pub fn from_der(request: &[u8]) -> Result<CertificateRequest, PkiError> {
        let (_, parsed) = X509CertificationRequest::from_der(request)
            .map_err(|error| PkiError::malformed(format!("unable to parse certificate request: {error}")))?;
        parsed.verify_signature().map_err(|error| PkiError::Signature(error.to_string()))?;
        let info = &parsed.certification_request_info;
        let names = parsed.requested_extensions().and_then(|mut extensions| {
            extensions.find_map(|extension| match extension {
                ParsedExtension::SubjectAlternativeName(names) => Some(AltNames::read(&names.general_names)),
                _ => None,
            })
        });
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().map(String::from).ok();
        Ok(CertificateRequest {
            common_name: info.subject.iter_common_name().filter_map(text).last().unwrap_or_default(),
            organizations: info.subject.iter_organization().filter_map(text).collect(),
            names: names.unwrap_or_default(),
            subject: info.subject.as_raw().to_vec(),
            spki: info.subject_pki.raw.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::certificate::parse;

    fn request(names: &[&str]) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    fn profile(ttl_seconds: i64) -> Profile {
        Profile { usages: Usages::server(), ttl_seconds, backdate_seconds: BACKDATE_SECONDS }
    }

    #[test]
    fn a_kubelets_request_is_signed_as_asked() {
        let authority = Authority::generate("ca", 0, 4_000_000_000).unwrap();
        let request = request(&["n1", "10.0.0.1"]);
        let read = CertificateRequest::from_der(&request).unwrap();
        assert_eq!(
            (read.common_name.as_str(), read.organizations.as_slice()),
            ("system:node:n1", &["system:nodes".to_owned()][..])
        );
        let now = 1_800_000_000;
        let issued = sign_csr(&request, &authority, &profile(TTL_SECONDS), now).unwrap();
        let certificate = parse(&issued).unwrap();
        assert_eq!(certificate.subject().as_raw(), read.subject);
        assert_eq!(AltNames::of(&certificate), read.names);
        assert_eq!(certificate.validity().not_before.timestamp(), now - BACKDATE_SECONDS);
        assert_eq!(certificate.validity().not_after.timestamp(), now + TTL_SECONDS - BACKDATE_SECONDS);
        assert!(certificate.extended_key_usage().unwrap().unwrap().value.server_auth);
    }

    #[test]
    fn short_lives_are_whole_and_none_outlives_the_authority() {
        let authority = Authority::generate("ca", 0, 2_000_000_000).unwrap();
        let end = |ttl, now| {
            let issued = sign_csr(&request(&[]), &authority, &profile(ttl), now).unwrap();
            parse(&issued).unwrap().validity().not_after.timestamp()
        };
        assert_eq!(end(3600, 1_900_000_000), 1_900_003_600);
        assert_eq!(end(TTL_SECONDS, 1_999_999_000), 2_000_000_000);
        let over = sign_csr(&request(&[]), &authority, &profile(3600), 2_000_000_000);
        assert!(matches!(over, Err(PkiError::AuthorityExpired(_))));
    }

    #[test]
    fn a_tampered_request_is_refused() {
        let mut request = request(&["n1"]);
        let at = request.windows(2).position(|two| two == b"n1").unwrap();
        request[at] = b'm';
        assert!(matches!(CertificateRequest::from_der(&request), Err(PkiError::Signature(_))));
        assert!(CertificateRequest::parse(b"junk").is_err());
    }
}
