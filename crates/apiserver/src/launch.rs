//! From a directory to a listening server: certificates, identities, kubeconfigs, renewal.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Clock};
use rustls::server::ResolvesServerCert;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::authn::front_proxy::FrontProxy;
use crate::authn::token::{Issuer, KeySet, ServiceAccountTokens};
use crate::authn::x509::CertificateVerifier;
use crate::authn::{self};
use crate::authz::Mode;
use crate::bootstrap::objects::AuthenticationTrust;
use crate::pki::key::{PrivateKey, PublicKey};
use crate::pki::serving::{self, CertResolver};
use crate::pki::{FileCertificate, Identity as CertificateIdentity, Pki, PkiError, ServerNames, kubeconfig, pem};
use crate::serve;
use crate::server::{Datastore, Identity, Server, own_user};
use crate::settings::Settings;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Certificates and keys are made and kept here.
    pub pki: PathBuf,
    pub datastore: Datastore,
    pub bind_address: IpAddr,
    pub settings: Settings,
    pub hostname: String,
    /// Kubeconfigs to be written and kept fresh: file, user, groups.
    pub kubeconfigs: Vec<(PathBuf, String, Vec<String>)>,
    /// The server's URL in them.
    pub public_url: String,
    pub authorization_modes: Vec<Mode>,
    pub provided: Provided,
}

/// Keys and certificates that a server is given beside those of its own; upstream's flags of the same names.
#[derive(Clone, Debug, Default)]
pub struct Provided {
    /// `--tls-cert-file` and `--tls-private-key-file`: what is served with instead of a certificate of the own authority.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `--client-ca-file`: authorities whose client certificates are good as well.
    pub client_ca: Option<PathBuf>,
    /// `--service-account-signing-key-file`: signs service-account tokens instead of the own key.
    pub token_signing_key: Option<PathBuf>,
    /// `--service-account-key-file`: further keys that tokens may be signed with.
    pub token_keys: Vec<PathBuf>,
}

/// A server that listens.
pub struct Running {
    pub server: Server,
    pub address: SocketAddr,
    pub pki: Arc<Pki>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("certificates: {0}")]
    Pki(#[from] PkiError),
    #[error("datastore: {0}")]
    Store(#[from] store::OpenError),
    #[error("{address}: {error}")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("making the first objects: {0}")]
    Seed(#[from] client::ClientError),
}

/// How often certificates are looked at; they are renewed long before they end.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);
const SERVING: &str = "apiserver";

/// Starts a server: it listens when this returns, and is ready once its first objects are made.
///
/// # Errors
/// See [`LaunchError`].
pub async fn launch(config: Config, clock: Arc<dyn Clock>, stop: CancellationToken) -> Result<Running, LaunchError> {
    let now = clock.now().as_second();
    let pki = Arc::new(Pki::open(&config.pki, now)?);
    let resolver = CertResolver::new(&pki, SERVING, names(&config), now)?;
    let kubelet_client = pki.ensure("apiserver-kubelet-client", &CertificateIdentity::kubelet_client(), now)?;
    pki.ensure("front-proxy-client", &CertificateIdentity::front_proxy_client(), now)?;
    write_kubeconfigs(&config, &pki, now)?;

    let address = SocketAddr::new(config.bind_address, config.settings.secure_port);
    let listener = TcpListener::bind(address).await.map_err(|error| LaunchError::Listen { address, error })?;
    let address = listener.local_addr().map_err(|error| LaunchError::Listen { address, error })?;
    let client_ca = client_ca(&config.provided, &pki)?;
    let identity = identity(&config, &pki, &client_ca)?;
    let modes = config.authorization_modes.clone();
    let server =
        Server::open(config.datastore.clone(), config.settings.clone(), identity, clock.clone(), modes).await?;
    server.api.kubelets.set(pki.ca.der(), &kubelet_client)?;

    let tasks = TaskTracker::new();
    let certificate: Arc<dyn ResolvesServerCert> = match &config.provided.tls {
        None => resolver.clone(),
        Some((certificate, key)) => {
            let files = FileCertificate::read_or_make(certificate, key, &names(&config), now)?;
            let (follower, stop) = (files.clone(), stop.clone());
            tasks.spawn(async move { follower.follow(stop).await });
            files
        }
    };
    let mut authorities = pem::certificates(client_ca.as_bytes())?;
    authorities.push(pki.front_proxy_ca.der().to_vec());
    let authorities: Vec<&[u8]> = authorities.iter().map(Vec::as_slice).collect();
    let tls = Arc::new(serving::server_config(certificate, &authorities)?);
    tasks.spawn(serve::serve(listener, tls, server.pipeline.clone(), stop.clone()));
    server.seed(&trust(&pki, client_ca), &stop).await?;
    tasks.spawn(renew(config, pki.clone(), resolver, server.api.clone(), stop.clone()));
    Ok(Running { server, address, pki, stop, tasks })
}

// === impl Running ===

impl Running {
    /// A client within the process, as a user.
    pub fn client(&self, user: api::user::UserInfo) -> Client {
        self.server.client(user)
    }

    /// A client as the server itself.
    pub fn own_client(&self) -> Client {
        self.server.client(own_user())
    }

    /// Waits for the end that the token asks for: connections first, the store last.
    pub async fn finished(self) {
        self.stop.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
        self.server.api.store.close().await;
    }
}

fn names(config: &Config) -> CertificateIdentity {
    let mut ips = vec![config.settings.advertise_address];
    ips.extend(config.settings.service_cluster_ip_range.nth(1));
    if !config.bind_address.is_unspecified() {
        ips.push(config.bind_address);
    }
    CertificateIdentity::api_server(&ServerNames { hostname: config.hostname.clone(), ips, ..ServerNames::default() })
}

/// The authorities whose client certificates are good: the own one, and those given.
fn client_ca(provided: &Provided, pki: &Pki) -> Result<String, PkiError> {
    let given = provided.client_ca.as_deref().map(read).transpose()?.unwrap_or_default();
    Ok(pki.ca.to_pem() + &String::from_utf8_lossy(&given))
}

fn read(path: &Path) -> Result<Vec<u8>, PkiError> {
    std::fs::read(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn identity(config: &Config, pki: &Pki, client_ca: &str) -> Result<Identity, PkiError> {
    let issuer = config.settings.service_account_issuer.clone();
    let signing_key = match &config.provided.token_signing_key {
        Some(path) => PrivateKey::from_pem(&read(path)?)?,
        None => pki.service_account.clone(),
    };
    let mut keys = vec![signing_key.public()];
    for path in &config.provided.token_keys {
        keys.extend(PublicKey::all_from_pem(&read(path)?)?);
    }
    let keys = KeySet::new(keys);
    let proxies = CertificateVerifier::new(&pki.front_proxy_ca.to_pem())?;
    let authentication = authn::Settings {
        client_ca: Some(CertificateVerifier::new(client_ca)?),
        front_proxy: Some(FrontProxy::new(proxies, vec!["front-proxy-client".to_owned()])),
        service_accounts: Some(ServiceAccountTokens {
            issuers: vec![issuer.clone()],
            api_audiences: vec![issuer.clone()],
            keys: keys.clone(),
            legacy: true,
        }),
        bootstrap_tokens: true,
        anonymous: true,
        api_audiences: vec![issuer.clone()],
        ..authn::Settings::default()
    };
    Ok(Identity { authentication, issuer: Issuer::new(issuer, signing_key), keys })
}

fn trust(pki: &Pki, client_ca: String) -> AuthenticationTrust {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    AuthenticationTrust {
        client_ca,
        request_header_ca: pki.front_proxy_ca.to_pem(),
        username_headers: texts(&["X-Remote-User"]),
        uid_headers: texts(&["X-Remote-Uid"]),
        group_headers: texts(&["X-Remote-Group"]),
        extra_header_prefixes: texts(&["X-Remote-Extra-"]),
        allowed_names: texts(&["front-proxy-client"]),
    }
}

fn write_kubeconfigs(config: &Config, pki: &Pki, now: i64) -> Result<(), PkiError> {
    for (path, user, groups) in &config.kubeconfigs {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        kubeconfig::ensure(path, &config.public_url, &CertificateIdentity::client(user, &groups), pki, now)?;
    }
    Ok(())
}

/// Renews what is due, in place: connections and files go on.
async fn renew(config: Config, pki: Arc<Pki>, resolver: Arc<CertResolver>, api: Arc<Api>, stop: CancellationToken) {
    let mut hourly = tokio::time::interval(RENEWAL_CHECK);
    loop {
        tokio::select! {
            _ = hourly.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = api.clock.now().as_second();
        let renewed = resolver
            .renew(&pki, names(&config), now)
            .and_then(|_| pki.ensure("apiserver-kubelet-client", &CertificateIdentity::kubelet_client(), now))
            .and_then(|issued| api.kubelets.set(pki.ca.der(), &issued))
            .and_then(|_| pki.ensure("front-proxy-client", &CertificateIdentity::front_proxy_client(), now))
            .and_then(|_| write_kubeconfigs(&config, &pki, now));
        if let Err(error) = renewed {
            tracing::warn!(%error, "certificates could not be renewed; the old ones are still good");
        }
    }
}
