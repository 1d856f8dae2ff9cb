//! What can be done to objects, a file a verb.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod page_token;
pub mod patch;
pub mod update;
pub mod watch;
pub mod write;

use api::status::Status;
use api::value::Value;

use crate::served::Served;

/// Puts the request's namespace into the object, or refuses another one.
pub fn set_namespace(tree: &mut Value, served: &Served, namespace: &str) -> Result<(), Status> {
    let expected = if served.namespaced() { namespace } else { "" };
    match tree.str_at("metadata.namespace") {
        "" if expected.is_empty() => Ok(()),
        "" => {
            tree.set("metadata.namespace", expected);
            Ok(())
        }
        own if own == expected => Ok(()),
        _ if !served.namespaced() && namespace.is_empty() => {
            // A namespace on a cluster-scoped object is dropped, as upstream's name generators do.
            tree.remove("metadata.namespace");
            Ok(())
        }
        _ => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// Whether an object has neither a name nor something that one is made of.
fn lacks_name(tree: &Value) -> bool {
    tree.str_at("metadata.name").is_empty() && tree.str_at("metadata.generateName").is_empty()
}

/// The namespace of the object's key: none for a namespace itself, whose path names it twice.
fn own_namespace<'n>(served: &Served, namespace: &'n str, _name: &str) -> &'n str {
    if served.namespaced() { namespace } else { "" }
}
