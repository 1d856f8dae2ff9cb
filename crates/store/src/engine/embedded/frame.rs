//! The unit of the files: a frame is there whole or not at all.
//!
//! ```text
//! magic u32 | body length u32 | checksum u32 | tag u32 | body … | zeros up to a multiple of 8
//! ```
//! All numbers are little-endian. The checksum (CRC-32) covers tag and body and starts from the file's random nonce,
//! so that a frame of another file, left in a reused block, is not taken for one of this.

use std::io;

use super::files::File;

const MAGIC: u32 = 0x7865_6265;
pub(crate) const HEADER: usize = 16;
/// A body is no longer than this; what says so is damaged. A batch is a few MiB.
pub(crate) const BODY_MAX: usize = 64 << 20;
/// Bytes read at a time by who reads on.
const CHUNK: usize = 1 << 20;
/// Bytes read at a time by who wants one frame.
const ONE: usize = 8 << 10;

/// A frame that was read; its body is in the reader's buffer.
pub(crate) struct Frame<'a> {
    pub(crate) offset: u64,
    /// Where the frame behind it would be.
    pub(crate) end: u64,
    pub(crate) tag: u32,
    pub(crate) body: &'a [u8],
}

/// Why there is no further frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The file ends here, or only zeros follow.
    Clean,
    /// Something else than a frame follows.
    Torn,
}

/// Reads frames one after another.
pub(crate) struct Frames<'a> {
    file: &'a dyn File,
    nonce: u32,
    /// Where the next frame is.
    pub(crate) offset: u64,
    /// What was read ahead, from `start` on.
    buffer: Vec<u8>,
    start: u64,
    chunk: usize,
}

/// Starts a frame in `out`; [`finish`] completes it.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEADER, 0);
}

/// Writes the header of the frame in `out`.
pub(crate) fn finish(out: &mut Vec<u8>, nonce: u32, tag: u32) {
    let length = out.len() - HEADER;
    let sum = checksum(nonce, tag, &out[HEADER..]);
    for (at, number) in [MAGIC, length as u32, sum, tag].into_iter().enumerate() {
        out[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
    }
    out.resize(HEADER + padded(length), 0);
}

fn checksum(nonce: u32, tag: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(nonce);
    hasher.update(&tag.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

// === impl Frames ===

impl<'a> Frames<'a> {
    pub(crate) fn new(file: &'a dyn File, nonce: u32, offset: u64) -> Self {
        Self { file, nonce, offset, buffer: Vec::new(), start: offset, chunk: CHUNK }
    }

    /// For the one frame at `offset`.
    pub(crate) fn one(file: &'a dyn File, nonce: u32, offset: u64) -> Self {
        Self { chunk: ONE, ..Self::new(file, nonce, offset) }
    }

    /// The next frame, or why there is none.
    pub(crate) fn next(&mut self) -> io::Result<Result<Frame<'_>, End>> {
        let Some(header) = self.bytes(self.offset, HEADER)? else { return Ok(Err(self.end()?)) };
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (magic, length, sum, tag) = (number(0), number(4) as usize, number(8), number(12));
        if magic != MAGIC || length > BODY_MAX {
            return Ok(Err(self.end()?));
        }
        let (nonce, offset) = (self.nonce, self.offset);
        let end = offset + (HEADER + padded(length)) as u64;
        let sound = self.bytes(offset + HEADER as u64, length)?.is_some_and(|body| checksum(nonce, tag, body) == sum);
        if !sound {
            return Ok(Err(End::Torn));
        }
        self.offset = end;
        // It is in the buffer: that was just checked.
        let body = self.bytes(offset + HEADER as u64, length)?.unwrap_or_default();
        Ok(Ok(Frame { offset, end, tag, body }))
    }

    /// Whether a whole frame of this file lies anywhere behind the current place: then what is torn was not the end.
    pub(crate) fn another_behind(&mut self) -> io::Result<Option<u64>> {
        let (from, end) = (self.offset, self.file.len()?);
        let mut at = from.next_multiple_of(8);
        while at + HEADER as u64 <= end {
            let Some(word) = self.bytes(at, 4)? else { break };
            if word == MAGIC.to_le_bytes() && at > from {
                self.offset = at;
                let found = self.next()?.is_ok();
                self.offset = from;
                if found {
                    return Ok(Some(at));
                }
            }
            at += 8;
        }
        Ok(None)
    }

    /// Nothing but zeros up to the end is a clean end: room that was reserved.
    fn end(&mut self) -> io::Result<End> {
        let (mut at, end) = (self.offset, self.file.len()?);
        while at < end {
            let count = (end - at).min(CHUNK as u64) as usize;
            match self.bytes(at, count)? {
                Some(bytes) if bytes.iter().all(|byte| *byte == 0) => at += count as u64,
                _ => return Ok(End::Torn),
            }
        }
        Ok(End::Clean)
    }

    /// `count` bytes at `offset`, or none if the file is shorter.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + count as u64 > end {
            self.buffer.resize(count.max(self.chunk), 0);
            let filled = self.file.read_at(&mut self.buffer, offset)?;
            self.buffer.truncate(filled);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(self.buffer.get(from..from + count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::faulty::Disk;
    use super::*;

    fn file_of(frames: &[&[u8]], nonce: u32) -> (std::sync::Arc<dyn File>, Vec<u64>) {
        let file = Disk::new(1).files().create("f").unwrap();
        let (mut at, mut offsets, mut out) = (0, Vec::new(), Vec::new());
        for body in frames {
            begin(&mut out);
            out.extend_from_slice(body);
            finish(&mut out, nonce, 7);
            file.write_at(&out, at).unwrap();
            offsets.push(at);
            at += out.len() as u64;
        }
        (file, offsets)
    }

    fn read_all(file: &dyn File, nonce: u32) -> (Vec<Vec<u8>>, End) {
        let mut frames = Frames::new(file, nonce, 0);
        let mut bodies = Vec::new();
        loop {
            match frames.next().unwrap() {
                Ok(frame) => bodies.push(frame.body.to_vec()),
                Err(end) => return (bodies, end),
            }
        }
    }

    #[test]
    fn frames_read_back_and_end_cleanly_before_reserved_room() {
        let large = vec![7; 3 << 20];
        let (file, _) = file_of(&[b"", b"a", &large, b"12345678"], 5);
        file.set_len(8 << 20).unwrap();
        assert_eq!(read_all(&*file, 5), (vec![vec![], b"a".to_vec(), large, b"12345678".to_vec()], End::Clean));
        assert_eq!(read_all(&*file, 6), (vec![], End::Torn), "another file's frames are none");
    }

    #[test]
    fn any_changed_byte_tears_its_frame_and_tells_the_last_from_others() {
        let (file, offsets) = file_of(&[b"first frame", b"second"], 5);
        for at in 0..offsets[1] as usize - 5 {
            let mut byte = [0];
            file.read_at(&mut byte, at as u64).unwrap();
            file.write_at(&[byte[0] ^ 4], at as u64).unwrap();
            let mut frames = Frames::new(&*file, 5, 0);
            assert!(matches!(frames.next().unwrap(), Err(End::Torn)), "byte {at}");
            assert_eq!(frames.another_behind().unwrap(), Some(offsets[1]), "byte {at}");
            file.write_at(&byte, at as u64).unwrap();
        }
        file.write_at(b"x", offsets[1] + 20).unwrap();
        let mut frames = Frames::new(&*file, 5, 0);
        assert!(frames.next().unwrap().is_ok());
        assert!(matches!(frames.next().unwrap(), Err(End::Torn)));
        assert_eq!(frames.another_behind().unwrap(), None);
    }
}
