//! A serving certificate that somebody else keeps in files: read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::certificate::{Authority, Template};
use super::directory::Identity;
use super::key::PrivateKey;
use super::serving::certified_key;
use super::{PkiError, file, pem};

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long a certificate without an authority behind it lives, and how much of that lies in the past.
const SELF_SIGNED_SECONDS: i64 = 365 * 24 * 3600;
const BACKDATE_SECONDS: i64 = 3600;

/// Hands out the certificate that the files held when they were last looked at.
#[derive(Debug)]
pub struct FileCertificate {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

// === impl FileCertificate ===

impl FileCertificate {
    /// Reads `certificate` (a chain, PEM) and `key`.
    ///
    /// # Errors
    /// A file is missing, or not what it should be.
    pub fn read(certificate: &Path, key: &Path) -> Result<Arc<FileCertificate>, PkiError> {
        let current = ArcSwap::from_pointee(load(certificate, key)?);
        Ok(Arc::new(FileCertificate { certificate: certificate.to_owned(), key: key.to_owned(), current }))
    }

    /// As [`FileCertificate::read`]; where there are no files yet, makes a certificate that nobody but itself vouches
    /// for, as upstream's components do.
    ///
    /// # Errors
    /// The files can't be read or written.
    pub fn read_or_make(
        certificate: &Path,
        key: &Path,
        identity: &Identity,
        now: i64,
    ) -> Result<Arc<FileCertificate>, PkiError> {
        if file::read(certificate)?.is_none() || file::read(key)?.is_none() {
            let (not_before, not_after) = (now - BACKDATE_SECONDS, now + SELF_SIGNED_SECONDS);
            let authority = Authority::generate(&format!("{}-ca@{now}", identity.common_name), not_before, not_after)?;
            let own = PrivateKey::generate()?;
            let leaf = authority.issue(&Template {
                subject: identity.subject(),
                spki: own.public().spki(),
                not_before,
                not_after,
                usages: identity.usages.clone(),
                is_ca: false,
                names: identity.names.clone(),
            })?;
            file::write(key, file::SECRET, own.to_pem().as_bytes())?;
            let chain = pem::encode("CERTIFICATE", &leaf) + &authority.to_pem();
            file::write(certificate, file::PUBLIC, chain.as_bytes())?;
        }
        FileCertificate::read(certificate, key)
    }

    /// Looks at the files now and then until `stop`. A pair that can't be used is told, and the old one kept.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        let mut seen = self.changed_at();
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            seen = now;
            if let Err(error) = self.reload() {
                tracing::warn!(%error, "the serving certificate could not be read again; the old one is still used");
            }
        }
    }

    /// Takes what the files hold now.
    ///
    /// # Errors
    /// They can't be used.
    pub fn reload(&self) -> Result<(), PkiError> {
        self.current.store(Arc::new(load(&self.certificate, &self.key)?));
        Ok(())
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok())
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, PkiError> {
    let text = |path: &Path| {
        let content = file::read(path)?.ok_or_else(|| PkiError::malformed(format!("{} is missing", path.display())))?;
        Ok::<_, PkiError>(String::from_utf8_lossy(&content).into_owned())
    };
    certified_key(&text(certificate)?, &text(key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("kubelet.crt"), dir.path().join("kubelet.key"));
        assert!(FileCertificate::read(&certificate, &key).unwrap_err().to_string().contains("kubelet.crt is missing"));
        let identity = Identity::kubelet_server("n1", &["10.0.0.1".parse().unwrap()]);
        let first = FileCertificate::read_or_make(&certificate, &key, &identity, NOW).unwrap();
        let again = FileCertificate::read_or_make(&certificate, &key, &identity, NOW + 10).unwrap();
        assert_eq!(first.current.load().cert, again.current.load().cert);

        std::fs::write(&key, "torn").unwrap();
        assert!(first.reload().is_err());
        assert_eq!(first.current.load().cert, again.current.load().cert, "a bad pair changes nothing");

        std::fs::remove_file(&key).unwrap();
        FileCertificate::read_or_make(&certificate, &key, &identity, NOW).unwrap();
        first.reload().unwrap();
        assert_ne!(first.current.load().cert, again.current.load().cert);
    }
}
