//! Writes: one engine for create, update and every patch.
//!
//! A verb says how the new object is made of the current one (a *change*); around it runs what
//! all have in common: admission, the kind's strategy and validation, the commit as one
//! transaction on the read revision, and the retry where nobody set a precondition.
//!
//! Upstream: `apiserver/pkg/registry/generic/registry/store.go`.

pub mod commit;

use std::sync::Arc;

use api::kinds::strategy;
use api::status::Status;
use api::value::Value;
use client::Body;
use http::{Response, StatusCode};
use store::{Entry, Revision};

use self::commit::{Commit, Failure};
use crate::admission::{Attributes, Operation};
use crate::api::Api;
use crate::companions;
use crate::context::Context;
use crate::forms::View;
use crate::lifecycle::{deletion, meta, policy};
use crate::request::options::WriteOptions;
use crate::respond;
use crate::served::Served;

/// Attempts of a write before its conflict reaches the client. Each time somebody else was faster, so it is much more
/// than there are writers of one object at a time; upstream knows no limit but the request's time.
pub const ATTEMPTS_MAX: usize = 1024;
/// Upstream's `maxNameGenerationCreateAttempts`.
const GENERATED_NAMES_MAX: usize = 8;

/// One write on its way.
pub struct Write<'a> {
    pub api: &'a Api,
    pub context: &'a Context,
    pub served: &'a Served,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub options: &'a WriteOptions,
}

/// What a write left behind.
pub enum Written {
    /// The object as committed (or as it was, where nothing changed), and the revision of that.
    Stored(Arc<Entry>, Revision),
    /// The object as it would be (dry run), or was when an update ended its deletion, in the stored version.
    Tree(Value),
}

/// The current object, for a change.
pub struct Current<'c> {
    /// In the served version, with its revision.
    pub tree: &'c Value,
}

/// How a change makes the new object, in the served version; `None` where it adds nothing and the
/// current one is the answer.
pub type Change<'f> = dyn FnMut(Option<Current<'_>>) -> Result<Value, Status> + Send + 'f;

// === impl Write ===

impl Write<'_> {
    /// Stores a new object, given in the served version with defaults.
    ///
    /// # Errors
    /// 409 where the name is taken, 422 where the object is invalid, 403 where admission refuses.
    pub async fn create(&self, tree: Value) -> Result<Written, Status> {
        let mut tree = self.served.stored_of(tree)?;
        self.admit(Operation::Create, &mut tree, None).await?;
        dedup_owners(&mut tree, self.context);
        let generates = tree.str_at("metadata.name").is_empty() && !tree.str_at("metadata.generateName").is_empty();
        if !generates {
            return self.create_named(tree).await.map_err(|(status, _)| status);
        }
        let base = tree.str_at("metadata.generateName").to_owned();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut named = tree.clone();
            named.set("metadata.name", meta::generate_name(&base, &mut rand::rng()));
            match self.create_named(named).await {
                Err((_, true)) if attempt < GENERATED_NAMES_MAX => {}
                Err((status, true)) => {
                    let name = status.details.map(|details| details.name).unwrap_or_default();
                    return Err(generate_name_conflict(self.served, &name));
                }
                other => return other.map_err(|(status, _)| status),
            }
        }
    }

    /// The error comes with whether the name is taken.
    async fn create_named(&self, mut tree: Value) -> Result<Written, (Status, bool)> {
        let fail = |status| (status, false);
        meta::wipe_system_fields(&mut tree);
        meta::fill_system_fields(&mut tree, self.context.now, uuid::Uuid::new_v4().to_string());
        let name = tree.str_at("metadata.name").to_owned();
        let rules = self.served.rules();
        companions::prepare(self.api, self.served, &mut tree, None).map_err(fail)?;
        let prepared = strategy::before_create(rules, self.served.namespaced(), &mut tree, &self.rules_context())
            .map_err(|errors| fail(errors.into_status(self.served.kind_group(), self.served.kind(), &name)))?;
        self.warn(prepared);
        self.validate(Operation::Create, &tree, None).await.map_err(fail)?;
        if !tree.str_at("metadata.resourceVersion").is_empty() && !self.options.dry_run {
            return Err(fail(Status::new(500, "", "resourceVersion should not be set on objects to be created")));
        }
        let key = self.served.key(self.namespace, &name);
        let change = Commit { key: &key, subresource: self.subresource, current: None, old: None, tree: Some(tree) };
        match self.commit(change).await {
            Ok(written) => Ok(written),
            Err(Failure::Status(status)) => Err(fail(status)),
            Err(Failure::Conflict(taken)) => {
                let mut status = Status::already_exists(self.served.group_resource(), &name);
                if taken.is_some_and(|entry| entry.record.deleting()) {
                    status.message = format!("object is being deleted: {}", status.message);
                }
                Err((status, true))
            }
        }
    }

    /// Changes an object, or creates it where `upsert` says that the change may.
    ///
    /// # Errors
    /// 404 without object, 409 where its revision is not the one in the new tree, else as [`Write::create`].
    pub async fn update(&self, upsert: bool, change: &mut Change<'_>) -> Result<(Written, bool), Status> {
        let key = self.served.key(self.namespace, self.name);
        self.api.store.barrier().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut current = self.api.store.get(&key);
        for _ in 0..ATTEMPTS_MAX {
            let Some(entry) = current else {
                if !upsert {
                    return Err(Status::not_found(self.served.group_resource(), self.name));
                }
                let tree = change(None)?;
                if !tree.str_at("metadata.uid").is_empty() {
                    return Err(self.other_uid(tree.str_at("metadata.uid"), ""));
                }
                self.authorize_create()?;
                return match self.create(tree).await {
                    Ok(written) => Ok((written, true)),
                    // Somebody else was first: now it is an update.
                    Err(status) if status.reason == "AlreadyExists" => {
                        current = self.api.store.get(&key);
                        continue;
                    }
                    Err(status) => Err(status),
                };
            };
            match self.update_once(&key, &entry, change).await {
                Ok(written) => return Ok((written, false)),
                Err(Failure::Status(status)) => return Err(status),
                Err(Failure::Conflict(newer)) => current = newer,
            }
        }
        Err(Status::modified(self.served.group_resource(), self.name))
    }

    async fn update_once(&self, key: &str, entry: &Arc<Entry>, change: &mut Change<'_>) -> Result<Written, Failure> {
        let view = View::internal(self.served, self.context.now);
        let old_served = view.tree(entry, entry.mod_revision)?;
        let new = change(Some(Current { tree: &old_served }))?;
        let old = self.served.stored_of(old_served)?;
        let mut new = self.served.stored_of(new)?;
        self.admit(Operation::Update, &mut new, Some(&old)).await?;
        dedup_owners(&mut new, self.context);
        self.check_revision(&mut new, entry)?;
        if self.subresource.is_empty() {
            companions::prepare(self.api, self.served, &mut new, Some(&old))?;
        }
        let rules = self.served.rules();
        let (namespaced, context) = (self.served.namespaced(), self.rules_context());
        let prepared = match self.subresource {
            // A pod's node is set past its strategy, which forbids it to everybody else.
            "binding" => Ok(Vec::new()),
            // A scale is an update of the workload in other clothes.
            "" | "scale" => strategy::before_update(rules, namespaced, &mut new, &old, &context),
            sub => strategy::before_subresource_update(rules, sub, namespaced, &mut new, &old, &context),
        };
        let kind = self.served.kind();
        self.warn(prepared.map_err(|errors| errors.into_status(self.served.kind_group(), kind, self.name))?);
        api::managed::keep_times_if_unchanged(&old, &mut new);
        self.validate(Operation::Update, &new, Some(&old)).await?;
        let ends = deletion::ends_with_update(&new, &old) && !policy::is_held(self.served, &new);
        // The answer to an update that ends the object is what it would have been.
        let (tree, last) = if ends { (None, Some(new)) } else { (Some(new), None) };
        let change = Commit { key, subresource: self.subresource, current: Some(entry), old: Some(&old), tree };
        match (self.commit(change).await, last) {
            (Ok(_), Some(last)) => Ok(Written::Tree(last)),
            // The next attempt finds out whether the client insists on this revision: a patch is made of the newer one.
            (other, _) => other,
        }
    }

    /// Commits, or tells what would be committed on a dry run.
    async fn commit(&self, change: Commit<'_>) -> Result<Written, Failure> {
        let origin = self.context.origin(&self.options.field_manager);
        commit::commit(self.api, self.served, change, self.options.dry_run, origin).await
    }

    /// The object of a PUT may name the UID of the one that it is to replace; a patch's may not.
    ///
    /// # Errors
    /// 409 where it is another object.
    pub fn check_uid(&self, new: &Value, old: &Value) -> Result<(), Status> {
        let (wanted, uid) = (new.str_at("metadata.uid"), old.str_at("metadata.uid"));
        if wanted.is_empty() || wanted == uid {
            return Ok(());
        }
        Err(self.other_uid(wanted, uid))
    }

    /// Upstream's store says this, with the key and all.
    fn other_uid(&self, wanted: &str, uid: &str) -> Status {
        let key = self.served.key(self.namespace, self.name);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
             failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        );
        Status::conflict(self.served.group_resource(), self.name, &why)
    }

    /// Refuses the change of a revision that is not the current one.
    fn check_revision(&self, new: &mut Value, entry: &Entry) -> Result<(), Status> {
        let of = self.served.group_resource();
        match new.str_at("metadata.resourceVersion") {
            "" | "0" if self.served.rules().allow_unconditional_update => {
                // From here on it is an update of the revision that there is.
                new.set("metadata.resourceVersion", entry.mod_revision.to_string());
                Ok(())
            }
            "" | "0" => {
                let mut errors = api::field::FieldErrors::new();
                errors.invalid(
                    &api::field::Path::new("metadata.resourceVersion"),
                    0i64,
                    "must be specified for an update",
                );
                Err(errors.into_status(of.group, of.resource, self.name))
            }
            version if version == entry.mod_revision.to_string() => Ok(()),
            version if version.parse::<u64>().is_err() => {
                // Upstream gives this error no status of its own.
                let quoted = api::field::go_quote(version);
                Err(Status::new(500, "", format!("strconv.ParseUint: parsing {quoted}: invalid syntax")))
            }
            _ => Err(Status::modified(of, self.name)),
        }
    }

    /// A PUT or an apply of a name that is not there needs the right to create.
    fn authorize_create(&self) -> Result<(), Status> {
        self.api.authorize(self.context, "create")
    }

    async fn admit(&self, operation: Operation, new: &mut Value, old: Option<&Value>) -> Result<(), Status> {
        let attributes = self.attributes(operation);
        self.api.admission.mutate(self.api, &attributes, new, old).await
    }

    async fn validate(&self, operation: Operation, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let attributes = self.attributes(operation);
        self.api.admission.validate(self.api, &attributes, Some(new), old).await
    }

    fn attributes(&self, operation: Operation) -> Attributes<'_> {
        Attributes {
            operation,
            served: self.served,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
            context: self.context,
            dry_run: self.options.dry_run,
        }
    }

    fn rules_context(&self) -> api::kinds::Context<'_> {
        api::kinds::Context { user: &self.context.user, now: self.context.now }
    }

    fn warn(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.context.warn(warning);
        }
    }

    /// The answer.
    pub fn respond(&self, written: Written, code: StatusCode) -> Result<Response<Body>, Status> {
        let view = View::negotiate(self.context, self.served)?;
        let bytes = match written {
            Written::Stored(entry, revision) => view.object(&entry, revision)?,
            Written::Tree(tree) => view.document_of_stored(tree)?,
        };
        Ok(respond::document(code, bytes, view.accept.encoding.media_type()))
    }
}

/// Owner references of one UID are one reference; the client is told.
fn dedup_owners(tree: &mut Value, context: &Context) {
    let Some(owners) = tree.at_mut("metadata.ownerReferences").and_then(Value::as_array_mut) else { return };
    let mut seen: Vec<Value> = Vec::with_capacity(owners.len());
    let mut twice = Vec::new();
    for owner in std::mem::take(owners) {
        match seen.contains(&owner) {
            true => twice.push(owner.str_at("uid").to_owned()),
            false => seen.push(owner),
        }
    }
    *owners = seen;
    if !twice.is_empty() {
        twice.dedup();
        context.warn(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        ));
    }
}

fn generate_name_conflict(served: &Served, name: &str) -> Status {
    let of = served.group_resource();
    let mut status = Status::already_exists(of, name);
    status.message =
        format!("{of} \"{name}\" already exists, the server was not able to generate a unique name for the object");
    status.retry_after(1)
}
