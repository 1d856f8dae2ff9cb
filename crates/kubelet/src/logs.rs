//! Containers' logs on the node: their format, their last lines, rotation, and links by name.
//!
//! Upstream: pkg/kubelet/logs. A line is `<time> <stdout|stderr> <P|F> <text>`; `P` means the line goes on.

pub mod rotate;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Read from a log's end to find its last lines, in bytes.
const TAIL_BYTES_MAX: u64 = 64 << 10;

/// One record of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// It was written to the error stream.
    pub is_error: bool,
    /// The line goes on in the next record of the stream.
    pub is_partial: bool,
    /// The text, without the line's end.
    pub text: &'a [u8],
}

/// Reads a record from a line without its end.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
    let is_partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    let is_error = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    Some(Record { time: std::str::from_utf8(time).ok()?, is_error, is_partial, text: parts.next().unwrap_or_default() })
}

/// The last lines of a log, as the container wrote them; at most `bytes` of them.
///
/// # Errors
/// Where the file can't be read.
pub fn tail(path: &Path, lines: usize, bytes: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut read = Vec::new();
    file.read_to_end(&mut read)?;
    let mut records: Vec<&[u8]> = read.split(|byte| *byte == b'\n').collect();
    if start > 0 && !records.is_empty() {
        // The first one may be cut.
        records.remove(0);
    }
    let mut out: Vec<Vec<u8>> = vec![Vec::new()];
    for record in records.into_iter().filter_map(parse) {
        let Some(last) = out.last_mut() else { break };
        last.extend_from_slice(record.text);
        if !record.is_partial {
            last.push(b'\n');
            out.push(Vec::new());
        }
    }
    out.retain(|line| !line.is_empty());
    let skip = out.len().saturating_sub(lines);
    let mut text = out[skip..].concat();
    let cut = text.len().saturating_sub(bytes);
    text.drain(..cut);
    Ok(text)
}

/// The end of a file, at most `bytes`.
///
/// # Errors
/// Where it can't be read.
pub fn end_of(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut read = Vec::new();
    file.take(bytes).read_to_end(&mut read)?;
    Ok(read)
}

/// The link by which log collectors find a container's log: `<pod>_<namespace>_<container>-<id>.log`.
pub fn link_name(pod: &str, namespace: &str, container: &str, id: &str) -> String {
    const NAME_CHARS_MAX: usize = 255 - ".log".len();
    let mut name = format!("{pod}_{namespace}_{container}-{id}");
    name.truncate(NAME_CHARS_MAX);
    format!("{name}.log")
}

/// Removes links to logs that are gone.
pub fn remove_dead_links(directory: &Path) {
    for link in crate::volumes::children(directory) {
        let is_link = fs::symlink_metadata(&link).is_ok_and(|metadata| metadata.is_symlink());
        if is_link && !link.exists() {
            // Another one may have been faster.
            let _ = fs::remove_file(&link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let record = parse(b"2026-01-01T00:00:00.1Z stderr P a b").unwrap();
        assert_eq!(record, Record { time: "2026-01-01T00:00:00.1Z", is_error: true, is_partial: true, text: b"a b" });
        assert_eq!(parse(b"2026-01-01T00:00:00.1Z stdout F").unwrap().text, b"");
        assert_eq!(parse(b"nonsense"), None);
    }

    #[test]
    fn the_last_lines_in_the_containers_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let lines: String = (0..5).map(|at| format!("t stdout P part\nt stdout F {at}\n")).collect();
        fs::write(&path, lines).unwrap();
        assert_eq!(tail(&path, 2, 100).unwrap(), b"part3\npart4\n");
        assert_eq!(tail(&path, 80, 4).unwrap(), b"rt4\n");
        assert_eq!(end_of(&path, 3).unwrap(), b" 4\n");
    }
}
