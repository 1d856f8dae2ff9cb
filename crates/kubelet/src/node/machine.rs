//! The machine: what it has and who it is, read from the kernel.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
};

use crate::{
    cgroups::Version,
    quantity::{Quantity, ResourceList},
};

/// What does not change while the kubelet runs.
#[derive(Debug, Clone)]
pub struct Machine {
    /// CPUs that may be used.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of swap.
    pub swap_bytes: u64,
    /// Huge pages: size as the kernel's files name it (`2MB`), size in KiB, and how many there are.
    pub huge_pages: Vec<(String, u64, u64)>,
    /// The sizes alone.
    pub huge_page_sizes: Vec<String>,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// From the firmware.
    pub system_uuid: String,
    /// Another after each boot.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release.
    pub os_image: String,
    /// As Go names it.
    pub architecture: &'static str,
    /// The kernel has AppArmor.
    pub apparmor: bool,
    /// The cgroup interface.
    pub cgroup_version: Version,
}

/// A file system's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes it holds.
    pub capacity: u64,
    /// Bytes that are free for anyone.
    pub available: u64,
    /// Files it can hold.
    pub inodes: u64,
    /// Files it can hold yet.
    pub inodes_free: u64,
}

impl Machine {
    /// Reads all of it.
    pub fn read(cgroup_version: Version) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let meminfo = text("/proc/meminfo");
        let huge_pages = huge_pages();
        Machine {
            cpus: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal").unwrap_or_default(),
            swap_bytes: meminfo_bytes(&meminfo, "SwapTotal").unwrap_or_default(),
            huge_page_sizes: huge_pages.iter().map(|(name, ..)| name.clone()).collect(),
            huge_pages,
            machine_id: first([text("/etc/machine-id"), text("/var/lib/dbus/machine-id")]),
            system_uuid: first([
                text("/sys/class/dmi/id/product_uuid"),
                text("/proc/device-tree/vm,uuid"),
                text("/etc/machine-id"),
            ]),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image: pretty_name(&text("/etc/os-release")),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            apparmor: text("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            cgroup_version,
        }
    }

    /// `status.capacity`, without the disk's.
    pub fn capacity(&self, max_pods: u32) -> ResourceList {
        let mut list = ResourceList::from([
            ("cpu".to_owned(), Quantity::units(i64::from(self.cpus))),
            ("memory".to_owned(), Quantity::bytes(self.memory_bytes)),
            ("pods".to_owned(), Quantity::units(i64::from(max_pods))),
        ]);
        for (_, kib, count) in &self.huge_pages {
            let size = Quantity::bytes(kib * 1024);
            list.insert(format!("hugepages-{size}"), Quantity::bytes(kib * 1024 * count));
        }
        list
    }
}

/// `MemTotal:  24567 kB` in bytes.
pub fn meminfo_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn first<const N: usize>(texts: [String; N]) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn pretty_name(os_release: &str) -> String {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn huge_pages() -> Vec<(String, u64, u64)> {
    let mut found: Vec<_> = crate::volumes::children(Path::new("/sys/kernel/mm/hugepages"))
        .into_iter()
        .filter_map(|path| {
            let kib: u64 = path.file_name()?.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = fs::read_to_string(path.join("nr_hugepages")).ok()?.trim().parse().ok()?;
            let name = match kib {
                kib if kib % (1 << 20) == 0 => format!("{}GB", kib >> 20),
                kib if kib % (1 << 10) == 0 => format!("{}MB", kib >> 10),
                kib => format!("{kib}KB"),
            };
            Some((name, kib, count))
        })
        .collect();
    found.sort_by_key(|(_, kib, _)| *kib);
    found
}

/// The room of the file system a path is on.
///
/// # Errors
/// Where it can't be asked.
pub fn disk(path: &Path) -> io::Result<Disk> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Disk {
        capacity: stat.f_blocks * stat.f_frsize,
        available: stat.f_bavail * stat.f_frsize,
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}

/// The machine's host name.
pub fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_lowercase()
}

/// The address packets to elsewhere would leave from; the loopback's where there is no way out.
pub fn default_address() -> IpAddr {
    // Nothing is sent: connecting a datagram socket only chooses a route.
    let route = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    route().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_machine() {
        let machine = Machine::read(Version::V1);
        assert!(machine.cpus > 0 && machine.memory_bytes > 1 << 20 && !machine.boot_id.is_empty());
        assert!(disk(Path::new("/")).unwrap().capacity > 0);
    }

    #[test]
    fn files_of_the_kernel() {
        assert_eq!(meminfo_bytes("MemTotal:       2 kB\nMemFree: 1 kB\n", "MemTotal"), Some(2048));
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
