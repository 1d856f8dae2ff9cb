//! What an authorizer answers, and the 403 that follows from a no.

use api::status::{GroupResource, Status};
use smol_str::SmolStr;

use super::Attributes;
use super::text::{escape_html, quoted};

/// An authorizer's answer. Reasons are for audit, for access reviews and for the 403's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(SmolStr),
    Deny(SmolStr),
    /// The next authorizer is asked; at the end of the chain it means no.
    NoOpinion(SmolStr),
}

impl Decision {
    pub fn is_allow(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    pub fn reason(&self) -> &SmolStr {
        match self {
            Decision::Allow(reason) | Decision::Deny(reason) | Decision::NoOpinion(reason) => reason,
        }
    }

    /// No opinion, and nothing to say.
    pub fn none() -> Decision {
        Decision::NoOpinion(SmolStr::default())
    }
}

/// The 403 for a denied request, worded as upstream's `responsewriters.ForbiddenStatusError`.
pub fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let mut message = escape_html(&denied(attributes));
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    let of = GroupResource { group: attributes.group, resource: attributes.resource };
    Status::forbidden(of, attributes.name, &message)
}

fn denied(attributes: &Attributes<'_>) -> String {
    let (user, verb) = (quoted(&attributes.user.name), attributes.verb);
    if !attributes.is_resource {
        return format!("User {user} cannot {verb} path {}", quoted(attributes.path));
    }
    let resource = match attributes.subresource {
        "" => quoted(attributes.resource),
        subresource => quoted(&format!("{}/{subresource}", attributes.resource)),
    };
    let group = quoted(attributes.group);
    match attributes.namespace {
        "" => format!("User {user} cannot {verb} resource {resource} in API group {group} at the cluster scope"),
        namespace => format!(
            "User {user} cannot {verb} resource {resource} in API group {group} in the namespace {}",
            quoted(namespace)
        ),
    }
}

#[cfg(test)]
mod tests {
    use api::user::UserInfo;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::namespaced(
        "pods",
        "",
        "default",
        "",
        "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    )]
    #[case::subresource(
        "pods",
        "log",
        "default",
        "a",
        "pods \"a\" is forbidden: User \"bob\" cannot list resource \"pods/log\" in API group \"\" in the namespace \"default\""
    )]
    #[case::cluster(
        "nodes",
        "",
        "",
        "",
        "nodes is forbidden: User \"bob\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
    )]
    fn resources(
        #[case] resource: &str,
        #[case] subresource: &str,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] expected: &str,
    ) {
        let user = UserInfo::authenticated("bob", &[]);
        let attributes =
            Attributes { subresource, namespace, name, ..Attributes::resource(&user, "list", "", resource) };
        let status = forbidden(&attributes, "");
        assert_eq!((status.code, status.reason, status.message.as_str()), (403, "Forbidden", expected));
    }

    #[test]
    fn paths_and_reasons() {
        let user = UserInfo::authenticated("<b>", &[]);
        let status = forbidden(&Attributes::path(&user, "get", "/metrics"), "rbac: RBAC: x");
        assert_eq!(status.message, "forbidden: User \"&lt;b&gt;\" cannot get path \"/metrics\": rbac: RBAC: x");
    }
}
