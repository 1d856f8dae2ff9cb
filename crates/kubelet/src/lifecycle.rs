//! Lifecycle hooks: a command, a request or a pause after a container's start and before its stop. Upstream:
//! pkg/kubelet/lifecycle.

use std::time::Duration;

use client::EventType;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use crate::{cri::Runtime, events::Events, pod::PodExt, probes::http::Request};

/// A client that is given no time-out of its own is still not waited for longer.
const HTTP_PATIENCE: Duration = Duration::from_secs(3600);

/// Whose hook it is.
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

/// Runs a hook to its end.
///
/// # Errors
/// Why it failed, for the container's status.
pub async fn run(
    runtime: &Runtime,
    handler: &LifecycleHandler,
    target: Target<'_>,
    events: &Events,
) -> Result<(), String> {
    let whose = format!("for Container {:?} in Pod {:?} failed - error", target.container.name, target.pod.described());
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let shown = command.join(" ");
        return match runtime.exec_sync(target.id, &command, Duration::ZERO).await {
            Ok(answer) if answer.exit_code == 0 => Ok(()),
            Ok(answer) => {
                let output = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
                let code = answer.exit_code;
                Err(format!(
                    "Exec lifecycle hook ([{shown}]) {whose}: command '{shown}' exited with {code}: {output}, message: {output:?}"
                ))
            }
            Err(error) => Err(format!("Exec lifecycle hook ([{shown}]) {whose}: {error}, message: \"\"")),
        };
    }
    if let Some(get) = &handler.http_get {
        let failed = |error: String| {
            format!("HTTP lifecycle hook ({}) {whose}: {error}", get.path.as_deref().unwrap_or_default())
        };
        let request = Request::of_action(get, target.container, target.ip, "lifecycle").map_err(failed)?;
        return call(request, get.scheme.as_deref() == Some("HTTPS"), target.pod, events).await.map_err(failed);
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())).await;
        return Ok(());
    }
    Err("Cannot run handler: invalid handler".into())
}

async fn call(request: Request, https: bool, pod: &Pod, events: &Events) -> Result<(), String> {
    let plain = request.plain();
    let wait = |request: Request| async {
        tokio::time::timeout(HTTP_PATIENCE, request.call()).await.unwrap_or_else(|_| Err("timed out".into()))
    };
    match wait(request).await {
        // A server that speaks plain HTTP answers a TLS handshake with nonsense.
        Err(error) if https && (error.contains("InvalidContentType") || error.contains("corrupt message")) => {
            wait(plain).await?;
            let message = "request to HTTPS lifecycle hook got HTTP response, retry with HTTP succeeded";
            events.pod(pod, EventType::Warning, "LifecycleHTTPFallback", message);
            Ok(())
        }
        answer => answer,
    }
}
