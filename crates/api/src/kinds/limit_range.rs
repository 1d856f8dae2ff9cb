//! LimitRange.

use super::Rules;
use super::formats::qualified_name;
use super::read::{Read, each_mut};
use super::resources::{self, container_name, is_overcommit_allowed, quantity};
use crate::field::{FieldErrors, Path};
use crate::quantity::{Format, Quantity};
use crate::value::{Map, Value};

pub const RULES: Rules = Rules {
    defaults: |range| {
        each_mut(range, "spec.limits", |item| {
            default_item(item);
            resources::round(item, &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]);
        })
    },
    validate,
    validate_update: |new, _, errors| validate(new, errors),
    allow_create_on_update: true,
    ..Rules::DEFAULT
};

/// For containers: a limit defaults to the maximum, a request to the limit or the minimum.
fn default_item(item: &mut Value) {
    if item.str_at("type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let source = item.at(from).as_object().cloned().unwrap_or_default();
        if source.is_empty() {
            continue;
        }
        let target = item.at_or_insert(to).make_object();
        for (resource, amount) in source.iter() {
            if !target.contains_key(resource) {
                target.insert(resource.clone(), amount.clone());
            }
        }
        target.sort();
    }
}

fn validate(range: &Value, errors: &mut FieldErrors) {
    let at = Path::new("spec.limits");
    let items = range.array_at("spec.limits");
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        let kind = item.str_at("type");
        type_name(kind, &at.child("type"), errors);
        if items[..index].iter().any(|earlier| earlier.str_at("type") == kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        validate_item(item, kind, &at, errors);
    }
}

fn type_name(kind: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let before = errors.len();
    qualified_name(kind, at, errors);
    let known = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") || kind.contains('/');
    if !errors.grew_since(before) && !known {
        errors.invalid(at, kind, "must be a standard limit type or fully qualified");
    }
}

fn validate_item(item: &Value, kind: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let judge_name = if matches!(kind, "Pod" | "Container") { container_name } else { resources::name };
    let names = |list: &str, errors: &mut FieldErrors| {
        let at = at.child(list);
        for (resource, _) in item.entries(list) {
            judge_name(resource, &at.key(resource), errors);
        }
    };
    names("max", errors);
    names("min", errors);
    let has_defaults = kind != "Pod";
    for list in ["default", "defaultRequest"] {
        if has_defaults {
            names(list, errors);
        } else if item.filled(list) {
            errors.forbidden(&at.child(list), "may not be specified when `type` is 'Pod'");
        }
    }
    let storage = |list: &str| !item.entry(list, "storage").is_null();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let message = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&at.child("limits"), message);
    }
    names("maxLimitRequestRatio", errors);

    let mut seen = Map::new();
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if has_defaults || !list.starts_with("default") {
            for (resource, _) in item.entries(list) {
                seen.insert(resource.clone(), Value::Null);
            }
        }
    }
    for resource in seen.keys() {
        validate_amounts(item, resource, has_defaults, at, errors);
    }
}

/// The order that has to hold: min, default request, default, max.
fn validate_amounts(item: &Value, resource: &str, has_defaults: bool, at: &Path<'_>, errors: &mut FieldErrors) {
    let amount = |list: &str| {
        let amount = item.entry(list, resource);
        (!amount.is_null()).then(|| quantity(amount))
    };
    let default = if has_defaults { amount("default") } else { None };
    let request = if has_defaults { amount("defaultRequest") } else { None };
    let (min, max, ratio) = (amount("min"), amount("max"), amount("maxLimitRequestRatio"));
    type Side<'a> = (&'a str, &'a Option<Quantity>);
    let mut ordered = |low: Side<'_>, high: Side<'_>, list: &str, shown: &Option<Quantity>| {
        if let (Some(lower), Some(higher)) = (low.1, high.1)
            && lower > higher
        {
            let message = format!("{} value {lower} is greater than {} value {higher}", low.0, high.0);
            let shown = shown.as_ref().map(ToString::to_string).unwrap_or_default();
            errors.invalid(&at.child(list).key(resource), shown, message);
        }
    };
    ordered(("min", &min), ("max", &max), "min", &min);
    ordered(("min", &min), ("default request", &request), "defaultRequest", &request);
    ordered(("default request", &request), ("max", &max), "defaultRequest", &request);
    ordered(("default request", &request), ("default limit", &default), "defaultRequest", &request);
    ordered(("min", &min), ("default", &default), "default", &min);
    ordered(("default", &default), ("max", &max), "default", &max);
    if let Some(ratio) = &ratio {
        validate_ratio(ratio, min.as_ref(), max.as_ref(), &at.child("maxLimitRequestRatio").key(resource), errors);
    }
    if let (Some(default), Some(request)) = (&default, &request)
        && !is_overcommit_allowed(resource)
        && default != request
    {
        let message = format!("default value {default} must equal to defaultRequest value {request} in {resource}");
        errors.invalid(&at.child("defaultRequest").key(resource), request.to_string(), message);
    }
}

fn validate_ratio(
    ratio: &Quantity,
    min: Option<&Quantity>,
    max: Option<&Quantity>,
    at: &Path<'_>,
    errors: &mut FieldErrors,
) {
    /// Above, thousandths don't fit.
    const MAX_MILLI: i64 = i64::MAX / 1000;
    if *ratio < Quantity::new(1, Format::DecimalSi) {
        errors.invalid(at, ratio.to_string(), format!("ratio {ratio} is less than 1"));
    }
    if let (Some(min), Some(max)) = (min, max) {
        let milli = [ratio, min, max].iter().all(|one| one.value() < MAX_MILLI);
        let (value, low, high) = match milli {
            true => (ratio.milli_value() as f64 / 1000.0, min.milli_value(), max.milli_value()),
            false => (ratio.value() as f64, min.value(), max.value()),
        };
        let limit = high as f64 / low as f64;
        if value > limit {
            errors.invalid(at, ratio.to_string(), format!("ratio {ratio} is greater than max/min = {limit:.6}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object};

    #[rstest]
    #[case(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}), "")]
    #[case(json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}, "default": {"cpu": "1"}}),
        r#"spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'; spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1"#)]
    #[case(json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}}),
        r#"spec.limits[0].defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than default limit value 1"#)]
    #[case(json!({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "3"}}),
        r#"spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000"#)]
    #[case(json!({"type": "PersistentVolumeClaim"}),
        "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided")]
    #[case(json!({"type": "Other"}),
        r#"spec.limits[0].type: Invalid value: "Other": must be a standard limit type or fully qualified"#)]
    fn ranges(#[case] item: serde_json::Value, #[case] expected: &str) {
        let range = object(true, json!({"spec": {"limits": [item]}}));
        assert_eq!(create(&RULES, true, range).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn defaults_come_from_the_bounds() {
        let item = json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Gi"}});
        let created = create(&RULES, true, object(true, json!({"spec": {"limits": [item]}}))).unwrap();
        let item = &created.array_at("spec.limits")[0];
        assert_eq!(item.str_at("default.cpu"), "2");
        assert_eq!(item.str_at("defaultRequest.cpu"), "2");
        assert_eq!(item.str_at("defaultRequest.memory"), "1Gi");
    }
}
