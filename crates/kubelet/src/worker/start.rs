//! Starts one container: its image, its configuration, itself, its hook. Upstream: `startContainer`.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use client::EventType;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio_util::sync::CancellationToken;

use super::{
    act::{InSandbox, Start},
    kill,
};
use crate::{
    cri::v1,
    images,
    kubelet::Kubelet,
    lifecycle, logs,
    objects::ObjectError,
    plan::{Cause, resize::Amounts},
    pod::{Kind, PodExt},
    runtime::{container, env, hosts, mounts, services},
    status::Waiting,
};

/// Starts it.
///
/// # Errors
/// Why it waits, for its status; events have been sent.
pub(crate) async fn start(
    kubelet: &Kubelet,
    pod: &Arc<Pod>,
    start: &Start<'_>,
    place: &InSandbox<'_>,
    ending: &CancellationToken,
) -> Result<(), Waiting> {
    let own = start.container;
    let name = own.name.as_str();
    let failed =
        |message: &str| kubelet.events.container(pod, name, EventType::Warning, "Failed", format!("Error: {message}"));
    let waiting = |reason: &str, message: &str| {
        failed(message);
        Waiting { reason: reason.to_owned(), message: message.to_owned() }
    };
    let (image_ref, images) = match ending.run_until_cancelled(pull(kubelet, pod, own, place)).await {
        Some(Ok(found)) => found,
        Some(Err(wait)) => {
            failed(&wait.reason);
            return Err(wait);
        }
        None => return Err(Waiting { reason: "ContainerCreating".into(), message: String::new() }),
    };
    let restart_count = restart_count(kubelet, pod, own, place);
    let target = match start.target {
        Some(target) => Some(running_id(place, target).map_err(|error| waiting("CreateContainerConfigError", &error))?),
        None => None,
    };
    let config = configure(kubelet, pod, own, place, Built { image_ref, images, restart_count, target });
    let config = config.await.map_err(|error| waiting("CreateContainerConfigError", &error))?;
    let log_path = Path::new(&place.config.log_directory).join(&config.log_path);
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: place.id.to_owned(),
        config: Some(config),
        sandbox_config: Some(place.config.clone()),
    };
    let id = match kubelet.runtime.create_container(request).await {
        Ok(answer) => answer.container_id,
        Err(error) => return Err(waiting("CreateContainerError", &error.message)),
    };
    kubelet.events.container(pod, name, EventType::Normal, "Created", "Container created");
    if let Err(error) = kubelet.runtime.start_container(v1::StartContainerRequest { container_id: id.clone() }).await {
        return Err(waiting("RunContainerError", &error.message));
    }
    kubelet.events.container(pod, name, EventType::Normal, "Started", "Container started");
    if pod.find_container(name).is_some_and(|(kind, _)| kind != Kind::Ephemeral) {
        kubelet.allocations.actuate(pod.uid(), name, Amounts::of(pod, own));
    }
    link_log(kubelet, pod, name, &id, &log_path);
    post_start(kubelet, pod, own, &id, place).await
}

fn link_log(kubelet: &Kubelet, pod: &Pod, name: &str, id: &str, log: &Path) {
    if !log.exists() {
        return;
    }
    let link = kubelet.config.container_logs_dir.join(logs::link_name(pod.name(), pod.namespace(), name, id));
    if let Err(error) = std::os::unix::fs::symlink(log, &link) {
        tracing::debug!(link = %link.display(), %error, "a link to a log could not be made");
    }
}

async fn post_start(
    kubelet: &Kubelet,
    pod: &Arc<Pod>,
    own: &Container,
    id: &str,
    place: &InSandbox<'_>,
) -> Result<(), Waiting> {
    let Some(hook) = own.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else { return Ok(()) };
    let ip = place.addresses.first().or(kubelet.config.node_ips.first().filter(|_| pod.host_network()));
    let ip = ip.cloned().unwrap_or_default();
    let target = lifecycle::Target { pod, container: own, id, ip: &ip };
    let Err(message) = lifecycle::run(&kubelet.runtime, hook, target, &kubelet.events).await else { return Ok(()) };
    kubelet.events.container(pod, &own.name, EventType::Warning, "FailedPostStartHook", "PostStartHook failed");
    let killed =
        kill::container(kubelet, pod, (id, &own.name), "FailedPostStartHook", Cause::PostStartHook, None).await;
    if let Err(error) = killed {
        tracing::warn!(pod = pod.described(), container = own.name, %error, "a container whose hook failed could not be killed");
    }
    Err(Waiting { reason: "PostStartHookError".into(), message })
}

/// The container's image and those of the image volumes it mounts.
async fn pull(
    kubelet: &Kubelet,
    pod: &Pod,
    own: &Container,
    place: &InSandbox<'_>,
) -> Result<(String, BTreeMap<String, v1::ImageSpec>), Waiting> {
    let now = kubelet.now();
    let mut found = BTreeMap::new();
    let mounted = |name: &str| own.volume_mounts.iter().flatten().any(|mount| mount.name == name);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for (name, source) in volumes.filter_map(|volume| Some((&volume.name, volume.image.as_ref()?))) {
        if !mounted(name) {
            continue;
        }
        let image = source.reference.as_deref().unwrap_or_default();
        let request = images::Request {
            pod,
            container: None,
            image,
            policy: source.pull_policy.as_deref().unwrap_or("IfNotPresent"),
            secrets: place.secrets,
            sandbox: place.config,
        };
        let reference = kubelet.images.ensure(&request, &kubelet.events, now).await?;
        let spec =
            v1::ImageSpec { image: reference, user_specified_image: image.to_owned(), ..v1::ImageSpec::default() };
        found.insert(name.clone(), spec);
    }
    let request = images::Request {
        pod,
        container: Some(&own.name),
        image: own.image.as_deref().unwrap_or_default(),
        policy: own.image_pull_policy.as_deref().unwrap_or("IfNotPresent"),
        secrets: place.secrets,
        sandbox: place.config,
    };
    Ok((kubelet.images.ensure(&request, &kubelet.events, now).await?, found))
}

fn restart_count(kubelet: &Kubelet, pod: &Pod, own: &Container, place: &InSandbox<'_>) -> i32 {
    match place.observed.container(&own.name) {
        Some(before) => before.restart_count + 1,
        None => {
            let logs = kubelet.config.pod_log_dir(pod.namespace(), pod.name(), pod.uid()).join(&own.name);
            container::restarts_by_logs(&logs)
        }
    }
}

fn running_id(place: &InSandbox<'_>, target: &str) -> Result<String, String> {
    let seen = place.observed.container(target).filter(|seen| seen.sandbox == place.id);
    seen.map(|seen| seen.id.clone()).ok_or_else(|| format!("unable to find target container {target}"))
}

struct Built {
    image_ref: String,
    images: BTreeMap<String, v1::ImageSpec>,
    restart_count: i32,
    target: Option<String>,
}

async fn configure(
    kubelet: &Kubelet,
    pod: &Pod,
    own: &Container,
    place: &InSandbox<'_>,
    built: Built,
) -> Result<v1::ContainerConfig, String> {
    let variables = variables(kubelet, pod, own, place).await?;
    let pod_dir = kubelet.config.pod_dir(pod.uid());
    let input = mounts::Input {
        pod_dir: &pod_dir,
        volumes: &kubelet.volumes,
        variables: &variables,
        hosts: hosts_file(kubelet, pod, place)?,
        images: &built.images,
        recursive_read_only: kubelet.recursive_read_only(),
    };
    let mounts = mounts::of(pod, own, &input)?;
    let image_user = kubelet.images.user(&built.image_ref).await.map_err(|error| error.message)?;
    fs::create_dir_all(Path::new(&place.config.log_directory).join(&own.name))
        .map_err(|error| format!("create container log directory for container {} failed: {error}", own.name))?;
    let seccomp_root = kubelet.config.root_dir.join("seccomp");
    container::config(
        pod,
        own,
        container::Parts {
            image_ref: built.image_ref,
            image_user,
            restart_count: built.restart_count,
            variables,
            mounts,
            target: built.target,
            users: users(place),
            security: kubelet.security(&seccomp_root),
            limits: kubelet.limits(),
        },
    )
}

/// Of the sandbox.
fn users(place: &InSandbox<'_>) -> Option<v1::UserNamespace> {
    let context = place.config.linux.as_ref()?.security_context.as_ref()?;
    context.namespace_options.as_ref()?.userns_options.clone()
}

fn hosts_file(kubelet: &Kubelet, pod: &Pod, place: &InSandbox<'_>) -> Result<Option<String>, String> {
    let spec = crate::pod::spec(pod);
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    if pod.host_network() {
        let text = fs::read_to_string("/etc/hosts").map_err(|error| error.to_string())?;
        return Ok(Some(hosts::of_node(&text, aliases)));
    }
    if place.addresses.is_empty() {
        return Ok(None);
    }
    let (hostname, domain) = hosts::names(pod, &kubelet.config.cluster_domain)?;
    Ok(Some(hosts::managed(place.addresses, &hostname, &domain, aliases)))
}

async fn variables(
    kubelet: &Kubelet,
    pod: &Pod,
    own: &Container,
    place: &InSandbox<'_>,
) -> Result<BTreeMap<String, String>, String> {
    if !pod.is_static() && !kubelet.services.has_synced() {
        return Err("services have not yet been read at least once, cannot construct envvars".into());
    }
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let known = kubelet.services.list();
    let services = services::variables(known.iter().map(|service| &service.view), pod.namespace(), links);
    let needs = env::needs(own);
    let objects = kubelet.volumes.objects();
    let (mut config_maps, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for name in needs.config_maps {
        match objects.config_map(pod.namespace(), &name).await {
            Ok(map) => drop(config_maps.insert(name, map)),
            Err(ObjectError::NotFound(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    for name in needs.secrets {
        match objects.secret(pod.namespace(), &name).await {
            Ok(secret) => drop(secrets.insert(name, secret)),
            Err(ObjectError::NotFound(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let addresses: &[String] = if pod.host_network() { &kubelet.config.node_ips } else { place.addresses };
    let sources = env::Sources {
        config_maps: &config_maps,
        secrets: &secrets,
        services: &services,
        node: kubelet.facts(addresses),
        volume: &|name| kubelet.volumes.path(pod, name),
    };
    env::build(pod, own, &sources)
}
