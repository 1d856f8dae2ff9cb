//! Where the API server is and who we are: kubeconfig files and the in-cluster environment.

pub mod in_cluster;
pub mod kubeconfig;

pub use self::kubeconfig::Kubeconfig;

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::https::Credentials;
use crate::transport::tls::TlsOptions;

/// What a client needs to reach a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `https://host:port`.
    pub server: String,
    /// Trust and client certificate.
    pub tls: TlsOptions,
    /// Token or password.
    pub credentials: Credentials,
    /// The context's namespace; `default` if it names none.
    pub namespace: String,
}

// === impl Config ===

impl Config {
    /// From a kubeconfig file if one is given, else from the pod's environment: upstream's way for components.
    ///
    /// # Errors
    /// [`ClientError::Request`] saying what is missing or wrong.
    pub fn load(kubeconfig: Option<&std::path::Path>) -> Result<Config, ClientError> {
        match kubeconfig {
            Some(path) => Kubeconfig::read(path)?.config(None),
            None => in_cluster::config(),
        }
    }

    /// A client with this configuration.
    ///
    /// # Errors
    /// [`ClientError::Request`] for a bad URL or unusable TLS files.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::https(&self.server, self.tls.clone(), self.credentials.clone())
    }
}
