//! Who makes a request.

use std::collections::BTreeMap;

/// An authenticated user, as authorizers, admission and audit see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user of that name in `system:authenticated` and the given groups.
    pub fn authenticated(name: impl Into<String>, groups: &[&str]) -> UserInfo {
        let groups = groups.iter().copied().chain(["system:authenticated"]).map(String::from).collect();
        UserInfo { name: name.into(), groups, ..UserInfo::default() }
    }

    /// A service account, in the groups that its tokens carry.
    pub fn service_account(namespace: &str, name: &str) -> UserInfo {
        let namespaced = format!("system:serviceaccounts:{namespace}");
        UserInfo::authenticated(
            format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &namespaced],
        )
    }

    /// Nobody: a request without credentials.
    pub fn anonymous() -> UserInfo {
        let groups = vec!["system:unauthenticated".to_owned()];
        UserInfo { name: "system:anonymous".to_owned(), groups, ..UserInfo::default() }
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }
}
