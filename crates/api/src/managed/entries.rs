//! `metadata.managedFields`: its entries read and written.

use smol_str::SmolStr;

use super::fields;
use super::set::Set;
use crate::codec::json;
use crate::value::{Key, Map, NULL, Value};

/// Entries of updates that an object keeps; the oldest are merged beyond that, so that a crowd
/// of one-time writers can't fill the object (`DefaultMaxUpdateManagers`).
pub const UPDATERS_MAX: usize = 10;
/// Who owns what the oldest updaters owned.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It applied them.
    Apply,
    /// It wrote them in any other way.
    Update,
}

/// Who owns: entries with the same identity are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The manager's name.
    pub manager: Key,
    /// How it owns.
    pub operation: Operation,
    /// Tells updaters apart, not appliers.
    pub version: Key,
    /// Empty for the resource itself.
    pub subresource: Key,
}

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub id: Identity,
    pub time: Option<Key>,
    pub fields: Stored,
}

/// An entry's fields: as they are stored until somebody needs the set.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    Text(SmolStr),
    Set(Set),
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed {
    pub owners: Vec<Owner>,
}

/// Whether the fields of entries are known to be in order.
#[derive(Clone, Copy)]
pub(super) enum Trust<'s> {
    /// A server wrote them: they are read when they are needed.
    Server,
    /// A client sent them: they are read, and will be written anew. Fields that are word for word those of a stored
    /// entry (these are the stored ones, or null) are the server's.
    Client(&'s Value),
}

/// Whether the entries are such as a server may store; the error is upstream's.
///
/// # Errors
/// Says what is wrong with the first bad entry.
pub fn validate_entries(entries: &Value) -> Result<(), String> {
    Managed::decode(entries.clone(), Trust::Client(&NULL)).map(drop)
}

// === impl Managed ===

impl Managed {
    /// Reads the entries; null has none.
    pub fn decode(entries: Value, trust: Trust<'_>) -> Result<Managed, String> {
        let entries = match entries {
            Value::Array(entries) => entries,
            _ => return Ok(Managed::default()),
        };
        let mut managed = Managed { owners: Vec::with_capacity(entries.len() + 1) };
        for (at, entry) in entries.into_iter().enumerate() {
            let owner = Owner::decode(entry, at, trust)?;
            match managed.find(&owner.id) {
                Some(earlier) => managed.owners[earlier] = owner,
                None => managed.owners.push(owner),
            }
        }
        Ok(managed)
    }

    /// The entries in upstream's order; None if there are none.
    pub fn encode(mut self) -> Option<Value> {
        if self.owners.is_empty() {
            return None;
        }
        self.owners.sort_by_cached_key(|owner| {
            let id = &owner.id;
            (id.operation, owner.seconds(), id.manager.clone(), id.version.clone(), id.subresource.clone())
        });
        Some(Value::Array(self.owners.into_iter().map(Owner::encode).collect()))
    }

    pub fn find(&self, id: &Identity) -> Option<usize> {
        self.owners.iter().position(|owner| owner.id.is(id))
    }

    /// Merges the oldest updaters, by version, until no more than [`UPDATERS_MAX`] are left.
    pub fn cap(&mut self) {
        let updater = |owner: &Owner| owner.id.operation == Operation::Update;
        let mut count = self.owners.iter().filter(|owner| updater(owner)).count();
        if count <= UPDATERS_MAX {
            return;
        }
        let mut oldest: Vec<(i64, String, Identity)> = self
            .owners
            .iter()
            .filter(|owner| updater(owner))
            .map(|owner| (owner.seconds(), owner.id.text(), owner.id.clone()))
            .collect();
        oldest.sort_by(|(a, x, _), (b, y, _)| (a, x).cmp(&(b, y)));
        let mut first_of_version: Vec<Identity> = Vec::new();
        for (_, _, id) in oldest {
            if count <= UPDATERS_MAX {
                return;
            }
            let Some(first) = first_of_version.iter().find(|first| first.version == id.version).cloned() else {
                first_of_version.push(id);
                continue;
            };
            let bucket = Identity { manager: Key::new_static(ANCIENT), subresource: Key::default(), ..id.clone() };
            if self.find(&bucket).is_none()
                && let Some(at) = self.find(&first)
            {
                self.owners[at].id = bucket.clone();
            }
            let (Some(at), Some(place)) = (self.find(&id), self.find(&bucket)) else { continue };
            let time = self.owners[at].time.clone();
            let set = self.owners[at].set().clone();
            self.owners[place].set().unite(&set);
            self.owners[place].time = time;
            self.owners.remove(at);
            count -= 1;
        }
    }
}

/// Whether one of the stored entries has these fields.
fn is_stored(entries: &Value, fields: &SmolStr) -> bool {
    let mut entries = entries.as_array().into_iter().flatten();
    entries.any(|entry| matches!(entry.get("fieldsV1"), Value::Json(text) if text == fields))
}

// === impl Owner ===

impl Owner {
    fn decode(entry: Value, at: usize, trust: Trust<'_>) -> Result<Owner, String> {
        let mut manager = Key::default();
        let mut operation = Key::default();
        let mut version = Key::default();
        let mut subresource = Key::default();
        let mut kind = Key::default();
        let mut time = None;
        let mut tree = Value::object();
        let Value::Object(map) = entry else { return Err("operation must be `Apply` or `Update`".into()) };
        for (key, value) in map {
            match (key.as_str(), value) {
                ("manager", Value::String(text)) => manager = text,
                ("operation", Value::String(text)) => operation = text,
                ("apiVersion", Value::String(text)) => version = text,
                ("subresource", Value::String(text)) => subresource = text,
                ("fieldsType", Value::String(text)) => kind = text,
                ("time", Value::String(text)) => time = Some(text),
                ("fieldsV1", value) if !value.is_null() => tree = value,
                _ => {}
            }
        }
        let operation = match operation.as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        if version.is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        match kind.as_str() {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
        }
        let fields = match (trust, tree) {
            (Trust::Server, Value::Json(text)) => Stored::Text(text),
            (Trust::Server, tree) => Stored::Text(SmolStr::from(String::from_utf8_lossy(&json::to_vec(&tree)))),
            (Trust::Client(stored), Value::Json(text)) if is_stored(stored, &text) => Stored::Text(text),
            (Trust::Client(_), tree) => match fields::read(&tree) {
                Ok(set) => Stored::Set(set),
                Err(why) => {
                    return Err(format!("error decoding versioned set from {manager}: error decoding set: {why}"));
                }
            },
        };
        Ok(Owner { id: Identity { manager, operation, version, subresource }, time, fields })
    }

    fn encode(self) -> Value {
        let mut map = Map::with_capacity(7);
        let id = self.id;
        let mut put = |key: &'static str, value: Value| map.push_unchecked(Key::new_static(key), value);
        if !id.manager.is_empty() {
            put("manager", id.manager.into());
        }
        put("operation", Value::String(Key::new_static(id.operation.name())));
        put("apiVersion", id.version.into());
        if let Some(time) = self.time {
            put("time", time.into());
        }
        put("fieldsType", Value::String(Key::new_static("FieldsV1")));
        let fields = match self.fields {
            Stored::Text(text) => text,
            Stored::Set(set) => fields::text(&set),
        };
        put("fieldsV1", Value::Json(fields));
        if !id.subresource.is_empty() {
            put("subresource", id.subresource.into());
        }
        Value::Object(map)
    }

    /// The set, for changing. Fields that can't be read are nobody's.
    pub fn set(&mut self) -> &mut Set {
        if let Stored::Text(_) = &self.fields {
            self.fields = Stored::Set(self.read());
        }
        match &mut self.fields {
            Stored::Set(set) => set,
            Stored::Text(_) => unreachable!("made a set above"),
        }
    }

    /// A copy of the set.
    pub fn read(&self) -> Set {
        match &self.fields {
            Stored::Set(set) => set.clone(),
            Stored::Text(text) => fields::read(&Value::Json(text.clone())).unwrap_or_default(),
        }
    }

    /// Whether these are the stored fields.
    pub fn is_stored_as(&self, fields: &str) -> bool {
        matches!(&self.fields, Stored::Text(text) if text == fields)
    }

    /// Whether taking `difference` out could change the set.
    pub fn meets(&self, difference: &Set) -> bool {
        match &self.fields {
            Stored::Text(text) => fields::meets(text, difference),
            Stored::Set(_) => !difference.is_empty(),
        }
    }

    /// Whether all these paths are owned.
    pub fn covers(&self, paths: &Set) -> bool {
        match &self.fields {
            Stored::Text(text) => fields::covers(text, paths),
            Stored::Set(set) => paths.is_subset(set),
        }
    }

    /// The time of the entry in seconds since 1970, 0 where there is none.
    fn seconds(&self) -> i64 {
        let time = self.time.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        time.map_or(0, |time| time.as_second())
    }
}

// === impl Identity ===

impl Identity {
    /// Whether the two are one: appliers whatever the version they applied.
    pub fn is(&self, other: &Identity) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.version == other.version)
    }

    /// The text that upstream identifies a manager by, and sorts managers by.
    pub fn text(&self) -> String {
        let mut map = Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                map.insert(key, value);
            }
        };
        put("manager", &self.manager);
        put("operation", self.operation.name());
        put("apiVersion", if self.operation == Operation::Update { &self.version } else { "" });
        put("subresource", &self.subresource);
        String::from_utf8_lossy(&json::to_vec(&Value::Object(map))).into_owned()
    }
}

impl Operation {
    /// As the entry states it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}
