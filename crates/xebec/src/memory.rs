//! Memory that was freed goes back to the machine, on an idle server too.

use std::time::Duration;

/// How often.
const EVERY: Duration = Duration::from_secs(10);
/// The allocator gives an area of its own to anything this large, and takes that back at once.
const LARGE: usize = 1 << 20;

/// Asks the allocator, again and again, to give back what has been free for a while. By itself it looks for such pages
/// only when one becomes free: a server that was busy and has nothing to do now would keep what it had.
pub async fn give_back() {
    let mut interval = tokio::time::interval(EVERY);
    loop {
        interval.tick().await;
        // Untouched, so it costs no memory. mimalloc's own call for this (`mi_collect`) can't be called safely.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
