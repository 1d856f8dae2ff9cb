//! What the control plane's components serve themselves: health and metrics over HTTPS, for those who may by RBAC.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use api::GIT_VERSION;
use apiserver::pki::{FileCertificate, pem};
use clap::Args;
use client::queue::figures::{self, BUCKETS, Durations, Figures};
use client::{Body, Client, resources};
use component::exposition::number;
use component::https::{self, Serving, text};
use component::reviews::Deed;
use component::{Exposition, Reviews, User, process};
use http::{HeaderMap, Method, Response, StatusCode};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_util::sync::CancellationToken;

use super::authorities;
use crate::commands::Error;
use crate::options::hostname;

/// Where and how a component serves; upstream's flags.
#[derive(Args, Clone, Debug)]
pub struct Secure {
    /// The address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// The port to listen on, if it is not the component's usual one; 0: none.
    #[arg(long)]
    secure_port: Option<u16>,
    /// The certificate to serve with; one that it signs itself where not given.
    #[arg(long, requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Authorities that sign clients; those that the API server tells of where not given.
    #[arg(long)]
    client_ca_file: Option<PathBuf>,
    /// Paths that everybody may read.
    #[arg(long, value_delimiter = ',', default_values = ["/healthz", "/readyz", "/livez"])]
    authorization_always_allow_paths: Vec<String>,
    /// Reviews are asked for with `--kubeconfig`.
    #[arg(long, hide = true)]
    authentication_kubeconfig: Option<PathBuf>,
    #[arg(long, hide = true)]
    authorization_kubeconfig: Option<PathBuf>,
}

/// What is told of a component.
struct Told {
    reviews: Reviews,
    open_paths: Vec<String>,
    /// The lease's name.
    component: &'static str,
    leads: Arc<AtomicBool>,
    started_at: i64,
}

// === impl Secure ===

impl Secure {
    /// Serves in the background until `stop`; `leads` says whether the component works.
    ///
    /// # Errors
    /// A file can't be used, or the address not be listened on.
    pub async fn serve(
        &self,
        component: &'static str,
        usual_port: u16,
        client: &Client,
        leads: Arc<AtomicBool>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let port = self.secure_port.unwrap_or(usual_port);
        if port == 0 {
            return Ok(());
        }
        let client_authorities = match &self.client_ca_file {
            Some(path) => authorities(path)?,
            None => told_authorities(client).await,
        };
        let serving = Serving { certificate: self.certificate(&stop)?, client_authorities };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let told = Arc::new(Told {
            reviews: Reviews::new(client.clone()),
            open_paths: self.authorization_always_allow_paths.clone(),
            component,
            leads,
            started_at: i64::try_from(now.as_nanos()).unwrap_or_default(),
        });
        let address = format!("{}:{port}", bracketed(self.bind_address));
        let answer = move |peer: Arc<Option<User>>, request: http::Request<_>| {
            let told = told.clone();
            async move {
                let (head, _) = request.into_parts();
                told.answer((*peer).as_ref(), &head.headers, &head.method, head.uri.path()).await
            }
        };
        let served = https::serve(&address, &serving, stop, answer).await;
        served.map(drop).map_err(|error| format!("{address}: {error}").into())
    }

    fn certificate(&self, stop: &CancellationToken) -> Result<Arc<dyn ResolvesServerCert>, Error> {
        let Some((certificate, key)) = self.tls_cert_file.as_ref().zip(self.tls_private_key_file.as_ref()) else {
            return Ok(Arc::new(own_certificate()?));
        };
        let certificate = FileCertificate::read(certificate, key)?;
        let (follow, stop) = (certificate.clone(), stop.clone());
        tokio::spawn(async move { follow.follow(stop).await });
        Ok(certificate)
    }
}

/// One that lives as long as the process, as upstream's do where there is no directory for them.
fn own_certificate() -> Result<SingleCertAndKey, Error> {
    let key = rcgen::KeyPair::generate()?;
    let params = rcgen::CertificateParams::new(vec![hostname(), "localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let certificate = params.self_signed(&key)?;
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))?;
    Ok(SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

/// The authorities that the API server says sign clients. Where it can't be asked, clients are known by tokens alone, as
/// with upstream's `--authentication-tolerate-lookup-failure`.
async fn told_authorities(client: &Client) -> Vec<Vec<u8>> {
    let maps = client.namespaced(&resources::CONFIG_MAPS, "kube-system");
    let told = async {
        let tree = maps.get("extension-apiserver-authentication").await?.tree()?;
        Ok::<_, Error>(pem::certificates(tree.str_at("data.client-ca-file").as_bytes())?)
    };
    told.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "which authorities sign clients is not known: clients' certificates count for nothing");
        Vec::new()
    })
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

// === impl Told ===

impl Told {
    async fn answer(&self, peer: Option<&User>, headers: &HeaderMap, method: &Method, path: &str) -> Response<Body> {
        if !self.is_open(path)
            && let Err(refused) = self.check(peer, headers, method, path).await
        {
            return refused;
        }
        match path {
            "/healthz" | "/livez" | "/readyz" => text(StatusCode::OK, "ok"),
            "/metrics" => self.metrics().into_response(),
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    /// Whether everybody may read a path; a row that ends in `*` stands for all that begin like it.
    fn is_open(&self, path: &str) -> bool {
        self.open_paths.iter().any(|open| match open.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == open,
        })
    }

    async fn check(
        &self,
        peer: Option<&User>,
        headers: &HeaderMap,
        method: &Method,
        path: &str,
    ) -> Result<(), Response<Body>> {
        let Some(user) = self.reviews.user(peer, headers).await else {
            return Err(text(StatusCode::UNAUTHORIZED, "Unauthorized\n"));
        };
        let verb = method.as_str().to_ascii_lowercase();
        match self.reviews.may(&user, Deed::Path { verb: &verb, path }).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let refusal = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"\n", user.username);
                Err(text(StatusCode::FORBIDDEN, refusal))
            }
            Err(error) => Err(text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))),
        }
    }

    fn metrics(&self) -> Exposition {
        let mut out = Exposition::default();
        process::process(self.started_at, &mut out);
        process::build_info(GIT_VERSION, &mut out);
        out.family(
            "leader_election_master_status",
            "gauge",
            "[ALPHA] Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.",
        );
        out.sample(&[("name", self.component)], f64::from(u8::from(self.leads.load(Ordering::Relaxed))), None);
        queues(&figures::all(), &mut out);
        out
    }
}

/// What happens in the work queues.
fn queues(queues: &[(&'static str, Figures)], out: &mut Exposition) {
    let mut each = |name, kind, help, value: fn(&Figures) -> u64| {
        out.family(name, kind, help);
        for (queue, figures) in queues {
            out.sample(&[("name", queue)], number(value(figures)), None);
        }
    };
    each("workqueue_adds_total", "counter", "[BETA] Total number of adds handled by workqueue", |one| one.adds);
    each("workqueue_depth", "gauge", "[BETA] Current depth of workqueue", |one| one.depth as u64);
    each("workqueue_retries_total", "counter", "[BETA] Total number of retries handled by workqueue", |one| {
        one.retries
    });
    let mut histogram = |name, help, durations: fn(&Figures) -> &Durations| {
        out.family(name, "histogram", help);
        for (queue, figures) in queues {
            let durations = durations(figures);
            out.histogram(&[("name", queue)], &BUCKETS, &durations.counts, durations.count, durations.sum);
        }
    };
    histogram(
        "workqueue_queue_duration_seconds",
        "[BETA] How long in seconds an item stays in workqueue before being requested.",
        |one| &one.wait,
    );
    histogram(
        "workqueue_work_duration_seconds",
        "[BETA] How long in seconds processing an item from workqueue takes.",
        |one| &one.work,
    );
}
