//! What watchers read: the newest events of one resource, filed by whom they may concern.
//!
//! A [`File`] is a queue of shared events that any number of watchers read by position; a watcher owns nothing but
//! its place. The file of all events is the ring itself, bounded in bytes. Watchers of one namespace, one object or
//! one value of a declared field (pods: `spec.nodeName`) share a narrower file, which holds the same events, goes
//! with its last watcher and loses an event when the ring does. An event wakes only the files it is in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::sync::Notify;

use crate::{Event, Revision};

/// Memory an event takes besides values: event, entry, record, key and its places in the files.
const EVENT_OVERHEAD_BYTES: usize = 600;

/// Which events of a resource a watcher wants; all of them by default. What is set must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only objects of this namespace.
    pub namespace: Option<SmolStr>,
    /// Only objects of this name.
    pub name: Option<SmolStr>,
    /// Only objects whose selectable field has this value, or had it before the event.
    pub field: Option<(SmolStr, SmolStr)>,
}

/// A queue of events that concern the same watchers.
#[derive(Debug, Default)]
pub(crate) struct File {
    queue: Mutex<Queue>,
    pub(crate) notify: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// How many events were dropped from the front, ever.
    dropped: u64,
    /// Events up to here may be missing.
    floor: Revision,
}

/// The hot events of one resource and the files of its watchers.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) all: Arc<File>,
    bytes: usize,
    bytes_max: usize,
    namespaces: HashMap<SmolStr, Filed>,
    names: HashMap<SmolStr, Vec<(Option<SmolStr>, Filed)>>,
    fields: Vec<(SmolStr, HashMap<SmolStr, Filed>)>,
}

#[derive(Debug)]
struct Filed {
    file: Arc<File>,
    watchers: usize,
}

/// What a file has for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Everything up to this revision was delivered.
    Through(Revision),
    /// Events after the cursor were dropped: read the log up to `floor` first.
    Behind {
        /// The file has all events after this.
        floor: Revision,
    },
}

// === impl Scope ===

impl Scope {
    /// Whether the event may concern a watcher of this scope.
    pub fn matches(&self, event: &Event) -> bool {
        let record = &event.entry.record;
        self.namespace.as_ref().is_none_or(|namespace| record.namespace() == namespace)
            && self.name.as_ref().is_none_or(|name| record.name() == name)
            && self.field.as_ref().is_none_or(|(field, value)| {
                let has = |entry: &crate::Entry| entry.record.field(field).unwrap_or_default() == value;
                has(&event.entry) || event.prev.as_deref().is_some_and(has)
            })
    }
}

// === impl File ===

impl File {
    fn starting_at(floor: Revision) -> Arc<Self> {
        let file = Self::default();
        file.queue.lock().floor = floor;
        Arc::new(file)
    }

    fn push(&self, event: Arc<Event>) {
        self.queue.lock().events.push_back(event);
    }

    /// Drops `event` if it is the oldest.
    fn drop_oldest(&self, event: &Arc<Event>) {
        let mut queue = self.queue.lock();
        if queue.events.front().is_some_and(|front| Arc::ptr_eq(front, event)) {
            queue.pop();
        }
    }

    /// Appends the events after `cursor` up to `visible` that `wanted` wants, at most about `max` looked at.
    ///
    /// `place` is the reader's memory of where it was: a position that spares the search.
    pub(crate) fn read(
        &self,
        cursor: Revision,
        place: &mut Option<u64>,
        visible: Revision,
        max: usize,
        mut wanted: impl FnMut(&Event) -> bool,
        batch: &mut Vec<Arc<Event>>,
    ) -> Read {
        let queue = self.queue.lock();
        if cursor < queue.floor {
            return Read::Behind { floor: queue.floor };
        }
        let start = match *place {
            Some(at) if at >= queue.dropped => (at - queue.dropped) as usize,
            _ => queue.events.partition_point(|event| event.revision <= cursor),
        };
        let (mut at, mut through) = (start, cursor);
        while let Some(event) = queue.events.get(at) {
            // One transaction's events are never split: a cursor is a revision.
            if event.revision > visible || (at - start >= max && event.revision != through) {
                break;
            }
            at += 1;
            // A reader may start in the future.
            if event.revision > cursor {
                through = event.revision;
                if wanted(event) {
                    batch.push(event.clone());
                }
            }
        }
        *place = Some(queue.dropped + at as u64);
        match queue.events.get(at) {
            Some(event) if event.revision <= visible => Read::Through(through),
            _ => Read::Through(visible.max(cursor)),
        }
    }

    /// How far a reader at `cursor` has got: up to the next event that waits for it.
    pub(crate) fn progress(&self, cursor: Revision, visible: Revision) -> Revision {
        let queue = self.queue.lock();
        if cursor < queue.floor {
            return cursor;
        }
        let next = queue.events.partition_point(|event| event.revision <= cursor);
        let waits = queue.events.get(next).filter(|event| event.revision <= visible);
        waits.map_or(visible, |event| event.revision - 1).max(cursor)
    }

    pub(crate) fn floor(&self) -> Revision {
        self.queue.lock().floor
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Arc<Event>> {
        let event = self.events.pop_front()?;
        self.dropped += 1;
        self.floor = self.floor.max(event.revision);
        Some(event)
    }
}

// === impl Ring ===

impl Ring {
    /// A ring that has all events after `floor`.
    pub(crate) fn new(floor: Revision, bytes_max: usize) -> Self {
        let (namespaces, names, fields) = Default::default();
        Self { all: File::starting_at(floor), bytes: 0, bytes_max, namespaces, names, fields }
    }

    /// Adds an event, newest last, and says which files must be woken once it is visible.
    pub(crate) fn push(&mut self, event: Arc<Event>, touched: &mut Vec<Arc<File>>) {
        self.each_file(&event, |file| {
            file.push(event.clone());
            if !touched.iter().any(|known| Arc::ptr_eq(known, file)) {
                touched.push(file.clone());
            }
        });
        self.bytes += weight(&event);
        while self.bytes > self.bytes_max && self.drop_oldest_if(|_| true) {}
    }

    /// Drops events up to `revision`.
    pub(crate) fn trim(&mut self, revision: Revision) {
        while self.drop_oldest_if(|event| event.revision <= revision) {}
    }

    /// Forgets all events and starts after `floor`; readers stay with their files, which are returned to be woken.
    pub(crate) fn reset(&mut self, floor: Revision) -> Vec<Arc<File>> {
        self.bytes = 0;
        let files = self.files();
        for file in &files {
            let mut queue = file.queue.lock();
            queue.dropped += queue.events.len() as u64;
            queue.events.clear();
            queue.floor = floor;
        }
        files
    }

    fn drop_oldest_if(&mut self, droppable: impl FnOnce(&Event) -> bool) -> bool {
        let mut queue = self.all.queue.lock();
        if !queue.events.front().is_some_and(|event| droppable(event)) {
            return false;
        }
        let Some(event) = queue.pop() else { return false };
        drop(queue);
        self.bytes -= weight(&event);
        let all = self.all.clone();
        self.each_file(&event, |file| {
            if !Arc::ptr_eq(file, &all) {
                file.drop_oldest(&event);
            }
        });
        true
    }

    /// The file for a scope: an existing one, or a new one that starts after `newest`.
    pub(crate) fn subscribe(&mut self, scope: &Scope, newest: Revision) -> Arc<File> {
        let filed = match scope {
            Scope { namespace, name: Some(name), .. } => {
                let list = self.names.entry(name.clone()).or_default();
                let at = list.iter().position(|(of, _)| of == namespace).unwrap_or_else(|| {
                    list.push((namespace.clone(), Filed::new(newest)));
                    list.len() - 1
                });
                &mut list[at].1
            }
            Scope { field: Some((field, value)), .. } => {
                let at = self.fields.iter().position(|(name, _)| name == field).unwrap_or_else(|| {
                    self.fields.push((field.clone(), HashMap::new()));
                    self.fields.len() - 1
                });
                self.fields[at].1.entry(value.clone()).or_insert_with(|| Filed::new(newest))
            }
            Scope { namespace: Some(namespace), .. } => {
                self.namespaces.entry(namespace.clone()).or_insert_with(|| Filed::new(newest))
            }
            Scope { .. } => return self.all.clone(),
        };
        filed.watchers += 1;
        filed.file.clone()
    }

    /// A watcher of this scope went; the last one takes the file along.
    pub(crate) fn unsubscribe(&mut self, scope: &Scope) {
        fn last(filed: &mut Filed) -> bool {
            filed.watchers -= 1;
            filed.watchers == 0
        }
        match scope {
            Scope { namespace, name: Some(name), .. } => {
                if let Some(list) = self.names.get_mut(name) {
                    list.retain_mut(|(of, filed)| of != namespace || !last(filed));
                    if list.is_empty() {
                        self.names.remove(name);
                    }
                }
            }
            Scope { field: Some((field, value)), .. } => {
                if let Some((_, values)) = self.fields.iter_mut().find(|(name, _)| name == field)
                    && values.get_mut(value).is_some_and(last)
                {
                    values.remove(value);
                }
                self.fields.retain(|(_, values)| !values.is_empty());
            }
            Scope { namespace: Some(namespace), .. } => {
                if self.namespaces.get_mut(namespace).is_some_and(last) {
                    self.namespaces.remove(namespace);
                }
            }
            Scope { .. } => {}
        }
    }

    /// All files there are, to wake everybody.
    pub(crate) fn files(&self) -> Vec<Arc<File>> {
        let fields = self.fields.iter().flat_map(|(_, values)| values.values());
        let names = self.names.values().flatten().map(|(_, filed)| filed);
        let filed = self.namespaces.values().chain(names).chain(fields).map(|filed| filed.file.clone());
        filed.chain([self.all.clone()]).collect()
    }

    /// Calls `visit` once for each file that the event belongs to.
    fn each_file(&self, event: &Event, mut visit: impl FnMut(&Arc<File>)) {
        visit(&self.all);
        let record = &event.entry.record;
        if !self.namespaces.is_empty()
            && let Some(filed) = self.namespaces.get(record.namespace())
        {
            visit(&filed.file);
        }
        if !self.names.is_empty()
            && let Some(list) = self.names.get(record.name())
        {
            let fits = |of: &&(Option<SmolStr>, Filed)| of.0.as_ref().is_none_or(|of| of == record.namespace());
            list.iter().filter(fits).for_each(|(_, filed)| visit(&filed.file));
        }
        for (field, values) in &self.fields {
            let value = record.field(field).unwrap_or_default();
            if let Some(filed) = values.get(value) {
                visit(&filed.file);
            }
            let before = event.prev.as_ref().map(|prev| prev.record.field(field).unwrap_or_default());
            if let Some(filed) = before.filter(|before| *before != value).and_then(|before| values.get(before)) {
                visit(&filed.file);
            }
        }
    }
}

impl Filed {
    fn new(floor: Revision) -> Self {
        Self { file: File::starting_at(floor), watchers: 0 }
    }
}

/// The stored value, and the frame that is made of it as soon as anybody watches.
fn weight(event: &Event) -> usize {
    2 * event.entry.value.len() + EVENT_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use crate::{Entry, Forms, Parts, Record};

    use super::*;

    fn event(revision: Revision, namespace: &str, node: &str, prev: Option<&Arc<Event>>) -> Arc<Event> {
        let fields = vec![("node".into(), node.into())];
        let record = Record::new(&Parts { namespace: namespace.into(), name: "x".into(), fields, ..Parts::default() });
        let (key, value) = (Arc::from(format!("/{namespace}/x")), bytes::Bytes::from_static(b"0123456789"));
        let (create_revision, lease, place, forms) = (revision, None, 0, Forms::default());
        let entry = Entry { key, value, create_revision, mod_revision: revision, record, lease, place, forms };
        Arc::new(Event::put(Arc::new(entry), prev.map(|prev| prev.entry.clone()), None))
    }

    fn on_node(node: &str) -> Scope {
        Scope { field: Some(("node".into(), node.into())), ..Scope::default() }
    }

    fn read(file: &File, after: Revision) -> Result<Vec<Revision>, Revision> {
        let mut batch = Vec::new();
        match file.read(after, &mut None, 100, 100, |_| true, &mut batch) {
            Read::Through(_) => Ok(batch.iter().map(|event| event.revision).collect()),
            Read::Behind { floor } => Err(floor),
        }
    }

    #[test]
    fn an_event_wakes_only_the_files_it_is_in() {
        let mut ring = Ring::new(1, 1 << 20);
        let scopes =
            [Scope { namespace: Some("a".into()), ..Scope::default() }, on_node("n1"), on_node("n2"), on_node("n3")];
        let files = scopes.map(|scope| ring.subscribe(&scope, 1));
        let first = event(2, "a", "n1", None);
        let mut touched = Vec::new();
        ring.push(first.clone(), &mut touched);
        ring.push(event(3, "a", "n2", Some(&first)), &mut touched);
        assert_eq!(files.each_ref().map(|file| read(file, 1).unwrap()), [vec![2, 3], vec![2, 3], vec![3], vec![]]);
        assert_eq!(touched.len(), 4, "the ring, the namespace, the node it left and the node it came to");
    }

    #[test]
    fn files_lose_what_the_ring_loses_and_go_with_their_last_watcher() {
        let mut ring = Ring::new(1, 3 * (EVENT_OVERHEAD_BYTES + 20));
        let (one, two) = (ring.subscribe(&on_node("n1"), 1), ring.subscribe(&on_node("n1"), 1));
        assert!(Arc::ptr_eq(&one, &two), "watchers of the same share a file");
        for revision in 2..8 {
            ring.push(event(revision, "a", if revision % 2 == 0 { "n1" } else { "n2" }, None), &mut Vec::new());
        }
        assert_eq!(read(&ring.all, 4), Ok(vec![5, 6, 7]));
        assert_eq!((read(&ring.all, 3), read(&one, 1), read(&one, 4)), (Err(4), Err(4), Ok(vec![6])));
        ring.unsubscribe(&on_node("n1"));
        assert_eq!(ring.files().len(), 2);
        ring.unsubscribe(&on_node("n1"));
        assert_eq!(ring.files().len(), 1);
        let late = ring.subscribe(&on_node("n1"), 7);
        assert_eq!(read(&late, 6), Err(7), "a younger file: the ring has what it misses");
    }

    #[test]
    fn a_reader_does_not_run_ahead_of_what_is_visible() {
        let mut ring = Ring::new(1, 1 << 20);
        for (revision, namespace) in [(2, "a"), (3, "a"), (3, "b"), (4, "a")] {
            ring.push(event(revision, namespace, "", None), &mut Vec::new());
        }
        let (mut batch, mut place) = (Vec::new(), None);
        assert_eq!(ring.all.read(1, &mut place, 2, 100, |_| true, &mut batch), Read::Through(2));
        assert_eq!(
            ring.all.read(2, &mut place, 4, 1, |_| true, &mut batch),
            Read::Through(3),
            "a revision is not split"
        );
        assert_eq!(batch.iter().map(|event| event.revision).collect::<Vec<_>>(), [2, 3, 3]);
        assert_eq!((ring.all.progress(3, 3), ring.all.progress(3, 4), ring.all.progress(4, 9)), (3, 3, 9));
    }
}
