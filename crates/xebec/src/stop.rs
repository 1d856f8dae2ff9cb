//! Ends a server and takes everything away that it made on the machine: processes, pods, network
//! devices, nft tables, mounts, cgroups. The data directory stays, unless asked otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kubelet::cri::{Runtime, v1};
use network::pod::{apply, cni};
use network::proxy::nft::{Nft, NftTool, remove_script};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::commands::Error;
use crate::machine::{DEFAULT_DATA_DIR, Machine};
use crate::node::cluster_network;

/// What `xebec stop` takes.
#[derive(Args, Clone, Debug)]
pub struct StopOptions {
    /// The server's data directory.
    #[arg(long, default_value = DEFAULT_DATA_DIR, env = "XEBEC_DATA_DIR")]
    data_dir: PathBuf,
    /// Remove the data directory as well: the cluster is gone then.
    #[arg(long)]
    purge: bool,
}

/// How long a process may take to end before it is killed.
const END_TIME_MAX: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Stops what runs, removes what is left. Doing it twice is harmless.
///
/// # Errors
/// Something could not be removed; the rest was.
pub async fn run(options: StopOptions) -> Result<(), Error> {
    let machine = Machine::of(&options.data_dir)?.recalled();
    end(&machine.pid_file()).await;
    let pods = remove_pods(&machine).await;
    end(&machine.below("containerd.pid")).await;
    end_shims(&machine).await;
    unmount_below(&[&machine.data_dir, &machine.run_dir()]);
    let nft = NftTool::default();
    let network = cluster_network(&machine);
    let devices = apply::clean_up(&network, &nft).await;
    let table = machine.instance.table();
    let rules = nft.run(["ip", "ip6"].map(|family| remove_script(&table, family)).concat()).await;
    let _ = cni::remove(&machine.cni_dir());
    remove_cgroups(&machine.cgroup_root());
    let _ = fs::remove_dir_all(machine.run_dir());
    if options.purge {
        fs::remove_dir_all(&machine.data_dir).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    pods?;
    devices?;
    rules?;
    Ok(())
}

/// Ends the process whose id a file holds, if it still runs.
async fn end(pid_file: &Path) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?)) else {
        return;
    };
    let _ = kill_process(pid, Signal::TERM);
    let gone = async {
        while test_kill_process(pid).is_ok() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(END_TIME_MAX, gone).await.is_err() {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = fs::remove_file(pid_file);
}

/// Stops and removes all pods of the private runtime, so that their networks are given back.
async fn remove_pods(machine: &Machine) -> Result<(), Error> {
    let socket = machine.containerd_socket();
    if tokio::net::UnixStream::connect(&socket).await.is_err() {
        return Ok(());
    }
    let runtime = Runtime::connect(&format!("unix://{}", socket.display()))?;
    let sandboxes = runtime.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await?.items;
    for sandbox in sandboxes {
        if let Err(error) = runtime.stop_pod_sandbox(&sandbox.id).await {
            tracing::warn!(sandbox = sandbox.id, %error, "pod could not be stopped");
        }
        runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id }).await?;
    }
    Ok(())
}

/// Shims that outlived their containerd are known by its socket on their command line.
async fn end_shims(machine: &Machine) {
    let ours = machine.containerd_socket().display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let pid = process.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        if let Some(pid) = pid.filter(|_| command.contains("containerd-shim") && command.contains(&ours)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Unmounts whatever is still mounted below these directories, the innermost first.
fn unmount_below(roots: &[&Path]) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    points.retain(|point| roots.iter().any(|root| Path::new(point).starts_with(root)));
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        if let Err(error) = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH) {
            tracing::warn!(point, %error, "still mounted");
        }
    }
}

/// Removes the pods' cgroups in every hierarchy, the innermost first.
fn remove_cgroups(root: &str) {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_tree(&hierarchy.join(root.trim_start_matches('/')));
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}
