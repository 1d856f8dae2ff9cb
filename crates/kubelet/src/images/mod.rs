//! Images: have them on the node before a container starts.
//!
//! One owner: [`Images`]. Pull policy, credentials, back-off and the words of it are upstream's (pkg/kubelet/images).

pub mod archive;
pub mod credentials;
pub mod gc;
pub mod name;
pub mod pause;

use std::{collections::HashMap, sync::Arc, time::Instant};

use client::EventType;
use k8s_openapi::api::core::v1::{Pod, Secret};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    cri::{Runtime, v1},
    events::Events,
    plan::backoff::{Backoffs, go_duration},
    pod::PodExt,
    runtime::security::ImageUser,
    status::Waiting,
};

/// Pulls that may run at a time where nobody says.
const PARALLEL_PULLS_MAX: usize = 16;
/// A runtime that answers so can't reach the registry.
const REGISTRY_UNAVAILABLE: &str = "RegistryUnavailable";
/// A runtime that answers so does not trust the image.
const SIGNATURE_FAILED: &str = "SignatureValidationFailed";

/// The images of one node.
pub struct Images {
    runtime: Runtime,
    pulls: Semaphore,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    backoffs: Backoffs,
    /// The last failure's words by back-off key.
    messages: HashMap<String, String>,
}

/// What is wanted.
pub struct Request<'a> {
    /// For whom.
    pub pod: &'a Pod,
    /// The container, for events; none for an image volume.
    pub container: Option<&'a str>,
    /// As the spec names it.
    pub image: &'a str,
    /// `Always`, `IfNotPresent`, `Never`.
    pub policy: &'a str,
    /// The pod's pull secrets.
    pub secrets: &'a [Arc<Secret>],
    /// The pod's sandbox.
    pub sandbox: &'a v1::PodSandboxConfig,
}

impl Images {
    /// For the images of a runtime. `parallel` pulls at a time; none is the usual number.
    pub fn new(runtime: Runtime, parallel: Option<usize>) -> Self {
        let pulls = Semaphore::new(parallel.unwrap_or(PARALLEL_PULLS_MAX).max(1));
        Images { runtime, pulls, failures: Mutex::default() }
    }

    /// The image's reference in the runtime, pulled where the policy asks for it.
    ///
    /// # Errors
    /// Why the container has to wait, in the words of its status. Events have been sent.
    pub async fn ensure(&self, request: &Request<'_>, events: &Events, now: i64) -> Result<String, Waiting> {
        let tell = |kind, reason: &str, message: &str| match request.container {
            Some(container) => events.container(request.pod, container, kind, reason, message),
            None => events.pod(request.pod, kind, reason, message),
        };
        let wait = |reason: &str, message: String| Waiting { reason: reason.to_owned(), message };
        let image = request.image;
        let full = match name::with_default_tag(image) {
            Ok(full) => full,
            Err(error) => {
                let message = format!("Failed to apply default image tag {image:?}: {error}");
                tell(EventType::Warning, "InspectFailed", &message);
                return Err(wait("InvalidImageName", message));
            }
        };
        if request.policy != "Always" {
            match self.reference(&full).await {
                Ok(Some(reference)) => {
                    let message =
                        format!("Container image {image:?} already present on machine and can be accessed by the pod");
                    tell(EventType::Normal, "Pulled", &message);
                    return Ok(reference);
                }
                Ok(None) if request.policy == "Never" => {
                    let message = format!("Container image {image:?} is not present with pull policy of Never");
                    tell(EventType::Warning, "ErrImageNeverPull", &message);
                    return Err(wait("ErrImageNeverPull", message));
                }
                Ok(None) => {}
                Err(error) => {
                    let message = format!("Failed to inspect image {:?}: {error}", "");
                    tell(EventType::Warning, "InspectFailed", &message);
                    return Err(wait("ImageInspectError", message));
                }
            }
        }
        let key = format!("{}_{image}", request.pod.uid());
        if let Some(message) = self.waits(&key, image, now) {
            tell(EventType::Normal, "BackOff", &format!("Back-off pulling image {image:?}"));
            return Err(wait("ImagePullBackOff", message));
        }
        tell(EventType::Normal, "Pulling", &format!("Pulling image {image:?}"));
        let started = Instant::now();
        match self.pull(request, &full).await {
            Ok((reference, took, size)) => {
                let (took, whole) = (go_duration(millis(took)), go_duration(millis(started.elapsed())));
                let message = format!(
                    "Successfully pulled image {image:?} in {took} ({whole} including waiting). Image size: {size} bytes."
                );
                tell(EventType::Normal, "Pulled", &message);
                Ok(reference)
            }
            Err(error) => {
                // The code of an unknown error adds nothing.
                let words = if error.code == tonic::Code::Unknown { error.message } else { error.to_string() };
                tell(EventType::Warning, "Failed", &format!("Failed to pull image {image:?}: {words}"));
                let waiting = pull_error(image, &words);
                let mut failures = self.failures.lock();
                failures.backoffs.next(&key, now, now);
                failures.messages.insert(key, format!("{}: {}", waiting.reason, waiting.message));
                Err(waiting)
            }
        }
    }

    fn waits(&self, key: &str, image: &str, now: i64) -> Option<String> {
        let mut failures = self.failures.lock();
        if failures.backoffs.left_since_update(key, now).is_none() {
            failures.messages.remove(key);
            return None;
        }
        let message = format!("Back-off pulling image {image:?}");
        Some(match failures.messages.get(key) {
            Some(last) => format!("{message}: {last}"),
            None => message,
        })
    }

    /// When the pod's next try is due, for whoever waits.
    pub fn forget_pod(&self, uid: &str) {
        let mut failures = self.failures.lock();
        failures.backoffs.retain(|key| !key.starts_with(uid));
        failures.messages.retain(|key, _| !key.starts_with(uid));
    }

    async fn pull(
        &self,
        request: &Request<'_>,
        full: &str,
    ) -> Result<(String, std::time::Duration, u64), crate::cri::Error> {
        // The semaphore is never closed.
        let _permit = self.pulls.acquire().await;
        let started = Instant::now();
        let spec = v1::ImageSpec {
            image: full.to_owned(),
            user_specified_image: request.image.to_owned(),
            annotations: request.pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
            ..v1::ImageSpec::default()
        };
        let found = credentials::lookup(request.secrets, &name::repository(full));
        // Each of the pod's credentials in turn; without any, as nobody.
        let tries: Vec<_> = if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() };
        let mut last = None;
        for auth in tries {
            let pull =
                v1::PullImageRequest { image: Some(spec.clone()), auth, sandbox_config: Some(request.sandbox.clone()) };
            match self.runtime.pull_image(pull).await {
                Ok(reference) => {
                    let size = self.status(&reference).await.ok().flatten().map_or(0, |image| image.size);
                    return Ok((reference, started.elapsed(), size));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(crate::cri::Error { code: tonic::Code::Unknown, message: "nothing was tried".into() }))
    }

    async fn status(&self, image: &str) -> Result<Option<v1::Image>, crate::cri::Error> {
        let spec = v1::ImageSpec { image: image.to_owned(), ..v1::ImageSpec::default() };
        Ok(self.runtime.image_status(v1::ImageStatusRequest { image: Some(spec), verbose: false }).await?.image)
    }

    async fn reference(&self, image: &str) -> Result<Option<String>, crate::cri::Error> {
        Ok(self.status(image).await?.map(|image| image.id))
    }

    /// Whom an image runs as.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn user(&self, image: &str) -> Result<ImageUser, crate::cri::Error> {
        Ok(match self.status(image).await? {
            Some(v1::Image { uid: Some(uid), .. }) => ImageUser { uid: Some(uid.value), name: String::new() },
            Some(image) if !image.username.is_empty() => ImageUser { uid: None, name: image.username },
            _ => ImageUser { uid: Some(0), name: String::new() },
        })
    }
}

fn millis(duration: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The runtime's words about a pull as the container's status has them.
fn pull_error(image: &str, error: &str) -> Waiting {
    for (prefix, why) in
        [(REGISTRY_UNAVAILABLE, "the registry is unavailable"), (SIGNATURE_FAILED, "the signature validation failed")]
    {
        if let Some(detail) = error.strip_prefix(prefix) {
            let message = format!("image pull failed for {image} because {why}{detail}");
            return Waiting { reason: prefix.to_owned(), message };
        }
    }
    Waiting { reason: "ErrImagePull".into(), message: error.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_pulls() {
        let plain = pull_error("i", "rpc error: code = NotFound desc = x");
        assert_eq!(
            (plain.reason.as_str(), plain.message.as_str()),
            ("ErrImagePull", "rpc error: code = NotFound desc = x")
        );
        let unavailable = pull_error("i", "RegistryUnavailable: no route");
        assert_eq!(unavailable.message, "image pull failed for i because the registry is unavailable: no route");
    }
}
