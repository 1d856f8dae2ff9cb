//! Client certificates: the common name is the user, the organizations are the groups.
//!
//! Upstream: k8s.io/apiserver/pkg/authentication/request/x509. The handshake proved that the
//! client holds the key; whether the certificate is by our authority, within its life and for
//! clients is judged here, once a connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::user::UserInfo;
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::Oid;

use super::{Attempt, CREDENTIAL_ID, with_authenticated_group};
use crate::authz::quoted_list;
use crate::pki::{PkiError, certificate, pem};

/// The certificates that a client presented with its connection, and what they were found to be.
#[derive(Debug, Default)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    found: Mutex<Option<Found>>,
}

/// A verdict that holds until the certificate ends or the authorities change.
#[derive(Debug)]
struct Found {
    authorities: Arc<CertificateVerifier>,
    not_after: i64,
    user: Option<Arc<UserInfo>>,
}

/// Verifies client certificates against a bundle of authorities.
#[derive(Debug)]
pub struct CertificateVerifier {
    verifier: Arc<dyn ClientCertVerifier>,
    bundle: String,
}

/// `1.3.6.1.4.1.57683.2`: the subject's attribute that holds a user's uid.
const UID: &[u64] = &[1, 3, 6, 1, 4, 1, 57683, 2];

// === impl Peer ===

impl Peer {
    /// The chain as presented, the client's own certificate first.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Peer {
        Peer { chain, found: Mutex::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// The user that the certificate names; `None` without a certificate or a common name.
    pub(super) fn user(&self, authorities: &Arc<CertificateVerifier>, now: i64) -> Attempt<Arc<UserInfo>> {
        let Some(leaf) = self.chain.first() else { return Ok(None) };
        let mut found = self.found.lock();
        if let Some(found) = &*found
            && Arc::ptr_eq(&found.authorities, authorities)
            && now <= found.not_after
        {
            return Ok(found.user.clone());
        }
        let (user, not_after) = authorities.verify(&self.chain, now, |certificate| user_of(leaf, certificate))?;
        let user = user?.map(with_authenticated_group).map(Arc::new);
        *found = Some(Found { authorities: authorities.clone(), not_after, user: user.clone() });
        Ok(user)
    }

    /// The common name, if the certificate is by one of these authorities.
    pub(super) fn common_name(&self, authorities: &CertificateVerifier, now: i64) -> Attempt<String> {
        if self.chain.is_empty() {
            return Ok(None);
        }
        authorities.verify(&self.chain, now, common_name).map(|(name, _)| Some(name))
    }
}

// === impl CertificateVerifier ===

impl CertificateVerifier {
    /// From a PEM bundle of authorities.
    pub fn new(bundle: &str) -> Result<Arc<CertificateVerifier>, PkiError> {
        let mut roots = RootCertStore::empty();
        for der in pem::certificates(bundle.as_bytes())? {
            roots.add(der.into()).map_err(|error| PkiError::malformed(error.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| PkiError::malformed(error.to_string()))?;
        Ok(Arc::new(CertificateVerifier { verifier, bundle: bundle.to_owned() }))
    }

    /// The bundle, as it was given.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// Verifies the chain for clients at a time; gives what `read` makes of the client's
    /// certificate, and until when the verdict holds.
    fn verify<T>(
        &self,
        chain: &[CertificateDer<'static>],
        now: i64,
        read: impl FnOnce(&X509Certificate<'_>) -> T,
    ) -> Result<(T, i64), String> {
        let [leaf, intermediates @ ..] = chain else { return Err("no certificate".into()) };
        let parsed = certificate::parse(leaf).map_err(|error| error.to_string())?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.max(0).unsigned_abs()));
        self.verifier
            .verify_client_cert(leaf, intermediates, at)
            .map_err(|error| format!("verifying certificate {} failed: {error}", identifier(&parsed)))?;
        let ends = chain.iter().filter_map(|der| Some(certificate::parse(der).ok()?.validity().not_after.timestamp()));
        let not_after = ends.min().unwrap_or(now);
        Ok((read(&parsed), not_after))
    }
}

fn identifier(certificate: &X509Certificate<'_>) -> String {
    format!("SN={}", certificate.raw_serial_as_string().to_uppercase())
}

/// Go takes the last of several common names.
fn common_name(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject().iter_common_name();
    names.filter_map(|name| name.as_str().ok()).last().unwrap_or_default().to_owned()
}

fn user_of(leaf: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> Attempt<UserInfo> {
    let name = common_name(certificate);
    if name.is_empty() {
        return Ok(None);
    }
    let groups = certificate.subject().iter_organization().filter_map(|one| one.as_str().ok()).map(String::from);
    let fingerprint = ::ring::digest::digest(&::ring::digest::SHA256, leaf);
    let hex: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={hex}")])]);
    Ok(Some(UserInfo { name, uid: uid(certificate)?, groups: groups.collect(), extra }))
}

fn uid(certificate: &X509Certificate<'_>) -> Result<String, String> {
    // The numbers are an identifier: the first two are in range.
    let Ok(oid) = Oid::from(UID) else { return Ok(String::new()) };
    let mut uids = Vec::new();
    for attribute in certificate.subject().iter_by_oid(&oid) {
        uids.push(attribute.as_str().map_err(|_| "unable to parse UID into a string")?);
    }
    match uids.as_slice() {
        [] => Ok(String::new()),
        [""] => Err("UID cannot be an empty string".into()),
        [uid] => Ok((*uid).to_owned()),
        many => Err(format!("expected 1 UID, but found multiple: {}", quoted_list(many))),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::pki::key::PrivateKey;
    use crate::pki::usage::Usages;
    use crate::pki::{Authority, Template, der};

    const NOW: i64 = 1_800_000_000;

    fn issue(authority: &Authority, subject: Vec<u8>, usages: Usages, life: (i64, i64)) -> Peer {
        let spki = PrivateKey::generate().unwrap().public().spki();
        let (not_before, not_after) = life;
        let template = Template { subject, spki, not_before, not_after, usages, ..Template::default() };
        Peer::new(vec![CertificateDer::from(authority.issue(&template).unwrap())])
    }

    fn authority() -> Authority {
        Authority::generate("kubernetes", NOW - 1000, NOW + 100_000).unwrap()
    }

    #[rstest]
    #[case::valid(Usages::client(), (NOW - 10, NOW + 10), false, true)]
    #[case::without_extended_usages(Usages::default(), (NOW - 10, NOW + 10), false, true)]
    #[case::for_servers(Usages::server(), (NOW - 10, NOW + 10), false, false)]
    #[case::expired(Usages::client(), (NOW - 20, NOW - 10), false, false)]
    #[case::not_begun(Usages::client(), (NOW + 10, NOW + 20), false, false)]
    #[case::by_a_foreign_authority(Usages::client(), (NOW - 10, NOW + 10), true, false)]
    fn certificates(#[case] usages: Usages, #[case] life: (i64, i64), #[case] foreign: bool, #[case] accepted: bool) {
        let (own, other) = (authority(), authority());
        let verifier = CertificateVerifier::new(&own.to_pem()).unwrap();
        let peer = issue(if foreign { &other } else { &own }, der::name("bob", &["dev", "ops"]), usages, life);
        let user = peer.user(&verifier, NOW);
        assert_eq!(user.is_ok(), accepted, "{user:?}");
        if let Ok(user) = user {
            let user = user.unwrap();
            assert_eq!((user.name.as_str(), user.groups.join(",").as_str()), ("bob", "dev,ops,system:authenticated"));
            assert!(user.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
            assert_eq!(user.extra[CREDENTIAL_ID][0].len(), "X509SHA256=".len() + 64);
        }
    }

    #[test]
    fn a_verdict_ends_with_the_certificate_and_with_the_authorities() {
        let own = authority();
        let verifier = CertificateVerifier::new(&own.to_pem()).unwrap();
        let peer = issue(&own, der::name("bob", &[]), Usages::client(), (NOW - 10, NOW + 10));
        let first = peer.user(&verifier, NOW).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &peer.user(&verifier, NOW + 10).unwrap().unwrap()));
        assert!(peer.user(&verifier, NOW + 11).is_err());
        let other = CertificateVerifier::new(&authority().to_pem()).unwrap();
        assert!(peer.user(&other, NOW).is_err());
    }

    #[test]
    fn uids_and_missing_names() {
        let own = authority();
        let verifier = CertificateVerifier::new(&own.to_pem()).unwrap();
        let attribute = |oid: &[u8], text: &str| der::set(vec![der::sequence(&[&der::oid(oid), &der::text(text)])]);
        // 1.3.6.1.4.1.57683.2
        let uid = |text| attribute(&[0x2b, 6, 1, 4, 1, 0x83, 0xc2, 0x53, 2], text);
        let user = |sets: &[&[u8]]| {
            issue(&own, der::sequence(sets), Usages::client(), (NOW - 10, NOW + 10)).user(&verifier, NOW)
        };
        let name = attribute(der::COMMON_NAME, "bob");
        assert_eq!(user(&[&name, &uid("42")]).unwrap().unwrap().uid, "42");
        assert_eq!(user(&[&name, &uid("")]).unwrap_err(), "UID cannot be an empty string");
        assert!(user(&[&name, &uid("1"), &uid("2")]).unwrap_err().starts_with("expected 1 UID"));
        assert_eq!(user(&[&attribute(der::ORGANIZATION, "dev")]).unwrap(), None);
        assert_eq!(Peer::default().user(&verifier, NOW).unwrap(), None);
    }
}
