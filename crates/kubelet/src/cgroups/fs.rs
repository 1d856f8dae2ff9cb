//! The mounted cgroup hierarchies and the operations on them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

/// Which interface the kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller.
    V1,
    /// One for all.
    V2,
}

/// Where the hierarchies are mounted.
#[derive(Debug, Clone)]
pub struct Hierarchies {
    version: Version,
    /// Mount point and controllers.
    mounts: Vec<(PathBuf, Vec<String>)>,
    /// The unified hierarchy beside those of version 1: runtimes make cgroups there that they leave behind.
    beside: Option<PathBuf>,
}

/// Controllers that pods' cgroups use, where the kernel has them.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"];

impl Hierarchies {
    /// Reads what is mounted.
    ///
    /// # Errors
    /// Where nothing is, or the mounts can't be read.
    pub fn detect() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo")?).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no cgroup hierarchy is mounted below /sys/fs/cgroup")
        })
    }

    fn parse(mountinfo: &str) -> Option<Self> {
        let mut v1: Vec<(PathBuf, Vec<String>)> = Vec::new();
        let (mut v2, mut beside) = (None, None);
        for line in mountinfo.lines() {
            let (left, right) = line.split_once(" - ")?;
            let (point, mut tail) = (left.split(' ').nth(4)?, right.split(' '));
            let (kind, options) = (tail.next()?, tail.nth(1).unwrap_or_default());
            match kind {
                "cgroup" => {
                    let controllers = options.split(',').filter(|option| !["rw", "ro", "xattr"].contains(option));
                    let controllers: Vec<String> = controllers.map(str::to_owned).collect();
                    if !v1.iter().any(|(_, known)| *known == controllers) {
                        v1.push((PathBuf::from(point), controllers));
                    }
                }
                "cgroup2" if point == "/sys/fs/cgroup" => v2 = Some(PathBuf::from(point)),
                "cgroup2" => beside = Some(PathBuf::from(point)),
                _ => {}
            }
        }
        match v2 {
            Some(point) => Some(Hierarchies { version: Version::V2, mounts: vec![(point, Vec::new())], beside: None }),
            None if v1.is_empty() => None,
            None => Some(Hierarchies { version: Version::V1, mounts: v1, beside }),
        }
    }

    /// Plain directories instead of mounts, for tests.
    #[cfg(test)]
    pub fn fake_v1(root: &Path, controllers: &[&str]) -> Self {
        let mounts = controllers.iter().map(|name| (root.join(name), vec![(*name).to_owned()])).collect();
        Hierarchies { version: Version::V1, mounts, beside: None }
    }

    /// The version in use.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Makes a cgroup and its parents in every hierarchy, usable at once.
    pub fn create(&self, path: &str) -> io::Result<()> {
        for (mount, controllers) in &self.mounts {
            let mut directory = mount.clone();
            for part in path.split('/').filter(|part| !part.is_empty()) {
                let parent = directory.clone();
                directory.push(part);
                if self.version == Version::V2 {
                    delegate(&parent);
                }
                fs::create_dir_all(&directory)?;
                if controllers.iter().any(|name| name == "cpuset") {
                    inherit_cpuset(&parent, &directory);
                }
            }
        }
        Ok(())
    }

    /// Whether it is there in every hierarchy.
    pub fn exists(&self, path: &str) -> bool {
        self.mounts.iter().all(|(mount, _)| below(mount, path).is_dir())
    }

    /// The names right below a cgroup, in any hierarchy.
    pub fn children(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.mounts.iter().flat_map(|(mount, _)| directories(&below(mount, path))).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Writes a controller's file.
    pub fn write(&self, controller: &str, path: &str, file: &str, value: &str) -> io::Result<()> {
        let file = self.file(controller, path, file).ok_or(io::ErrorKind::NotFound)?;
        fs::write(file, value)
    }

    /// Where a controller's file is.
    pub fn file(&self, controller: &str, path: &str, file: &str) -> Option<PathBuf> {
        let has =
            |controllers: &[String]| self.version == Version::V2 || controllers.iter().any(|name| name == controller);
        let (mount, _) = self.mounts.iter().find(|(_, controllers)| has(controllers))?;
        Some(below(mount, path).join(file))
    }

    /// Removes a cgroup with all below it; kills what is left in it.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let mut result = Ok(());
        for mount in self.mounts.iter().map(|(mount, _)| mount).chain(&self.beside) {
            if let Err(error) = remove(&below(mount, path)) {
                result = Err(error);
            }
        }
        result
    }
}

fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn directories(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn remove(directory: &Path) -> io::Result<()> {
    for child in directories(directory) {
        remove(&directory.join(child))?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
            kill_all(directory);
            fs::remove_dir(directory)
        }
        answer => answer,
    }
}

fn kill_all(directory: &Path) {
    let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
        // Gone already is as good.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// A new v1 cpuset is empty and takes no process until it has CPUs and memory nodes.
fn inherit_cpuset(parent: &Path, child: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let has = |directory: &Path| fs::read_to_string(directory.join(file)).unwrap_or_default().trim().to_owned();
        let (above, own) = (has(parent), has(child));
        if own.is_empty() && !above.is_empty() {
            // Where it can't be written the first process that moves in says so.
            let _ = fs::write(child.join(file), above);
        }
    }
}

/// Lets a v2 cgroup's children use the controllers it has.
fn delegate(parent: &Path) {
    let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    for controller in CONTROLLERS.iter().filter(|name| available.split_whitespace().any(|have| have == **name)) {
        // One by one: a single one that is refused must not keep the others away.
        let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_versions_apart() {
        let v1 = "1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                  2 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                  3 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(v1).unwrap();
        assert_eq!(found.version(), Version::V1);
        assert_eq!(found.mounts, [(PathBuf::from("/sys/fs/cgroup/cpu"), vec!["cpu".to_owned(), "cpuacct".to_owned()])]);
        let v2 = "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Hierarchies::parse(v2).unwrap().version(), Version::V2);
        assert!(Hierarchies::parse("1 0 0:1 / / rw - ext4 /dev/vda rw\n").is_none());
    }
}
