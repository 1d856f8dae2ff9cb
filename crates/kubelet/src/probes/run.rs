//! Carries one probe out. Upstream: pkg/kubelet/prober/prober.go and pkg/probe.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use client::EventType;
use k8s_openapi::{
    api::core::v1::{Container, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time::timeout};

use super::{Purpose, http};
use crate::{
    cri::Runtime,
    events::Events,
    plan::{Outcome, backoff::go_duration},
    pod::PodExt,
    runtime::expand::expand,
};

/// Tries of a probe that can't be carried out.
const TRIES: usize = 3;
/// Output kept of a command, in bytes.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Carries probes out.
#[derive(Clone)]
pub struct Runner {
    runtime: Runtime,
}

/// Whom a probe is about.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its container.
    pub container: &'a Container,
    /// The runtime's id.
    pub id: &'a str,
    /// The pod's address.
    pub ip: &'a str,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Result {
    /// Well.
    Success,
    /// Well, with a remark.
    Warning(String),
    /// Not well, with why.
    Failure(String),
    /// It could not be carried out.
    Error(String),
}

impl Runner {
    /// Over a runtime, for commands.
    pub fn new(runtime: Runtime) -> Self {
        Runner { runtime }
    }

    /// Probes and tells of failures; none where it could not be carried out, which does not count.
    pub async fn probe(&self, probe: &Probe, target: Target<'_>, events: &Events, purpose: Purpose) -> Option<Outcome> {
        let mut result = Result::Error(String::new());
        for _ in 0..TRIES {
            result = self.once(probe, target).await;
            if !matches!(result, Result::Error(_)) {
                break;
            }
        }
        let name = &target.container.name;
        let purpose = purpose.as_str();
        let warn =
            |reason: &str, message: String| events.container(target.pod, name, EventType::Warning, reason, message);
        match result {
            Result::Success => Some(Outcome::Success),
            Result::Warning(output) => {
                warn("ProbeWarning", format!("{purpose} probe warning: {output}"));
                Some(Outcome::Success)
            }
            Result::Failure(output) => {
                warn("Unhealthy", format!("{purpose} probe failed: {output}"));
                Some(Outcome::Failure)
            }
            Result::Error(error) => {
                warn("Unhealthy", format!("{purpose} probe errored and resulted in unknown state: {error}"));
                None
            }
        }
    }

    async fn once(&self, probe: &Probe, target: Target<'_>) -> Result {
        let patience = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
        if let Some(exec) = &probe.exec {
            return self.exec(target, exec.command.as_deref().unwrap_or_default(), patience).await;
        }
        if let Some(get) = &probe.http_get {
            return match http::Request::of_action(get, target.container, target.ip, "probe") {
                Ok(request) => request.probe(patience).await,
                Err(error) => Result::Error(error),
            };
        }
        if let Some(socket) = &probe.tcp_socket {
            let host = socket.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(target.ip);
            return match port(&socket.port, target.container) {
                Ok(port) => tcp(host, port, patience).await,
                Err(error) => Result::Error(error),
            };
        }
        if let Some(grpc) = &probe.grpc {
            return check_health(target.ip, grpc.port, grpc.service.clone().unwrap_or_default(), patience).await;
        }
        Result::Error(format!("missing probe handler for {}:{}", target.pod.described(), target.container.name))
    }

    async fn exec(&self, target: Target<'_>, command: &[String], patience: Duration) -> Result {
        let variables: BTreeMap<&str, &str> = target
            .container
            .env
            .iter()
            .flatten()
            .map(|variable| (variable.name.as_str(), variable.value.as_deref().unwrap_or_default()))
            .collect();
        let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let command: Vec<String> = command.iter().map(|word| expand(word, &lookup)).collect();
        match self.runtime.exec_sync(target.id, &command, patience).await {
            Ok(answer) if answer.exit_code == 0 => Result::Success,
            Ok(answer) => {
                let mut output = [answer.stdout, answer.stderr].concat();
                output.truncate(OUTPUT_BYTES_MAX);
                Result::Failure(String::from_utf8_lossy(&output).into_owned())
            }
            Err(error) if error.code == tonic::Code::DeadlineExceeded => {
                let line = command.join(" ");
                Result::Failure(format!("command timed out: {line:?} timed out after {}", go_duration(patience)))
            }
            Err(error) => Result::Error(error.to_string()),
        }
    }
}

/// A port by number, or by its name among the container's.
///
/// # Errors
/// Where it is neither.
pub fn port(port: &IntOrString, container: &Container) -> std::result::Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let found = ports.find(|port| port.name.as_deref() == Some(name));
            found.ok_or_else(|| format!("port {name:?} not found"))?.container_port
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// `host:port`, with brackets where the host has colons.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Opens a connection in the time given; words as Go's dialer has them.
pub(super) async fn dial(address: &str, patience: Duration) -> std::result::Result<TcpStream, String> {
    let connect = async {
        // Most are addresses already; a name is looked up.
        match address.parse::<SocketAddr>() {
            Ok(address) => TcpStream::connect(address).await,
            Err(_) => TcpStream::connect(address).await,
        }
    };
    match timeout(patience, connect).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {address}: connect: {}", go_error(&error))),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}

/// `connection refused`, as Go writes it, without the number.
fn go_error(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

async fn tcp(host: &str, port: u16, patience: Duration) -> Result {
    match dial(&join(host, port), patience).await {
        Ok(_) => Result::Success,
        Err(error) => Result::Failure(error),
    }
}

async fn check_health(host: &str, port: i32, service: String, patience: Duration) -> Result {
    let Ok(port) = u16::try_from(port) else { return Result::Error(format!("invalid port number: {port}")) };
    let address = join(host, port);
    let shown = go_duration(patience);
    let Ok(endpoint) = tonic::transport::Endpoint::try_from(format!("http://{address}")) else {
        return Result::Error(format!("invalid address {address:?}"));
    };
    let whole = async {
        let endpoint = endpoint
            .user_agent("kube-probe/1.37")
            .unwrap_or_else(|_| tonic::transport::Endpoint::from_static("http://0.0.0.0"));
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| Result::Failure(format!("error: failed to connect service at {address:?}: {error}")))?;
        let request = health::HealthCheckRequest { service };
        health::health_client::HealthClient::new(channel).check(request).await.map_err(|status| {
            Result::Failure(match status.code() {
                tonic::Code::Unimplemented => format!(
                    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                    status.message()
                ),
                _ => format!("error: health rpc probe failed: {}", crate::cri::Error::from(status)),
            })
        })
    };
    match timeout(patience, whole).await {
        Err(_) => Result::Failure(format!(
            "timeout: failed to connect service {address:?} within {shown}: context deadline exceeded"
        )),
        Ok(Err(failure)) => failure,
        Ok(Ok(answer)) => match answer.into_inner().status() {
            health::health_check_response::ServingStatus::Serving => Result::Success,
            other => Result::Failure(format!("service unhealthy (responded with {:?})", other.as_str_name())),
        },
    }
}
