"""One cluster on this machine: a server, perhaps an etcd under it, and a node in a network namespace of its own. Each
keeps its data on a disk of its own; the driver starts what was killed, as a supervisor would."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from client import Server
from machine import Clock, Disk, Process, command, until
from plan import ETCD

SERVER_IP, NODE_IP, PORT, NODE = "10.72.0.1", "10.72.0.2", 7201, "faults-node"
PODS, SERVICES = "10.73.0.0/16", "10.74.0.0/16"
ETCD_URL = "http://127.0.0.1:2379"
BORN_AGO = -3600  # the clock of its first start: certificates are good from then on
CGROUPS = Path("/sys/fs/cgroup")


class Cluster:
    def __init__(self, work, xebec, etcd, datastore):
        self.work, self.xebec, self.datastore = work, xebec, datastore
        self.clocks = {part: Clock(work / f"{part}.clock") for part in ("server", "node")}
        self.server_disk, self.node_disk = Disk(work, "server-disk", 512), Disk(work, "node-disk", 1024)
        self.server_data, self.data = self.server_disk.path / "data", self.node_disk.path / "data"
        self.instance = hashlib.sha256(str(self.data).encode()).hexdigest()[:8]
        self.run_dir, self.cgroup = Path(f"/run/xebec-{self.instance}"), f"xebec-{self.instance}"
        self.make_network()
        log = lambda name: work / f"{name}.log"
        ranges = ["--cluster-cidr", PODS, "--service-cluster-ip-range", SERVICES]
        self.etcd, endpoint = None, []
        if datastore == ETCD:
            self.etcd_disk, endpoint = Disk(work, "etcd-disk", 512), ["--datastore-endpoint", ETCD_URL]
            self.etcd = Process(log("etcd"), [
                etcd, "--data-dir", self.etcd_disk.path / "data", "--listen-client-urls", ETCD_URL,
                "--advertise-client-urls", ETCD_URL, "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"])
        self.server = Process(log("server"), [
            xebec, "server", "--disable-agent", "--data-dir", self.server_data, "--secure-port", PORT,
            "--advertise-address", SERVER_IP, *ranges, *endpoint], self.clocks["server"].env)
        (work / "resolv.conf").write_text(f"nameserver {SERVER_IP}\n")
        self.agent = Process(log("node"), [
            xebec, "agent", "--data-dir", self.data, "--node-name", NODE, "--node-ip", NODE_IP, "--kubelet-port", 10250,
            "--resolv-conf", work / "resolv.conf", *ranges], self.clocks["node"].env, self.holder)

    def make_network(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        until(10, "the node's network namespace", lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != own, 0.01)
        command("ip", "link", "add", "faults", "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        for words in (["address", "add", f"{SERVER_IP}/24", "dev", "faults"], ["link", "set", "faults", "up"]):
            command("ip", *words)
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{NODE_IP}/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"], ["route", "add", "default", "via", SERVER_IP]):
            self.in_node("ip", *words)

    def in_node(self, *words):
        return command("nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *words)

    def start(self):
        self.clocks["server"].set(BORN_AGO)
        if self.etcd:
            self.etcd.start()
        self.server.start()
        kubeconfig = self.server_data / "kubeconfig"
        until(60, "a kubeconfig", kubeconfig.exists, 0.05)
        # A copy: what lies on the disk may be lost with its power.
        self.kubeconfig = shutil.copy(kubeconfig, self.work / "kubeconfig")
        self.api = Server(self.kubeconfig)
        until(60, "the server", self.ready, 0.05)
        subprocess.run([self.xebec, "node-config", "--data-dir", self.server_data, "--server", f"https://{SERVER_IP}:{PORT}",
                        "--node-name", NODE, "--node-ip", NODE_IP, "--out", self.data / "node"],
                       check=True, env={**os.environ, **self.clocks["server"].env})
        self.clocks["server"].set(0)
        self.agent.start()

    def all_run(self):
        """Nobody starts what has ended by itself: that is a violation."""
        for name, process in (("server", self.server), ("node", self.agent), ("etcd", self.etcd)):
            if process and process.running.poll() is not None:
                raise ChildProcessError(f"{name} has ended by itself: {process.running.returncode}")
        return True

    def ready(self):
        try:
            return self.api.send("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def store_files(self):
        return list((self.server_data / "store").iterdir())

    def kill_containerd(self):
        try:
            pid = int((self.data / "containerd.pid").read_text())
            if str(self.data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, 9)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            pass  # it is dead already, or has not been started yet

    def lose_node_power(self, chance):
        """All processes of the node are gone, what was not synced too, and what a boot finds nothing of."""
        self.kill_node()
        self.node_disk.cut_power(chance)
        self.stop_node()

    def kill_node(self):
        self.agent.kill()
        self.kill_containerd()
        ours = str(self.run_dir / "containerd.sock").encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_bytes()
                if b"containerd" in line and ours in line or self.cgroup in (process / "cgroup").read_text():
                    os.kill(int(process.name), 9)
            except (FileNotFoundError, ProcessLookupError):
                pass
        for point in sorted((line.split()[1] for line in open("/proc/mounts")), key=len, reverse=True):
            if point.startswith((f"{self.run_dir}/", "/run/netns/")):
                command("umount", "--lazy", point)
        until(20, "the end of the node's processes", lambda: not self.processes())

    def abandon(self):
        """Ends it where it stands, so that the disks and logs can be looked at."""
        for process in (self.server, self.agent, self.etcd):
            if process and process.running:
                process.kill()
        self.kill_node()
        self.stop_node()
        self.remove_network()

    def processes(self):
        """What runs in the pods' cgroups."""
        found = set()
        for procs in (CGROUPS / "pids" / self.cgroup).rglob("cgroup.procs"):
            try:
                found |= set(procs.read_text().split())
            except OSError:
                pass
        return found

    def container_process(self, container):
        """The first process of a container, by its id; a server may have forked others for a moment."""
        paths = (CGROUPS / "pids" / self.cgroup).rglob(f"*{container}*/cgroup.procs")
        pids = {pid for path in paths for pid in path.read_text().split()}
        return sorted(pid for pid in pids if parent(pid) not in pids | {None})

    def stop_node(self):
        """Takes away devices, tables, mounts and cgroups, as a boot does."""
        return self.in_node(self.xebec, "stop", "--data-dir", self.data)

    # What the node has on the machine, for each pod.

    def pod_cgroups(self):
        names = (path.name for path in (CGROUPS / "pids" / self.cgroup).rglob("*pod*") if path.is_dir())
        found = (re.search(r"pod([0-9a-f_-]{36})", name) for name in names)
        return sorted({match[1].replace("_", "-") for match in found if match})

    def pod_mounts(self):
        prefix = f"{self.data}/kubelet/pods/"
        points = (line.split()[1] for line in open("/proc/mounts"))
        return sorted({point[len(prefix):].split("/")[0] for point in points if point.startswith(prefix)})

    def pod_directories(self):
        directory = self.data / "kubelet" / "pods"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def pod_devices(self):
        return [line.split()[1] for line in self.in_node("ip", "-o", "link", "show", "type", "veth").splitlines() if " eth0@" not in line]

    def pod_leases(self):
        return sorted(path.name for path in (self.data / "cni" / "leases").rglob("10.*"))

    def left_on_machine(self):
        """All that should be gone after `xebec stop`."""
        devices = lambda listed: {line.split()[1].split("@")[0].rstrip(":") for line in listed.splitlines()}
        mounts = (line.split()[1] for line in open("/proc/mounts"))
        return {
            "devices of the node": devices(self.in_node("ip", "-o", "link")) - {"lo", "eth0"},
            "devices of the server": devices(command("ip", "-o", "link")) - {"lo", "faults"},
            "rules of the node": self.in_node("nft", "list", "ruleset"),
            "rules of the server": command("nft", "list", "ruleset"),
            "routes of the node": [line for line in self.in_node("ip", "route").splitlines() if "eth0" not in line],
            "routes of the server": [line for line in command("ip", "route").splitlines() if "dev faults proto kernel" not in line],
            "mounts": [point for point in mounts if point.startswith((f"{self.data}", f"{self.run_dir}", f"{self.server_data}"))],
            "cgroups": [str(path) for path in CGROUPS.glob(f"*/{self.cgroup}")],
            "processes": [line for line in command("ps", "-eo", "args").splitlines() if str(self.run_dir) in line or str(self.data) in line],
            "sockets": [str(self.run_dir)] if self.run_dir.exists() else [],
        }

    def remove_network(self):
        command("ip", "link", "del", "faults")
        self.holder.kill()
        self.holder.wait()

    def end(self):
        self.remove_network()
        if self.etcd:
            self.etcd.end(30)
        for disk in (self.server_disk, self.node_disk, *([self.etcd_disk] if self.etcd else [])):
            command("umount", disk.path)
            disk.image.unlink()


def parent(pid):
    """None if the process has just ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return None
