//! Paths below a volume that no symbolic link may lead out of. Upstream: pkg/volume/util/subpath.
//!
//! A pod can change its volume while the kubelet looks at it. So a path is walked component by component, each opened
//! without following links, and what was reached is pinned by a bind mount of the open descriptor.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};

/// The directory of such mounts in a pod's directory.
pub const DIRECTORY: &str = "volume-subpaths";

/// Resolves `path` below `root` as if `root` were `/`: links stay inside.
///
/// # Errors
/// Where nothing is there.
pub fn resolve(root: &Path, path: &str) -> io::Result<PathBuf> {
    let file = open_in(root, path, OFlags::PATH)?;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn open_in(root: &Path, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(openat2(
        &root,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// Refuses what can't name something below a volume.
///
/// # Errors
/// In upstream's words.
pub fn validate(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("unable to provision SubPath `{path}`: must not contain '..'"));
    }
    Ok(())
}

/// Makes the directories of `path` below `root` that are missing, with the mode of the volume's root.
///
/// # Errors
/// Where the path leads out of the volume or through something that is no directory.
pub fn make_dirs(root: &Path, path: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(root)?.permissions().mode() & 0o7777;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, flags, Mode::empty())?;
    for part in Path::new(path).components() {
        let Component::Normal(name) = part else { continue };
        match mkdirat(&at, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                // The umask does not count: what fsGroup needs must be there.
                let made = rustix::fs::openat(
                    &at,
                    name,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
            }
            Err(error) if error == rustix::io::Errno::EXIST => {}
            Err(error) => return Err(error.into()),
        }
        at = openat2(&at, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?;
    }
    Ok(())
}

/// Binds what `path` names in the volume to a place of the kubelet's own, and gives that place.
///
/// # Errors
/// Where the path leads out of the volume or nothing is there.
pub fn bind(
    pod_dir: &Path,
    volume: &str,
    root: &Path,
    path: &str,
    container: &str,
    index: usize,
) -> io::Result<PathBuf> {
    let target = pod_dir.join(DIRECTORY).join(volume).join(container).join(index.to_string());
    let root_fd = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // A volume's files are links themselves (`key -> ..data/key`): links are fine as long as they stay below.
    let source = openat2(&root_fd, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags)?;
    if is_mounted(&target) {
        super::mount::unmount(&target)?;
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_dir = rustix::fs::fstat(&source).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())?;
    if is_dir {
        fs::create_dir_all(&target)?;
    } else {
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(&target)?;
    }
    super::mount::bind(Path::new(&format!("/proc/self/fd/{}", source.as_raw_fd())), &target)?;
    Ok(target)
}

fn is_mounted(path: &Path) -> bool {
    super::mount::is_mount_point(path)
}

/// Takes all such mounts of a pod away.
///
/// # Errors
/// Where one can't be unmounted yet.
pub fn clean(pod_dir: &Path) -> io::Result<()> {
    let top = pod_dir.join(DIRECTORY);
    if !top.exists() {
        return Ok(());
    }
    for volume in super::children(&top) {
        for container in super::children(&volume) {
            for target in super::children(&container) {
                if is_mounted(&target) {
                    super::mount::unmount(&target)?;
                }
                let removed = if target.is_dir() { fs::remove_dir(&target) } else { fs::remove_file(&target) };
                removed?;
            }
            fs::remove_dir(&container)?;
        }
        fs::remove_dir(&volume)?;
    }
    fs::remove_dir(&top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "mine").unwrap();
        symlink("/etc/passwd", root.path().join("out")).unwrap();
        let found = resolve(root.path(), "out").unwrap();
        assert_eq!(found, root.path().canonicalize().unwrap().join("etc/passwd"));
    }

    #[test]
    fn directories_are_made_with_the_volumes_mode() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o2777)).unwrap();
        make_dirs(root.path(), "a/b").unwrap();
        let mode = fs::metadata(root.path().join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o2777);
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("link")).unwrap();
        assert!(make_dirs(root.path(), "link/x").is_err());
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    }

    #[test]
    fn paths_that_are_none() {
        assert_eq!(validate("a/../b").unwrap_err(), "unable to provision SubPath `a/../b`: must not contain '..'");
        assert_eq!(validate("/a").unwrap_err(), "error SubPath `/a` must not be an absolute path");
        assert!(validate("a/b..c").is_ok());
    }
}
