//! Ownership after a create, an update or a patch other than apply.
//!
//! It is edited by the difference of the two objects: who writes comes to own what changed, and
//! others lose what they share with it. Owners that the difference does not meet keep their stored
//! fields as they are, unread. (Upstream reads and writes all of them with every update. Where a
//! field has become atomic since an entry was written, upstream rewrites the entry with the next
//! write of any field; here that happens once the difference meets it.)

use super::entries::{Managed, Operation, Owner, Stored, Trust};
use super::request::{Request, STRIPPED};
use super::settle::{Delta, is_void, owner_of, settle};
use super::typed::{Problems, text};
use crate::value::{Key, NULL, Value};

/// Brings `metadata.managedFields` of `new` up to date. `live` is None for a create.
///
/// What `new` brings in `managedFields` counts, as it may be edited; an empty list or one empty
/// entry resets it. Through a subresource it does not count.
///
/// # Errors
/// The objects can't be compared. `new` then has the live object's `managedFields`, and the write
/// goes on: upstream's `UpdateNoErrors` only logs.
pub fn update(request: &Request<'_>, live: Option<&Value>, new: &mut Value) -> Result<(), Problems> {
    let sent = take_entries(new);
    let mut managed = match live_or_sent(request, live, sent) {
        Some(managed) => managed,
        None => return Ok(()),
    };
    let created;
    let old = match live {
        Some(live) => live,
        None => {
            created = request.empty();
            &created
        }
    };
    let updated = match live {
        None if managed.owners.is_empty() => own_all(request, old, new, &mut managed),
        _ => update_owners(request, old, new, &mut managed),
    };
    match updated {
        Ok(()) => {
            put_entries(new, managed.encode());
            Ok(())
        }
        Err(problems) => {
            put_entries(new, live.map(|live| entries(live).clone()).filter(|entries| !entries.is_null()));
            Err(problems)
        }
    }
}

/// The owners to go on from; None where ownership is not tracked.
fn live_or_sent(request: &Request<'_>, live: Option<&Value>, sent: Option<Value>) -> Option<Managed> {
    let stored = live.map_or(&NULL, entries);
    let unchanged = sent.as_ref().is_some_and(|sent| sent == stored);
    let of_live = |sent: Option<Value>| {
        let entries = sent.filter(|_| unchanged).unwrap_or_else(|| stored.clone());
        Managed::decode(entries, Trust::Server).unwrap_or_default()
    };
    let managed = match sent {
        sent if unchanged || !request.subresource.is_empty() => of_live(sent),
        Some(sent) if is_reset(&sent) => Managed::default(),
        Some(sent) => match Managed::decode(sent, Trust::Client(stored)) {
            Ok(managed) if !managed.owners.is_empty() => managed,
            _ => of_live(None),
        },
        None => of_live(None),
    };
    // An object that exists and has no owners had them reset: it stays so until the first apply.
    let tracked = !managed.owners.is_empty() || live.is_none_or(|live| live.str_at("metadata.uid").is_empty());
    tracked.then_some(managed)
}

fn is_reset(entries: &Value) -> bool {
    match entries.as_array() {
        Some([]) => true,
        Some([Value::Object(entry)]) => entry.is_empty(),
        _ => false,
    }
}

/// Makes the request's manager the owner of a whole object that nobody owns.
pub(super) fn own_all(
    request: &Request<'_>,
    empty: &Value,
    object: &Value,
    managed: &mut Managed,
) -> Result<(), Problems> {
    let Some(fields) = text::created(request.root(), empty, object, request.filter) else {
        return update_owners(request, empty, object, managed);
    };
    let id = request.identity(Operation::Update);
    let owner = Owner { id, time: Some(Key::new(request.now)), fields: Stored::Text(fields) };
    if !is_void(&owner) {
        managed.owners.push(owner);
    }
    Ok(())
}

/// Edits the owners by the difference of two objects, in the name of the request's manager.
pub(super) fn update_owners(
    request: &Request<'_>,
    old: &Value,
    new: &Value,
    managed: &mut Managed,
) -> Result<(), Problems> {
    let delta = Delta::between(request.root(), old, new, request.filter)?;
    managed.owners.retain(|owner| !is_void(owner));
    if managed.owners.is_empty() {
        let mut written = delta.gained;
        written.subtract(&STRIPPED);
        if !written.is_empty() {
            let at = owner_of(managed, request, Operation::Update);
            managed.owners[at].fields = Stored::Set(written);
            managed.owners[at].time = Some(Key::new(request.now));
        }
        return Ok(());
    }
    let written = delta.gained.difference(&STRIPPED);
    let own = managed.find(&request.identity(Operation::Update));
    // Mostly the writer writes what it wrote before: then its entry only gets a new time.
    let owned = own.filter(|at| {
        let owner = &managed.owners[*at];
        !written.is_empty() && owner.covers(&written) && !owner.meets(&delta.removed)
    });
    let time = Some(Key::new(request.now));
    if let Some(at) = owned {
        managed.owners[at].time = time.clone();
    }
    settle(request, &delta, (old, new), managed, owned, true)?;
    if owned.is_none() && !written.is_empty() {
        let at = owner_of(managed, request, Operation::Update);
        managed.owners[at].set().absorb(written);
        managed.owners[at].time = time;
    }
    managed.cap();
    Ok(())
}

// === the entries in an object ===

/// `metadata.managedFields`, null where there are none.
pub(super) fn entries(object: &Value) -> &Value {
    object.get("metadata").get("managedFields")
}

/// Takes `metadata.managedFields` out of the object.
pub(super) fn take_entries(object: &mut Value) -> Option<Value> {
    let metadata = object.as_object_mut()?.get_mut("metadata")?.as_object_mut()?;
    metadata.remove("managedFields").filter(|entries| !entries.is_null())
}

/// Puts entries into the object: `managedFields` is the last field of the metadata.
pub(super) fn put_entries(object: &mut Value, entries: Option<Value>) {
    if let Some(entries) = entries {
        object.at_or_insert("metadata").make_object().insert(Key::new_static("managedFields"), entries);
    }
}
