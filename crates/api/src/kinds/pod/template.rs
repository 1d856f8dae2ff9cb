//! Pod templates, in workloads and on their own.

use super::spec::{Place, each_container};
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
    warnings: |object, _| warnings(object.at("template.spec"), &Path::new("template.spec")),
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

/// What people are told about a PodSpec that is valid but odd.
pub fn warnings(spec: &Value, at: &Path<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.int("terminationGracePeriodSeconds") < 0 {
        let at = at.child("terminationGracePeriodSeconds");
        warnings.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    for (key, newer) in DEPRECATED_NODE_LABELS {
        if !spec.entry("nodeSelector", key).is_null() {
            warnings.push(format!("{}: {newer}", at.child("nodeSelector").key(key)));
        }
    }
    for (index, volume) in spec.array_at("volumes").iter().enumerate() {
        let at = at.child("volumes");
        let at = at.index(index);
        for (source, message) in DEPRECATED_VOLUMES {
            if volume.has(source) {
                warnings.push(format!("{}: {message}", at.child(source)));
            }
        }
    }
    duplicates(spec, at, &mut warnings);
    warnings
}

const DEPRECATED_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

const DEPRECATED_VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn duplicates(spec: &Value, at: &Path<'_>, warnings: &mut Vec<String>) {
    let secrets = spec.array_at("imagePullSecrets");
    for (index, secret) in secrets.iter().enumerate() {
        let at = at.child("imagePullSecrets");
        let at = at.index(index);
        let name = secret.str_at("name");
        if name.is_empty() {
            warnings.push(format!("{at}: invalid empty name \"\""));
        } else if secrets[..index].iter().any(|earlier| earlier.str_at("name") == name) {
            warnings.push(format!("{at}: duplicate name \"{name}\""));
        }
    }
    each_container(spec, at, |container, at| {
        let variables = container.array_at("env");
        for (index, variable) in variables.iter().enumerate() {
            let name = variable.str_at("name");
            let hidden = variables[..index].iter().any(|earlier| earlier.str_at("name") == name);
            // A value that refers to the earlier one extends it.
            if hidden && !variable.str_at("value").contains(&format!("$({name})")) {
                let at = at.child("env");
                let message = "which may be dropped when using apply";
                warnings.push(format!("{}: hides previous definition of \"{name}\", {message}", at.index(index)));
            }
        }
    });
}
