//! Acting as somebody else: `Impersonate-User` and its companions.
//!
//! Upstream: k8s.io/apiserver/pkg/endpoints/filters/impersonation. Since v1.36 there are
//! constrained modes besides the verb `impersonate`: each wants `impersonate-on:MODE:VERB` for the
//! request and `impersonate:MODE` for the user. All modes that fit are tried, the old one last.

use std::collections::BTreeMap;

use api::names;
use api::status::Status;
use api::user::UserInfo;
use http::HeaderMap;

use super::front_proxy::{extra, remove_prefixed};
use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use crate::authz::{Attributes, Decision, forbidden, quoted};

/// The user that a request wants to be, as its headers say, nothing added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    user: UserInfo,
}

/// Whom a request acts as, and by which verb that was allowed (empty for `impersonate`), for audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impersonated {
    pub user: UserInfo,
    pub constraint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

/// Checks of so many groups or extras are preceded by one of all of them.
const MANY: usize = 4;
const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";
const MODES: [Mode; 5] =
    [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::ServiceAccount, Mode::UserInfo, Mode::Legacy];

/// The user that the headers name, `None` without such headers. They are taken out.
///
/// # Errors
/// 400 for headers that name no user.
pub fn take(headers: &mut HeaderMap) -> Result<Option<Wanted>, Status> {
    let wanted = parse(headers)?;
    if wanted.is_some() {
        for name in ["impersonate-user", "impersonate-uid", "impersonate-group"] {
            headers.remove(name);
        }
        remove_prefixed(headers, &["impersonate-extra-"]);
    }
    Ok(wanted)
}

fn parse(headers: &HeaderMap) -> Result<Option<Wanted>, Status> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let first = |name| headers.get(name).map(text).unwrap_or_default();
    let user = UserInfo {
        name: first("impersonate-user"),
        uid: first("impersonate-uid"),
        groups: headers.get_all("impersonate-group").into_iter().map(text).collect(),
        extra: extra(headers, &["impersonate-extra-"]),
    };
    let others = !user.uid.is_empty() || !user.groups.is_empty() || !user.extra.is_empty();
    match user.name.is_empty() {
        true if others => {
            let shown = go_syntax(&user);
            Err(Status::bad_request(format!("requested {shown} without impersonating a user name")))
        }
        true => Ok(None),
        false => Ok(Some(Wanted { user })),
    }
}

/// Go's `%#v`, which upstream's message shows.
fn go_syntax(user: &UserInfo) -> String {
    let strings = |items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
        format!("[]string{{{}}}", items.join(", "))
    };
    let groups = if user.groups.is_empty() { "[]string(nil)".to_owned() } else { strings(&user.groups) };
    let extra = match user.extra.is_empty() {
        true => "map[string][]string(nil)".to_owned(),
        false => {
            let entries: Vec<_> =
                user.extra.iter().map(|(key, values)| format!("{}:{}", quoted(key), strings(values))).collect();
            format!("map[string][]string{{{}}}", entries.join(", "))
        }
    };
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{groups}, Extra:{extra}}}",
        quoted(&user.name),
        quoted(&user.uid)
    )
}

// === impl Wanted ===

impl Wanted {
    /// The user as named.
    pub fn user(&self) -> &UserInfo {
        &self.user
    }

    /// Whom the request (whose attributes bear the one who makes it) acts as, if `authorize` lets it.
    ///
    /// # Errors
    /// 403 for the first check that failed in the first mode that fits.
    pub fn authorize(
        &self,
        request: &Attributes<'_>,
        authorize: impl Fn(&Attributes<'_>) -> Decision,
    ) -> Result<Impersonated, Status> {
        let mut first = None;
        for mode in MODES.into_iter().filter(|mode| mode.fits(&self.user, request.user)) {
            match self.try_mode(mode, request, &authorize) {
                Ok(user) => return Ok(Impersonated { user, constraint: mode.constraint() }),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
    }

    fn try_mode(
        &self,
        mode: Mode,
        request: &Attributes<'_>,
        authorize: &impl Fn(&Attributes<'_>) -> Decision,
    ) -> Result<UserInfo, Status> {
        // The node itself is not part of what an associated node's account is allowed.
        let associated;
        let requestor = match mode {
            Mode::AssociatedNode => {
                associated = associate(request.user);
                &associated
            }
            _ => request.user,
        };
        let check = |attributes: &Attributes<'_>| match authorize(attributes) {
            decision if decision.is_allow() => Ok(()),
            decision => Err(forbidden(attributes, decision.reason())),
        };
        if mode != Mode::Legacy {
            let verb = format!("impersonate-on:{}:{}", mode.name(), request.verb);
            check(&Attributes { user: requestor, verb: &verb, ..*request })?;
        }
        let verb = mode.verb();
        let (group, version) = if mode == Mode::Legacy { ("", "v1") } else { (AUTHENTICATION_GROUP, "v1") };
        let of = |group, resource| Attributes { version, ..Attributes::resource(requestor, &verb, group, resource) };
        let mut user = self.user.clone();
        let mut named = Attributes { name: &self.user.name, ..of(group, "users") };
        if mode != Mode::Legacy
            && let Some(node) = node_name(&self.user.name)
        {
            (named.resource, named.name) = ("nodes", if mode == Mode::AssociatedNode { "*" } else { node });
            user.groups = vec!["system:nodes".to_owned()];
        }
        if let Some((namespace, name)) = service_account(&self.user.name) {
            (named.resource, named.namespace, named.name) = ("serviceaccounts", namespace, name);
            if self.user.groups.is_empty() {
                user.groups = UserInfo::service_account(namespace, name).groups;
                user.groups.retain(|group| group != AUTHENTICATED);
            }
        }
        check(&named)?;
        if !self.user.uid.is_empty() {
            check(&Attributes { name: &self.user.uid, ..of(AUTHENTICATION_GROUP, "uids") })?;
        }
        self.check_groups(mode, of(group, "groups"), &check)?;
        self.check_extra(mode, of(AUTHENTICATION_GROUP, "userextras"), &check)?;
        add_implied_group(&mut user);
        Ok(user)
    }

    fn check_groups(
        &self,
        mode: Mode,
        mut attributes: Attributes<'_>,
        check: &impl Fn(&Attributes<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let groups = &self.user.groups;
        if mode != Mode::Legacy {
            if groups.iter().any(String::is_empty) {
                return Err(forbidden(&attributes, "impersonating the empty string group is not allowed"));
            }
            if groups.iter().any(|group| group == "system:masters") {
                attributes.name = "system:masters";
                return Err(forbidden(&attributes, "impersonating the system:masters group is not allowed"));
            }
            if groups.len() >= MANY && check(&Attributes { name: "*", ..attributes }).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| check(&Attributes { name: group, ..attributes }))
    }

    fn check_extra(
        &self,
        mode: Mode,
        attributes: Attributes<'_>,
        check: &impl Fn(&Attributes<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let extra = &self.user.extra;
        if mode != Mode::Legacy {
            validate_extra(extra).map_err(|why| forbidden(&attributes, &why))?;
            let many = extra.values().map(Vec::len).sum::<usize>() >= MANY || extra.len() >= MANY;
            if many && check(&Attributes { subresource: "*", name: "*", ..attributes }).is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                check(&Attributes { subresource: key, name: value, ..attributes })?;
            }
        }
        Ok(())
    }
}

fn validate_extra(extra: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    for (key, values) in extra {
        if key.is_empty() {
            return Err("impersonating the empty string key in extra is not allowed".into());
        }
        let domain_and_path = key
            .split_once('/')
            .is_some_and(|(domain, path)| names::dns1123_subdomain(domain).is_empty() && !path.is_empty());
        if !domain_and_path {
            return Err(format!(
                "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {}: must be a \
                 domain-prefixed path (such as \"acme.io/foo\")",
                quoted(key)
            ));
        }
        if *key != key.to_lowercase() {
            return Err(format!("impersonating a non-lowercase key in extra is not allowed: {}", quoted(key)));
        }
        if values.is_empty() {
            return Err("impersonating empty values in extra is not allowed".into());
        }
        if values.iter().any(String::is_empty) {
            return Err("impersonating the empty string value in extra is not allowed".into());
        }
    }
    Ok(())
}

/// Nobody is in neither of the two groups of everybody.
fn add_implied_group(user: &mut UserInfo) {
    let group = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.in_group(group) && !user.in_group(UNAUTHENTICATED) {
        user.groups.push(group.to_owned());
    }
}

/// The account without what differs from node to node.
fn associate(user: &UserInfo) -> UserInfo {
    let keys = user.extra.keys().cloned().collect();
    let extra = BTreeMap::from([("authentication.kubernetes.io/associated-node-keys".to_owned(), keys)]);
    UserInfo { extra, ..user.clone() }
}

fn node_name(user: &str) -> Option<&str> {
    user.strip_prefix("system:node:").filter(|name| names::dns1123_subdomain(name).is_empty())
}

/// Namespace and name of a service account's user.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let valid = names::dns1123_label(namespace).is_empty() && names::dns1123_subdomain(name).is_empty();
    valid.then_some((namespace, name))
}

// === impl Mode ===

impl Mode {
    /// Whether this mode can make that user of the requestor.
    fn fits(self, wanted: &UserInfo, requestor: &UserInfo) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let node = node_name(&wanted.name);
        let account = service_account(&wanted.name);
        match self {
            Mode::AssociatedNode => {
                let of = requestor.extra.get("authentication.kubernetes.io/node-name").map(Vec::as_slice);
                let is_there = matches!((of, node), (Some([one]), Some(node)) if one == node);
                only_name && is_there && service_account(&requestor.name).is_some()
            }
            Mode::ArbitraryNode => only_name && node.is_some(),
            Mode::ServiceAccount => only_name && account.is_some(),
            Mode::UserInfo => node.is_none() && account.is_none(),
            Mode::Legacy => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "associated-node",
            Mode::ArbitraryNode => "arbitrary-node",
            Mode::ServiceAccount => "serviceaccount",
            Mode::UserInfo => "user-info",
            Mode::Legacy => "",
        }
    }

    fn verb(self) -> String {
        match self {
            Mode::Legacy => "impersonate".to_owned(),
            mode => format!("impersonate:{}", mode.name()),
        }
    }

    fn constraint(self) -> String {
        if self == Mode::Legacy { String::new() } else { self.verb() }
    }
}

/// How logs show who acts as whom: `bob[dev,ops]`.
pub fn shown(user: &UserInfo) -> String {
    let name = if user.name.is_empty() { "<empty>" } else { &user.name };
    if user.groups.is_empty() { name.to_owned() } else { format!("{name}[{}]", user.groups.join(",")) }
}

#[cfg(test)]
mod tests;
