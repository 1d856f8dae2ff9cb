//! Versions of a custom resource, and what they share.

use super::{SPEC, schema};
use crate::field::{FieldErrors, Path, is_printable};
use crate::kinds::read::{Read, same};
use crate::names;
use crate::value::Value;

const SELECTABLE_MAX: usize = 8;
const COLUMN_TYPES: &str = "boolean,date,integer,number,string";
const COLUMN_FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";

/// A field that all versions have alike; none where they differ or none has it.
fn shared<'a>(spec: &'a Value, field: &str) -> &'a Value {
    let versions = spec.array_at("versions");
    let Some((first, others)) = versions.split_first() else { return &Value::Null };
    match others.iter().all(|version| same(version.at(field), first.at(field))) {
        true => first.at(field),
        false => &Value::Null,
    }
}

fn has_status(subresources: &Value) -> bool {
    subresources.has("status")
}

/// The versions one by one, without what they share.
pub fn validate(spec: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let at = SPEC.child("versions");
    let versions = spec.array_at("versions");
    let shared_schema = shared(spec, "schema");
    if shared_schema.at("openAPIV3Schema").is_null() {
        let complete =
            |spec: &Value| spec.array_at("versions").iter().all(|version| version.has("schema.openAPIV3Schema"));
        let strict = old.is_none_or(complete);
        for (index, version) in versions.iter().enumerate() {
            let missing = !version.has("schema.openAPIV3Schema");
            let at = at.index(index);
            if strict && missing {
                errors.required(&at.child("schema.openAPIV3Schema"), "");
            } else if missing && version.flag("served") && !spec.flag("preserveUnknownFields") {
                errors.required(&at.child("schema.openAPIV3Schema"), "because otherwise all fields are pruned");
            }
        }
    }
    let mut stored = 0;
    for (index, version) in versions.iter().enumerate() {
        let at = at.index(index);
        stored += usize::from(version.flag("storage"));
        let complaints = names::dns1035_label(version.str_at("name"));
        if !complaints.is_empty() {
            errors.invalid(&at.child("name"), version.str_at("name"), complaints.join(","));
        }
        deprecation(version, &at, errors);
        let own = |field: &str| match shared(spec, field) {
            Value::Null => version.at(field),
            _ => &Value::Null,
        };
        schema::validate(own("schema"), has_status(version.at("subresources")), &at.child("schema"), errors);
        subresources(own("subresources"), &at.child("subresources"), errors);
        columns(own("additionalPrinterColumns"), &at.child("additionalPrinterColumns"), errors);
        let fields = own("selectableFields");
        if !fields.is_null() {
            selectable(fields, version.at("schema.openAPIV3Schema"), &at.child("selectableFields"), errors);
        }
    }
    let name = |index: usize| versions[index].str_at("name");
    if (0..versions.len()).any(|index| (0..index).any(|earlier| name(earlier) == name(index))) {
        errors.invalid(&at, spec.at("versions"), "must contain unique version names");
    }
    if stored != 1 {
        errors.invalid(&at, spec.at("versions"), "must have exactly one version marked as storage version");
    }
}

/// What the versions share.
pub fn validate_shared(spec: &Value, errors: &mut FieldErrors) {
    let status = spec.array_at("versions").iter().any(|version| has_status(version.at("subresources")));
    schema::validate(shared(spec, "schema"), status, &SPEC.child("validation"), errors);
    subresources(shared(spec, "subresources"), &SPEC.child("subresources"), errors);
    let field = "additionalPrinterColumns";
    columns(shared(spec, field), &SPEC.child(field), errors);
    let fields = shared(spec, "selectableFields");
    if !fields.is_null() {
        let schema = spec.array_at("versions").first().map_or(&Value::Null, |one| one.at("schema.openAPIV3Schema"));
        selectable(fields, schema, &SPEC.child("selectableFields"), errors);
    }
}

fn deprecation(version: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let Some(warning) = version.at("deprecationWarning").as_str() else { return };
    let at = at.child("deprecationWarning");
    if !version.flag("deprecated") {
        return errors.invalid(&at, warning, "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        errors.invalid(&at, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(&at, warning, "must not be an empty string");
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| !is_printable(*c)) {
        let message =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        errors.invalid(&at, warning, message);
    }
}

// === Subresources, columns, fields ===

fn subresources(subresources: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let scale = subresources.at("scale");
    if scale.is_null() {
        return;
    }
    let at = at.child("scale");
    for (field, roots, said) in [
        ("specReplicasPath", &[".spec."][..], "under .spec"),
        ("statusReplicasPath", &[".status."], "under .status"),
        ("labelSelectorPath", &[".spec.", ".status."], "under either .spec or .status"),
    ] {
        let (path, at) = (scale.str_at(field), at.child(field));
        if path.is_empty() {
            if field != "labelSelectorPath" {
                errors.required(&at, "");
            }
        } else if !path.starts_with('.') {
            errors.invalid(&at, path, "must be a simple json path starting with .");
        } else if !roots.iter().any(|root| path.starts_with(root)) {
            errors.invalid(&at, path, format!("should be a json path {said}"));
        }
    }
}

fn columns(columns: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    for (index, column) in columns.as_array().unwrap_or_default().iter().enumerate() {
        let at = at.index(index);
        if !column.filled("name") {
            errors.required(&at.child("name"), "");
        }
        let one_of = |list: &str, text: &str| list.split(',').any(|one| one == text);
        match column.str_at("type") {
            "" => errors.required(&at.child("type"), format!("must be one of {COLUMN_TYPES}")),
            kind if one_of(COLUMN_TYPES, kind) => {}
            kind => errors.invalid(&at.child("type"), kind, format!("must be one of {COLUMN_TYPES}")),
        }
        let format = column.str_at("format");
        if !format.is_empty() && !one_of(COLUMN_FORMATS, format) {
            errors.invalid(&at.child("format"), format, format!("must be one of {COLUMN_FORMATS}"));
        }
        match column.str_at("jsonPath") {
            "" => errors.required(&at.child("JSONPath"), ""),
            path if !path.starts_with('.') => {
                errors.invalid(&at.child("JSONPath"), path, "must be a simple json path starting with .");
            }
            _ => {}
        }
    }
}

fn selectable(fields: &Value, schema: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    if schema.is_null() {
        let message = "may only be set when `version.schema.openAPIV3Schema` is not included";
        return errors.invalid(at, "", message);
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.as_array().unwrap_or_default().iter().enumerate() {
        let (path, at) = (field.str_at("jsonPath"), at.index(index));
        let at = at.child("jsonPath");
        if path.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let steps: Option<Vec<&str>> = path.strip_prefix('.').map(|rest| rest.split('.').collect());
        let mut found = schema;
        for step in steps.iter().flatten() {
            found = found.get("properties").get(step);
        }
        if steps.is_none() || found.is_null() {
            errors.invalid(&at, path, "is an invalid path: does not refer to a valid field");
            continue;
        }
        if path == ".metadata" || path.starts_with(".metadata.") {
            errors.invalid(&at, path, "must not point to fields in metadata");
        }
        if !matches!(found.str_at("type"), "string" | "boolean" | "integer") {
            let message = "must point to a field of type string, boolean or integer. Enum string fields and strings \
                           with formats are allowed.";
            errors.invalid(&at, path, message);
        }
        match seen.contains(&path) {
            true => errors.duplicate(&at, path),
            false => seen.push(path),
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.too_many(at, seen.len(), SELECTABLE_MAX);
    }
}

// === Warnings ===

pub fn warnings(spec: &Value) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for version in spec.array_at("versions") {
        schema::each(version.at("schema.openAPIV3Schema"), &mut |schema| {
            let kind = schema.str_at("items.type");
            if schema.str_at("x-kubernetes-list-type") == "set" && matches!(kind, "object" | "array") {
                warnings.push(format!(
                    "x-kubernetes-list-type: set for items of type \"{kind}\" is not supported by server-side apply \
                     or CEL validation rules"
                ));
            }
        });
    }
    warnings.sort_unstable();
    warnings.dedup();
    warnings
}
