//! Log rotation: a log that is full is moved aside, the runtime opens a new one, old ones are compressed and the
//! oldest removed. Upstream: pkg/kubelet/logs/container_log_manager.go.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

/// When logs are rotated.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Bytes after which a log is full.
    pub bytes_max: u64,
    /// Files of a container, the current one counted.
    pub files_max: usize,
}

/// Whether a log is full.
pub fn is_full(path: &Path, policy: Policy) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() >= policy.bytes_max)
}

/// Moves a log aside, makes room and compresses the ones before. The runtime must be told to open it anew.
///
/// # Errors
/// Where the disk refuses; the log is then as it was.
pub fn rotate(path: &Path, policy: Policy, now: jiff::Timestamp) -> io::Result<PathBuf> {
    let mut old = rotated(path);
    // What a crash left half done.
    for temporary in old.iter().filter(|old| old.extension().is_some_and(|end| end == "tmp")) {
        fs::remove_file(temporary)?;
    }
    old.retain(|old| old.extension().is_none_or(|end| end != "tmp"));
    // The current one and the one that is made now stay.
    let keep = policy.files_max.saturating_sub(2);
    let excess = old.len().saturating_sub(keep);
    for gone in old.drain(..excess) {
        fs::remove_file(gone)?;
    }
    for plain in old.iter().filter(|old| old.extension().is_none_or(|end| end != "gz")) {
        compress(plain)?;
    }
    let target = with_suffix(path, &format!(".{}", now.strftime("%Y%m%d-%H%M%S")));
    fs::rename(path, &target)?;
    Ok(target)
}

/// Rotated files of a log, the oldest first.
pub fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let prefix = format!("{name}.");
    let mut found = crate::volumes::children(directory);
    found.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix)));
    found.sort();
    found
}

fn compress(path: &Path) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let mut writer = GzEncoder::new(File::create(&temporary)?, Compression::default());
    io::copy(&mut File::open(path)?, &mut writer)?;
    writer.finish()?.sync_all()?;
    fs::rename(&temporary, with_suffix(path, ".gz"))?;
    fs::remove_file(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_logs_are_compressed_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let policy = Policy { bytes_max: 3, files_max: 3 };
        for round in 0..4 {
            fs::write(&path, format!("round {round}")).unwrap();
            assert!(is_full(&path, policy));
            rotate(&path, policy, jiff::Timestamp::from_second(round).unwrap()).unwrap();
        }
        let names: Vec<_> =
            rotated(&path).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["0.log.19700101-000002.gz", "0.log.19700101-000003"]);
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(File::open(&rotated(&path)[0]).unwrap()), &mut text)
            .unwrap();
        assert_eq!(text, "round 2");
    }
}
