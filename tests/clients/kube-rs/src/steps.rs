//! What the client does, a line a step; the first that goes wrong ends it.

use std::fmt::Debug;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub type Fault = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome<T = ()> = Result<T, Fault>;

static DONE: AtomicUsize = AtomicUsize::new(0);

/// Takes a step and gives what it found.
pub async fn step<T>(name: &str, taken: impl Future<Output = Outcome<T>>) -> T {
    match taken.await {
        Ok(found) => {
            DONE.fetch_add(1, Ordering::Relaxed);
            println!("  {name}");
            found
        }
        Err(fault) => {
            println!("FAILED {name}\n  {fault}");
            std::process::exit(1);
        }
    }
}

/// Says how many steps were taken.
pub fn end() {
    println!("ok {} steps", DONE.load(Ordering::Relaxed));
}

/// Finds fault with anything but what was expected.
pub fn equal<A: Debug + PartialEq<B>, B: Debug>(got: A, expected: B) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("expected {expected:?}, got {got:?}").into()) }
}

/// Asks until there is nothing wrong, and gives what is wrong when the time is over.
pub async fn eventually<T, F: Future<Output = Outcome<T>>>(seconds: u64, ask: impl Fn() -> F) -> Outcome<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match ask().await {
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(100)).await,
            outcome => return outcome,
        }
    }
}

/// The call is refused with this code; gives the Status.
pub fn refused<T: Debug>(code: u16, outcome: kube::Result<T>) -> Outcome<kube::core::Status> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == code => Ok(*status),
        other => Err(format!("expected to be refused with {code}, got {other:?}").into()),
    }
}
