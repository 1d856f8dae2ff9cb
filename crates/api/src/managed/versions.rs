//! The versions of built-in kinds, for owners who wrote in another one than the request's.

use super::filter::Filter;
use super::request::{InVersion, Versions};
use super::typed::Type;
use crate::kinds::convert;
use crate::registry::Registry;
use crate::schema::builtin;
use crate::value::Value;
use std::borrow::Cow;

/// A built-in kind: versions that are served and of one shape have the same paths, the others are
/// converted (`autoscaling/v1` and `v2`).
pub struct BuiltinVersions<'a> {
    /// `HorizontalPodAutoscaler`.
    pub kind: &'a str,
    /// The request's.
    pub subresource: &'a str,
}

impl Versions for BuiltinVersions<'_> {
    fn in_version<'v>(&'v self, object: &'v Value, version: &str) -> InVersion<'v> {
        let own = object.str_at("apiVersion");
        if own == version {
            return InVersion::Same;
        }
        let (from, to) = (split(own), split(version));
        let Some(row) = Registry::builtin().resource_for_kind(to.0, to.1, self.kind) else {
            return InVersion::Unknown;
        };
        if !convert::differs(self.kind, from, to) {
            return InVersion::Same;
        }
        let mut object = object.clone();
        match convert::convert(&mut object, from, to, self.kind) {
            Ok(()) => InVersion::Other {
                object: Cow::Owned(object),
                of: Type::of(builtin(), row.schema),
                filter: Filter::of(to.0, self.kind, self.subresource),
            },
            Err(_) => InVersion::Unknown,
        }
    }
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::{Request, apply};
    use crate::testing::json;

    fn request<'a>(api_version: &'a str, versions: &'a BuiltinVersions<'a>) -> Request<'a> {
        let (group, version) = split(api_version);
        Request {
            schema: builtin(),
            of: Registry::builtin().kind(group, version, versions.kind),
            api_version,
            kind: versions.kind,
            subresource: "",
            filter: Filter::of(group, versions.kind, ""),
            versions,
            manager: "two",
            now: "2024-05-01T10:00:00Z",
        }
    }

    /// What `autoscaling/v1` calls `targetCPUUtilizationPercentage` is a list of metrics in v2.
    #[test]
    fn owners_are_met_in_their_own_version() {
        let versions = BuiltinVersions { kind: "HorizontalPodAutoscaler", subresource: "" };
        let config = |cpu: i64| {
            json(&format!(
                r#"{{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{{"name":"h"}},"spec":{{"scaleTargetRef":{{"kind":"Deployment","name":"d","apiVersion":"apps/v1"}},"maxReplicas":3,"targetCPUUtilizationPercentage":{cpu}}}}}"#
            ))
        };
        let one = Request { manager: "one", ..request("autoscaling/v1", &versions) };
        let live = apply(&one, None, &config(50), false).unwrap().object;
        let InVersion::Other { object: live, .. } = versions.in_version(&live, "autoscaling/v2") else {
            panic!("the versions have different shapes");
        };
        let mut changed = json(
            r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},"spec":{"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":70}}}]}}"#,
        );
        let status = apply(&request("autoscaling/v2", &versions), Some(&live), &changed, false).unwrap_err();
        let conflict = r#"Apply failed with 1 conflict: conflict with "one": .spec.targetCPUUtilizationPercentage"#;
        assert_eq!(status.message, conflict);
        changed.remove("spec.metrics");
        changed.set("spec.minReplicas", 1);
        assert!(apply(&request("autoscaling/v2", &versions), Some(&live), &changed, false).is_ok());
    }

    #[test]
    fn versions_of_one_shape_have_the_same_paths() {
        let versions = BuiltinVersions { kind: "Deployment", subresource: "" };
        let object = json(r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#);
        assert!(matches!(versions.in_version(&object, "apps/v1"), InVersion::Same));
        assert!(matches!(versions.in_version(&object, "apps/v1beta1"), InVersion::Unknown));
        assert!(matches!(versions.in_version(&object, "nothing"), InVersion::Unknown));
    }
}
