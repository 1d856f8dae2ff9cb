//! VolumeAttachment.

use super::formats::dns_subdomain;
use super::persistent_volume::validate_inline;
use super::pod::volume_sources::driver_name;
use super::read::{Read, copy};
use super::{Rules, StatusRule, Subresource};
use crate::field::{ErrorKind, FieldErrors, Path};
use crate::meta;
use crate::value::Value;

const SPEC: Path<'static> = Path::new("spec");
const METADATA_BYTES_MAX: usize = 256 << 10;
const MESSAGE_BYTES_MAX: usize = 1024;

pub const RULES: Rules = Rules {
    status: StatusRule::Separate,
    validate,
    validate_update: |new, old, errors| {
        validate(new, errors);
        meta::fixed(new.at("spec"), old.at("spec"), &SPEC, errors);
    },
    declared: &[
        ("spec", ErrorKind::Invalid),
        ("spec.attacher", ErrorKind::Required),
        ("spec.attacher", ErrorKind::Invalid),
        ("spec.attacher", ErrorKind::TooLong),
    ],
    subresources: &[Subresource {
        prepare: |new, old, _| {
            copy(new, old, "spec");
            meta::keep_for_status(new, old);
        },
        validate: |new, _, errors| validate(new, errors),
        ..Subresource::STATUS
    }],
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

fn validate(attachment: &Value, errors: &mut FieldErrors) {
    let (spec, status) = (attachment.at("spec"), attachment.at("status"));
    driver_name(spec.str_at("attacher"), &SPEC.child("attacher"), errors);
    let at = SPEC.child("source");
    let name = spec.at("source.persistentVolumeName").as_str();
    const EXACTLY_ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (spec.has("source.inlineVolumeSpec"), name) {
        (false, None) => errors.required(&at, EXACTLY_ONE),
        (true, Some(_)) => errors.forbidden(&at, EXACTLY_ONE),
        (false, Some("")) => {
            errors.required(&at.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        (false, Some(_)) => {}
        (true, None) => {
            validate_inline(spec.at("source.inlineVolumeSpec"), &at.child("inlineVolumeSpec"), errors);
        }
    }
    dns_subdomain(spec.str_at("nodeName"), &SPEC.child("nodeName"), errors);

    let size = |(key, value): (&crate::value::Key, &Value)| key.len() + value.as_str().unwrap_or_default().len();
    if status.entries("attachmentMetadata").map(size).sum::<usize>() > METADATA_BYTES_MAX {
        errors.too_long(&Path::new("status.attachmentMetadata"), METADATA_BYTES_MAX);
    }
    for field in ["attachError", "detachError"] {
        let (error, at) = (status.at(field), Path::new("status"));
        let at = at.child(field);
        if error.len_at("message") > MESSAGE_BYTES_MAX {
            errors.too_long(&at.child("message"), MESSAGE_BYTES_MAX);
        }
        let code = error.int("errorCode");
        if code < 0 {
            errors.invalid(&at.child("errorCode"), code, "must be between 0 and 2147483647, inclusive");
        }
    }
    if let Some(name) = name {
        dns_subdomain(name, &SPEC.child("source.persistentVolumeName"), errors);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case(json!({"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "p"}}), "")]
    #[case(json!({"attacher": "a", "nodeName": "n", "source": {}}),
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName")]
    #[case(json!({"attacher": "", "nodeName": "n", "source": {"persistentVolumeName": "p"}}),
        "spec.attacher: Required value")]
    #[case(json!({"attacher": "a", "nodeName": "n", "source": {"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1"}, "csi": {"driver": "d", "volumeHandle": "h"}}}}),
        "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes")]
    fn attachments(#[case] spec: serde_json::Value, #[case] expected: &str) {
        let attachment = object(false, json!({"spec": spec}));
        assert_eq!(create(&RULES, false, attachment).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn the_spec_stays() {
        let attachment = |node| {
            let source = json!({"persistentVolumeName": "p"});
            object(false, json!({"spec": {"attacher": "a", "nodeName": node, "source": source}}))
        };
        let said = update(&RULES, false, attachment("b"), attachment("a")).unwrap_err();
        assert_eq!(said, ["spec: Invalid value: null: field is immutable"]);
    }
}
