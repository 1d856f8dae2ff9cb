//! SubjectAccessReview and its kin.
//!
//! Upstream: pkg/registry/authorization, pkg/apis/authorization/validation. Pure: the handler
//! decodes and encodes.

use api::field::{FieldErrors, Path};
use api::selector::{FieldSelector, LabelSelector, Operator};
use api::status::Status;
use api::user::UserInfo;
use api::value::{Map, Value};

use super::{Attributes, Authorizer, Decision, FieldRequirement, LabelOperator, LabelRequirement};

const GROUP: &str = "authorization.k8s.io";
const ONE_OF: &str = "exactly one of nonResourceAttributes or resourceAttributes must be specified";

/// Answers a SubjectAccessReview: may the user in the spec do that?
///
/// # Errors
/// 422 in upstream's words.
pub fn subject_access_review(mut review: Value, authorizer: &Authorizer) -> Result<Value, Status> {
    let mut errors = validate_subject(&review);
    validate_metadata(&review, &[], "must be empty", &mut errors);
    errors.into_result(GROUP, "", "")?;
    let user = subject(&review);
    review.set("status", decide(&review, &user, authorizer));
    Ok(review)
}

/// Answers a LocalSubjectAccessReview that was created in `namespace`.
///
/// # Errors
/// 422 and 400 in upstream's words.
pub fn local_subject_access_review(
    mut review: Value,
    namespace: &str,
    authorizer: &Authorizer,
) -> Result<Value, Status> {
    let mut errors = validate_subject(&review);
    validate_metadata(&review, &["namespace"], "must be empty except for namespace", &mut errors);
    let spec = review.at("spec");
    if let Some(resource) = spec.field("resourceAttributes")
        && resource.str_at("namespace") != review.str_at("metadata.namespace")
    {
        let path = Path::new("spec.resourceAttributes.namespace");
        errors.invalid(&path, resource.str_at("namespace"), "must match metadata.namespace");
    }
    if let Some(path) = spec.field("nonResourceAttributes") {
        errors.invalid(&Path::new("spec.nonResourceAttributes"), path.clone(), "disallowed on this kind of request");
    }
    errors.into_result(GROUP, "", "")?;
    if review.str_at("metadata.namespace") != namespace {
        let why = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
        return Err(Status::bad_request(why));
    }
    let user = subject(&review);
    review.set("status", decide(&review, &user, authorizer));
    Ok(review)
}

/// Answers a SelfSubjectAccessReview: may the caller do that?
///
/// # Errors
/// 422 in upstream's words.
pub fn self_subject_access_review(
    mut review: Value,
    user: &UserInfo,
    authorizer: &Authorizer,
) -> Result<Value, Status> {
    let mut errors = FieldErrors::new();
    validate_spec(review.at("spec"), &mut errors);
    validate_metadata(&review, &[], "must be empty", &mut errors);
    errors.into_result(GROUP, "", "")?;
    review.set("status", decide(&review, user, authorizer));
    Ok(review)
}

/// Answers a SelfSubjectRulesReview: what may the caller do in a namespace?
///
/// # Errors
/// 400 without a namespace.
pub fn self_subject_rules_review(review: &Value, user: &UserInfo, authorizer: &Authorizer) -> Result<Value, Status> {
    let namespace = review.str_at("spec.namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let found = authorizer.rules_for(user, namespace);
    let part = |value: Value, keys: &[&str]| {
        let mut rule = Map::new();
        for key in keys {
            if let Some(items) = value.field(key) {
                rule.insert(*key, items.clone());
            }
        }
        Value::Object(rule)
    };
    let resources = found.rules.iter().filter(|rule| !rule.resources.is_empty());
    let resources = resources.map(|rule| part(rule.to_value(), &["verbs", "apiGroups", "resources", "resourceNames"]));
    let paths = found.rules.iter().filter(|rule| !rule.non_resource_urls.is_empty());
    let paths = paths.map(|rule| part(rule.to_value(), &["verbs", "nonResourceURLs"]));
    let mut status = Map::new();
    status.insert("resourceRules", resources.collect::<Vec<_>>());
    status.insert("nonResourceRules", paths.collect::<Vec<_>>());
    status.insert("incomplete", found.incomplete);
    if !found.error.is_empty() {
        status.insert("evaluationError", found.error);
    }
    let mut answer = Map::new();
    for key in ["kind", "apiVersion"] {
        answer.insert(key, review.get(key).clone());
    }
    answer.insert("metadata", Map::new());
    answer.insert("spec", Map::new());
    answer.insert("status", status);
    Ok(Value::Object(answer))
}

fn validate_subject(review: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = review.at("spec");
    validate_union(spec, &mut errors);
    if spec.str_at("user").is_empty() && spec.array_at("groups").is_empty() {
        errors.invalid(&Path::new("spec.user"), "", "at least one of user or group must be specified");
    }
    validate_selectors(spec, &mut errors);
    errors
}

fn validate_spec(spec: &Value, errors: &mut FieldErrors) {
    validate_union(spec, errors);
    validate_selectors(spec, errors);
}

fn validate_union(spec: &Value, errors: &mut FieldErrors) {
    let path = spec.field("nonResourceAttributes");
    if spec.field("resourceAttributes").is_some() == path.is_some() {
        errors.invalid(&Path::new("spec"), path.cloned().unwrap_or_default(), ONE_OF);
    }
}

fn validate_selectors(spec: &Value, errors: &mut FieldErrors) {
    for field in ["fieldSelector", "labelSelector"] {
        let name = format!("spec.resourceAttributes.{field}");
        let Some(selector) = spec.at("resourceAttributes").field(field) else { continue };
        let path = Path::new(&name);
        let (raw, requirements) = (selector.str_at("rawSelector"), selector.array_at("requirements"));
        if !raw.is_empty() && !requirements.is_empty() {
            errors.invalid(&path.child("rawSelector"), raw, "may not specified at the same time as requirements");
        }
        if raw.is_empty() && requirements.is_empty() {
            let why = format!("when {name} is specified, requirements or rawSelector is required");
            errors.required(&path.child("requirements"), why);
        }
        for (at, requirement) in requirements.iter().enumerate() {
            validate_requirement(requirement, &path.child("requirements").index(at), errors);
        }
    }
}

/// Operators that are not known here are let pass: newer clients may know more.
fn validate_requirement(requirement: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let values = requirement.array_at("values");
    match requirement.str_at("operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors
                .forbidden(&path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        _ => {}
    }
    if requirement.str_at("key").is_empty() {
        errors.required(&path.child("key"), "must be specified");
    }
}

/// Reviews are no objects: nothing may stand in their metadata.
fn validate_metadata(review: &Value, allowed: &[&str], why: &str, errors: &mut FieldErrors) {
    let Some(metadata) = review.get("metadata").as_object() else { return };
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Int(number) => *number == 0,
        _ => false,
    };
    let excess =
        metadata.iter().any(|(key, value)| !empty(value) && key != "managedFields" && !allowed.contains(&key.as_str()));
    if excess {
        errors.invalid(&Path::new("metadata"), review.get("metadata").clone(), why);
    }
}

/// The user that the spec names.
fn subject(review: &Value) -> UserInfo {
    let spec = review.at("spec");
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().unwrap_or_default().iter().filter_map(Value::as_str).map(String::from).collect()
    };
    let extra = spec.at("extra").as_object().into_iter().flat_map(|extra| extra.iter());
    UserInfo {
        name: spec.str_at("user").to_owned(),
        uid: spec.str_at("uid").to_owned(),
        groups: strings(spec.at("groups")),
        extra: extra.map(|(key, values)| (key.to_string(), strings(values))).collect(),
    }
}

fn decide(review: &Value, user: &UserInfo, authorizer: &Authorizer) -> Map {
    let spec = review.at("spec");
    let (mut fields, mut labels) = (Parsed::default(), Parsed::default());
    let decision = match spec.field("resourceAttributes") {
        Some(resource) => {
            fields = field_requirements(resource.at("fieldSelector"));
            labels = label_requirements(resource.at("labelSelector"));
            let version = resource.str_at("version");
            authorizer.authorize(&Attributes {
                namespace: resource.str_at("namespace"),
                version: if version.is_empty() { "*" } else { version },
                subresource: resource.str_at("subresource"),
                name: resource.str_at("name"),
                field_selector: &fields.requirements,
                label_selector: &labels.requirements,
                ..Attributes::resource(
                    user,
                    resource.str_at("verb"),
                    resource.str_at("group"),
                    resource.str_at("resource"),
                )
            })
        }
        None => {
            let path = spec.at("nonResourceAttributes");
            authorizer.authorize(&Attributes::path(user, path.str_at("verb"), path.str_at("path")))
        }
    };
    let errors: Vec<String> = [("fieldSelector", fields.ignored()), ("labelSelector", labels.ignored())]
        .into_iter()
        .filter_map(|(name, how)| Some(format!("spec.resourceAttributes.{name} {} due to parse error", how?)))
        .collect();
    let mut status = Map::new();
    status.insert("allowed", decision.is_allow());
    if matches!(decision, Decision::Deny(_)) {
        status.insert("denied", true);
    }
    if !decision.reason().is_empty() {
        status.insert("reason", decision.reason().clone());
    }
    if !errors.is_empty() {
        status.insert("evaluationError", errors.join("; "));
    }
    status
}

/// The terms of a selector that could be read; dropping others asks for more, never for less.
struct Parsed<T> {
    requirements: Vec<T>,
    failed: bool,
}

// === impl Parsed ===

impl<T> Default for Parsed<T> {
    fn default() -> Parsed<T> {
        Parsed { requirements: Vec::new(), failed: false }
    }
}

impl<T> Parsed<T> {
    fn ignored(&self) -> Option<&'static str> {
        match (self.failed, self.requirements.is_empty()) {
            (false, _) => None,
            (true, true) => Some("ignored"),
            (true, false) => Some("partially ignored"),
        }
    }

    fn of(items: impl Iterator<Item = Option<T>>) -> Parsed<T> {
        let mut parsed = Parsed::default();
        for item in items {
            match item {
                Some(requirement) => parsed.requirements.push(requirement),
                None => parsed.failed = true,
            }
        }
        parsed
    }
}

fn field_requirements(selector: &Value) -> Parsed<FieldRequirement> {
    let requirements = selector.array_at("requirements");
    if !requirements.is_empty() {
        return Parsed::of(requirements.iter().map(|one| {
            let equals = match one.str_at("operator") {
                "In" => true,
                "NotIn" => false,
                _ => return None,
            };
            let [value] = one.array_at("values") else { return None };
            let value = value.as_str().unwrap_or_default().to_owned();
            Some(FieldRequirement { field: one.str_at("key").to_owned(), equals, value })
        }));
    }
    match FieldSelector::parse(selector.str_at("rawSelector")) {
        Ok(parsed) => Parsed::of(parsed.requirements().iter().map(|one| {
            let (field, value) = (one.field.to_string(), one.value.to_string());
            Some(FieldRequirement { field, equals: !one.not, value })
        })),
        Err(_) => Parsed { failed: true, ..Parsed::default() },
    }
}

fn label_requirements(selector: &Value) -> Parsed<LabelRequirement> {
    let requirements = selector.array_at("requirements");
    if !requirements.is_empty() {
        return Parsed::of(requirements.iter().map(|one| {
            let operator = match one.str_at("operator") {
                "In" => LabelOperator::In,
                "NotIn" => LabelOperator::NotIn,
                "Exists" => LabelOperator::Exists,
                "DoesNotExist" => LabelOperator::DoesNotExist,
                _ => return None,
            };
            let values = one.array_at("values").iter().filter_map(Value::as_str).map(String::from).collect();
            Some(LabelRequirement { key: one.str_at("key").to_owned(), operator, values })
        }));
    }
    match LabelSelector::parse(selector.str_at("rawSelector")) {
        Ok(parsed) => Parsed::of(parsed.requirements().iter().map(|one| {
            let operator = match one.operator {
                Operator::In | Operator::Equals | Operator::DoubleEquals => LabelOperator::In,
                Operator::NotIn | Operator::NotEquals => LabelOperator::NotIn,
                Operator::Exists => LabelOperator::Exists,
                Operator::DoesNotExist => LabelOperator::DoesNotExist,
                Operator::GreaterThan => LabelOperator::GreaterThan,
                Operator::LessThan => LabelOperator::LessThan,
            };
            let values = one.values.iter().map(|value| value.to_string()).collect();
            Some(LabelRequirement { key: one.key.to_string(), operator, values })
        })),
        Err(_) => Parsed { failed: true, ..Parsed::default() },
    }
}

#[cfg(test)]
mod tests;
