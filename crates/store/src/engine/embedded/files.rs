//! The file layer: the few operations that the log's promises rest on, so that tests can make them fail.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::OpenError;

/// One directory of files.
pub(crate) trait Files: Send + Sync + 'static {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An empty file of this name, in place of any other.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Puts `from` in place of `to`, at one moment.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created, renamed and removed names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free(&self) -> io::Result<u64>;
}

/// One file, read and written at offsets.
pub(crate) trait File: Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;
    /// Fills `buffer` as far as the file reaches.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes sure that writes from `from` up to `end` find room; the file grows with zeros.
    fn reserve(&self, from: u64, end: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory, locked against other processes.
pub(crate) struct Directory {
    path: PathBuf,
    lock: fs::File,
}

const LOCK: &str = "LOCK";
/// Secrets are in there: nobody else reads them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

// === impl Directory ===

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let named = |source| OpenError::Io { path: path.display().to_string(), source };
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(named)?;
        let lock = fs::File::options().write(true).create(true).truncate(true).mode(FILE_MODE).open(path.join(LOCK));
        let lock = lock.map_err(named)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(Errno::WOULDBLOCK) => Err(OpenError::InUse { path: path.display().to_string() }),
            Err(error) => Err(named(error.into())),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started has a copy of the file until it runs.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| !matches!(name, Ok(name) if name == LOCK)).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let options = &mut fs::File::options();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        let file = options.open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(fs::File::options().read(true).write(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::fsync(rustix::fs::open(&self.path, flags, Mode::empty())?)?)
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}

impl File for fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    /// Blocks are promised first, so that a full disk shows before anything is written, and then written: a sync of
    /// blocks that were written before need not wait for the file system's journal.
    fn reserve(&self, from: u64, end: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self.as_fd(), FallocateFlags::empty(), from, end - from) {
            // A file system that can't promise has them taken by the zeros.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, from, end),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn write_zeros(file: &fs::File, from: u64, end: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < end {
        let count = (end - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
