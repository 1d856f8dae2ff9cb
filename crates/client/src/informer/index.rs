//! Index functions that many controllers share.

use k8s_openapi::api::core::v1::Pod;
use smol_str::SmolStr;

use crate::views::{MetaExt, View};

/// Name for an index by [`namespace`].
pub const NAMESPACE: &str = "namespace";
/// Name for an index by [`controller_uid`].
pub const CONTROLLER_UID: &str = "controllerUID";
/// Name for an index by [`owner_uids`].
pub const OWNER_UID: &str = "ownerUID";
/// Name for an index by [`node_name`].
pub const NODE_NAME: &str = "spec.nodeName";
/// Name for an index by [`orphan_namespace`].
pub const ORPHANS: &str = "orphans";

/// By `metadata.namespace`.
pub fn namespace<T: View>(object: &T) -> Vec<SmolStr> {
    vec![object.namespace().into()]
}

/// By the UID of the controlling owner.
pub fn controller_uid<T: View>(object: &T) -> Vec<SmolStr> {
    object.controller_uid().map(SmolStr::from).into_iter().collect()
}

/// By the UIDs of all owners.
pub fn owner_uids<T: View>(object: &T) -> Vec<SmolStr> {
    object.meta().owner_references.iter().flatten().map(|owner| owner.uid.as_str().into()).collect()
}

/// Objects without a controlling owner, by namespace: what a controller may adopt.
pub fn orphan_namespace<T: View>(object: &T) -> Vec<SmolStr> {
    if object.controller_ref().is_some() { Vec::new() } else { namespace(object) }
}

/// Pods by the node they are bound to; pods without one are not filed.
pub fn node_name(pod: &Pod) -> Vec<SmolStr> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.filter(|node| !node.is_empty()).map(SmolStr::from).into_iter().collect()
}
