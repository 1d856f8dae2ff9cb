//! The PodSpec as a whole, in pods and in templates.
//!
//! Upstream: `pkg/apis/core/validation` (`ValidatePodSpec`).

use super::volume::{self, Mountable};
use super::{container, scheduling, security};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{dns_label, dns_subdomain, qualified_name, required_one_of};
use crate::kinds::ip::legacy_ip;
use crate::kinds::read::{Read, is_empty};
use crate::kinds::resources;
use crate::meta;
use crate::names;
use crate::value::Value;

// Limits of libc's resolver.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;
/// Linux' `HOST_NAME_MAX`.
const HOSTNAME_BYTES_MAX: usize = 64;

/// What judging parts of the spec needs to know of the rest.
pub struct Scope<'a> {
    pub volumes: Mountable<'a>,
    pub claims: Vec<&'a str>,
    pub grace_seconds: Option<i64>,
    pub restart_policy: &'a str,
    pub host_users: bool,
}

/// Where the spec stands.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// In a pod, whose metadata this is.
    Pod(&'a Value),
    Template,
}

/// Calls `each` with every container and its path.
pub fn each_container(spec: &Value, at: &Path<'_>, mut each: impl FnMut(&Value, &Path<'_>)) {
    for list in super::defaults::CONTAINER_LISTS {
        for (index, container) in spec.array_at(list).iter().enumerate() {
            each(container, &at.child(list).index(index));
        }
    }
}

pub fn validate(spec: &Value, place: Place<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    if !spec.has("terminationGracePeriodSeconds") {
        errors.required(&at.child("terminationGracePeriodSeconds"), "");
    }
    let pod_name = match place {
        Place::Pod(metadata) => metadata.str_at("name"),
        Place::Template => "",
    };
    let volumes = volume::validate(spec, pod_name, &at.child("volumes"), errors);
    let scope = Scope {
        volumes,
        claims: spec
            .array_at("resourceClaims")
            .iter()
            .map(|claim| claim.str_at("name"))
            .filter(|n| !n.is_empty())
            .collect(),
        grace_seconds: spec.i64_at("terminationGracePeriodSeconds"),
        restart_policy: spec.str_at("restartPolicy"),
        host_users: spec.at("hostUsers").as_bool().unwrap_or(true),
    };
    resource_claims(spec, place, &at.child("resourceClaims"), errors);
    container::containers(spec, &scope, &at.child("containers"), errors);
    container::init_containers(spec, &scope, &at.child("initContainers"), errors);
    container::ephemeral_containers(spec, &scope, &at.child("ephemeralContainers"), errors);
    pod_resources(spec, &scope, at, errors);
    host_network_ports(spec, place, at, errors);
    required_one_of(scope.restart_policy, &["Always", "OnFailure", "Never"], &at.child("restartPolicy"), errors);
    const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_one_of(spec.str_at("dnsPolicy"), &DNS_POLICIES, &at.child("dnsPolicy"), errors);
    meta::labels(spec.at("nodeSelector"), &at.child("nodeSelector"), errors);
    security::pod(spec, &at.child("securityContext"), errors);
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        let message = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&at.child("shareProcessNamespace"), true, message);
    }
    scheduling::affinity(spec.at("affinity"), &at.child("affinity"), errors);
    dns_config(spec, &at.child("dnsConfig"), errors);
    for (index, gate) in spec.array_at("readinessGates").iter().enumerate() {
        qualified_name(
            gate.str_at("conditionType"),
            &at.child("readinessGates").index(index).child("conditionType"),
            errors,
        );
    }
    scheduling::scheduling_gates(spec.array_at("schedulingGates"), &at.child("schedulingGates"), errors);
    let spread = spec.array_at("topologySpreadConstraints");
    scheduling::topology_spread(spread, &at.child("topologySpreadConstraints"), errors);
    security::host_process(spec, at, errors);
    host_users(spec, &scope, at, errors);
    hostname_override(spec, &at.child("hostnameOverride"), errors);
    names_and_numbers(spec, at, errors);
    scheduling::tolerations(spec.array_at("tolerations"), &at.child("tolerations"), errors);
    host_aliases(spec.array_at("hostAliases"), &at.child("hostAliases"), errors);
    classes(spec, at, errors);
    if spec.has("os") {
        security::operating_system(spec, at, errors);
    }
    file_key_volumes(spec, at, errors);
}

fn resource_claims(spec: &Value, place: Place<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let is_static = matches!(place, Place::Pod(metadata) if !metadata.entry("annotations", super::MIRROR).is_null());
    let claims = spec.array_at("resourceClaims");
    for (index, claim) in claims.iter().enumerate() {
        if is_static {
            errors.forbidden(&Path::ROOT, "static pods do not support resource claims");
            continue;
        }
        let at = at.index(index);
        match claim.str_at("name") {
            "" => errors.required(&at.child("name"), ""),
            name if claims[..index].iter().any(|earlier| earlier.str_at("name") == name) => {
                errors.duplicate(&at.child("name"), name);
            }
            name => dns_label(name, &at.child("name"), errors),
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.iter().filter(|source| claim.has(source)).count() {
            2 => errors.invalid(
                &at,
                claim,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
            0 => errors.invalid(&at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => {}
        }
        for source in sources.into_iter().filter(|source| claim.has(source)) {
            dns_subdomain(claim.str_at(source), &at.child(source), errors);
        }
    }
}

fn pod_resources(spec: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    if !spec.has("resources") {
        return;
    }
    let at = at.child("resources");
    if spec.str_at("os.name") == "windows" {
        return errors.forbidden(&at, "may not be set for a windows pod");
    }
    let own = spec.at("resources");
    if own.has("claims") {
        errors.forbidden(&at.child("claims"), "claims may not be set for Resources at pod-level");
    }
    resources::requirements(own, resources::pod_name, &scope.claims, &at, errors);
    super::aggregate::consistency(spec, &at, errors);
}

/// With the host's network a container port is the host's port.
fn host_network_ports(spec: &Value, place: Place<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    if !spec.flag("hostNetwork") {
        return;
    }
    let at = at.child("containers");
    for (index, container) in spec.array_at("containers").iter().enumerate() {
        for (port_index, port) in container.array_at("ports").iter().enumerate() {
            let (host, own) = (port.int("hostPort"), port.int("containerPort"));
            if (matches!(place, Place::Pod(_)) || host != 0) && host != own {
                let at = at.index(index);
                let at = at.child("ports");
                let message = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&at.index(port_index).child("hostPort"), host, message);
            }
        }
    }
}

fn dns_config(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let config = spec.at("dnsConfig");
    if spec.str_at("dnsPolicy") == "None" {
        if config.is_null() {
            return errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if !config.filled("nameservers") {
            let message = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required(&at.child("nameservers"), message);
        }
    }
    let servers = at.child("nameservers");
    if config.len_at("nameservers") > NAMESERVERS_MAX {
        let message = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.invalid(&servers, config.at("nameservers"), message);
    }
    for (index, server) in config.strings("nameservers").enumerate() {
        legacy_ip(server, &servers.index(index), &[], errors);
    }
    let searches = at.child("searches");
    if config.len_at("searches") > SEARCHES_MAX {
        let message = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.invalid(&searches, config.at("searches"), message);
    }
    let length: usize = config.strings("searches").map(|search| search.len() + 1).sum();
    if length > SEARCH_BYTES_MAX + 1 {
        let message =
            format!("must not have more than {SEARCH_BYTES_MAX} characters (including spaces) in the search list");
        errors.invalid(&searches, config.at("searches"), message);
    }
    for (index, search) in config.strings("searches").enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&searches.index(index), search, names::dns1123_subdomain_with_underscore(search));
    }
    for (index, option) in config.array_at("options").iter().enumerate() {
        if !option.filled("name") {
            errors.required(&at.child("options").index(index), "must not be empty");
        }
    }
}

/// User namespaces don't go with the host's other namespaces.
fn host_users(spec: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    const MESSAGE: &str = "when `hostUsers` is false";
    if scope.host_users {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.flag(field) {
            errors.forbidden(&at.child(shown), MESSAGE);
        }
    }
    each_container(spec, at, |container, at| {
        if container.filled("volumeDevices") {
            errors.forbidden(&at.child("volumeDevices"), MESSAGE);
        }
    });
}

fn hostname_override(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !spec.has("hostnameOverride") {
        return;
    }
    for field in ["setHostnameAsFQDN", "hostNetwork"].into_iter().filter(|field| spec.flag(field)) {
        errors.forbidden(at, format!("may not be specified when {field} is true"));
    }
    let name = spec.str_at("hostnameOverride");
    if name.len() > HOSTNAME_BYTES_MAX {
        errors.too_long(at, HOSTNAME_BYTES_MAX);
    }
    dns_subdomain(name, at, errors);
}

fn names_and_numbers(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let account = spec.str_at("serviceAccountName");
    if !account.is_empty() {
        dns_subdomain(account, &at.child("serviceAccountName"), errors);
    }
    let deprecated = spec.str_at("serviceAccount");
    if deprecated != account {
        let message = format!("must be the same as serviceAccountName: {}", crate::field::go_quote(account));
        errors.invalid(&at.child("deprecatedServiceAccount"), deprecated, message);
    }
    if spec.filled("nodeName") {
        dns_subdomain(spec.str_at("nodeName"), &at.child("nodeName"), errors);
    }
    if let Some(seconds) = spec.i64_at("activeDeadlineSeconds") {
        let complaints = names::in_range(seconds, 1, i64::from(i32::MAX));
        crate::kinds::formats::number(seconds, &at.child("activeDeadlineSeconds"), complaints, errors);
    }
    for field in ["hostname", "subdomain"].into_iter().filter(|field| spec.filled(field)) {
        dns_label(spec.str_at(field), &at.child(field), errors);
    }
}

fn host_aliases(aliases: &[Value], at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, alias) in aliases.iter().enumerate() {
        let at = at.index(index);
        legacy_ip(alias.str_at("ip"), &at.child("ip"), &[], errors);
        for (name_index, name) in alias.strings("hostnames").enumerate() {
            dns_subdomain(name, &at.child("hostnames").index(name_index), errors);
        }
    }
}

fn classes(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if spec.filled("priorityClassName") {
        dns_subdomain(spec.str_at("priorityClassName"), &at.child("priorityClassName"), errors);
    }
    if spec.has("runtimeClassName") {
        dns_subdomain(spec.str_at("runtimeClassName"), &at.child("runtimeClassName"), errors);
    }
    if spec.has("preemptionPolicy") {
        let policy = spec.str_at("preemptionPolicy");
        required_one_of(policy, &["PreemptLowerPriority", "Never"], &at.child("preemptionPolicy"), errors);
    }
    if !is_empty(spec.at("overhead")) {
        overhead(spec.at("overhead"), &at.child("overhead"), errors);
    }
}

/// What running the pod costs beyond its containers; judged as limits are.
pub fn overhead(overhead: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let as_limits: crate::value::Map = [("limits", overhead.clone())].into_iter().collect();
    resources::requirements(&as_limits.into(), resources::container_name, &[], at, errors);
}

/// Variables that come from files need an emptyDir to find them in.
fn file_key_volumes(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    each_container(spec, at, |container, at| {
        for (index, variable) in container.array_at("env").iter().enumerate() {
            if !variable.has("valueFrom.fileKeyRef") {
                continue;
            }
            let name = variable.str_at("valueFrom.fileKeyRef.volumeName");
            let at = at.child("env");
            let at = at.index(index);
            let at = at.child("valueFrom.fileKeyRef.volumeName");
            match spec.array_at("volumes").iter().rfind(|volume| volume.str_at("name") == name) {
                None => errors.not_found(&at, name),
                Some(volume) if !volume.has("emptyDir") => {
                    errors.invalid(&at, name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}
