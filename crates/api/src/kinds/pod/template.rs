//! Pod templates, in workloads and on their own.

use super::spec::Place;
use super::{annotations, prepare, spec};
use crate::field::{FieldErrors, Path};
use crate::kinds::read::{Read, with_mut};
use crate::kinds::{Generation, Rules};
use crate::meta;
use crate::value::Value;

/// The kind PodTemplate.
pub const RULES: Rules = Rules {
    defaults: |object| super::defaults::template(object, "template"),
    generation: Generation::Content,
    prepare_create: |object, _| drop_disabled_fields(object, "template"),
    prepare_update: |object, _, _| drop_disabled_fields(object, "template"),
    validate: |object, errors| validate(object.at("template"), &Path::new("template"), errors),
    validate_update: |object, _, errors| validate(object.at("template"), &Path::new("template"), errors),
    warnings: |new, old| crate::kinds::workload::template_warnings(new, old, "template"),
    ..Rules::DEFAULT
};

/// Takes the fields of features that are off out of the template at `path`.
pub fn drop_disabled_fields(object: &mut Value, path: &str) {
    with_mut(object, path, |template| with_mut(template, "spec", prepare::drop_disabled_fields));
}

/// A PodTemplateSpec.
pub fn validate(template: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at_annotations = at.child("annotations");
    meta::labels(template.at("metadata.labels"), &at.child("labels"), errors);
    meta::annotations(template.at("metadata.annotations"), &at_annotations, errors);
    annotations::validate(template.at("metadata.annotations"), template.at("spec"), &at_annotations, errors);
    let at = at.child("spec");
    spec::validate(template.at("spec"), Place::Template, &at, errors);
    annotations::agree_with_fields(template.at("metadata"), template.at("spec"), &at, errors);
    if template.filled("spec.ephemeralContainers") {
        errors.forbidden(&at.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}
