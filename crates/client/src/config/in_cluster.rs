//! The configuration that every pod finds in its environment and its service account's volume.

use std::path::Path;

use super::Config;
use crate::error::ClientError;
use crate::transport::https::Credentials;
use crate::transport::tls::{Pem, TlsOptions};

/// Where the kubelet mounts the service account.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The configuration of the pod this process runs in.
///
/// # Errors
/// [`ClientError::Request`] if this is no pod.
pub fn config() -> Result<Config, ClientError> {
    from(|name| std::env::var(name).ok(), Path::new(MOUNT))
}

fn from(env: impl Fn(&str) -> Option<String>, mount: &Path) -> Result<Config, ClientError> {
    const NOT_HERE: &str = "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and \
                            KUBERNETES_SERVICE_PORT must be defined";
    let set = |name| env(name).filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (set("KUBERNETES_SERVICE_HOST"), set("KUBERNETES_SERVICE_PORT")) else {
        return Err(ClientError::Request(NOT_HERE.to_owned()));
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let namespace = std::fs::read_to_string(mount.join("namespace")).unwrap_or_default();
    Ok(Config {
        server: format!("https://{host}:{port}"),
        tls: TlsOptions { authority: Some(Pem::File(mount.join("ca.crt"))), ..TlsOptions::default() },
        credentials: Credentials::TokenFile(mount.join("token")),
        namespace: Some(namespace.trim()).filter(|name| !name.is_empty()).unwrap_or("default").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_server() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("namespace"), "shop").unwrap();
        let env = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        };
        let config = from(env, dir.path()).unwrap();
        assert_eq!((config.server.as_str(), config.namespace.as_str()), ("https://[fd00::1]:443", "shop"));
        assert!(from(|_| None, dir.path()).is_err());
    }
}
