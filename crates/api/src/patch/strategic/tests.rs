use super::*;
use crate::testing::{item_schema, json, value};
use proptest::prelude::*;
use rstest::rstest;

fn run(current: &str, patch: &str) -> Result<Value, Error> {
    let (schema, id) = item_schema();
    apply(json(current), json(patch), &schema, id)
}

/// Lists keep their order in this comparison, objects need not.
#[rstest]
// objects
#[case::add(r#"{"name":"a"}"#, r#"{"value":"1"}"#, r#"{"name":"a","value":"1"}"#)]
#[case::replace(r#"{"name":"a"}"#, r#"{"name":"b"}"#, r#"{"name":"b"}"#)]
#[case::null_deletes(r#"{"name":"a","value":"1"}"#, r#"{"value":null,"number":null}"#, r#"{"name":"a"}"#)]
#[case::map(r#"{"labels":{"a":"1","b":"2"}}"#, r#"{"labels":{"a":null,"c":"3"}}"#, r#"{"labels":{"b":"2","c":"3"}}"#)]
#[case::new_map_loses_nulls(
    r#"{}"#,
    r#"{"pointer":{"name":null,"labels":{"a":null}}}"#,
    r#"{"pointer":{"labels":{}}}"#
)]
#[case::nested(
    r#"{"pointer":{"name":"a","value":"1"}}"#,
    r#"{"pointer":{"value":"2"}}"#,
    r#"{"pointer":{"name":"a","value":"2"}}"#
)]
#[case::kind_changes(r#"{"labels":null}"#, r#"{"labels":{"a":"1","b":null}}"#, r#"{"labels":{"a":"1"}}"#)]
#[case::replaced_object(
    r#"{"replaced":{"name":"a","value":"1"}}"#,
    r#"{"replaced":{"value":"2"}}"#,
    r#"{"replaced":{"value":"2"}}"#
)]
#[case::directive_replace(
    r#"{"pointer":{"name":"a"}}"#,
    r#"{"pointer":{"$patch":"replace","value":"1"}}"#,
    r#"{"pointer":{"value":"1"}}"#
)]
#[case::directive_delete(r#"{"pointer":{"name":"a"}}"#, r#"{"pointer":{"$patch":"delete"}}"#, r#"{"pointer":{}}"#)]
#[case::directive_on_nothing(r#"{}"#, r#"{"pointer":{"$patch":"replace","value":"1"}}"#, r#"{}"#)]
#[case::directive_at_the_root(r#"{"name":"a"}"#, r#"{"$patch":"replace","value":"1"}"#, r#"{"value":"1"}"#)]
#[case::raw_is_merged_flat(r#"{"raw":{"a":1,"b":2}}"#, r#"{"raw":{"a":3,"b":null}}"#, r#"{"raw":{"a":3}}"#)]
// retainKeys
#[case::retain(
    r#"{"retaining":{"name":"a","value":"1"}}"#,
    r#"{"retaining":{"$retainKeys":["name","number"],"number":3}}"#,
    r#"{"retaining":{"name":"a","number":3}}"#
)]
#[case::retain_in_list(
    r#"{"retainingList":[{"name":"a","value":"1"},{"name":"b","value":"2"}]}"#,
    r#"{"retainingList":[{"$retainKeys":["name","number"],"name":"a","number":1}]}"#,
    r#"{"retainingList":[{"name":"a","number":1},{"name":"b","value":"2"}]}"#
)]
#[case::retain_needs_no_null(
    r#"{"retaining":{"name":"a","value":"1"}}"#,
    r#"{"retaining":{"$retainKeys":["name"],"value":null}}"#,
    r#"{"retaining":{"name":"a"}}"#
)]
// lists of objects
#[case::merge_item(
    r#"{"mergingList":[{"name":"a","value":"1"},{"name":"b"}]}"#,
    r#"{"mergingList":[{"name":"b","value":"2"}]}"#,
    r#"{"mergingList":[{"name":"a","value":"1"},{"name":"b","value":"2"}]}"#
)]
#[case::new_items_come_first(
    r#"{"mergingList":[{"name":"a"},{"name":"b"}]}"#,
    r#"{"mergingList":[{"name":"c"}]}"#,
    r#"{"mergingList":[{"name":"c"},{"name":"a"},{"name":"b"}]}"#
)]
#[case::order_of_the_patch(
    r#"{"mergingList":[{"name":"a"},{"name":"x"},{"name":"b"}]}"#,
    r#"{"mergingList":[{"name":"b"},{"name":"a"}]}"#,
    r#"{"mergingList":[{"name":"x"},{"name":"b"},{"name":"a"}]}"#
)]
#[case::delete_item(
    r#"{"mergingList":[{"name":"a"},{"name":"b"}]}"#,
    r#"{"mergingList":[{"name":"a","$patch":"delete"}]}"#,
    r#"{"mergingList":[{"name":"b"}]}"#
)]
#[case::delete_missing_item(
    r#"{"mergingList":[{"name":"a"}]}"#,
    r#"{"mergingList":[{"name":"b","$patch":"delete"}]}"#,
    r#"{"mergingList":[{"name":"a"}]}"#
)]
#[case::replace_list(
    r#"{"mergingList":[{"name":"a"},{"name":"b"}]}"#,
    r#"{"mergingList":[{"$patch":"replace"},{"name":"c","value":"1"}]}"#,
    r#"{"mergingList":[{"name":"c","value":"1"}]}"#
)]
#[case::empty_by_replace(
    r#"{"mergingList":[{"name":"a"}]}"#,
    r#"{"mergingList":[{"$patch":"replace"}]}"#,
    r#"{"mergingList":[]}"#
)]
#[case::replacing_list(
    r#"{"replacingList":[{"name":"a"}]}"#,
    r#"{"replacingList":[{"value":"1"}]}"#,
    r#"{"replacingList":[{"value":"1"}]}"#
)]
#[case::new_list_drops_directives(
    r#"{}"#,
    r#"{"mergingList":[{"name":"a","$patch":"delete"},{"name":"b","value":null}]}"#,
    r#"{"mergingList":[{"name":"b"}]}"#
)]
#[case::nested_lists(
    r#"{"mergingList":[{"name":"a","mergingList":[{"name":"x","value":"1"}]}]}"#,
    r#"{"mergingList":[{"name":"a","mergingList":[{"name":"x","number":2},{"name":"y"}]}]}"#,
    r#"{"mergingList":[{"name":"a","mergingList":[{"name":"x","value":"1","number":2},{"name":"y"}]}]}"#
)]
#[case::list_of_null_is_replaced(
    r#"{"mergingList":null}"#,
    r#"{"mergingList":[{"name":"a"}]}"#,
    r#"{"mergingList":[{"name":"a"}]}"#
)]
#[case::list_is_removed(r#"{"mergingList":[{"name":"a"}]}"#, r#"{"mergingList":null}"#, r#"{}"#)]
// lists of scalars
#[case::union(r#"{"mergingNumbers":[1,2]}"#, r#"{"mergingNumbers":[2,3]}"#, r#"{"mergingNumbers":[1,2,3]}"#)]
#[case::numbers_replaced(r#"{"replacingNumbers":[1,2]}"#, r#"{"replacingNumbers":[3]}"#, r#"{"replacingNumbers":[3]}"#)]
#[case::delete_scalar(
    r#"{"mergingNumbers":[1,2,3]}"#,
    r#"{"$deleteFromPrimitiveList/mergingNumbers":[2,9]}"#,
    r#"{"mergingNumbers":[1,3]}"#
)]
#[case::delete_from_nothing(r#"{}"#, r#"{"$deleteFromPrimitiveList/mergingNumbers":[2]}"#, r#"{}"#)]
#[case::delete_null_removes_the_list(
    r#"{"mergingNumbers":[1]}"#,
    r#"{"$deleteFromPrimitiveList/mergingNumbers":null}"#,
    r#"{}"#
)]
// $setElementOrder
#[case::ordered_scalars(
    r#"{"mergingNumbers":[1,2,3]}"#,
    r#"{"$setElementOrder/mergingNumbers":[3,4,1],"mergingNumbers":[4]}"#,
    r#"{"mergingNumbers":[2,3,4,1]}"#
)]
#[case::ordered_only(
    r#"{"mergingList":[{"name":"a"},{"name":"b"}]}"#,
    r#"{"$setElementOrder/mergingList":[{"name":"b"},{"name":"a"}]}"#,
    r#"{"mergingList":[{"name":"b"},{"name":"a"}]}"#
)]
#[case::ordered_new_list(
    r#"{}"#,
    r#"{"$setElementOrder/mergingList":[{"name":"b"},{"name":"a"}],"mergingList":[{"name":"b"},{"name":"a"}]}"#,
    r#"{"mergingList":[{"name":"b"},{"name":"a"}]}"#
)]
#[case::ordered_keeps_servers_items(r#"{"mergingList":[{"name":"a"},{"name":"s"},{"name":"b"}]}"#, r#"{"$setElementOrder/mergingList":[{"name":"a"},{"name":"c"},{"name":"b"}],"mergingList":[{"name":"c","value":"1"}]}"#, r#"{"mergingList":[{"name":"a"},{"name":"c","value":"1"},{"name":"s"},{"name":"b"}]}"#)]
#[case::ordered_nothing(r#"{}"#, r#"{"$setElementOrder/mergingList":[{"name":"b"}]}"#, r#"{}"#)]
/// Upstream's array aliasing: the deleted item's place orders the one appended after it.
#[case::ordered_after_delete(
    r#"{"mergingList":[{"name":"a"},{"name":"b"},{"name":"c"}]}"#,
    r#"{"$setElementOrder/mergingList":[{"name":"d"}],"mergingList":[{"name":"b","$patch":"delete"},{"name":"d"}]}"#,
    r#"{"mergingList":[{"name":"a"},{"name":"c"},{"name":"d"}]}"#
)]
#[case::two_keys_merge_by_one(
    r#"{"portList":[{"number":1,"protocol":"UDP"},{"number":1,"protocol":"TCP"}]}"#,
    r#"{"portList":[{"number":1,"name":"x"}]}"#,
    r#"{"portList":[{"number":1,"protocol":"UDP","name":"x"},{"number":1,"protocol":"TCP"}]}"#
)]
fn patches(#[case] current: &str, #[case] patch: &str, #[case] expected: &str) {
    assert_eq!(run(current, patch), Ok(json(expected)));
}

#[rstest]
#[case(r#"{"pointer":{"$patch":"twist"}}"#, 500, "unknown patch type: twist in map: map[$patch:twist]")]
#[case(r#"{"mergingList":[{"value":"x"}]}"#, 500, "map: map[value:x] does not contain declared merge key: name")]
#[case(
    r#"{"mergingList":[{"$patch":"delete"}]}"#,
    500,
    "map: map[$patch:delete] does not contain declared merge key: name"
)]
#[case(r#"{"mergingList":[{"$patch":"merge","name":"a"}]}"#, 500, "merging lists cannot yet be specified in the patch")]
#[case(r#"{"mergingList":["a"]}"#, 500, "list element types are not identical: [[map[name:a]] [a]]")]
#[case(r#"{"mergingNumbers":[[1]]}"#, 500, "list element types are not identical: [[1] [[1]]]")]
#[case(r#"{"keylessList":[{"name":"a"}]}"#, 500, "cannot merge lists without merge key for struct")]
#[case(
    r#"{"items":{"a":{"labels":{"x":"y"}}}}"#,
    500,
    "merging an object in json but data type is not struct, instead is: map"
)]
#[case(r#"{"raw":{"a":{"b":1}}}"#, 500, r#"unable to find api field in struct RawExtension for the json field "a""#)]
#[case(r#"{"$setElementOrder/mergingList":"a"}"#, 500, "expected a []interface {}, but received a string")]
#[case(r#"{"$setElementOrder/name":["a"]}"#, 500, "expected a []interface {}, but received a string")]
#[case(r#"{"$setElementOrder/value":["a"]}"#, 500, "expected slice or array type, but got: struct")]
#[case(
    r#"{"$setElementOrder/nothing":["a"]}"#,
    500,
    r#"unable to find api field in struct Item for the json field "nothing""#
)]
#[case(
    r#"{"$setElementOrder/mergingNumbers":[1],"mergingNumbers":[2]}"#,
    500,
    "The order in patch list:\n[2]\n doesn't match $setElementOrder list:\n[1]\n"
)]
#[case(r#"{"$setElementOrderOf/mergingNumbers":[1]}"#, 400, "invalid patch format of setElementOrder list")]
#[case(r#"{"$deleteFromPrimitiveList":[1]}"#, 400, "invalid patch format of primitive list")]
#[case(r#"{"pointer":{"$retainKeys":"name"}}"#, 400, "invalid patch format of retainKeys")]
#[case(r#"{"pointer":{"$retainKeys":["name"],"value":"1"}}"#, 400, "invalid patch format of retainKeys")]
#[case(r#"[1]"#, 400, "json: cannot unmarshal array into Go value of type map[string]interface {}")]
fn refuses(#[case] patch: &str, #[case] code: u16, #[case] message: &str) {
    let current = r#"{"name":"a","mergingList":[{"name":"a"}],"mergingNumbers":[1],"keylessList":[{"name":"a"}],
        "pointer":{"name":"a"},"items":{"a":{"labels":{"x":"x"}}},"raw":{"a":{"b":0}}}"#;
    let status = Status::from(run(current, patch).unwrap_err());
    assert_eq!((status.code, status.message.as_str()), (code, message));
}

/// A list of lists is refused without telling the client why.
#[test]
fn lists_of_lists_are_unprocessable() {
    assert_eq!(
        Status::from(run(r#"{"mergingNumbers":[]}"#, r#"{"mergingNumbers":[[1]]}"#).unwrap_err()),
        unprocessable()
    );
}

/// Names that the schema has, so that arbitrary trees reach the interesting places.
pub(crate) fn named(value: Value) -> Value {
    const NAMES: [&str; 3] = ["mergingList", "name", "mergingNumbers"];
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .enumerate()
            .map(|(at, (key, value))| {
                let name = match (key.as_str(), at % 2) {
                    ("a", _) => NAMES[0],
                    ("b", 0) => "$setElementOrder/mergingList",
                    ("b", _) => "$patch",
                    _ => NAMES[1 + at % 2],
                };
                (Key::new(name), named(value))
            })
            .collect::<Map>()
            .into(),
        Value::Array(items) => Value::Array(items.into_iter().map(named).collect()),
        other => other,
    }
}

proptest! {
    #[test]
    fn any_tree_is_a_patch_or_an_error(current in value(), patch in value()) {
        let (schema, id) = item_schema();
        let _ = apply(current.clone(), patch.clone(), &schema, id);
        let _ = apply(named(current), named(patch), &schema, id);
    }

    /// Patches of distinct names: what was set stays set, and nothing else moves.
    #[test]
    fn patching_twice_changes_nothing_more(
        current in prop::collection::vec("[a-f]", 0..6),
        patch in prop::collection::vec(("[a-f]", any::<bool>()), 0..6),
    ) {
        let (schema, id) = item_schema();
        let unique = |names: Vec<String>| {
            let mut seen = std::collections::BTreeSet::new();
            names.into_iter().filter(move |name| seen.insert(name.clone()))
        };
        let list: Vec<Value> = unique(current).map(|name| Map::from_iter([("name", name.as_str())]).into()).collect();
        let current = Value::from(Map::from_iter([("mergingList", Value::Array(list))]));
        let deletes: std::collections::BTreeMap<String, bool> = patch.iter().cloned().collect();
        let items: Vec<Value> = unique(patch.into_iter().map(|(name, _)| name).collect())
            .map(|name| {
                let mut item = Map::from_iter([("name", name.as_str())]);
                match deletes[&name] {
                    true => item.insert("$patch", "delete"),
                    false => item.insert("value", "set"),
                };
                item.into()
            })
            .collect();
        let patch = Value::from(Map::from_iter([("mergingList", Value::Array(items))]));
        let once = apply(current, patch.clone(), &schema, id).unwrap();
        for (name, deleted) in &deletes {
            let found = once.array_at("mergingList").iter().find(|item| item.str_at("name") == name);
            prop_assert_eq!(found.map(|item| item.str_at("value")), (!deleted).then_some("set"));
        }
        prop_assert_eq!(apply(once.clone(), patch, &schema, id), Ok(once));
    }
}
