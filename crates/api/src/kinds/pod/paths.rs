//! Paths of files within volumes, and file modes.

use crate::field::{FieldErrors, Path};
use crate::kinds::read::Read;
use crate::value::Value;

/// Relative, without `..`.
pub fn descending(path: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_backsteps(path, at, errors);
}

/// Without `..` as an element.
pub fn no_backsteps(path: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    if has_backsteps(path) {
        errors.invalid(at, path, "must not contain '..'");
    }
}

pub fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|element| element == "..")
}

/// [`descending`], and with no name that starts with `..`, which the kubelet keeps for itself.
pub fn local(path: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    descending(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}

/// A mode within `0777`, if there is one.
pub fn file_mode(object: &Value, field: &str, at: &Path<'_>, errors: &mut FieldErrors) {
    let mode = object.int(field);
    if !(0..=0o777).contains(&mode) {
        errors.invalid(&at.child(field), mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}
