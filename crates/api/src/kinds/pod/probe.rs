//! Probes and lifecycle hooks.

use super::spec::Scope;
use crate::field::{FieldErrors, Path};
use crate::kinds::formats::{one_of, port_number_or_name};
use crate::kinds::read::Read;
use crate::meta::non_negative;
use crate::names;
use crate::value::Value;

/// What runs a probe or a hook, in the order in which a second one is complained about.
const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];

/// The three probes of a container.
pub fn probes(container: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let (probe, at) = (container.at(kind), at.child(kind));
        if probe.is_null() {
            continue;
        }
        self::probe(probe, scope, &at, errors);
        if kind == "readinessProbe" {
            if probe.has("terminationGracePeriodSeconds") {
                errors.invalid(
                    &at.child("terminationGracePeriodSeconds"),
                    probe.at("terminationGracePeriodSeconds"),
                    "must not be set for readinessProbes",
                );
            }
        } else if probe.int("successThreshold") != 1 {
            errors.invalid(&at.child("successThreshold"), probe.int("successThreshold"), "must be 1");
        }
    }
}

fn probe(probe: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    handler(probe, &PROBE_HANDLERS, scope, at, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(probe.int(field), &at.child(field), errors);
    }
    if let Some(seconds) = probe.i64_at("terminationGracePeriodSeconds").filter(|seconds| *seconds <= 0) {
        errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
}

/// Hooks, if the container has any.
pub fn lifecycle(container: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let (lifecycle, at) = (container.at("lifecycle"), at.child("lifecycle"));
    for hook in ["postStart", "preStop"].into_iter().filter(|hook| lifecycle.has(hook)) {
        handler(lifecycle.at(hook), &HOOK_HANDLERS, scope, &at.child(hook), errors);
    }
}

fn handler(handler: &Value, kinds: &[&str], scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let mut found = false;
    for kind in kinds.iter().filter(|kind| handler.has(kind)) {
        let (action, at) = (handler.at(kind), at.child(kind));
        if found {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" if !action.filled("command") => errors.required(&at.child("command"), ""),
            "exec" => {}
            "httpGet" => http_get(action, &at, errors),
            "sleep" => sleep(action, scope, &at, errors),
            _ => port_number_or_name(action.at("port"), &at.child("port"), errors),
        }
    }
    if !found {
        errors.required(at, "must specify a handler type");
    }
}

fn http_get(action: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if !action.filled("path") {
        errors.required(&at.child("path"), "");
    }
    port_number_or_name(action.at("port"), &at.child("port"), errors);
    one_of(action.str_at("scheme"), &["HTTP", "HTTPS"], &at.child("scheme"), errors);
    for header in action.array_at("httpHeaders") {
        let name = header.str_at("name");
        errors.invalid_each(&at.child("httpHeaders"), name, names::http_header_name(name));
    }
}

fn sleep(action: &Value, scope: &Scope<'_>, at: &Path<'_>, errors: &mut FieldErrors) {
    let seconds = action.int("seconds");
    if let Some(grace) = scope.grace_seconds.filter(|grace| !(0..=*grace).contains(&seconds)) {
        let message = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(at, seconds, message);
    }
}
