//! Groups and versions, as objects and paths name them.

use std::fmt;

use crate::value::Key;

/// A group and one of its versions. The core group is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    pub group: Key,
    pub version: Key,
}

/// A kind in a group version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    pub group: Key,
    pub version: Key,
    pub kind: Key,
}

// === impl GroupVersion ===

impl GroupVersion {
    /// Reads an object's `apiVersion`; the error is upstream's.
    pub fn parse(api_version: &str) -> Result<GroupVersion, String> {
        let mut parts = api_version.split('/');
        match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
            (version, None, _) => Ok(GroupVersion { group: Key::default(), version: version.into() }),
            (group, Some(version), None) => Ok(GroupVersion { group: group.into(), version: version.into() }),
            _ => Err(format!("unexpected GroupVersion string: {api_version}")),
        }
    }

    /// As objects have it in `apiVersion`.
    pub fn to_key(&self) -> Key {
        if self.group.is_empty() { self.version.clone() } else { smol_str::format_smolstr!("{self}") }
    }

    pub fn with_kind(&self, kind: impl Into<Key>) -> GroupVersionKind {
        GroupVersionKind { group: self.group.clone(), version: self.version.clone(), kind: kind.into() }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.version) } else { write!(f, "{}/{}", self.group, self.version) }
    }
}

// === impl GroupVersionKind ===

impl GroupVersionKind {
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }
    }
}

/// As Go prints it: `apps/v1, Kind=Deployment`.
impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("v1", "", "v1")]
    #[case("apps/v1", "apps", "v1")]
    #[case("", "", "")]
    fn parse(#[case] text: &str, #[case] group: &str, #[case] version: &str) {
        let parsed = GroupVersion::parse(text).unwrap();
        assert_eq!((parsed.group.as_str(), parsed.version.as_str()), (group, version));
        assert_eq!(parsed.to_key(), text);
    }

    #[test]
    fn too_many_slashes() {
        assert_eq!(GroupVersion::parse("a/b/c").unwrap_err(), "unexpected GroupVersion string: a/b/c");
    }
}
