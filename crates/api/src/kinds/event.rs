//! Event, of both groups. Rules see core/v1's shape, in which events are stored.
//!
//! Upstream: `pkg/apis/core/validation/events.go`.

use super::Rules;
use super::read::{Read, same};
use crate::field::{FieldErrors, Path};
use crate::meta;
use crate::names;
use crate::value::Value;

/// Reporting instance, action and reason.
const WORD_BYTES_MAX: usize = 128;
const NOTE_BYTES_MAX: usize = 1024;

/// Events written through core/v1.
pub const CORE: Rules = Rules {
    name: meta::NameRule::Generic,
    validate: |event, errors| validate_common(event, "reportingComponent", errors),
    validate_update: |new, _, errors| validate_common(new, "reportingComponent", errors),
    selectable: &[
        ("involvedObject.kind", |event| event.str_at("involvedObject.kind").into()),
        ("involvedObject.namespace", |event| event.str_at("involvedObject.namespace").into()),
        ("involvedObject.name", |event| event.str_at("involvedObject.name").into()),
        ("involvedObject.uid", |event| event.str_at("involvedObject.uid").into()),
        ("involvedObject.apiVersion", |event| event.str_at("involvedObject.apiVersion").into()),
        ("involvedObject.resourceVersion", |event| event.str_at("involvedObject.resourceVersion").into()),
        ("involvedObject.fieldPath", |event| event.str_at("involvedObject.fieldPath").into()),
        ("reason", |event| event.str_at("reason").into()),
        ("reportingComponent", |event| event.str_at("reportingComponent").into()),
        ("source", |event| match event.str_at("source.component") {
            "" => event.str_at("reportingComponent").into(),
            component => component.into(),
        }),
        ("type", |event| event.str_at("type").into()),
    ],
    allow_create_on_update: true,
    ..Rules::DEFAULT
};

/// Events written through events.k8s.io/v1, which is stricter.
pub const EVENTS: Rules = Rules {
    name: meta::NameRule::Subdomain,
    validate: |event, errors| {
        validate_common(event, "reportingController", errors);
        validate_strict(event, errors);
    },
    validate_update: |new, old, errors| {
        validate_common(new, "reportingController", errors);
        validate_strict_update(new, old, errors);
    },
    selectable_names: &[
        ("reason", "reason"),
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
        ("type", "type"),
    ],
    ..CORE
};

fn validate_common(event: &Value, controller_field: &str, errors: &mut FieldErrors) {
    let namespace = event.str_at("metadata.namespace");
    let involved = event.str_at("involvedObject.namespace");
    let mut mismatch = || {
        errors.invalid(&Path::new("involvedObject.namespace"), involved, "does not match event.namespace");
    };
    if !event.has("eventTime") {
        let matches = match involved {
            "" => matches!(namespace, "" | "default"),
            _ => involved == namespace,
        };
        if !matches {
            mismatch();
        }
        return;
    }
    if involved.is_empty() && !matches!(namespace, "default" | "kube-system") {
        mismatch();
    }
    let controller = event.str_at("reportingComponent");
    if controller.is_empty() {
        errors.required(&Path::new(controller_field), "");
    }
    errors.invalid_each(&Path::new(controller_field), controller, names::label_key(controller));
    for field in ["reportingInstance", "action", "reason"] {
        let word = event.str_at(field);
        if word.is_empty() {
            errors.required(&Path::new(field), "");
        }
        if word.len() > WORD_BYTES_MAX {
            errors.invalid(&Path::new(field), "", format!("can have at most {WORD_BYTES_MAX} characters"));
        }
    }
    if event.str_at("message").len() > NOTE_BYTES_MAX {
        errors.invalid(&Path::new("message"), "", format!("can have at most {NOTE_BYTES_MAX} characters"));
    }
}

fn validate_strict(event: &Value, errors: &mut FieldErrors) {
    validate_series(event, errors);
    if !event.has("eventTime") {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = event.str_at("type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
    }
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let unset = match field {
            "count" => event.int(field) == 0,
            "source" => event.str_at("source.component").is_empty() && event.str_at("source.host").is_empty(),
            _ => !event.has(field),
        };
        if !unset {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    }
}

fn validate_series(event: &Value, errors: &mut FieldErrors) {
    if event.has("series") {
        if event.int("series.count") < 2 {
            errors.invalid(&Path::new("series.count"), "", "should be at least 2");
        }
        if !event.has("series.lastObservedTime") {
            errors.required(&Path::new("series.lastObservedTime"), "");
        }
    }
}

fn validate_strict_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    if !same(new.at("series"), old.at("series")) {
        validate_series(new, errors);
    }
    const FIELDS: [&str; 13] = [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    for field in FIELDS {
        let shown = if field == "reportingComponent" { "reportingController" } else { field };
        meta::immutable(new.at(field), old.at(field), &Path::new(shown), errors);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[test]
    fn an_event_lives_beside_what_it_is_about() {
        let event = object(true, json!({"involvedObject": {"namespace": "other"}}));
        assert_eq!(
            create(&CORE, true, event).unwrap_err(),
            [r#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#]
        );
        let event = object(true, json!({"involvedObject": {"namespace": "ns"}}));
        assert!(create(&CORE, true, event).is_ok());
    }

    #[test]
    fn metadata_is_judged_only_where_the_rest_is_right() {
        let event = |about: &str| {
            object(
                true,
                json!({"metadata": {"name": "a/b", "labels": {"-": ""}}, "involvedObject": {"namespace": about}}),
            )
        };
        let said = create(&CORE, true, event("other")).unwrap_err();
        assert_eq!(said, [r#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#]);
        let said = create(&CORE, true, event("ns")).unwrap_err();
        assert_eq!(said[0], r#"metadata.name: Invalid value: "a/b": may not contain '/'"#);
    }

    #[test]
    fn new_events_need_a_reporter() {
        let event = object(
            true,
            json!({"involvedObject": {"namespace": "ns"}, "eventTime": "2020-01-01T00:00:00.000000Z",
            "reportingComponent": "c", "reportingInstance": "i", "action": "a"}),
        );
        assert_eq!(create(&CORE, true, event).unwrap_err(), ["reason: Required value"]);
    }
}
