//! Served bytes: what a client gets of a stored object, as a function of the object, the
//! revision, the served version and the negotiated encoding.
//!
//! The usual case splices the revision into the stored bytes. The others decode: another served
//! version, protobuf, a table's row. What many watchers share is made once per event and kept
//! in the event's form cache.

use std::ops::Range;

use api::codec::{json, protobuf};
use api::field::{FieldErrors, Path};
use api::status::Status;
use api::value::{Map, Value};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use store::{Entry, Event, Kind, Revision};

use crate::context::Context;
use crate::request::{Accept, Encoding, Form};
use crate::served::Served;
use crate::stored::{self, METADATA_FIELD};
use crate::wire;

/// How one client sees objects of one resource.
#[derive(Clone)]
pub struct View {
    pub served: Served,
    pub accept: Accept,
    /// What a table's rows carry besides their cells.
    pub include: IncludeObject,
    /// The age columns' now.
    pub now: Timestamp,
    /// Whether tables say their columns; in a watch only the first one does.
    pub headers: bool,
}

/// `includeObject` of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// What a watcher is told about an event, as its selector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchType {
    Added,
    Modified,
    Deleted,
}

// === impl WatchType ===

impl WatchType {
    pub fn text(self) -> &'static str {
        match self {
            WatchType::Added => "ADDED",
            WatchType::Modified => "MODIFIED",
            WatchType::Deleted => "DELETED",
        }
    }
}

// === impl View ===

impl View {
    /// How this request's client wants to see objects.
    ///
    /// # Errors
    /// 406 where it accepts nothing that is spoken here, 400 for a bad `includeObject`.
    pub fn negotiate(context: &Context, served: &Served) -> Result<View, Status> {
        let include = match context.query.get("includeObject").unwrap_or_default() {
            "None" => IncludeObject::None,
            "" | "Metadata" => IncludeObject::Metadata,
            "Object" => IncludeObject::Object,
            other => {
                let mut errors = FieldErrors::new();
                let why = "must be 'Metadata', 'Object', 'None', or empty";
                errors.invalid(&Path::new("includeObject"), other, why);
                return Err(errors.into_status("meta.k8s.io", "TableOptions", ""));
            }
        };
        Ok(View { served: served.clone(), accept: context.accept()?, include, now: context.now, headers: true })
    }

    /// Plain objects in the served version, for the server itself.
    pub fn internal(served: &Served, now: Timestamp) -> View {
        View { served: served.clone(), accept: Accept::default(), include: IncludeObject::None, now, headers: true }
    }

    /// The answer for a tree in the stored version that lies nowhere (a dry run's, for instance).
    pub fn document_of_stored(&self, tree: Value) -> Result<Bytes, Status> {
        let mut tree = self.served.served_of(tree)?;
        if self.accept.form == Form::Metadata {
            tree = self.partial(&mut tree);
        }
        self.write_document(&tree)
    }

    /// The bytes of one object, with kind and API version.
    pub fn object(&self, entry: &Entry, revision: Revision) -> Result<Bytes, Status> {
        match (self.accept.form, self.accept.encoding) {
            (Form::Object, Encoding::Json) if self.is_stored_version() && !self.accept.pretty => {
                Ok(splice(entry, revision, 0..entry.value.len()))
            }
            (Form::Table, _) => self.table(&[(entry, revision)], &Value::object()),
            _ => self.write_document(&self.tree(entry, revision)?),
        }
    }

    /// The tree of one object in the served version and form, with its revision.
    pub fn tree(&self, entry: &Entry, revision: Revision) -> Result<Value, Status> {
        let mut tree = self.served.served_of(stored::parse(entry)?)?;
        tree.set("metadata.resourceVersion", revision.to_string());
        Ok(match self.accept.form {
            Form::Metadata => self.partial(&mut tree),
            _ => tree,
        })
    }

    /// An object's metadata, as the metadata of another kind.
    fn partial(&self, tree: &mut Value) -> Value {
        if let Some(name) = self.served.converted_annotation()
            && let Some(annotations) = tree.at_mut("metadata.annotations").and_then(Value::as_object_mut)
        {
            annotations.remove(name);
            if annotations.is_empty() {
                tree.remove("metadata.annotations");
            }
        }
        partial_metadata(tree, "PartialObjectMetadata")
    }

    /// A whole document (an object or a small list) in the negotiated encoding.
    pub fn write_document(&self, tree: &Value) -> Result<Bytes, Status> {
        write_document(tree, self.accept, &self.served)
    }

    /// One object inside a JSON list: without kind and API version, as Go's typed lists have it.
    pub fn list_item(&self, entry: &Entry, out: &mut BytesMut) -> Result<(), Status> {
        if self.accept.form == Form::Metadata && self.served.converted_annotation().is_none() {
            // Items of a metadata list do carry kind and version.
            out.put_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
            put_metadata(entry, entry.mod_revision, out);
            out.put_u8(b'}');
            return Ok(());
        }
        if self.is_stored_version() && self.accept.form != Form::Metadata {
            let from = entry.record.metadata().start - METADATA_FIELD.len();
            out.put_u8(b'{');
            put_spliced(entry, entry.mod_revision, from..entry.value.len(), out);
            return Ok(());
        }
        let mut tree = self.tree(entry, entry.mod_revision)?;
        if self.accept.form != Form::Metadata {
            tree.remove("kind");
            tree.remove("apiVersion");
        }
        let mut bytes = Vec::new();
        json::write(&tree, &mut bytes);
        out.put_slice(&bytes);
        Ok(())
    }

    /// One object's protobuf message, without envelope.
    pub fn message(&self, entry: &Entry) -> Result<Vec<u8>, Status> {
        let tree = self.tree(entry, entry.mod_revision)?;
        let (schema, id) = self.message_type();
        let mut out = Vec::new();
        protobuf::encode_message(schema, id, &tree, &mut out).map_err(Status::internal)?;
        Ok(out)
    }

    fn message_type(&self) -> (&'static api::schema::Schema, api::schema::StructId) {
        match self.accept.form {
            Form::Metadata => crate::served::meta_type(Form::Metadata),
            _ => self.served.schema(),
        }
    }

    /// A table of these objects.
    pub fn table(&self, entries: &[(&Entry, Revision)], list_metadata: &Value) -> Result<Bytes, Status> {
        let mut rows = Vec::with_capacity(entries.len());
        for (entry, revision) in entries {
            rows.push(self.row(entry, *revision)?);
        }
        let mut metadata = list_metadata.clone();
        if let ([(_, revision)], true) = (entries, metadata.field("resourceVersion").is_none()) {
            metadata.set("resourceVersion", revision.to_string());
        }
        let columns = if self.headers { self.served.column_definitions() } else { Value::Null };
        Ok(write_table(metadata, columns, rows))
    }

    /// A table of objects that are stored nowhere.
    pub fn table_of(&self, table: &api::table::Table, objects: Vec<Value>, list_metadata: Value) -> Bytes {
        let rows = objects.into_iter().map(|object| self.seen_row((table.cells)(&object, self.now), object)).collect();
        let columns: Vec<Value> = table.columns.iter().map(api::table::Column::to_value).collect();
        write_table(list_metadata, columns.into(), rows)
    }

    fn row(&self, entry: &Entry, revision: Revision) -> Result<Value, Status> {
        let whole = View { accept: Accept { form: Form::Object, ..self.accept }, ..self.clone() };
        let tree = whole.tree(entry, revision)?;
        let stored = stored::parse(entry)?;
        let mut row = self.seen_row(self.served.cells(&stored, self.now), tree);
        let conditions = self.served.row_conditions(&stored);
        if !conditions.is_empty() {
            row.set("conditions", conditions);
        }
        Ok(row)
    }

    /// A row, with as much of its object as the client wants to see.
    fn seen_row(&self, cells: Vec<Value>, mut tree: Value) -> Value {
        let mut row = Value::object();
        row.set("cells", cells);
        match self.include {
            IncludeObject::None => {}
            IncludeObject::Metadata => row.set("object", self.partial(&mut tree)),
            IncludeObject::Object => row.set("object", tree),
        }
        row
    }

    /// The frame that tells a watcher of an event; shared among all who look through the same kind of view.
    pub fn frame(&self, event: &Event, what: WatchType) -> Result<Bytes, Status> {
        // A selector that stops matching shows the object as it was before, at this event's revision.
        let entry = match (what, event.kind, &event.prev) {
            (WatchType::Deleted, Kind::Put, Some(prev)) => prev,
            _ => &event.entry,
        };
        event.form(self.frame_id(what), |_| self.make_frame(entry, event.revision, what.text()))
    }

    /// The frame that begins a watch with an object that is already there.
    pub fn initial_frame(&self, entry: &Entry) -> Result<Bytes, Status> {
        self.make_frame(entry, entry.mod_revision, WatchType::Added.text())
    }

    /// A bookmark.
    pub fn bookmark_frame(&self, revision: Revision, initial_events_end: bool) -> Result<Bytes, Status> {
        let mut object = Value::object();
        let (kind, version) = match self.accept.form {
            Form::Object => (self.served.kind(), self.served.api_version()),
            Form::Table => ("", String::new()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
        };
        object.set("kind", kind);
        object.set("apiVersion", version);
        object.set("metadata.resourceVersion", revision.to_string());
        if initial_events_end {
            let annotations = Map::from_iter([("k8s.io/initial-events-end", "true")]);
            object.set("metadata.annotations", annotations);
        }
        if self.accept.form == Form::Table {
            return Ok(json_frame("BOOKMARK", &[&self.bookmark_table(object, initial_events_end)]));
        }
        self.frame_of_tree(&object, "BOOKMARK")
    }

    /// A bookmark as a table: the row of an object that has nothing but what the bookmark says.
    fn bookmark_table(&self, mut bookmark: Value, initial_events_end: bool) -> Bytes {
        bookmark.set("kind", self.served.kind());
        bookmark.set("apiVersion", self.served.api_version());
        let mut metadata = Value::object();
        metadata.set("resourceVersion", bookmark.str_at("metadata.resourceVersion"));
        // Where the state at the beginning ends, the row says so to everybody.
        let include = match self.include {
            IncludeObject::None if initial_events_end => IncludeObject::Metadata,
            include => include,
        };
        let cells = self.served.cells(&bookmark, self.now);
        let row = View { include, ..self.clone() }.seen_row(cells, bookmark);
        let columns = if self.headers { self.served.column_definitions() } else { Value::Null };
        write_table(metadata, columns, vec![row])
    }

    /// The frame that ends a watch with an error.
    pub fn error_frame(&self, status: &Status) -> Bytes {
        let tree = status.to_value();
        match self.accept.encoding {
            Encoding::Protobuf => {
                let status = crate::respond::status_document(&tree);
                wire::watch_frame("ERROR", &status)
            }
            _ => {
                let mut bytes = Vec::new();
                json::write(&tree, &mut bytes);
                json_frame("ERROR", &[&bytes])
            }
        }
    }

    fn make_frame(&self, entry: &Entry, revision: Revision, what: &str) -> Result<Bytes, Status> {
        let splices = self.accept.encoding != Encoding::Protobuf && self.is_stored_version();
        match self.accept.form {
            Form::Object if splices => {
                let at = entry.record.revision_at();
                let version = revision_field(revision);
                Ok(json_frame(what, &[&entry.value[..at], &version, &entry.value[at..]]))
            }
            Form::Table => Ok(json_frame(what, &[&self.table(&[(entry, revision)], &Value::object())?])),
            _ => self.frame_of_tree(&self.tree(entry, revision)?, what),
        }
    }

    fn frame_of_tree(&self, tree: &Value, what: &str) -> Result<Bytes, Status> {
        match self.accept.encoding {
            Encoding::Protobuf => Ok(wire::watch_frame(what, &self.write_document(tree)?)),
            _ => {
                let mut bytes = Vec::new();
                json::write(tree, &mut bytes);
                Ok(json_frame(what, &[&bytes]))
            }
        }
    }

    /// Names this kind of frame within an event's cache.
    fn frame_id(&self, what: WatchType) -> u64 {
        let encoding = match self.accept.encoding {
            Encoding::Json | Encoding::Yaml => 0,
            Encoding::Protobuf => 1,
        };
        let form = match (self.accept.form, self.include) {
            (Form::Object, _) => 0,
            (Form::Metadata, _) => 1,
            (Form::Table, IncludeObject::None) => 2,
            (Form::Table, IncludeObject::Metadata) => 3,
            (Form::Table, IncludeObject::Object) => 4,
        };
        let bare = u64::from(form > 1 && !self.headers);
        u64::from(self.served.version_id()) << 16 | bare << 12 | encoding << 8 | form << 4 | what as u64
    }

    fn is_stored_version(&self) -> bool {
        self.served.is_stored_version()
    }
}

/// A whole document in an encoding.
pub fn write_document(tree: &Value, accept: Accept, served: &Served) -> Result<Bytes, Status> {
    match accept.encoding {
        Encoding::Protobuf => {
            let (schema, own) = served.schema();
            let id = wire::type_of(tree).unwrap_or(own);
            let mut out = Vec::new();
            protobuf::encode(schema, id, tree, &mut out).map_err(Status::internal)?;
            Ok(out.into())
        }
        encoding => Ok(crate::respond::write_text(tree, encoding, accept.pretty)),
    }
}

fn write_table(metadata: Value, columns: Value, rows: Vec<Value>) -> Bytes {
    let mut table = Value::object();
    table.set("kind", "Table");
    table.set("apiVersion", "meta.k8s.io/v1");
    table.set("metadata", metadata);
    table.set("columnDefinitions", columns);
    table.set("rows", rows);
    let mut out = Vec::new();
    json::write(&table, &mut out);
    out.into()
}

/// The whole metadata of an object under another kind.
pub fn partial_metadata(tree: &mut Value, kind: &'static str) -> Value {
    let mut partial = Value::object();
    partial.set("kind", kind);
    partial.set("apiVersion", "meta.k8s.io/v1");
    partial.set("metadata", tree.remove("metadata").unwrap_or_default());
    partial
}

/// `"resourceVersion":"7",` – what the stored bytes lack.
fn revision_field(revision: Revision) -> Vec<u8> {
    format!("\"resourceVersion\":\"{revision}\",").into_bytes()
}

/// A part of an entry's bytes with the revision in its place.
fn splice(entry: &Entry, revision: Revision, part: Range<usize>) -> Bytes {
    let mut out = BytesMut::with_capacity(part.len() + 40);
    put_spliced(entry, revision, part, &mut out);
    out.freeze()
}

fn put_spliced(entry: &Entry, revision: Revision, part: Range<usize>, out: &mut BytesMut) {
    let at = entry.record.revision_at();
    out.put_slice(&entry.value[part.start..at]);
    out.put_slice(&revision_field(revision));
    out.put_slice(&entry.value[at..part.end]);
}

fn put_metadata(entry: &Entry, revision: Revision, out: &mut BytesMut) {
    put_spliced(entry, revision, entry.record.metadata(), out);
}

/// `{"type":T,"object":…}` and a line's end.
fn json_frame(what: &str, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = BytesMut::with_capacity(length + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(what.as_bytes());
    out.put_slice(b"\",\"object\":");
    for part in parts {
        out.put_slice(part);
    }
    out.put_slice(b"}\n");
    out.freeze()
}
