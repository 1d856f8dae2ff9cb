//! What one data directory has on the machine: names, ports and folders, so that several servers
//! live side by side.

use std::path::{Path, PathBuf};

use apiserver::settings::Cidr;
use network::instance::{Instance, InvalidInstance};
use sha2::{Digest, Sha256};

/// The data directory that gets the usual names and ports.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/xebec";

/// Ports besides the API's; upstream's for the default directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub kubelet: u16,
    pub kubelet_healthz: u16,
    pub proxy_healthz: u16,
    pub proxy_metrics: u16,
    pub dns: u16,
}

/// Everything that derives from a data directory.
#[derive(Clone, Debug)]
pub struct Machine {
    pub data_dir: PathBuf,
    pub instance: Instance,
    pub ports: Ports,
    /// Pods' and Services' addresses where nobody says otherwise: two clusters in one network
    /// namespace must not use the same ones.
    pub cluster_cidr: Cidr,
    pub service_cidr: Cidr,
}

/// Other instances take their ports from here on, a handful each.
const PORTS_FIRST: u16 = 20_000;
const PORTS_EACH: u16 = 8;
const PORT_SETS: u16 = 1_200;
/// Other instances take their /16 of 10.0.0.0/8 from here on, away from the usual ones.
const PODS_FIRST: u8 = 130;
const SERVICES_FIRST: u8 = 180;
const RANGES_COUNT: u8 = 50;
/// The file that notes the ranges of the last start.
const RANGES: &str = "ranges";

// === impl Machine ===

impl Machine {
    /// # Errors
    /// Never for a real path: names are made of its hash.
    pub fn of(data_dir: &Path) -> Result<Machine, InvalidInstance> {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let hash = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
        let default = data_dir == Path::new(DEFAULT_DATA_DIR);
        let name = match default {
            true => "main".to_owned(),
            false => hash[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let ports = match default {
            true => Ports {
                kubelet: 10_250,
                kubelet_healthz: 10_248,
                proxy_healthz: 10_256,
                proxy_metrics: 10_249,
                dns: 10_053,
            },
            false => {
                let base = PORTS_FIRST + u16::from_be_bytes([hash[4], hash[5]]) % PORT_SETS * PORTS_EACH;
                Ports {
                    kubelet: base,
                    kubelet_healthz: base + 1,
                    proxy_healthz: base + 2,
                    proxy_metrics: base + 3,
                    dns: base + 4,
                }
            }
        };
        let range = |usual: [u8; 4], first: u8| Cidr {
            base: if default { usual.into() } else { [10, first + hash[6] % RANGES_COUNT, 0, 0].into() },
            prefix: 16,
        };
        Ok(Machine {
            instance: Instance::new(name)?,
            data_dir,
            ports,
            cluster_cidr: range([10, 244, 0, 0], PODS_FIRST),
            service_cidr: range([10, 96, 0, 0], SERVICES_FIRST),
        })
    }

    /// Sockets live here: a path below the data directory may be too long for one.
    pub fn run_dir(&self) -> PathBuf {
        PathBuf::from(format!("/run/xebec-{}", self.instance))
    }

    /// The private container runtime's socket.
    pub fn containerd_socket(&self) -> PathBuf {
        self.run_dir().join("containerd.sock")
    }

    /// The parent of all pods' cgroups.
    pub fn cgroup_root(&self) -> String {
        format!("/xebec-{}", self.instance)
    }

    /// Where the runtime finds its CNI configuration.
    pub fn cni_dir(&self) -> PathBuf {
        self.below("cni/net.d")
    }

    /// The same machine in a cluster with these ranges, where they are given.
    #[must_use]
    pub fn with_ranges(self, cluster_cidr: Option<Cidr>, service_cidr: Option<Cidr>) -> Machine {
        Machine {
            cluster_cidr: cluster_cidr.unwrap_or(self.cluster_cidr),
            service_cidr: service_cidr.unwrap_or(self.service_cidr),
            ..self
        }
    }

    /// Notes the ranges for [`Machine::recalled`]: whoever cleans up is not told them again.
    ///
    /// # Errors
    /// The data directory can't be written.
    pub fn remember(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.data_dir)?;
        std::fs::write(self.below(RANGES), format!("{}\n{}\n", self.cluster_cidr, self.service_cidr))
    }

    /// The machine with the ranges that it last ran with.
    #[must_use]
    pub fn recalled(self) -> Machine {
        let noted = std::fs::read_to_string(self.below(RANGES)).unwrap_or_default();
        let mut ranges = noted.lines().map(|line| line.parse().ok());
        let (cluster, service) = (ranges.next().flatten(), ranges.next().flatten());
        self.with_ranges(cluster, service)
    }

    pub fn below(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }

    /// Holds the running server's process id.
    pub fn pid_file(&self) -> PathBuf {
        self.below("server.pid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let machine = || Machine::of(dir.path()).unwrap();
        let usual = machine().service_cidr;
        assert_eq!(machine().recalled().service_cidr, usual);
        machine().with_ranges(None, Some("10.1.0.0/16".parse().unwrap())).remember().unwrap();
        assert_eq!(machine().recalled().service_cidr.to_string(), "10.1.0.0/16");
        assert_eq!(machine().recalled().cluster_cidr, machine().cluster_cidr);
    }

    #[test]
    fn two_directories_share_nothing() {
        let (one, other) = (Machine::of(Path::new("/tmp/a")).unwrap(), Machine::of(Path::new("/tmp/b")).unwrap());
        assert_ne!(one.instance, other.instance);
        assert_ne!(one.ports, other.ports);
        assert_ne!(one.cgroup_root(), other.cgroup_root());
        let default = Machine::of(Path::new(DEFAULT_DATA_DIR)).unwrap();
        assert_eq!(default.ports.kubelet, 10_250);
        assert_eq!(default.service_cidr.to_string(), "10.96.0.0/16");
        assert_ne!(one.cluster_cidr, default.cluster_cidr);
    }
}
