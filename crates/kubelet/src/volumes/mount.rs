//! Mounts, and who has them.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// Binds a file or directory (with what is mounted below it) to another place.
///
/// # Errors
/// Where the kernel refuses.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind_recursive(source, target)?)
}

/// Mounts memory as a file system. `bytes` is its size where it has one.
///
/// # Errors
/// Where the kernel refuses.
pub fn tmpfs(target: &Path, bytes: Option<u64>) -> io::Result<()> {
    let options = bytes.map(|bytes| format!("size={bytes}")).unwrap_or_default();
    let options = CString::new(options).map_err(io::Error::other)?;
    Ok(rustix::mount::mount("tmpfs", target, "tmpfs", MountFlags::empty(), options.as_c_str())?)
}

/// Mounts huge pages of a size.
///
/// # Errors
/// Where the kernel refuses.
pub fn hugetlbfs(target: &Path, page_size: &str, bytes: Option<u64>) -> io::Result<()> {
    let size = bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let options = CString::new(format!("pagesize={page_size}{size}")).map_err(io::Error::other)?;
    Ok(rustix::mount::mount("nodev", target, "hugetlbfs", MountFlags::empty(), options.as_c_str())?)
}

/// What is mounted below becomes visible in containers that ask for it.
///
/// # Errors
/// Where it is no mount point.
pub fn make_shared(target: &Path) -> io::Result<()> {
    let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(target, flags)?)
}

/// Unmounts; one that is still used goes when its last user does.
///
/// # Errors
/// Where the kernel refuses.
pub fn unmount(target: &Path) -> io::Result<()> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::BUSY) => {
            Ok(rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
        }
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        answer => Ok(answer?),
    }
}

/// Whether something is mounted exactly there.
pub fn is_mount_point(path: &Path) -> bool {
    below(path).iter().any(|point| point == path)
}

/// Every mount point at or below a path, the deepest first.
pub fn below(path: &Path) -> Vec<PathBuf> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<PathBuf> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|point| point.starts_with(path))
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.as_os_str().len()));
    points
}

/// The kernel writes spaces and the like as octal numbers.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let octal = field.get(at + 1..at + 4).filter(|_| field[at] == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                at += 4;
            }
            None => {
                bytes.push(field[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_read() {
        assert_eq!(unescape(b"/a\\040b\\134c"), PathBuf::from("/a b\\c"));
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self")));
    }
}
