//! Who owns what: objects are adopted that a controller's selector selects, and released when it no longer does.

use std::sync::Arc;

use api::selector::LabelSelector;
use api::value::{Map, Value};
use client::{Api, ClientError, Kind, MetaExt, Object, Patch, Resource, View, WriteOptions};

use super::selectors::selects;

/// The owner in a claim.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its API version, for the reference.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Being deleted: nothing is adopted or released any more.
    pub is_deleting: bool,
}

/// What becomes of objects that an owner may own.
pub struct Claims<T> {
    /// Owned already and to be kept.
    pub owned: Vec<Arc<Object<T>>>,
    /// Without a controller and selected: to be adopted.
    pub adopt: Vec<Arc<Object<T>>>,
    /// Owned but no longer selected: to be released.
    pub release: Vec<Arc<Object<T>>>,
}

// === impl Owner ===

impl Owner {
    /// The owner that this object is.
    pub fn of<K: Kind>(object: &K) -> Owner {
        Owner::new(&K::RESOURCE, object)
    }

    fn new(resource: &Resource, object: &impl View) -> Owner {
        Owner {
            api_version: resource.api_version(),
            kind: resource.kind.clone().into_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            is_deleting: object.is_deleting(),
        }
    }

    /// The owner reference of a controller, as upstream's `NewControllerRef`.
    pub fn reference(&self) -> Value {
        let mut reference = Map::new();
        reference.insert("apiVersion", self.api_version.as_str());
        reference.insert("kind", self.kind.as_str());
        reference.insert("name", self.name.as_str());
        reference.insert("uid", self.uid.as_str());
        reference.insert("controller", true);
        reference.insert("blockOwnerDeletion", true);
        Value::Object(reference)
    }
}

/// Sorts out what is owned, adopted and released, as upstream's `ClaimObject`.
pub fn claim<T: View>(
    owner: &Owner,
    selector: &LabelSelector,
    objects: impl IntoIterator<Item = Arc<Object<T>>>,
) -> Claims<T> {
    let mut claims = Claims { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in objects {
        let is_selected = selects(selector, &object.meta().labels);
        match object.controller_uid() {
            Some(uid) if uid != owner.uid => {}
            Some(_) if is_selected => claims.owned.push(object),
            Some(_) if !owner.is_deleting => claims.release.push(object),
            None if is_selected && !owner.is_deleting && !object.is_deleting() => claims.adopt.push(object),
            _ => {}
        }
    }
    claims
}

impl<T: View> Claims<T> {
    /// Adopts and releases through `objects`, and gives what is owned after that with the last revision written.
    /// `recheck` reads the owner anew before anything is adopted: the cache may not know yet that it is being deleted.
    ///
    /// # Errors
    /// The first failure; objects that are gone meanwhile are none.
    pub async fn settle(
        self,
        owner: &Owner,
        owners: &Api,
        objects: &Api,
        finalizer: Option<&str>,
    ) -> Result<(Vec<Arc<Object<T>>>, u64), ClientError> {
        let mut revision = 0;
        if !self.adopt.is_empty() {
            recheck(owner, owners).await?;
        }
        let mut owned = self.owned;
        for object in &self.release {
            let patch = release_patch(owner, object.uid(), finalizer);
            match objects.patch(object.name(), "", &Patch::Strategic(patch), &WriteOptions::default()).await {
                Ok(answer) => revision = answer.revision().max(revision),
                // Gone, or another object by now.
                Err(error) if error.is_not_found() || error.is_invalid() => {}
                Err(error) => return Err(error),
            }
        }
        for object in self.adopt {
            let patch = adopt_patch(owner, object.uid(), finalizer);
            match objects.patch(object.name(), "", &Patch::Strategic(patch), &WriteOptions::default()).await {
                Ok(answer) => {
                    revision = answer.revision().max(revision);
                    owned.push(Arc::new(answer.object()?));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok((owned, revision))
    }
}

async fn recheck(owner: &Owner, owners: &Api) -> Result<(), ClientError> {
    use client::views::Metadata;
    let fresh: Metadata = owners.get(&owner.name).await?.view()?;
    if fresh.uid() != owner.uid {
        let (kind, name, got, wanted) = (&owner.kind, &owner.name, fresh.uid(), &owner.uid);
        let namespace = fresh.namespace();
        let said = format!("original {kind} {namespace}/{name} is gone: got uid {got}, wanted {wanted}");
        return Err(ClientError::Request(said));
    }
    if fresh.is_deleting() {
        let said = format!("{}/{} has just been deleted", fresh.namespace(), owner.name);
        return Err(ClientError::Request(said));
    }
    Ok(())
}

/// The UID makes sure that it is still the same object.
fn adopt_patch(owner: &Owner, uid: &str, finalizer: Option<&str>) -> Value {
    let mut patch = Value::object();
    patch.set("metadata.uid", uid);
    patch.set("metadata.ownerReferences", Value::Array(vec![owner.reference()]));
    if let Some(finalizer) = finalizer {
        patch.set("metadata.finalizers", vec![finalizer]);
    }
    patch
}

fn release_patch(owner: &Owner, uid: &str, finalizer: Option<&str>) -> Value {
    let mut gone = Value::object();
    gone.set("$patch", "delete");
    gone.set("uid", owner.uid.as_str());
    let mut patch = Value::object();
    patch.set("metadata.uid", uid);
    patch.set("metadata.ownerReferences", Value::Array(vec![gone]));
    if let Some(finalizer) = finalizer {
        // The name of a directive has a slash: no path.
        let metadata = patch.at_or_insert("metadata").make_object();
        metadata.insert("$deleteFromPrimitiveList/finalizers", vec![finalizer]);
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(name: &str, rest: &str) -> Arc<Object<Pod>> {
        Arc::new(Object::decode(format!(r#"{{"metadata":{{"name":"{name}",{rest}}}}}"#).into()).unwrap())
    }

    fn names(pods: &[Arc<Object<Pod>>]) -> Vec<&str> {
        pods.iter().map(|pod| pod.name()).collect()
    }

    fn owned_by(uid: &str) -> String {
        format!(r#""ownerReferences":[{{"apiVersion":"v1","kind":"X","name":"x","uid":"{uid}","controller":true}}]"#)
    }

    #[test]
    fn adopts_what_is_selected_and_releases_what_is_not() {
        let mut owner = Owner {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: "x".into(),
            uid: "me".into(),
            is_deleting: false,
        };
        let selected = r#""labels":{"app":"web"}"#;
        let pods = || {
            [
                pod("mine", &format!("{selected},{}", owned_by("me"))),
                pod("released", &owned_by("me")),
                pod("others", &format!("{selected},{}", owned_by("you"))),
                pod("orphan", selected),
                pod("dying", &format!(r#"{selected},"deletionTimestamp":"2026-01-01T00:00:00Z""#)),
                pod("stranger", r#""labels":{"app":"db"}"#),
            ]
        };
        let selector = super::super::selectors::of_labels(&Some([("app".to_owned(), "web".to_owned())].into()));
        let claims = claim(&owner, &selector, pods());
        assert_eq!(names(&claims.owned), ["mine"]);
        assert_eq!(names(&claims.adopt), ["orphan"]);
        assert_eq!(names(&claims.release), ["released"]);
        owner.is_deleting = true;
        let claims = claim(&owner, &selector, pods());
        assert_eq!(names(&claims.owned), ["mine"]);
        assert!(claims.adopt.is_empty() && claims.release.is_empty());
    }
}
