//! Tells when a directory's files change.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use tokio::io::{Interest, unix::AsyncFd};

/// Watches one directory.
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

/// What changed since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// A file that had been written to was closed.
    pub closed: bool,
}

/// Room for a batch of events: each is at most a header and a name of 255 bytes.
const BUFFER_BYTES: usize = 4096;

impl Watch {
    /// Watches from now on.
    ///
    /// # Errors
    /// The directory is not there, or the machine has no watches left.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::CLOSE_WRITE;
        add_watch(&inotify, directory, flags | WatchFlags::DELETE)?;
        // The replacement is unsafe for descriptors that might go; this one is owned by what it is given to.
        #[allow(deprecated)]
        Ok(Watch(AsyncFd::with_interest(inotify, Interest::READABLE)?))
    }

    /// Waits for changes.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn changes(&self) -> io::Result<Changes> {
        self.0.async_io(Interest::READABLE, drain).await
    }
}

/// Reads all events there are; `WouldBlock` where there is none.
fn drain(inotify: &OwnedFd) -> io::Result<Changes> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut changes = None;
    loop {
        match reader.next() {
            Ok(event) => {
                let closed = event.events().contains(ReadFlags::CLOSE_WRITE);
                let so_far: &mut Changes = changes.get_or_insert(Changes { closed: false });
                so_far.closed |= closed;
            }
            Err(error) => return changes.ok_or_else(|| error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[tokio::test]
    async fn writes_and_closes() {
        let directory = tempfile::tempdir().unwrap();
        let watch = Watch::new(directory.path()).unwrap();
        let mut file = fs::File::create(directory.path().join("0.log")).unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(watch.changes().await.unwrap(), Changes { closed: false });
        drop(file);
        assert_eq!(watch.changes().await.unwrap(), Changes { closed: true });
        assert!(Watch::new(&directory.path().join("none")).is_err());
    }
}
