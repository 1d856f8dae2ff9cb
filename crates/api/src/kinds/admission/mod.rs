//! Admission: webhook configurations, policies and their bindings.
//!
//! Expressions are only looked at from outside here; to compile them is the apiserver's.
//!
//! Upstream: `pkg/apis/admissionregistration/validation`.

mod matching;
pub mod policies;
pub mod webhooks;

use super::Rules;
use crate::meta::NameRule;

/// Names with this end are for configurations that come as files.
const STATIC_SUFFIX: &str = ".static.k8s.io";

/// What all kinds of the group share.
const BASE: Rules = Rules {
    name: NameRule::Own(|name, prefix| {
        let mut complaints = NameRule::Subdomain.complaints(name, prefix);
        complaints.extend(static_complaint(name));
        complaints
    }),
    warnings: |object, old| {
        let name = object.str_at("metadata.name");
        let complaint = static_complaint(name).filter(|_| old.is_some());
        complaint.map(|complaint| format!("metadata.name: {complaint}")).into_iter().collect()
    },
    allow_unconditional_update: false,
    ..Rules::DEFAULT
};

fn static_complaint(name: &str) -> Option<String> {
    name.ends_with(STATIC_SUFFIX).then(|| {
        format!(
            "names ending with \"{STATIC_SUFFIX}\" are reserved for static manifest-based configurations and cannot be \
             managed via the API"
        )
    })
}
