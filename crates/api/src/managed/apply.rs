//! Server-side apply.

use super::conflict::{self, Conflict};
use super::entries::{Managed, Operation, Stored, Trust};
use super::fields;
use super::last_applied;
use super::request::{InVersion, Request, STRIPPED};
use super::set::Set;
use super::settle::{Delta, is_void, owner_of, settle};
use super::typed::{Duplicates, Problems, Type, ensure_named, merge, remove, text, to_set, validate};
use super::update::{entries, own_all, put_entries, take_entries};
use crate::status::Status;
use crate::value::{Key, Value};
use std::borrow::Cow;

/// Who owns what an object held before it was first applied to.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The outcome of an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object with its `managedFields`. Where it changed it is as the configuration left it:
    /// nulls and the order of fields are the decoder's to put right, then come defaults.
    pub object: Value,
    /// Whether the configuration changed anything besides `managedFields`. If not, the object is
    /// the live one, field by field.
    pub changed: bool,
}

/// Why an apply fails.
enum Failure {
    Conflicts(Vec<Conflict>),
    Status(Status),
}

/// Applies `config` to the live object, which is None where there is none yet.
///
/// `config` is what the client sent: only the fields that it wants to own. The live object is in
/// the request's version.
///
/// # Errors
/// 409 with all conflicts unless forced; 400 for a configuration of another kind or with
/// `managedFields`; 500 without a reason, as upstream has it, for one that does not fit the schema.
pub fn apply(request: &Request<'_>, live: Option<&Value>, config: &Value, force: bool) -> Result<Applied, Status> {
    check_kind(request, config)?;
    let created;
    let live = match live {
        Some(live) => live,
        None => {
            created = request.empty();
            &created
        }
    };
    let mut managed = Managed::decode(entries(live).clone(), Trust::Server)
        .map_err(|why| internal(format!("failed to decode managed fields: {why}")))?;
    if managed.owners.is_empty() {
        let before = Request { manager: BEFORE_FIRST_APPLY, ..*request };
        own_all(&before, &request.empty(), live, &mut managed).map_err(|problems| {
            let why =
                format!("failed to update ManagedFields ({}): failed to compare objects: {problems}", describe(live));
            internal(format!("failed to create manager for existing fields: {why}"))
        })?;
    }
    // Only kubectl's conflicts are looked at a second time.
    let again = (request.manager == last_applied::MANAGER && !force).then(|| managed.clone());
    let outcome = match (merge_owned(request, live, config, managed, force), again) {
        (Err(Failure::Conflicts(conflicts)), Some(managed)) => match last_applied::allowed(request, live) {
            None => Err(Failure::Conflicts(conflicts)),
            Some(allowed) if conflict::paths(&conflicts).is_subset(&allowed) => {
                merge_owned(request, live, config, managed, true)
            }
            Some(allowed) => {
                Err(Failure::Conflicts(conflicts.into_iter().filter(|one| !allowed.has(&one.path)).collect()))
            }
        },
        (outcome, _) => outcome,
    };
    let (mut object, changed, managed) = match outcome {
        Ok(outcome) => outcome,
        Err(Failure::Conflicts(conflicts)) => return Err(conflict::status(&conflicts)),
        Err(Failure::Status(status)) => return Err(status),
    };
    // It may say the same in other words: 1.0 for 1.
    if !changed && object != *live {
        object = live.clone();
    }
    if request.manager == last_applied::MANAGER {
        last_applied::refresh(&mut object, config);
    }
    take_entries(&mut object);
    put_entries(&mut object, managed.encode());
    Ok(Applied { object, changed })
}

fn check_kind(request: &Request<'_>, config: &Value) -> Result<(), Status> {
    if config.str_at("apiVersion") != request.api_version || config.str_at("kind") != request.kind {
        return Err(Status::bad_request(format!("invalid object type: {}", kind_of(config))));
    }
    if matches!(entries(config), Value::Array(_)) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// Merges, removes what the manager no longer applies, and settles with the other owners.
fn merge_owned(
    request: &Request<'_>,
    live: &Value,
    config: &Value,
    mut managed: Managed,
    force: bool,
) -> Result<(Value, bool, Managed), Failure> {
    let root = request.root();
    validate(root, config, Duplicates::Forbidden).map_err(|problems| {
        internal(format!("failed to create typed patch object ({}): {problems}", describe(config)))
    })?;
    validate(root, live, Duplicates::Allowed)
        .map_err(|problems| internal(format!("failed to create typed live object ({}): {problems}", describe(live))))?;
    managed.owners.retain(|owner| !is_void(owner));
    let mut merged = merge(root, live, config);
    let listed = match text::applied(root, config, request.filter) {
        Some(listed) => listed,
        None => fields::text(&applied_set(request, config).difference(&STRIPPED)),
    };

    let known = managed.find(&request.identity(Operation::Apply));
    // Mostly the same fields are applied as the last time: then there is nothing to remove.
    let last = known.map(|at| &managed.owners[at]).filter(|owner| !owner.is_stored_as(&listed)).map(|owner| {
        let mut last = owner.read();
        super::typed::reconcile(root, &mut last);
        (last, owner.id.version.clone())
    });
    let own = owner_of(&mut managed, request, Operation::Apply);
    managed.owners[own].id.version = Key::new(request.api_version);
    if let Some((last, version)) = last {
        let set = applied_set(request, config);
        if !last.is_subset(&set) {
            managed.owners[own].fields = Stored::Set(set);
            merged = prune(request, merged, &managed, &last, &version);
        }
    }
    managed.owners[own].fields = Stored::Text(listed);

    let compared = |problems: Problems| internal(format!("failed to compare objects: {problems}"));
    let delta = Delta::between(root, live, &merged, request.filter).map_err(compared)?;
    let conflicts = settle(request, &delta, (live, &merged), &mut managed, Some(own), force).map_err(compared)?;
    if !conflicts.is_empty() {
        return Err(Failure::Conflicts(conflicts));
    }
    let changed = !super::element::equal(live, &merged);
    // Settling may have removed entries before it.
    if let Some(own) = managed.find(&request.identity(Operation::Apply)) {
        match is_void(&managed.owners[own]) {
            true => drop(managed.owners.remove(own)),
            false if changed => managed.owners[own].time = Some(Key::new(request.now)),
            false => {}
        }
    }
    Ok((merged, changed, managed))
}

/// The fields of a configuration that count.
fn applied_set(request: &Request<'_>, config: &Value) -> Set {
    let mut set = to_set(request.root(), config);
    request.filter.apply(&mut set);
    set
}

/// Removes what the manager applied the last time, does not apply now, and nobody else owns.
fn prune(request: &Request<'_>, merged: Value, managed: &Managed, last: &Set, version: &str) -> Value {
    // Versions with the same paths are one.
    let class = |version: &str| match request.versions.in_version(&merged, version) {
        InVersion::Same => Key::new(request.api_version),
        _ => Key::new(version),
    };
    let class = |version: &str| if version == request.api_version { Key::new(version) } else { class(version) };
    let version = class(version);
    let Some((of, converted)) = convert(request, &merged, &version) else { return merged };
    let last = ensure_named(of, last);
    let mut pruned = remove(of, &converted, &last);
    // What anybody owns comes back, by version: first that of the set itself.
    let mut owned: Vec<(Key, Set)> = vec![(version.clone(), Set::new())];
    for owner in &managed.owners {
        let class = class(&owner.id.version);
        let at = owned.iter().position(|(known, _)| *known == class).unwrap_or_else(|| {
            owned.push((class, Set::new()));
            owned.len() - 1
        });
        let mut set = owner.read();
        super::typed::reconcile(of, &mut set);
        owned[at].1.unite(&set);
    }
    for (at, set) in &owned {
        let (of, whole, part) = match *at == version {
            true => (of, Cow::Borrowed(&*converted), Cow::Borrowed(&pruned)),
            false => match (convert(request, &converted, at), convert(request, &pruned, at)) {
                (Some((of, whole)), Some((_, part))) => (of, whole, part),
                _ => continue,
            },
        };
        let mut unowned = ensure_named(of, &to_set(of, &whole));
        unowned.subtract(&ensure_named(of, &to_set(of, &part)));
        unowned.subtract(&ensure_named(of, set));
        let kept = remove(of, &whole, &unowned);
        pruned = match *at == version {
            true => kept,
            false => convert(request, &kept, &version).map_or_else(|| kept.clone(), |(_, kept)| kept.into_owned()),
        };
    }
    // What nobody owns stays, too, if it was not this manager's.
    let mut gone = ensure_named(of, &to_set(of, &converted));
    gone.subtract(&ensure_named(of, &to_set(of, &pruned)));
    let rest = remove(of, &converted, &gone.intersection(&last));
    match convert(request, &rest, request.api_version) {
        Some((_, Cow::Owned(back))) => back,
        _ => rest,
    }
}

/// The object in a version, with its type there; None for a version that is not known.
fn convert<'v>(request: &Request<'v>, object: &'v Value, version: &str) -> Option<(Type<'v>, Cow<'v, Value>)> {
    if object.str_at("apiVersion") == version {
        return Some((request.root(), Cow::Borrowed(object)));
    }
    match request.versions.in_version(object, version) {
        InVersion::Same => Some((request.root(), Cow::Borrowed(object))),
        InVersion::Other { object, of, .. } => Some((of, object)),
        InVersion::Unknown => None,
    }
}

/// `default/app; apps/v1, Kind=Deployment`.
fn describe(object: &Value) -> String {
    format!("{}/{}; {}", object.str_at("metadata.namespace"), object.str_at("metadata.name"), kind_of(object))
}

/// `apps/v1, Kind=Deployment`; the core group shows as nothing before the slash.
fn kind_of(object: &Value) -> String {
    let api_version = object.str_at("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    format!("{group}/{version}, Kind={}", object.str_at("kind"))
}

/// The answer to errors that upstream gives no status of their own.
fn internal(why: String) -> Status {
    Status::new(500, "", why)
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Status(status)
    }
}
