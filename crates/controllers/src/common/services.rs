//! Which pods stand behind a service, and how they are reached.

use std::net::IpAddr;

use client::informer::index;
use client::{Event, Informer, MetaExt, Object, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::{Container, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;

use super::pods;
use super::selectors::contains;

/// The service's spec, empty where there is none.
pub fn spec(service: &Service) -> &ServiceSpec {
    static EMPTY: std::sync::LazyLock<ServiceSpec> = std::sync::LazyLock::new(ServiceSpec::default);
    service.spec.as_ref().unwrap_or(&EMPTY)
}

/// Whether controllers find the service's endpoints; otherwise its owner gives them, or there are none.
pub fn has_endpoints(service: &Service) -> bool {
    let spec = spec(service);
    spec.type_.as_deref() != Some("ExternalName") && spec.selector.as_ref().is_some_and(|labels| !labels.is_empty())
}

/// Whether the service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    matches!(spec(service).cluster_ip.as_deref(), None | Some("" | "None"))
}

/// Whether the service's selector selects the pod.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    has_endpoints(service) && contains(&pod.metadata.labels, &spec(service).selector)
}

/// The pods that a service selects, by name.
pub fn selected(pods: &Informer<Pod>, service: &Object<Service>) -> Vec<Arc<Object<Pod>>> {
    let mut selected: Vec<Arc<Object<Pod>>> = pods.with(|cache| {
        let in_namespace = cache.indexed(index::NAMESPACE, service.namespace());
        in_namespace.filter(|pod| selects(service, pod)).cloned().collect()
    });
    selected.sort_by(|a, b| a.name().cmp(b.name()));
    selected
}

/// The pod's addresses of one family, in canonical form.
pub fn addresses(pod: &Pod, is_v6: bool) -> Vec<String> {
    let ips = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    let parsed = ips.filter_map(|one| one.ip.parse::<IpAddr>().ok());
    parsed.filter(|ip| ip.is_ipv6() == is_v6).map(|ip| ip.to_string()).collect()
}

/// Whether the pod can be an endpoint at all: it has an address and has not ended.
pub fn is_reachable(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let has_address = status.is_some_and(|status| {
        status.pod_ip.as_ref().is_some_and(|ip| !ip.is_empty())
            || status.pod_ips.as_ref().is_some_and(|ips| !ips.is_empty())
    });
    !pods::is_finished(pod) && has_address
}

/// Whether the pod has a DNS name of its own below the service.
pub fn hostname<'a>(pod: &'a Pod, service: &Service) -> Option<&'a String> {
    let spec = pods::spec(pod);
    let is_below = spec.subdomain.as_deref() == Some(service.name()) && service.namespace() == pod.namespace();
    spec.hostname.as_ref().filter(|name| is_below && !name.is_empty())
}

/// The pod's port that a service's port leads to; none if the pod has no port of that name.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pods::spec(pod);
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let ports = |container: &'_ Container| container.ports.clone().unwrap_or_default();
    let mut all = spec.containers.iter().chain(sidecars).flat_map(ports);
    let found = all.find(|one| one.name.as_ref() == Some(name) && protocol(&one.protocol) == protocol(&port.protocol));
    found.map(|port| port.container_port)
}

/// Puts services into the queue when they change, and when something changes about their pods that shows in endpoints.
pub fn watch(services: &Informer<Service>, pods: &Informer<Pod>, queue: &WorkQueue<ObjectKey>) {
    services.add_index(index::NAMESPACE, index::namespace);
    pods.add_index(index::NAMESPACE, index::namespace);
    super::owners::watch_owners(services, queue);
    let (services, queue) = (services.clone(), queue.clone());
    pods.subscribe(move |event| {
        let now = event.object();
        let before = match event {
            Event::Updated { old, new } if !shows(old, new) => return,
            Event::Updated { old, .. } => Some(old),
            _ => None,
        };
        services.with(|cache| {
            let all = cache.indexed(index::NAMESPACE, now.namespace());
            let concerned =
                all.filter(|service| selects(service, now) || before.is_some_and(|pod| selects(service, pod)));
            concerned.for_each(|service| queue.add(service.key()));
        });
    });
}

/// Whether a change of a pod may change endpoints.
fn shows(old: &Pod, new: &Pod) -> bool {
    let names = |pod: &Pod| (pods::spec(pod).hostname.clone(), pods::spec(pod).subdomain.clone());
    let ips = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ips.clone());
    old.metadata.labels != new.metadata.labels
        || old.metadata.uid != new.metadata.uid
        || old.is_deleting() != new.is_deleting()
        || pods::is_ready(old) != pods::is_ready(new)
        || pods::is_finished(old) != pods::is_finished(new)
        || pods::node_name(old) != pods::node_name(new)
        || names(old) != names(new)
        || ips(old) != ips(new)
}
