//! The directory of a cluster's keys and certificates, in kubeadm's layout.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::certificate::{self, AltNames, Authority, Template};
use super::file::{self, PUBLIC, SECRET};
use super::key::{PrivateKey, PublicKey};
use super::usage::Usages;
use super::{PkiError, der, pem};

/// All that signs in a cluster. What is not in the directory is made when it is opened.
pub struct Pki {
    directory: PathBuf,
    /// `ca.crt`, `ca.key`: signs servers, clients and kubelets.
    pub ca: Arc<Authority>,
    /// `front-proxy-ca.crt`, `front-proxy-ca.key`: signs whom aggregated servers trust to name users.
    pub front_proxy_ca: Authority,
    /// `sa.key`, `sa.pub`: signs service account tokens.
    pub service_account: PrivateKey,
}

/// Whom a certificate is for.
#[derive(Clone, Debug)]
pub struct Identity {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub names: AltNames,
    pub usages: Usages,
    /// Signed by the front proxy's authority instead of the cluster's.
    pub front_proxy: bool,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Issued {
    pub certificate_pem: String,
    pub key_pem: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

/// How an API server is called.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    pub cluster_domain: String,
    pub hostname: String,
    /// The first address of the service range, the advertised address, further ones.
    pub ips: Vec<IpAddr>,
    /// Further DNS names.
    pub extra: Vec<String>,
}

/// Authorities live ten years, as kubeadm's.
const CA_SECONDS: i64 = 10 * 365 * 24 * 3600;
/// Certificates live one year, as kubeadm's; they are renewed after two thirds of it.
const LEAF_SECONDS: i64 = 365 * 24 * 3600;
/// Certificates begin this much early, for clocks that are behind.
const BACKDATE_SECONDS: i64 = 5 * 60;

/// Whether a certificate is to be renewed: two thirds of its life are over (or it has not begun).
pub fn is_due(not_before: i64, not_after: i64, now: i64) -> bool {
    now < not_before || now >= not_before + (not_after - not_before) / 3 * 2
}

// === impl Pki ===

impl Pki {
    /// Loads the directory, or makes in it what is not there.
    ///
    /// # Errors
    /// A file is unreadable or no key or certificate: it is never overwritten then.
    pub fn open(directory: &Path, now: i64) -> Result<Pki, PkiError> {
        let ca = Arc::new(authority(directory, "ca", "kubernetes", now)?);
        let front_proxy_ca = authority(directory, "front-proxy-ca", "front-proxy-ca", now)?;
        let key_path = directory.join("sa.key");
        let service_account = match file::read(&key_path)? {
            Some(text) => PrivateKey::from_pem(&text)?,
            None => {
                let key = PrivateKey::generate()?;
                file::write(&key_path, SECRET, key.to_pem().as_bytes())?;
                key
            }
        };
        let public = service_account.public();
        let public_path = directory.join("sa.pub");
        let known = file::read(&public_path)?.and_then(|text| PublicKey::all_from_pem(&text).ok());
        if known.is_none_or(|keys| keys != [public.clone()]) {
            file::write(&public_path, PUBLIC, public.to_pem().as_bytes())?;
        }
        Ok(Pki { directory: directory.to_owned(), ca, front_proxy_ca, service_account })
    }

    /// The path of a file of this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The certificate `NAME.crt` with `NAME.key`: as it stands there while it fits and is not due,
    /// else a new one, written there.
    pub fn ensure(&self, name: &str, identity: &Identity, now: i64) -> Result<Issued, PkiError> {
        self.ensure_in(&self.directory, name, identity, now)
    }

    /// As [`Pki::ensure`], in another directory: what a machine needs that has no authority of its own.
    pub fn ensure_in(&self, directory: &Path, name: &str, identity: &Identity, now: i64) -> Result<Issued, PkiError> {
        let (crt, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        if let (Some(certificate), Some(key)) = (file::read(&crt)?, file::read(&key)?)
            && let Some(issued) = self.still_good(&certificate, &key, identity, now)
        {
            return Ok(issued);
        }
        let issued = self.issue(identity, now)?;
        file::write(&key, SECRET, issued.key_pem.as_bytes())?;
        file::write(&crt, PUBLIC, issued.certificate_pem.as_bytes())?;
        Ok(issued)
    }

    /// A new certificate and key that are written nowhere.
    pub fn issue(&self, identity: &Identity, now: i64) -> Result<Issued, PkiError> {
        let key = PrivateKey::generate()?;
        let authority = self.authority(identity);
        let (not_before, not_after) = (now - BACKDATE_SECONDS, (now + LEAF_SECONDS).min(authority.not_after()));
        let certificate = authority.issue(&Template {
            subject: identity.subject(),
            spki: key.public().spki(),
            not_before,
            not_after,
            usages: identity.usages.clone(),
            is_ca: false,
            names: identity.names.clone(),
        })?;
        let certificate_pem = pem::encode("CERTIFICATE", &certificate);
        Ok(Issued { certificate_pem, key_pem: key.to_pem(), not_before, not_after })
    }

    /// The certificate if it is the identity's, by today's authority, with its key, and not due.
    pub fn still_good(&self, certificate: &[u8], key: &[u8], identity: &Identity, now: i64) -> Option<Issued> {
        let der = pem::certificates(certificate).ok()?.into_iter().next()?;
        let parsed = certificate::parse(&der).ok()?;
        let authority = certificate::parse(self.authority(identity).der()).ok()?;
        let (not_before, not_after) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let good = parsed.verify_signature(Some(authority.public_key())).is_ok()
            && parsed.public_key().raw == PrivateKey::from_pem(key).ok()?.public().spki()
            && parsed.subject().as_raw() == identity.subject()
            && AltNames::of(&parsed) == identity.names
            && !is_due(not_before, not_after, now);
        good.then(|| Issued {
            certificate_pem: String::from_utf8_lossy(certificate).into_owned(),
            key_pem: String::from_utf8_lossy(key).into_owned(),
            not_before,
            not_after,
        })
    }

    fn authority(&self, identity: &Identity) -> &Authority {
        if identity.front_proxy { &self.front_proxy_ca } else { &self.ca }
    }
}

fn authority(directory: &Path, name: &str, common_name: &str, now: i64) -> Result<Authority, PkiError> {
    let (crt, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
    match (file::read(&crt)?, file::read(&key)?) {
        (Some(certificate), Some(key)) => Authority::from_pem(&certificate, &key),
        (Some(_), None) => Err(PkiError::malformed(format!("{} is there, but not {}", crt.display(), key.display()))),
        // A key alone is what a crash between the two writes leaves.
        (None, _) => {
            let authority = Authority::generate(common_name, now - BACKDATE_SECONDS, now + CA_SECONDS)?;
            file::write(&key, SECRET, authority.key_pem().as_bytes())?;
            file::write(&crt, PUBLIC, authority.to_pem().as_bytes())?;
            Ok(authority)
        }
    }
}

// === impl Identity ===

impl Identity {
    /// A client of the API server: a user and its groups.
    pub fn client(user: &str, groups: &[&str]) -> Identity {
        Identity {
            common_name: user.to_owned(),
            organizations: groups.iter().copied().map(String::from).collect(),
            names: AltNames::default(),
            usages: Usages::client(),
            front_proxy: false,
        }
    }

    /// The certificate with which the API server calls aggregated servers in a user's name.
    pub fn front_proxy_client() -> Identity {
        Identity { front_proxy: true, ..Identity::client("front-proxy-client", &[]) }
    }

    /// The certificate with which the API server calls kubelets.
    pub fn kubelet_client() -> Identity {
        Identity::client("kube-apiserver-kubelet-client", &["system:masters"])
    }

    /// An API server under all its names.
    pub fn api_server(server: &ServerNames) -> Identity {
        let domain = if server.cluster_domain.is_empty() { "cluster.local" } else { &server.cluster_domain };
        let mut dns: Vec<String> =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).into();
        dns.push(format!("kubernetes.default.svc.{domain}"));
        dns.extend([server.hostname.clone(), "localhost".to_owned()]);
        dns.extend(server.extra.iter().cloned());
        dns.retain(|name| !name.is_empty());
        let mut ips = server.ips.clone();
        ips.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])]);
        deduplicate(&mut dns);
        deduplicate(&mut ips);
        let names = AltNames { dns, ips, ..AltNames::default() };
        Identity { names, usages: Usages::server(), ..Identity::client("kube-apiserver", &[]) }
    }

    /// A kubelet's server, whose certificate the API server verifies.
    pub fn kubelet_server(node: &str, ips: &[IpAddr]) -> Identity {
        let names = AltNames { dns: vec![node.to_owned()], ips: ips.to_vec(), ..AltNames::default() };
        let client = Identity::client(&format!("system:node:{node}"), &["system:nodes"]);
        Identity { names, usages: Usages::server(), ..client }
    }

    pub(super) fn subject(&self) -> Vec<u8> {
        let organizations: Vec<&str> = self.organizations.iter().map(String::as_str).collect();
        der::name(&self.common_name, &organizations)
    }
}

fn deduplicate<T: Clone + PartialEq>(items: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::with_capacity(items.len());
    items.retain(|item| {
        let new = !seen.contains(item);
        if new {
            seen.push(item.clone());
        }
        new
    });
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn made_once_and_loaded_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path(), NOW).unwrap();
        let again = Pki::open(dir.path(), NOW + 1).unwrap();
        assert_eq!(first.ca.der(), again.ca.der());
        assert_eq!(first.service_account.public(), again.service_account.public());
        let identity = Identity::kubelet_client();
        let one = first.ensure("apiserver-kubelet-client", &identity, NOW).unwrap();
        let same = again.ensure("apiserver-kubelet-client", &identity, NOW + 100).unwrap();
        assert_eq!(one.certificate_pem, same.certificate_pem);
        let mut files: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let expected = [
            "apiserver-kubelet-client.crt",
            "apiserver-kubelet-client.key",
            "ca.crt",
            "ca.key",
            "front-proxy-ca.crt",
            "front-proxy-ca.key",
            "sa.key",
            "sa.pub",
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn renewed_when_due_or_when_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), NOW).unwrap();
        let names = ServerNames { hostname: "host".into(), ips: vec![[10, 96, 0, 1].into()], ..ServerNames::default() };
        let ensure = |names: &ServerNames, now| {
            pki.ensure("apiserver", &Identity::api_server(names), now).unwrap().certificate_pem
        };
        let first = ensure(&names, NOW);
        assert_eq!(ensure(&names, NOW + LEAF_SECONDS / 2), first);
        let second = ensure(&names, NOW + LEAF_SECONDS * 2 / 3 + 1);
        assert_ne!(second, first);
        let moved = ServerNames { ips: vec![[10, 96, 0, 1].into(), [192, 168, 1, 1].into()], ..names };
        assert_ne!(ensure(&moved, NOW + LEAF_SECONDS), second);
    }

    #[test]
    fn broken_files_are_replaced_only_where_they_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), NOW).unwrap();
        let identity = Identity::front_proxy_client();
        pki.ensure("front-proxy-client", &identity, NOW).unwrap();
        fs::write(dir.path().join("front-proxy-client.crt"), "torn").unwrap();
        let issued = pki.ensure("front-proxy-client", &identity, NOW).unwrap();
        assert!(pki.still_good(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes(), &identity, NOW).is_some());
        fs::write(dir.path().join("ca.key"), "torn").unwrap();
        assert!(Pki::open(dir.path(), NOW).is_err());
        assert_eq!(fs::read(dir.path().join("ca.key")).unwrap(), b"torn");
        fs::remove_file(dir.path().join("ca.key")).unwrap();
        assert!(Pki::open(dir.path(), NOW).is_err());
    }

    #[rstest]
    #[case::fresh(100, false)]
    #[case::before_two_thirds(299, false)]
    #[case::at_two_thirds(300, true)]
    #[case::over(401, true)]
    #[case::not_begun(99, true)]
    fn due(#[case] now: i64, #[case] expected: bool) {
        assert_eq!(is_due(100, 400, now), expected);
    }
}
