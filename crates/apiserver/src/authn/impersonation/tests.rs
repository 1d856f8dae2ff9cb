use std::cell::RefCell;

use rstest::rstest;

use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

/// What was asked: `verb resource[/subresource] [namespace/]name`.
fn shown_check(attributes: &Attributes<'_>) -> String {
    let resource = match attributes.subresource {
        "" => attributes.resource.to_owned(),
        subresource => format!("{}/{subresource}", attributes.resource),
    };
    let name = match attributes.namespace {
        "" => attributes.name.to_owned(),
        namespace => format!("{namespace}/{}", attributes.name),
    };
    format!("{} {}.{resource} {name}", attributes.verb, attributes.group)
}

fn run(
    pairs: &[(&'static str, &'static str)],
    requestor: &UserInfo,
    allowed: &[&str],
) -> (Result<Impersonated, Status>, Vec<String>) {
    let wanted = take(&mut headers(pairs)).unwrap().unwrap();
    let request = Attributes { namespace: "ns", version: "v1", ..Attributes::resource(requestor, "list", "", "pods") };
    let asked = RefCell::new(Vec::new());
    let result = wanted.authorize(&request, |attributes| {
        let check = shown_check(attributes);
        let allow = allowed.iter().any(|one| check.starts_with(one));
        asked.borrow_mut().push(check);
        if allow { Decision::Allow("".into()) } else { Decision::none() }
    });
    (result, asked.into_inner())
}

#[test]
fn legacy_asks_for_each_part_and_is_tried_last() {
    let bob = UserInfo::authenticated("bob", &[]);
    let pairs = [
        ("impersonate-user", "alice"),
        ("impersonate-uid", "7"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "ops"),
        ("impersonate-extra-acme.com%2fscopes", "x"),
    ];
    let (result, asked) = run(&pairs, &bob, &["impersonate .", " impersonate", "impersonate authentication"]);
    let expected = [
        "impersonate-on:user-info:list .pods ns/",
        "impersonate .users alice",
        "impersonate authentication.k8s.io.uids 7",
        "impersonate .groups dev",
        "impersonate .groups ops",
        "impersonate authentication.k8s.io.userextras/acme.com/scopes x",
    ];
    assert_eq!(asked, expected);
    let found = result.unwrap();
    assert_eq!(found.constraint, "");
    assert_eq!(found.user.groups, ["dev", "ops", "system:authenticated"]);
    assert_eq!(found.user.extra["acme.com/scopes"], ["x"]);
}

#[rstest]
#[case::user("alice", &["system:authenticated"])]
#[case::anonymous("system:anonymous", &["system:unauthenticated"])]
#[case::service_account("system:serviceaccount:ns:sa", &["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"])]
#[case::node_gets_no_groups_in_the_old_mode("system:node:n1", &["system:authenticated"])]
fn groups_that_come_by_themselves(#[case] name: &'static str, #[case] groups: &[&str]) {
    let bob = UserInfo::authenticated("bob", &[]);
    let (result, _) = run(&[("impersonate-user", name)], &bob, &["impersonate ."]);
    assert_eq!(result.unwrap().user.groups, groups);
}

#[test]
fn constrained_modes_ask_for_request_and_user() {
    let bob = UserInfo::authenticated("bob", &[]);
    let allowed = ["impersonate-on:arbitrary-node:list", "impersonate:arbitrary-node"];
    let (result, asked) = run(&[("impersonate-user", "system:node:n1")], &bob, &allowed);
    let found = result.unwrap();
    assert_eq!(found.constraint, "impersonate:arbitrary-node");
    assert_eq!(found.user.groups, ["system:nodes", "system:authenticated"]);
    assert_eq!(asked[1], "impersonate:arbitrary-node authentication.k8s.io.nodes n1");
}

#[test]
fn an_account_may_be_the_node_it_runs_on() {
    let mut agent = UserInfo::service_account("ns", "agent");
    agent.extra.insert("authentication.kubernetes.io/node-name".into(), vec!["n1".into()]);
    let allowed = ["impersonate-on:associated-node:list", "impersonate:associated-node"];
    let (result, asked) = run(&[("impersonate-user", "system:node:n1")], &agent, &allowed);
    assert_eq!(result.unwrap().constraint, "impersonate:associated-node");
    assert_eq!(asked[1], "impersonate:associated-node authentication.k8s.io.nodes *");
    let (result, asked) = run(&[("impersonate-user", "system:node:n2")], &agent, &allowed);
    assert!(result.is_err() && asked.iter().all(|check| !check.contains("associated")));
}

#[test]
fn constrained_modes_never_give_masters() {
    let bob = UserInfo::authenticated("bob", &[]);
    let pairs = [("impersonate-user", "alice"), ("impersonate-group", "system:masters")];
    let (result, _) = run(&pairs, &bob, &["impersonate-on:", "impersonate:user-info"]);
    let message = result.unwrap_err().message;
    assert!(message.ends_with("impersonating the system:masters group is not allowed"), "{message}");
}

#[test]
fn the_first_refusal_is_reported() {
    let bob = UserInfo::authenticated("bob", &[]);
    let (result, _) = run(&[("impersonate-user", "alice")], &bob, &[]);
    let expected = "pods is forbidden: User \"bob\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" \
                    in the namespace \"ns\"";
    assert_eq!(result.unwrap_err().message, expected);
}

#[test]
fn headers_without_a_user() {
    let mut only_group = headers(&[("impersonate-group", "dev")]);
    let status = take(&mut only_group).unwrap_err();
    let expected = "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"dev\"}, \
                    Extra:map[string][]string(nil)} without impersonating a user name";
    assert_eq!((status.code, status.message.as_str()), (400, expected));
    let mut none = headers(&[("accept", "*/*")]);
    assert_eq!(take(&mut none), Ok(None));
    let mut all = headers(&[("impersonate-user", "a"), ("impersonate-extra-x", "y"), ("accept", "*/*")]);
    take(&mut all).unwrap();
    assert_eq!(all.len(), 1);
}
