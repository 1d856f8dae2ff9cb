//! How much an input makes a decoder allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a target may have allocated at any one time: so many bytes for each byte of its input, and so many besides.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub per_byte: usize,
    pub besides: usize,
}

/// The system's allocator, counting.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a target and fails where it took more than it may.
pub fn bounded(input: &[u8], limit: Limit, run: fn(&[u8])) {
    let allowed = limit.per_byte * input.len() + limit.besides;
    // Tables are loaded once, by whoever asks for them first: what takes too much has to do so again.
    if taken(input, run) > allowed {
        let taken = taken(input, run);
        assert!(taken <= allowed, "{taken} bytes allocated for an input of {}, {allowed} are allowed", input.len());
    }
}

/// The most that is allocated at any one time of a run.
fn taken(input: &[u8], run: fn(&[u8])) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    run(input);
    PEAK.load(Relaxed).saturating_sub(before)
}

// === impl Counting ===

impl Counting {
    fn add(bytes: usize) {
        let now = NOW.fetch_add(bytes, Relaxed) + bytes;
        PEAK.fetch_max(now, Relaxed);
    }
}

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::add(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(old, layout) }
    }
}
