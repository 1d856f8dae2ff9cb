//! Kubeconfigs with embedded certificates, renewed in their files.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::directory::{Identity, Pki};
use super::{PkiError, file};

/// The name of the cluster in every kubeconfig.
const CLUSTER: &str = "kubernetes";

/// Writes a kubeconfig for one user, readable by its owner only, all at once.
pub fn write(path: &Path, server: &str, ca: &str, certificate: &str, key: &str, name: &str) -> Result<(), PkiError> {
    file::write(path, file::SECRET, text(server, ca, certificate, key, name).as_bytes())
}

/// Sees to it that the kubeconfig at `path` is for that server and user, with a certificate of
/// today's authority that is not due; says whether it was written.
pub fn ensure(path: &Path, server: &str, identity: &Identity, pki: &Pki, now: i64) -> Result<bool, PkiError> {
    let (ca, name) = (pki.ca.to_pem(), identity.common_name.as_str());
    if let Some(content) = file::read(path)? {
        let content = String::from_utf8_lossy(&content);
        let embedded = (field(&content, "client-certificate-data"), field(&content, "client-key-data"));
        if let (Some(certificate), Some(key)) = embedded
            && let Some(good) = pki.still_good(&certificate, &key, identity, now)
            && content == text(server, &ca, &good.certificate_pem, &good.key_pem, name)
        {
            return Ok(false);
        }
    }
    let issued = pki.issue(identity, now)?;
    write(path, server, &ca, &issued.certificate_pem, &issued.key_pem, name)?;
    Ok(true)
}

fn text(server: &str, ca: &str, certificate: &str, key: &str, name: &str) -> String {
    let encode = |pem: &str| STANDARD.encode(pem);
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {ca}\n    server: {server}\n  name: \
         {CLUSTER}\ncontexts:\n- context:\n    cluster: {CLUSTER}\n    user: {name}\n  name: {name}@{CLUSTER}\n\
         current-context: {name}@{CLUSTER}\nkind: Config\nusers:\n- name: {name}\n  user:\n    \
         client-certificate-data: {certificate}\n    client-key-data: {key}\n",
        ca = encode(ca),
        certificate = encode(certificate),
        key = encode(key),
    )
}

/// A base64 field of a kubeconfig as written here.
fn field(content: &str, name: &str) -> Option<Vec<u8>> {
    let mut lines = content.lines().map(str::trim);
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
    STANDARD.decode(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_until_something_is_wrong_with_it() {
        const NOW: i64 = 1_800_000_000;
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&dir.path().join("pki"), NOW).unwrap();
        let path = dir.path().join("admin.conf");
        let admin = Identity::client("kubernetes-admin", &["system:masters"]);
        let ensure = |server: &str, now| ensure(&path, server, &admin, &pki, now).unwrap();
        assert!(ensure("https://127.0.0.1:6443", NOW));
        assert!(!ensure("https://127.0.0.1:6443", NOW + 3600));
        assert!(ensure("https://127.0.0.1:7443", NOW + 3600));
        assert!(ensure("https://127.0.0.1:7443", NOW + 300 * 24 * 3600));
        std::fs::write(&path, "torn").unwrap();
        assert!(ensure("https://127.0.0.1:7443", NOW + 300 * 24 * 3600));
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(content.contains("current-context: kubernetes-admin@kubernetes\n"));
        assert_eq!(field(&content, "certificate-authority-data").unwrap(), pki.ca.to_pem().as_bytes());
    }
}
