//! Flow control: how many requests may be worked on at once.
//!
//! Requests beyond the limit wait in line for a moment and are then told to come back. Watches
//! and streams do not count, nor do the server's own calls, or a full server would wait for
//! itself.

pub mod schemas;

use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::context::Context;

/// Limits requests in flight.
pub struct Flow {
    seats: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Which flow a request belongs to.
    pub schemas: schemas::Schemas,
}

/// Upstream's defaults together: 400 reading and 200 writing requests.
const SEATS: usize = 600;
/// Requests that may wait for a seat; each holds its head and an unread body.
const WAITING_MAX: usize = 4_096;
/// A quarter of the request's time, as upstream's queues.
const WAIT_MAX: Duration = Duration::from_secs(15);

// === impl Flow ===

impl Default for Flow {
    fn default() -> Flow {
        Flow {
            seats: Arc::new(Semaphore::new(SEATS)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            schemas: schemas::Schemas::default(),
        }
    }
}

impl Flow {
    /// A seat, held until the answer's head is made; `None` for those who are exempt.
    ///
    /// # Errors
    /// 429 when too many wait already or the wait took too long.
    pub async fn admit(&self, context: &Context) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if let Ok(seat) = self.seats.clone().try_acquire_owned() {
            return Ok(Some(seat));
        }
        if context.user.in_group("system:masters") || context.user.name == "system:apiserver" {
            return Ok(None);
        }
        let refused = || Status::too_many_requests("Too many requests, please try again later.", 1);
        let _waits = self.waiting.try_acquire().map_err(|_| refused())?;
        match tokio::time::timeout(WAIT_MAX, self.seats.clone().acquire_owned()).await {
            Ok(Ok(seat)) => Ok(Some(seat)),
            _ => Err(refused()),
        }
    }
}
