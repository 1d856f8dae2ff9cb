//! Admission: one ordered chain for every write.
//!
//! A plugin is a row: its name, the operations it looks at, and what it does. First all rows
//! may change the object, in order; after the kind's own validation all may refuse it, in the
//! same order. The order is upstream's `AllOrderedPlugins` (pkg/kubeapiserver/options/plugins.go).

mod defaults;
mod escalation;
mod limit_ranger;
pub mod lookup;
mod namespace;
mod node;
pub mod plugins;
mod priority;
pub mod quota;
mod runtime_class;
mod service_account;
mod signers;

use api::status::Status;
use api::value::Value;

use crate::api::Api;
use crate::context::Context;
use crate::served::Served;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// exec, attach, port-forward, proxy.
    Connect,
}

/// The request as plugins see it. Objects are in the stored version.
pub struct Attributes<'a> {
    pub operation: Operation,
    pub served: &'a Served,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty where the server will generate it.
    pub name: &'a str,
    pub context: &'a Context,
    pub dry_run: bool,
}

/// Changes the new object; the old one is there on updates.
pub type Mutate = fn(&Api, &Attributes<'_>, &mut Value, Option<&Value>) -> Result<(), Status>;
/// Judges: the new object is missing on deletes, the old one on creates.
pub type Validate = fn(&Api, &Attributes<'_>, Option<&Value>, Option<&Value>) -> Result<(), Status>;

/// One row of the chain.
pub struct Plugin {
    pub name: &'static str,
    pub operations: &'static [Operation],
    pub mutate: Option<Mutate>,
    pub validate: Option<Validate>,
}

/// The chain.
pub struct Admission {
    plugins: Vec<&'static Plugin>,
}

// === impl Attributes ===

impl Attributes<'_> {
    /// Whether this is about the resource itself (not a subresource).
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.is_sub(group, resource, "")
    }

    pub fn is_sub(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.served.group() == group && self.served.plural() == resource && self.subresource == subresource
    }

    /// A refusal in upstream's words.
    pub fn forbidden(&self, why: &str) -> Status {
        Status::forbidden(self.served.group_resource(), self.name, why)
    }
}

// === impl Admission ===

impl Admission {
    pub fn new(plugins: Vec<&'static Plugin>) -> Admission {
        Admission { plugins }
    }

    fn of<'a>(&'a self, operation: Operation) -> impl Iterator<Item = &'static Plugin> + 'a {
        self.plugins.iter().copied().filter(move |plugin| plugin.operations.contains(&operation))
    }

    /// Lets the plugins change the new object.
    ///
    /// # Errors
    /// The first plugin's refusal.
    pub async fn mutate(
        &self,
        api: &Api,
        attributes: &Attributes<'_>,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        for mutate in self.of(attributes.operation).filter_map(|plugin| plugin.mutate) {
            mutate(api, attributes, new, old).map_err(|refusal| called(refusal, attributes, new))?;
        }
        Ok(())
    }

    /// Lets the plugins judge what is about to be stored or deleted.
    ///
    /// # Errors
    /// The first plugin's refusal.
    pub async fn validate(
        &self,
        api: &Api,
        attributes: &Attributes<'_>,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        for validate in self.of(attributes.operation).filter_map(|plugin| plugin.validate) {
            let judged = validate(api, attributes, new, old);
            judged.map_err(|refusal| called(refusal, attributes, new.unwrap_or(&Value::Null)))?;
        }
        Ok(())
    }
}

/// A refusal of an object whose name the server makes, by the name or what it begins with.
/// Upstream: `extractResourceName` of apiserver's pkg/admission/errors.go.
fn called(refusal: Status, attributes: &Attributes<'_>, object: &Value) -> Status {
    let of = attributes.served.group_resource();
    let Some(why) = refusal.message.strip_prefix(&format!("{of} is forbidden: ")) else { return refusal };
    let names = [object.str_at("metadata.name"), object.str_at("metadata.generateName"), "Unknown"];
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    let causes = refusal.details.as_ref().map(|details| details.causes.clone()).unwrap_or_default();
    let mut named = Status::forbidden(of, name, why);
    named.details.get_or_insert_default().causes = causes;
    named
}
