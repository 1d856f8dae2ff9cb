//! Files that change all at once: a directory of its own each time, and one link that is swapped.
//!
//! Upstream: pkg/volume/util/atomic_writer.go. What users see is `key -> ..data/key` and `..data -> ..<time>`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// A file's bytes and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, where it is not root.
    pub owner: Option<u32>,
}

/// Files by their path in the volume.
pub type Files = BTreeMap<String, File>;

/// Brings the directory to hold exactly these files; does nothing where it does. Says whether it changed something.
///
/// # Errors
/// Where the disk refuses; what users see is then as before.
pub fn write(target: &Path, files: &Files, now: jiff::Timestamp) -> io::Result<bool> {
    let link = target.join(DATA);
    let old = fs::read_link(&link).ok();
    if let Some(old) = &old
        && holds(&target.join(old), files)
    {
        // A crash between the swap and the links leaves these to be made.
        links(target, files)?;
        return Ok(false);
    }
    let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S");
    let name = unique(target, &stamp.to_string());
    let fresh = target.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        write_file(&fresh.join(path), file)?;
    }
    let temporary = target.join(NEW_DATA);
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &link)?;
    links(target, files)?;
    remove_stale_links(target, files)?;
    if let Some(old) = old {
        fs::remove_dir_all(target.join(old))?;
    }
    Ok(true)
}

fn unique(target: &Path, stamp: &str) -> String {
    let mut suffix: u32 = rand::random();
    loop {
        let name = format!("{stamp}.{suffix}");
        if !target.join(&name).exists() {
            return name;
        }
        suffix = suffix.wrapping_add(1);
    }
}

fn write_file(path: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.data)?;
    // Explicitly, whatever the umask.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode & 0o7777))?;
    if let Some(owner) = file.owner {
        std::os::unix::fs::chown(path, Some(owner), None)?;
    }
    Ok(())
}

fn holds(directory: &Path, files: &Files) -> bool {
    let mut found = BTreeSet::new();
    if collect(directory, directory, &mut found).is_err() || !found.iter().eq(files.keys()) {
        return false;
    }
    files.iter().all(|(path, file)| {
        let path = directory.join(path);
        let mode = fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        // Ownership changes add the group's bits to what was asked for.
        let fits = mode.is_ok_and(|mode| mode & !0o070 == file.mode & 0o777 & !0o070);
        fits && fs::read(&path).is_ok_and(|data| data == file.data)
    })
}

fn collect(root: &Path, directory: &Path, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// The first component of each path.
fn tops(files: &Files) -> BTreeSet<&str> {
    files.keys().filter_map(|path| path.split('/').next()).collect()
}

fn links(target: &Path, files: &Files) -> io::Result<()> {
    for top in tops(files) {
        let link = target.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(PathBuf::from(DATA).join(top), link)?;
        }
    }
    Ok(())
}

fn remove_stale_links(target: &Path, files: &Files) -> io::Result<()> {
    let tops = tops(files);
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !tops.contains(name.as_str()) && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a path may name a file of such a volume. Upstream: `validatePath`.
///
/// # Errors
/// Why not.
pub fn validate(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("invalid path: must not be empty: \"\"".into());
    }
    if path.starts_with('/') {
        return Err(format!("invalid path: must be relative path: {path}"));
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.contains(&"..") {
        return Err(format!("invalid path: must not contain '..': {path}"));
    }
    if parts[0].starts_with("..") {
        return Err(format!("invalid path: must not start with '..': {path}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(path, data)| ((*path).to_owned(), File { data: data.as_bytes().to_vec(), mode: 0o640, owner: None }))
            .collect()
    }

    fn seen(target: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(target).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with(".."));
        names.sort();
        names
    }

    #[test]
    fn all_changes_at_once_and_nothing_is_left() {
        let target = tempfile::tempdir().unwrap();
        let target = target.path();
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert!(write(target, &files(&[("a", "1"), ("d/b", "2")]), now).unwrap());
        assert_eq!(fs::read_to_string(target.join("d/b")).unwrap(), "2");
        assert_eq!(fs::read_link(target.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::metadata(target.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let first = fs::read_link(target.join(DATA)).unwrap();
        assert!(!write(target, &files(&[("a", "1"), ("d/b", "2")]), now).unwrap());
        assert_eq!(fs::read_link(target.join(DATA)).unwrap(), first);
        assert!(write(target, &files(&[("a", "3")]), now).unwrap());
        assert_eq!(
            (seen(target), fs::read_to_string(target.join("a")).unwrap()),
            (vec!["a".to_owned()], "3".to_owned())
        );
        assert!(!target.join(first).exists());
        assert_eq!(fs::read_dir(target).unwrap().count(), 3);
    }

    #[test]
    fn names_that_are_none() {
        for bad in ["", "/a", "a/../b", "..a"] {
            assert!(validate(bad).is_err(), "{bad}");
        }
        assert!(validate("a/..b").is_ok() && validate("a").is_ok());
    }
}
