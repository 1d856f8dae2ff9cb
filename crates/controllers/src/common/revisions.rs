//! ControllerRevisions: the versions of a template that DaemonSets and StatefulSets remember.

use std::sync::Arc;

use api::value::{Map, Value};
use client::{Api, ClientError, DeleteOptions, MetaExt, Object, WriteOptions, json};
use k8s_openapi::api::apps::v1::ControllerRevision;

use super::claim::Owner;
use super::history::{sort, template_hash};

/// The label that tells pods of one revision from those of another.
pub const REVISION_HASH: &str = "controller-revision-hash";

/// What becomes of the revisions of one object.
#[derive(Debug, PartialEq, Eq)]
pub struct Histories {
    /// The revision of the current template, with its number as it should be; none if it is to be created.
    pub current: Option<(String, i64)>,
    /// The number that the current template's revision has or gets.
    pub number: i64,
    /// Names of further revisions of the same template.
    pub duplicates: Vec<String>,
    /// Names of the others, oldest first.
    pub old: Vec<String>,
}

/// The saved form of a template: a patch that brings it back.
pub fn saved(template: &Value) -> Value {
    let mut template = template.clone();
    sort(&mut template);
    template.set("$patch", "replace");
    let mut patch = Value::object();
    patch.set("spec.template", template);
    sort(&mut patch);
    patch
}

/// The number of a revision.
pub fn number_of(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// Sorts out which revision is the current one: of several with its template, that of the highest number.
pub fn sort_out(revisions: &[Arc<Object<ControllerRevision>>], saved: &Value) -> Result<Histories, ClientError> {
    let mut current: Vec<&ControllerRevision> = Vec::new();
    let mut old: Vec<&ControllerRevision> = Vec::new();
    for revision in revisions {
        let mut data = json::parse(&revision.bytes)?.get("data").clone();
        sort(&mut data);
        if data == *saved { current.push(revision) } else { old.push(revision) }
    }
    let by_age = |a: &&ControllerRevision, b: &&ControllerRevision| {
        number_of(a).cmp(&number_of(b)).then_with(|| a.created().cmp(&b.created())).then_with(|| a.name().cmp(b.name()))
    };
    old.sort_by(by_age);
    current.sort_by(by_age);
    let next = old.iter().map(|one| number_of(one)).max().unwrap_or(0) + 1;
    let names = |list: &[&ControllerRevision]| list.iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
    let kept = current.pop();
    let number = kept.map_or(next, |kept| number_of(kept).max(next));
    Ok(Histories {
        current: kept.map(|kept| (kept.name().to_owned(), number)),
        number,
        duplicates: names(&current),
        old: names(&old),
    })
}

/// The label of a StatefulSet's revisions with their hash (their pods' label holds the revision's name).
pub const NAMED_HASH: &str = "controller.kubernetes.io/hash";

/// Stores the current template as a new revision, its hash under `label`. Gives its name, its hash and the revision
/// written.
///
/// # Errors
/// `AlreadyExists` if another template has the same hash: the collision count is to be raised.
pub async fn create(
    api: &Api,
    owner: &Owner,
    label: &'static str,
    template: &Value,
    annotations: &Value,
    collisions: Option<i32>,
    number: i64,
) -> Result<(String, String, u64), ClientError> {
    let hash = template_hash(template, collisions);
    let name = format!("{}-{hash}", owner.name);
    let mut labels = template.at("metadata.labels").as_object().cloned().unwrap_or_default();
    labels.insert(label, hash.as_str());
    let mut metadata = Map::new();
    metadata.insert("name", name.as_str());
    metadata.insert("labels", labels);
    if !annotations.is_null() {
        metadata.insert("annotations", annotations.clone());
    }
    metadata.insert("ownerReferences", Value::Array(vec![owner.reference()]));
    let mut body = Map::new();
    body.insert("metadata", metadata);
    body.insert("data", saved(template));
    body.insert("revision", number);
    match api.create_tree(Value::Object(body), &WriteOptions::default()).await {
        Ok(answer) => Ok((name, hash, answer.revision())),
        Err(error) if error.is_already_exists() => {
            // Made by ourselves a moment ago?
            let there = api.get(&name).await?;
            let mut data = there.tree()?.get("data").clone();
            sort(&mut data);
            if data == saved(template) { Ok((name, hash, there.revision())) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// Gives a revision its number.
///
/// # Errors
/// What the server says.
pub async fn renumber(api: &Api, revision: &Object<ControllerRevision>, number: i64) -> Result<u64, ClientError> {
    let tree = revision.edit(|tree| tree.set("revision", number))?;
    Ok(api.update(tree, &WriteOptions::default()).await?.revision())
}

/// Deletes a revision, if it is still there.
///
/// # Errors
/// What the server says.
pub async fn delete(api: &Api, name: &str) -> Result<u64, ClientError> {
    match api.delete(name, &DeleteOptions::default()).await {
        Ok(answer) => Ok(answer.revision()),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, number: i64, template: &str) -> Arc<Object<ControllerRevision>> {
        let data = json::write(&saved(&json::parse(template.as_bytes()).unwrap()));
        let data = String::from_utf8_lossy(&data);
        let json = format!(r#"{{"metadata":{{"name":"{name}"}},"revision":{number},"data":{data}}}"#);
        Arc::new(Object::decode(json.into()).unwrap())
    }

    #[test]
    fn the_highest_of_the_same_template_is_current_and_gets_the_highest_number() {
        let revisions =
            [revision("a", 1, r#"{"x":1}"#), revision("b", 2, r#"{"x":2}"#), revision("c", 3, r#"{"x":3}"#)];
        let saved = |text: &str| saved(&json::parse(text.as_bytes()).unwrap());
        let back = sort_out(&revisions, &saved(r#"{"x":1,"y":null}"#)).unwrap();
        assert_eq!(back.current, Some(("a".into(), 4)));
        assert_eq!(back.old, ["b", "c"]);
        let new = sort_out(&revisions, &saved(r#"{"x":9}"#)).unwrap();
        assert_eq!((new.current, new.number), (None, 4));
        let twice = [revision("a", 1, r#"{"x":1}"#), revision("b", 2, r#"{"x":1}"#)];
        let same = sort_out(&twice, &saved(r#"{"x":1}"#)).unwrap();
        assert_eq!((same.current, same.duplicates), (Some(("b".into(), 2)), vec!["a".to_owned()]));
    }
}
