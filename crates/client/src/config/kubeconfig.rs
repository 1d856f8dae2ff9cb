//! Kubeconfig files: clusters, users, and contexts that join one of each.

use std::path::{Path, PathBuf};

use base64::Engine;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::error::ClientError;
use crate::transport::https::Credentials;
use crate::transport::tls::{Pem, TlsOptions};

/// A kubeconfig file. Fields that nothing here reads are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Kubeconfig {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Config`.
    pub kind: String,
    /// The context that is used unless another is named.
    pub current_context: String,
    /// Servers.
    pub clusters: Vec<NamedCluster>,
    /// Credentials.
    pub users: Vec<NamedUser>,
    /// Pairs of both.
    pub contexts: Vec<NamedContext>,
    /// Where the file is: paths in it are relative to that.
    #[serde(skip)]
    pub directory: PathBuf,
}

/// A cluster under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCluster {
    /// The name.
    pub name: String,
    /// The cluster.
    pub cluster: Cluster,
}

/// A user under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedUser {
    /// The name.
    pub name: String,
    /// The user.
    #[serde(default)]
    pub user: User,
}

/// A context under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedContext {
    /// The name.
    pub name: String,
    /// The context.
    pub context: Context,
}

/// A server and how it is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Cluster {
    /// Its URL.
    pub server: String,
    /// File with the authorities' certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<PathBuf>,
    /// The same inline, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// The name in the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// Trust any server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_tls_verify: bool,
}

/// Credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct User {
    /// File with the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
    /// The same inline, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    /// File with the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// The same inline, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    /// Bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// File with it.
    #[serde(rename = "tokenFile", skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// For basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A cluster, a user, a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the user.
    pub user: String,
    /// The namespace for requests that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

// === impl Kubeconfig ===

impl Kubeconfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ClientError::Request`] if it can't be read or is no kubeconfig.
    pub fn read(path: &Path) -> Result<Kubeconfig, ClientError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ClientError::Request(format!("{}: {error}", path.display())))?;
        let mut config = Kubeconfig::parse(&text)?;
        config.directory = path.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(config)
    }

    /// Reads a text (YAML or JSON).
    ///
    /// # Errors
    /// [`ClientError::Request`] if it is no kubeconfig.
    pub fn parse(text: &str) -> Result<Kubeconfig, ClientError> {
        serde_saphyr::from_str(text).map_err(|error| ClientError::Request(format!("kubeconfig: {error}")))
    }

    /// A file with one cluster, one user and one context, all named `name`.
    pub fn single(name: &str, cluster: Cluster, user: User) -> Kubeconfig {
        Kubeconfig {
            api_version: "v1".into(),
            kind: "Config".into(),
            current_context: name.into(),
            clusters: vec![NamedCluster { name: name.into(), cluster }],
            users: vec![NamedUser { name: name.into(), user }],
            contexts: vec![NamedContext {
                name: name.into(),
                context: Context { cluster: name.into(), user: name.into(), namespace: None },
            }],
            directory: PathBuf::new(),
        }
    }

    /// The file's text (JSON, which is YAML).
    pub fn write(&self) -> String {
        // Structs of strings: nothing that JSON can't express.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The configuration of a context, or of the current one.
    ///
    /// # Errors
    /// [`ClientError::Request`] naming what is missing, or data that is no base64.
    pub fn config(&self, context: Option<&str>) -> Result<Config, ClientError> {
        let name = context.unwrap_or(&self.current_context);
        let missing = |what: &str, name: &str| ClientError::Request(format!("{what} {name:?} does not exist"));
        let context = self.contexts.iter().find(|one| one.name == name).ok_or_else(|| missing("context", name))?;
        let Context { cluster, user, namespace } = &context.context;
        let cluster =
            self.clusters.iter().find(|one| one.name == *cluster).ok_or_else(|| missing("cluster", cluster))?;
        let user = match user.as_str() {
            "" => &User::default(),
            name => &self.users.iter().find(|one| one.name == name).ok_or_else(|| missing("auth info", name))?.user,
        };
        let cluster = &cluster.cluster;
        let certificate = self.pem(&user.client_certificate_data, &user.client_certificate)?;
        let key = self.pem(&user.client_key_data, &user.client_key)?;
        Ok(Config {
            server: cluster.server.trim_end_matches('/').to_owned(),
            tls: TlsOptions {
                authority: self.pem(&cluster.certificate_authority_data, &cluster.certificate_authority)?,
                identity: certificate.zip(key),
                server_name: cluster.tls_server_name.clone().filter(|name| !name.is_empty()),
                insecure: cluster.insecure_skip_tls_verify,
            },
            credentials: self.credentials(user),
            namespace: namespace.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned()),
        })
    }

    /// Inline data goes before a file, as with upstream.
    fn pem(&self, data: &Option<String>, file: &Option<PathBuf>) -> Result<Option<Pem>, ClientError> {
        if let Some(data) = data.as_ref().filter(|data| !data.is_empty()) {
            let text = base64::engine::general_purpose::STANDARD.decode(data.trim());
            return text
                .map(|text| Some(Pem::Inline(text)))
                .map_err(|error| ClientError::Request(format!("kubeconfig: illegal base64 data: {error}")));
        }
        let file = file.as_ref().filter(|file| !file.as_os_str().is_empty());
        Ok(file.map(|file| Pem::File(self.directory.join(file))))
    }

    fn credentials(&self, user: &User) -> Credentials {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(file) = &user.token_file {
            return Credentials::TokenFile(self.directory.join(file));
        }
        match (filled(&user.token), filled(&user.username)) {
            (Some(token), _) => Credentials::Token(token),
            (None, Some(name)) => Credentials::Basic(name, user.password.clone().unwrap_or_default()),
            (None, None) => Credentials::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: v1
kind: Config
current-context: here
preferences: {}
clusters:
- name: c
  cluster: {server: 'https://h:6443/', certificate-authority: ca.pem, extensions: [{name: x, extension: {a: 1}}]}
contexts:
- name: here
  context: {cluster: c, user: u, namespace: shop}
- name: there
  context: {cluster: gone, user: u}
users:
- name: u
  user:
    client-certificate-data: Y2VydA==
    client-key: key.pem
";

    #[test]
    fn a_context_joins_cluster_and_user() {
        let mut file = Kubeconfig::parse(TEXT).unwrap();
        file.directory = "/etc/k".into();
        let config = file.config(None).unwrap();
        assert_eq!((config.server.as_str(), config.namespace.as_str()), ("https://h:6443", "shop"));
        assert_eq!(config.tls.authority, Some(Pem::File("/etc/k/ca.pem".into())));
        assert_eq!(config.tls.identity, Some((Pem::Inline(b"cert".to_vec()), Pem::File("/etc/k/key.pem".into()))));
        let error = file.config(Some("there")).unwrap_err().to_string();
        assert_eq!(error, "cluster \"gone\" does not exist");
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let user = User { token: Some("t".into()), ..User::default() };
        let cluster = Cluster { server: "https://h".into(), ..Cluster::default() };
        let file = Kubeconfig::single("x", cluster, user);
        assert_eq!(Kubeconfig::parse(&file.write()).unwrap(), file);
        assert_eq!(file.config(None).unwrap().credentials, Credentials::Token("t".into()));
    }
}
