//! Security contexts of pods and containers.

use super::paths;
use super::spec::{Scope, each_container};
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{number, one_of};
use crate::kinds::read::{Read, as_internal, with_go_names};
use crate::names;
use crate::value::Value;

const SYSCTL_BYTES_MAX: usize = 253;
const APP_ARMOR_BYTES_MAX: usize = 4095;
const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const WINDOWS: &str = "cannot be set for a windows pod";

/// A container's.
pub fn container(context: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    if context.is_null() {
        return;
    }
    unix_ids(context, &["runAsUser", "runAsGroup"], at, errors);
    if context.has("procMount") {
        let mount = context.str_at("procMount");
        one_of(mount, &["Default", "Unmasked"], &at.child("procMount"), errors);
        if scope.host_users && mount == "Unmasked" {
            errors.invalid(&at.child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(context.at("seccompProfile"), &at.child("seccompProfile"), errors);
    if context.at("allowPrivilegeEscalation").as_bool() == Some(false) {
        if context.flag("privileged") {
            let message = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(at, shown(context), message);
        }
        for _ in context.strings("capabilities.add").filter(|capability| *capability == "CAP_SYS_ADMIN") {
            let message = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(at, shown(context), message);
        }
    }
    app_armor(context.at("appArmorProfile"), &at.child("appArmorProfile"), errors);
}

/// How messages show a container's security context.
fn shown(context: &Value) -> Value {
    let fields = [
        ("Capabilities", "capabilities", Value::Null),
        ("Privileged", "privileged", Value::Null),
        ("SELinuxOptions", "seLinuxOptions", Value::Null),
        ("WindowsOptions", "windowsOptions", Value::Null),
        ("RunAsUser", "runAsUser", Value::Null),
        ("RunAsGroup", "runAsGroup", Value::Null),
        ("RunAsNonRoot", "runAsNonRoot", Value::Null),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", Value::Null),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation", Value::Null),
        ("ProcMount", "procMount", Value::Null),
        ("SeccompProfile", "seccompProfile", Value::Null),
        ("AppArmorProfile", "appArmorProfile", Value::Null),
    ];
    as_internal(context, &fields)
}

/// A pod's.
pub fn pod(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let context = spec.at("securityContext");
    if context.is_null() {
        return;
    }
    unix_ids(context, &["fsGroup", "runAsUser", "runAsGroup"], at, errors);
    let groups = at.child("supplementalGroups");
    for (index, group) in context.array_at("supplementalGroups").iter().enumerate() {
        let group = group.as_i64().unwrap_or_default();
        number(group, &groups.index(index), names::unix_id(group), errors);
    }
    sysctls(spec, &at.child("sysctls"), errors);
    const CHOICES: [(&str, &[&str]); 3] = [
        ("fsGroupChangePolicy", &["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", &["Merge", "Strict"]),
        ("seLinuxChangePolicy", &["MountOption", "Recursive"]),
    ];
    let choose = |index: usize, errors: &mut FieldErrors| {
        let (field, choices) = CHOICES[index];
        if context.has(field) {
            one_of(context.str_at(field), choices, &at.child(field), errors);
        }
    };
    choose(0, errors);
    seccomp(context.at("seccompProfile"), &at.child("seccompProfile"), errors);
    app_armor(context.at("appArmorProfile"), &at.child("appArmorProfile"), errors);
    choose(1, errors);
    choose(2, errors);
}

fn unix_ids(context: &Value, fields: &[&str], at: &Path<'_>, errors: &mut FieldErrors) {
    for field in fields {
        if let Some(id) = context.i64_at(field) {
            number(id, &at.child(field), names::unix_id(id), errors);
        }
    }
}

fn sysctls(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let sysctls = spec.array_at("securityContext.sysctls");
    for (index, sysctl) in sysctls.iter().enumerate() {
        let at = at.index(index);
        let at = at.child("name");
        let name = sysctl.str_at("name");
        if name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl(name) {
            const REGEX: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            let message = format!("must have at most {SYSCTL_BYTES_MAX} characters and match regex {REGEX}");
            errors.invalid(&at, name, message);
        } else if sysctls[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            errors.duplicate(&at, name);
        }
        match sysctl_namespace(name) {
            Some("net") if spec.flag("hostNetwork") => {
                errors.invalid(&at, name, "may not be specified when 'hostNetwork' is true");
            }
            Some("ipc") if spec.flag("hostIPC") => {
                errors.invalid(&at, name, "may not be specified when 'hostIPC' is true");
            }
            _ => {}
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= SYSCTL_BYTES_MAX
        && name.split(['.', '/']).all(|segment| {
            let bytes = segment.as_bytes();
            bytes.first().is_some_and(|b| end(*b))
                && bytes.last().is_some_and(|b| end(*b))
                && bytes.iter().all(|b| end(*b) || matches!(b, b'-' | b'_'))
        })
}

/// The kernel namespace that holds a sysctl. Separators may be dots or slashes.
fn sysctl_namespace(name: &str) -> Option<&'static str> {
    let name = match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let starts = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    if name == "kernel.sem" || starts(&["kernel.shm", "kernel.msg", "fs.mqueue."]) {
        return Some("ipc");
    }
    starts(&["net."]).then_some("net")
}

fn seccomp(profile: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if profile.is_null() {
        return;
    }
    let kind = profile.str_at("type");
    match kind {
        "" => errors.required(&at.child("type"), "type is required when seccompProfile is set"),
        kind => one_of(kind, &PROFILE_TYPES, &at.child("type"), errors),
    }
    let at = at.child("localhostProfile");
    match (kind, profile.has("localhostProfile")) {
        ("Localhost", false) => errors.required(&at, "must be set when seccomp type is Localhost"),
        ("Localhost", true) => paths::descending(profile.str_at("localhostProfile"), &at, errors),
        (_, true) => errors.invalid(&at, with_go_names(profile), "can only be set when seccomp type is Localhost"),
        (_, false) => {}
    }
}

fn app_armor(profile: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if profile.is_null() {
        return;
    }
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    let local = profile.str_at("localhostProfile");
    let at_local = at.child("localhostProfile");
    match profile.str_at("type") {
        "Localhost" if !profile.has("localhostProfile") => errors.required(&at_local, NEEDED),
        "Localhost" => {
            if local.trim() != local {
                errors.invalid(&at_local, local, "must not be padded with whitespace");
            } else if local.is_empty() {
                errors.required(&at_local, NEEDED);
            }
            if local.len() > APP_ARMOR_BYTES_MAX {
                errors.too_long(&at_local, APP_ARMOR_BYTES_MAX);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.has("localhostProfile") {
                errors.invalid(&at_local, local, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&at.child("type"), "type is required when appArmorProfile is set"),
        other => errors.not_supported(&at.child("type"), other, &PROFILE_TYPES),
    }
}

// === By operating system ===

/// `spec.os` and what its choice forbids.
pub fn operating_system(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    match spec.str_at("os.name") {
        "" => errors.required(&at.child("os.name"), ""),
        "linux" => linux(spec, at, errors),
        "windows" => windows(spec, at, errors),
        other => errors.not_supported(&at.child("os"), other, &["linux", "windows"]),
    }
}

fn linux(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const MESSAGE: &str = "windows options cannot be set for a linux pod";
    if spec.has("securityContext.windowsOptions") {
        errors.forbidden(&at.child("securityContext.windowsOptions"), MESSAGE);
    }
    each_container(spec, at, |container, at| {
        if container.has("securityContext.windowsOptions") {
            errors.forbidden(&at.child("securityContext.windowsOptions"), MESSAGE);
        }
    });
}

fn windows(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    const OF_POD: [&str; 11] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    const OF_CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let context = spec.at("securityContext");
    for field in OF_POD.into_iter().filter(|field| context.has(field)) {
        errors.forbidden(&at.child("securityContext").child(field), WINDOWS);
    }
    for field in ["hostUsers", "shareProcessNamespace"].into_iter().filter(|field| spec.has(field)) {
        errors.forbidden(&at.child(field), WINDOWS);
    }
    for field in ["hostPID", "hostIPC"].into_iter().filter(|field| spec.flag(field)) {
        errors.forbidden(&at.child(field), WINDOWS);
    }
    each_container(spec, at, |container, at| {
        let context = container.at("securityContext");
        for field in OF_CONTAINER.into_iter().filter(|field| context.has(field)) {
            errors.forbidden(&at.child("securityContext").child(field), WINDOWS);
        }
    });
}

/// A Windows pod is either all host processes or none.
pub fn host_process(spec: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let of_pod = spec.at("securityContext.windowsOptions.hostProcess").as_bool();
    let (mut all, mut host) = (0, 0);
    each_container(spec, at, |container, at| {
        all += 1;
        let own = container.at("securityContext.windowsOptions.hostProcess").as_bool();
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let message = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.invalid(&at.child("securityContext.windowsOptions.hostProcess"), own, message);
        }
        host += usize::from(own.or(of_pod).unwrap_or_default());
    });
    if host > 0 && host != all {
        const MESSAGE: &str =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(at, "", MESSAGE);
    }
    if host > 0 && !spec.flag("hostNetwork") {
        const MESSAGE: &str = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&at.child("hostNetwork"), false, MESSAGE);
    }
}
