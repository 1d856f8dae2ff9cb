use api::user::UserInfo;
use rstest::rstest;

use super::*;

fn split(text: &str) -> Vec<SmolStr> {
    text.split(',').filter(|part| *part != "-").map(SmolStr::from).collect()
}

/// `verbs|groups|resources|names` or `verbs|urls`; `-` for none.
fn rule(text: &str) -> PolicyRule {
    let parts: Vec<_> = text.split('|').map(split).collect();
    match parts.as_slice() {
        [verbs, urls] => {
            PolicyRule { verbs: Verbs::new(verbs.clone()), non_resource_urls: urls.clone(), ..PolicyRule::default() }
        }
        [verbs, groups, resources, names @ ..] => PolicyRule {
            verbs: Verbs::new(verbs.clone()),
            api_groups: groups.clone(),
            resources: resources.clone(),
            resource_names: names.first().cloned().unwrap_or_default(),
            ..PolicyRule::default()
        },
        _ => unreachable!("a rule has two parts or more"),
    }
}

#[rstest]
#[case::star_verb("*|g1|r1", "v1 g1 r1", true)]
#[case::star_verb_other_group("*|g1|r1", "v1 g2 r1", false)]
#[case::star_group("v1|*|r1", "v1 g2 r1", true)]
#[case::star_group_other_verb("v1|*|r1", "v2 g2 r1", false)]
#[case::star_resource("v1|g1|*", "v1 g1 r2", true)]
#[case::star_resource_takes_subresources("v1|g1|*", "v1 g1 r2/s", true)]
#[case::tuple("v1,v2|g1,g2|r1,r2", "v2 g1 r2", true)]
#[case::subresource("*|*|r1/s1", "v1 g1 r1/s1", true)]
#[case::other_subresource("*|*|r1/s1", "v1 g1 r1/s2", false)]
#[case::resource_is_not_its_subresource("*|*|pods", "get g pods/status", false)]
#[case::subresource_is_not_its_resource("*|*|pods/status,*/scale", "get g pods", false)]
#[case::any_resources_subresource("*|*|*/scale", "get g deployments/scale", true)]
#[case::suffix_is_not_enough("*|*|*/scale", "get g deployments/upscale", false)]
#[case::named("get|*|r|a,b", "get g r b", true)]
#[case::other_name("get|*|r|a,b", "get g r c", false)]
#[case::named_rule_without_a_name("list|*|r|a", "list g r", false)]
#[case::path("get|/foo,/foo/bar/one", "get /foo/bar/one", true)]
#[case::subpath("get|/foo,/foo/bar/one", "get /foo/bar", false)]
#[case::prefix("get|/foo/*", "get /foo/bar", true)]
#[case::prefix_needs_its_slash("get|/foo/*", "get /foo", false)]
#[case::all_paths("get|*", "get /foo", true)]
#[case::resource_rule_for_a_path("*|*|*", "get /foo", false)]
#[case::path_rule_for_a_resource("*|*", "get g r", false)]
fn allows(#[case] text: &str, #[case] request: &str, #[case] expected: bool) {
    let user = UserInfo::default();
    let parts: Vec<&str> = request.split(' ').collect();
    let attributes = match parts.as_slice() {
        [verb, path] => Attributes::path(&user, verb, path),
        [verb, group, resource, name @ ..] => {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let name = name.first().copied().unwrap_or("");
            Attributes { subresource, name, ..Attributes::resource(&user, verb, group, resource) }
        }
        _ => unreachable!("a request has two parts or more"),
    };
    assert_eq!(rule(text).allows(&attributes), expected);
}

#[rstest]
#[case::same(&["get|g|r"], &["get|g|r"], "")]
#[case::all(&["*|*|*"], &["get,list|a,b|x,y/z|n"], "")]
#[case::apart(&["get|g|r", "list|g|r"], &["get,list|g|r"], "")]
#[case::missing_verb(&["get|g|r"], &["get,list,watch|g|r"],
    r#"{APIGroups:["g"], Resources:["r"], Verbs:["list" "watch"]}"#)]
#[case::names_cover_fewer(&["get|g|r|a,b"], &["get|g|r|a"], "")]
#[case::names_do_not_cover_all(&["get|g|r|a"], &["get|g|r"], r#"{APIGroups:["g"], Resources:["r"], Verbs:["get"]}"#)]
#[case::unnamed_covers_named(&["get|g|r"], &["get|g|r|a"], "")]
#[case::subresources(&["get|g|*/scale"], &["get|g|deployments/scale"], "")]
#[case::star_subresource_alone(&["get|g|*/scale"], &["get|g|*"], r#"{APIGroups:["g"], Resources:["*"], Verbs:["get"]}"#)]
#[case::paths(&["get|/apis/*"], &["get|/apis/foo/*,/apis/bar"], "")]
#[case::longer_path_does_not_cover(&["get|/apis/foo"], &["get|/apis"], r#"{NonResourceURLs:["/apis"], Verbs:["get"]}"#)]
#[case::star_path_is_not_covered_by_prefix(&["get|/*"], &["get|*"], r#"{NonResourceURLs:["*"], Verbs:["get"]}"#)]
#[case::group_star_needs_star(&["get|a,b|r"], &["get|*|r"], r#"{APIGroups:["*"], Resources:["r"], Verbs:["get"]}"#)]
fn covers(#[case] held: &[&str], #[case] wanted: &[&str], #[case] missing: &str) {
    let rules = |texts: &[&str]| texts.iter().map(|text| rule(text)).collect::<Vec<_>>();
    let found = compacted(uncovered(&rules(held), &rules(wanted)));
    let found: Vec<String> = found.iter().map(PolicyRule::compact).collect();
    assert_eq!(found.join("\n"), missing);
}

#[test]
fn value_round_trip() {
    for text in ["get,list|,apps|pods|a", "*|/healthz"] {
        let rule = rule(text);
        assert_eq!(PolicyRule::from_value(&rule.to_value()), rule);
    }
}
