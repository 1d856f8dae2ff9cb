//! `fsGroup`: files of a volume belong to a group that the pod is in. Upstream: pkg/volume/volume_linux.go.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

/// Gives a tree to a group: owner stays, the group may read (and, unless `read_only`, write), directories pass the
/// group on.
///
/// # Errors
/// Where the disk refuses.
pub fn apply(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.file_type().is_symlink() {
        return Ok(());
    }
    let mut mask = if read_only { 0o440 } else { 0o660 };
    if metadata.is_dir() {
        mask |= 0o2110;
    }
    // The owner of the group may have changed and taken bits with it: always set.
    fs::set_permissions(path, fs::Permissions::from_mode((metadata.mode() | mask) & 0o7777))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            apply(&entry?.path(), group, read_only)?;
        }
    }
    Ok(())
}

/// Whether the root of a tree already is as [`apply`] leaves it (`fsGroupChangePolicy: OnRootMismatch`).
pub fn root_matches(path: &Path, group: u32, read_only: bool) -> bool {
    let mask = if read_only { 0o2550 } else { 0o2770 };
    fs::metadata(path).is_ok_and(|metadata| metadata.gid() == group && metadata.mode() & mask == mask)
}
