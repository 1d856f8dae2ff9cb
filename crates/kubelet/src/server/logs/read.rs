//! Reads one log file, over its rotation and until its container ends.

use std::{io, io::SeekFrom, os::unix::fs::MetadataExt, path::Path, time::Duration};

use bytes::Bytes;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc::Sender,
};

use super::{
    Options,
    lines::Lines,
    watch::{Changes, Watch},
};
use crate::{
    cri::{Runtime, v1},
    lookup::LogSource,
};

/// A log being read.
pub struct Reader {
    runtime: Runtime,
    source: LogSource,
    file: File,
    lines: Lines,
    /// None where it is read to its present end only.
    watch: Option<Watch>,
}

/// The reader's side is gone: nothing more is to be read.
struct Gone;

/// Read at once.
const PIECE_BYTES: usize = 32 << 10;
/// Read at once when lines are counted from the end.
const BLOCK_BYTES: u64 = 4 << 10;
/// How often a silent container is asked for, should its end have gone unseen; upstream's `stateCheckPeriod`.
const STATE_CHECK: Duration = Duration::from_secs(5);
/// The same once its log was closed: the runtime says so a little later.
const STATE_CHECK_CLOSED: Duration = Duration::from_millis(50);

impl Reader {
    /// Opens a log where the options say.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn open(runtime: Runtime, source: LogSource, options: Options) -> io::Result<Self> {
        let directory = source.path.parent().unwrap_or_else(|| Path::new("/"));
        // The watch comes first: what is written from now on is seen by it, or read.
        let watch = options.follow.then(|| Watch::new(directory)).transpose()?;
        let mut file = File::open(&source.path).await?;
        if let Some(lines) = options.tail_lines {
            let start = tail_start(&mut file, lines).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        Ok(Reader { runtime, source, file, lines: Lines::new(&options), watch })
    }

    /// Gives all there is, and what comes.
    ///
    /// # Errors
    /// The file can't be read on.
    pub async fn run(mut self, out: &Sender<Bytes>) -> io::Result<()> {
        let mut over = self.watch.is_none();
        let mut closed = false;
        loop {
            if self.drain(out).await?.is_err() || self.lines.is_over() {
                return Ok(());
            }
            if self.was_rotated().await? {
                // Whoever writes the new file is done with the old one, but we may not be.
                let gone = self.drain(out).await?.is_err();
                if gone {
                    return Ok(());
                }
                self.file = File::open(&self.source.path).await?;
                closed = false;
                continue;
            }
            if over {
                let rest = self.lines.finish();
                let _ = send(out, rest).await;
                return Ok(());
            }
            let Some(watch) = &self.watch else { return Ok(()) };
            let patience = if closed { STATE_CHECK_CLOSED } else { STATE_CHECK };
            tokio::select! {
                changes = watch.changes() => {
                    let Changes { closed: now } = changes?;
                    closed |= now;
                    if !now {
                        continue;
                    }
                }
                () = tokio::time::sleep(patience) => {}
                () = out.closed() => return Ok(()),
            }
            // Once more after its end: its last words may have come in between.
            over = !self.is_running().await;
        }
    }

    /// Reads to the present end.
    async fn drain(&mut self, out: &Sender<Bytes>) -> io::Result<Result<(), Gone>> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = self.file.read(&mut piece).await?;
            if read == 0 || self.lines.is_over() {
                return Ok(Ok(()));
            }
            let text = self.lines.feed(&piece[..read]);
            if send(out, text).await.is_err() {
                return Ok(Err(Gone));
            }
        }
    }

    /// Whether another file has come in this one's place.
    async fn was_rotated(&self) -> io::Result<bool> {
        match tokio::fs::metadata(&self.source.path).await {
            Ok(there) => {
                let here = self.file.metadata().await?;
                Ok((there.ino(), there.dev()) != (here.ino(), here.dev()))
            }
            // Between two files, or the last one of a pod that is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn is_running(&self) -> bool {
        let request = v1::ContainerStatusRequest { container_id: self.source.container_id.clone(), verbose: false };
        match self.runtime.container_status(request).await {
            Ok(answer) => answer.status.is_some_and(|status| status.state() == v1::ContainerState::ContainerRunning),
            Err(error) => !error.is_not_found(),
        }
    }
}

async fn send(out: &Sender<Bytes>, text: Vec<u8>) -> Result<(), Gone> {
    match text.is_empty() {
        true => Ok(()),
        false => out.send(text.into()).await.map_err(|_| Gone),
    }
}

/// Where the last lines begin.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(end);
    }
    // The end of the last line ends none of those before it.
    let mut ends = lines + 1;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut block).await?;
        for (at, byte) in block.iter().enumerate().rev() {
            if *byte == b'\n' {
                ends -= 1;
                if ends == 0 {
                    return Ok(start + at as u64 + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 9)]
    #[case(1, 6)]
    #[case(2, 3)]
    #[case(3, 0)]
    #[case(9, 0)]
    #[tokio::test]
    async fn last_lines(#[case] lines: u64, #[case] start: u64) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, "aa\nbb\ncc\n").unwrap();
        assert_eq!(tail_start(&mut File::open(&path).await.unwrap(), lines).await.unwrap(), start);
    }

    #[tokio::test]
    async fn last_lines_of_many_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let text: String = (0..5000).map(|at| format!("{at}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let start = tail_start(&mut File::open(&path).await.unwrap(), 3000).await.unwrap();
        assert!(text[usize::try_from(start).unwrap()..].starts_with("2000\n"));
    }
}
