//! A disk for tests: it loses power, fails syncs, is full, is slow. Every chance comes from a seed.
//!
//! What a power cut leaves: what was synced; of each later write all, nothing, or some of its sectors; of names that
//! were created, renamed or removed since the directory's last sync, the first few.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::files::{File, Files};

const SECTOR: usize = 512;

/// Shared by all files on it.
#[derive(Clone)]
pub(crate) struct Disk(Arc<(Mutex<State>, Condvar)>);

struct State {
    /// Power cycles so far; handles from before the last one are dead.
    cycle: u64,
    random: Random,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the directory's last sync, oldest first.
    name_changes: Vec<NameChange>,
    inodes: Vec<Inode>,
    capacity: u64,
    /// Operations that change something until the power goes.
    fuse: Option<u64>,
    failing_syncs: u64,
    /// Every sync of the file of this name fails.
    failing_name: Option<String>,
    syncs_held: bool,
    syncs_waiting: u64,
    pub(crate) syncs: u64,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

#[derive(Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

/// SplitMix64.
pub(crate) struct Random(u64);

struct Handle {
    disk: Disk,
    cycle: u64,
}

struct OpenFile {
    disk: Disk,
    cycle: u64,
    inode: usize,
}

// === impl Random ===

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

// === impl Disk ===

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            cycle: 0,
            random: Random::new(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            inodes: Vec::new(),
            capacity: u64::MAX,
            fuse: None,
            failing_syncs: 0,
            failing_name: None,
            syncs_held: false,
            syncs_waiting: 0,
            syncs: 0,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub(crate) fn files(&self) -> Arc<dyn Files> {
        Arc::new(Handle { disk: self.clone(), cycle: self.state().cycle })
    }

    /// The power goes after so many more operations.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    /// The power goes now, and comes back: what survived is there, open files are dead.
    pub(crate) fn cycle_power(&self) {
        let mut state = self.state();
        state.cycle += 1;
        state.fuse = None;
        state.failing_syncs = 0;
        state.failing_name = None;
        state.lose_what_was_not_synced();
        drop(state);
        self.hold_syncs(false);
    }

    /// The next syncs of files fail; what they should have made durable may or may not be.
    pub(crate) fn fail_syncs(&self, count: u64) {
        self.state().failing_syncs = count;
    }

    /// All syncs of this file fail.
    pub(crate) fn fail_syncs_of(&self, name: &str) {
        self.state().failing_name = Some(name.to_owned());
    }

    /// Syncs do not return until they are released.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.state().syncs_held = hold;
        self.0.1.notify_all();
    }

    pub(crate) fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.syncs_waiting == 0 {
            self.0.1.wait(&mut state);
        }
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// Changes a byte of a file, as a failing medium does.
    pub(crate) fn flip(&self, name: &str, offset: usize) {
        let mut state = self.state();
        let inode = state.names[name];
        state.inodes[inode].now[offset] ^= 0x10;
        state.inodes[inode].durable[offset] ^= 0x10;
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }

    /// The state, if the handle is alive and the power on.
    fn change(&self, cycle: u64) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.cycle != cycle || state.fuse == Some(0) {
            return Err(io::Error::new(ErrorKind::NotConnected, "the power is off"));
        }
        state.fuse = state.fuse.map(|left| left - 1);
        Ok(state)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].now.len() as u64).sum()
    }

    fn room(&self, more: usize) -> io::Result<()> {
        if self.used() + more as u64 > self.capacity { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn lose_what_was_not_synced(&mut self) {
        let survive = self.random.below(self.name_changes.len() as u64 + 1) as usize;
        for change in std::mem::take(&mut self.name_changes).into_iter().take(survive) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            inode.settle(&mut self.random);
            inode.now = inode.durable.clone();
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => drop(names.insert(name, inode)),
            Self::Remove(name) => drop(names.remove(&name)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

impl Inode {
    /// Each pending change reaches the medium wholly, partly or not.
    fn settle(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            match (random.below(3), change) {
                (0, _) => {}
                (1, Change::Write(at, bytes)) => {
                    for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                        if random.below(2) == 0 {
                            write(&mut self.durable, at + n * SECTOR, sector);
                        }
                    }
                }
                (_, change) => change.apply(&mut self.durable),
            }
        }
    }
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => write(bytes, at, &data),
            Self::Len(len) => bytes.resize(len, 0),
        }
    }
}

fn write(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

// === impl Handle ===

impl Handle {
    fn name_change(&self, change: NameChange) -> io::Result<()> {
        let mut state = self.disk.change(self.cycle)?;
        change.clone().apply(&mut state.names);
        state.name_changes.push(change);
        Ok(())
    }
}

impl Files for Handle {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.names())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inode = {
            let mut state = self.disk.change(self.cycle)?;
            state.inodes.push(Inode::default());
            state.inodes.len() - 1
        };
        self.name_change(NameChange::Set(name.to_owned(), inode))?;
        Ok(Arc::new(OpenFile { disk: self.disk.clone(), cycle: self.cycle, inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inode = *self.disk.state().names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(OpenFile { disk: self.disk.clone(), cycle: self.cycle, inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name_change(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.name_change(NameChange::Remove(name.to_owned()))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.disk.change(self.cycle)?;
        state.name_changes.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

impl File for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let now = &state.inodes[self.inode].now;
        let from = (offset as usize).min(now.len());
        let count = buffer.len().min(now.len() - from);
        buffer[..count].copy_from_slice(&now[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.change(self.cycle)?;
        let grows = (offset as usize + bytes.len()).saturating_sub(state.inodes[self.inode].now.len());
        state.room(grows)?;
        let inode = &mut state.inodes[self.inode];
        write(&mut inode.now, offset as usize, bytes);
        inode.pending.push(Change::Write(offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn reserve(&self, _: u64, end: u64) -> io::Result<()> {
        let mut state = self.disk.change(self.cycle)?;
        let len = state.inodes[self.inode].now.len();
        if (end as usize) > len {
            state.room(end as usize - len)?;
            let inode = &mut state.inodes[self.inode];
            inode.now.resize(end as usize, 0);
            inode.pending.push(Change::Len(end as usize));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.change(self.cycle)?;
        let inode = &mut state.inodes[self.inode];
        inode.now.resize(len as usize, 0);
        inode.pending.push(Change::Len(len as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.syncs_waiting += 1;
        self.disk.0.1.notify_all();
        while state.syncs_held {
            self.disk.0.1.wait(&mut state);
        }
        state.syncs_waiting -= 1;
        drop(state);
        let mut guard = self.disk.change(self.cycle)?;
        let state = &mut *guard;
        state.syncs += 1;
        let named = state.failing_name.as_ref().is_some_and(|name| state.names.get(name) == Some(&self.inode));
        let inode = &mut state.inodes[self.inode];
        if named || state.failing_syncs > 0 {
            state.failing_syncs = state.failing_syncs.saturating_sub(1);
            // The pages count as clean now, whether or not they got there.
            inode.settle(&mut state.random);
            return Err(io::Error::other("input/output error"));
        }
        inode.pending.drain(..).for_each(|change| change.apply(&mut inode.durable));
        Ok(())
    }
}
