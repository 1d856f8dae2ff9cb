//! Bootstrap tokens: how a node that has nothing yet asks for its first certificate.
//!
//! Upstream: plugin/pkg/auth/authenticator/token/bootstrap. Tokens are `id.secret`, kept in
//! Secrets `kube-system/bootstrap-token-ID`.

use std::collections::BTreeSet;

use api::user::UserInfo;
use jiff::Timestamp;

use super::bound::{BoundObjects, BoundSecret};

const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 16;
const DEFAULT_GROUP: &str = "system:bootstrappers";
/// The longest name of an extra group after `system:bootstrappers:`.
const GROUP_CHARS_MAX: usize = 256;

/// The user of a bootstrap token, `None` if it is no valid one.
pub fn user(token: &str, objects: &dyn BoundObjects, now: i64) -> Option<UserInfo> {
    let (id, secret) = parse(token)?;
    let stored = objects.secret("kube-system", &format!("bootstrap-token-{id}"))?;
    let genuine = stored.bound.deleted_at.is_none()
        && stored.kind == "bootstrap.kubernetes.io/token"
        && same(stored.text("token-secret"), secret)
        && stored.text("token-id") == id
        && !is_over(&stored, now)
        && stored.text("usage-bootstrap-authentication") == "true";
    let groups = groups(stored.text("auth-extra-groups")).filter(|_| genuine)?;
    Some(UserInfo { name: format!("system:bootstrap:{id}"), groups, ..UserInfo::default() })
}

fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (fits(id, ID_CHARS) && fits(secret, SECRET_CHARS)).then_some((id, secret))
}

/// Compares in a time that does not tell where texts of equal length differ.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// An expiration that can't be read is over.
fn is_over(secret: &BoundSecret, now: i64) -> bool {
    match secret.text("expiration") {
        "" => false,
        text => text.parse::<Timestamp>().map_or(true, |end| end.as_second() <= now),
    }
}

/// The default group and the extra ones, sorted; `None` if one is no bootstrap group.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = BTreeSet::from([DEFAULT_GROUP.to_owned()]);
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        let name = group.strip_prefix("system:bootstrappers:")?;
        let fits = (1..=GROUP_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-".contains(&byte))
            && !name.ends_with([':', '-']);
        if !fits {
            return None;
        }
        groups.insert(group.to_owned());
    }
    Some(groups.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::authn::bound::Bound;

    struct Secrets(BoundSecret);

    impl BoundObjects for Secrets {
        fn service_account(&self, _: &str, _: &str) -> Option<Bound> {
            None
        }
        fn pod(&self, _: &str, _: &str) -> Option<Bound> {
            None
        }
        fn node(&self, _: &str) -> Option<Bound> {
            None
        }
        fn secret(&self, namespace: &str, name: &str) -> Option<BoundSecret> {
            ((namespace, name) == ("kube-system", "bootstrap-token-foobar")).then(|| self.0.clone())
        }
    }

    const GOOD: &str = "foobar.circumnavigation";

    #[rstest]
    #[case::good(GOOD, &[], Some("system:bootstrappers"))]
    #[case::with_groups(GOOD, &[("auth-extra-groups", "system:bootstrappers:foo,system:bootstrappers:bar")], Some("system:bootstrappers,system:bootstrappers:bar,system:bootstrappers:foo"))]
    #[case::bad_group(GOOD, &[("auth-extra-groups", "foo")], None)]
    #[case::other_secret("foobar.circumnavigatiox", &[], None)]
    #[case::unknown_id("barfoo.circumnavigation", &[], None)]
    #[case::malformed("foobar", &[], None)]
    #[case::not_for_authentication(GOOD, &[("usage-bootstrap-authentication", "yes")], None)]
    #[case::other_id_inside(GOOD, &[("token-id", "barfoo")], None)]
    #[case::expired(GOOD, &[("expiration", "2009-11-10T23:00:00Z")], None)]
    #[case::expires_later(GOOD, &[("expiration", "2109-11-10T23:00:00Z")], Some("system:bootstrappers"))]
    #[case::unreadable_expiration(GOOD, &[("expiration", "invalid")], None)]
    fn upstreams_cases(#[case] token: &str, #[case] changes: &[(&str, &str)], #[case] groups: Option<&str>) {
        let mut secret = BoundSecret { kind: "bootstrap.kubernetes.io/token".into(), ..BoundSecret::default() };
        let plain =
            [("token-id", "foobar"), ("token-secret", "circumnavigation"), ("usage-bootstrap-authentication", "true")];
        for (key, value) in plain.iter().chain(changes) {
            secret.data.insert((*key).to_owned(), value.as_bytes().to_vec());
        }
        let found = user(token, &Secrets(secret.clone()), 1_800_000_000);
        assert_eq!(found.as_ref().map(|user| user.groups.join(",")).as_deref(), groups);
        if let Some(user) = found {
            assert_eq!(user.name, "system:bootstrap:foobar");
        }
        secret.bound.deleted_at = Some(1);
        assert_eq!(user(token, &Secrets(secret), 1_800_000_000), None);
    }
}
