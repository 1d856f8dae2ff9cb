"""Lives of a cluster through faults that a seed stands for: see docs/faults.md. Started by `run`."""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from subprocess import CalledProcessError

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "swap"))

import plan  # noqa: E402
from client import Checks  # noqa: E402
from cluster import NODE, Cluster  # noqa: E402
from journal import LOST, Journal  # noqa: E402
from machine import Injection, command, until  # noqa: E402

LIMIT = 120  # seconds to be in order again; the machine may be busy
DEPLOYMENTS, PODS = "/apis/apps/v1/namespaces/default/deployments", "/api/v1/namespaces/default/pods"
IMAGE = "localhost/xebec/busybox:1"


def rest(ms):
    """A fault's own duration; nothing is waited for."""
    time.sleep(ms / 1000)


# The faults. Each returns when its cause is gone.

def kill_server(c, chance, down_ms):
    c.server.kill()
    rest(down_ms)
    c.server.start()


def server_at_call(c, call, chance=None):
    injection = Injection(c.server.thread("store-log"), plan.CALLS, f"signal=KILL:when={call}")
    c.server.running.wait(LIMIT)
    injection.end()
    if chance:
        c.server_disk.cut_power(chance, c.store_files())
    c.server.start()


def kill_starting_server(c, chance, after_ms, power):
    c.server.kill()
    c.server.start()
    rest(after_ms)
    c.server.kill()
    if power:
        c.server_disk.cut_power(chance)
    c.server.start()


def cut_server(c, chance, down_ms):
    c.server.kill()
    c.server_disk.cut_power(chance, c.store_files() if c.datastore == plan.EMBEDDED else ())
    rest(down_ms)
    c.server.start()


def kill_kubelet(c, chance, down_ms):
    c.agent.kill()
    rest(down_ms)
    c.agent.start()


def kill_kubelet_and_containerd(c, chance, down_ms):
    c.kill_containerd()
    kill_kubelet(c, chance, down_ms)


def kill_all(c, chance, down_ms):
    c.server.kill()
    kill_kubelet_and_containerd(c, chance, down_ms)
    c.server.start()


def cut_node(c, chance):
    c.lose_node_power(chance)
    c.agent.start()


def fill_disk(c, chance, full_ms, kill):
    filler = c.server_disk.fill()
    rest(full_ms)
    if kill:
        c.server.kill()
        c.server.start()
    # What is there can be read all the same.
    until(30, "reads on a full disk", c.ready)
    c.api.get(PODS)
    filler.unlink()


def fail_syncs(c, chance, count, power):
    injection = Injection(c.server.thread("store-log"), "fdatasync,fsync", f"error=EIO:when=1..{count}")
    injection.wait("INJECTED", count, LIMIT)
    injection.end()
    if power:
        cut_server(c, chance, 0)


def slow_sync(c, chance, kill):
    target = (c.etcd.pid, True) if c.etcd else (c.server.thread("store-log"), False)
    injection = Injection(target[0], "fdatasync", "delay_enter=2000000:when=1", target[1])
    if kill:
        injection.wait("attached", 1, LIMIT)
        rest(1000)
        (c.etcd or c.server).kill()
        (c.etcd or c.server).start()
    else:
        injection.wait("DELAYED", 1, LIMIT)
    injection.end()


def kill_etcd(c, chance, down_ms, power=False):
    c.etcd.kill()
    if power:
        c.etcd_disk.cut_power(chance, [path for path in (c.etcd_disk.path / "data").rglob("*.wal")])
    rest(down_ms)
    c.etcd.start()


def kill_server_and_etcd(c, chance, power):
    c.server.kill()
    kill_etcd(c, chance, 0, power)
    c.server.start()


FAULTS = {
    "the server is killed": kill_server,
    "the server is killed at a system call": lambda c, chance, call: server_at_call(c, call),
    "the server is killed while it starts": kill_starting_server,
    "the server loses power": cut_server,
    "the server loses power at a system call": lambda c, chance, call: server_at_call(c, call, chance),
    "the kubelet is killed": kill_kubelet,
    "containerd is killed": lambda c, chance: c.kill_containerd(),
    "kubelet and containerd are killed": kill_kubelet_and_containerd,
    "server, kubelet and containerd are killed": kill_all,
    "the node loses power": cut_node,
    "the disk fills": fill_disk,
    "syncs fail": fail_syncs,
    "a sync takes 2 s": slow_sync,
    "the server's clock jumps": lambda c, chance, to_s: c.clocks["server"].set(to_s),
    "the node's clock jumps": lambda c, chance, to_s: c.clocks["node"].set(to_s),
    "etcd is killed": kill_etcd,
    "etcd loses power": lambda c, chance, down_ms: kill_etcd(c, chance, down_ms, power=True),
    "server and etcd are killed": kill_server_and_etcd,
}
assert FAULTS.keys() == plan.KINDS.keys()


def deployment(name, replicas):
    serve = "mkdir -p /tmp/www && echo here >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
    container = {
        "name": "web", "image": IMAGE, "command": ["sh", "-c", serve],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory"}}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}}


class Workload:
    """Two Deployments, one of which is scaled all the time; the pods of the other one run on through everything."""

    def __init__(self, cluster, checks):
        self.cluster, self.checks, self.replicas = cluster, checks, {"steady": 2, "moving": 2}
        for name, replicas in self.replicas.items():
            cluster.api.create(DEPLOYMENTS, deployment(name, replicas))
        service = {"metadata": {"name": "steady"}, "spec": {"selector": {"app": "steady"}, "ports": [{"port": 80, "targetPort": 8080}]}}
        self.address = cluster.api.create("/api/v1/namespaces/default/services", service)["spec"]["clusterIP"]

    def scale(self, replicas):
        self.replicas["moving"] = replicas
        self.cluster.api.patch(f"{DEPLOYMENTS}/moving", {"spec": {"replicas": replicas}})

    def wait(self, what, holds, limit=LIMIT):
        """Until `holds(pods)`; asked again at each event of pods."""
        end, pods = time.monotonic() + limit, None
        while time.monotonic() < end and self.cluster.all_run():
            try:
                listed = self.cluster.api.get(PODS)
                pods = listed["items"]
                if holds(pods):
                    return pods
                connection = self.cluster.api.connect(timeout=1)
                connection.request("GET", f"{PODS}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
                connection.getresponse().readline()
                connection.close()
            except (*LOST, AssertionError):
                rest(50)
        told = [(pod["metadata"]["name"], pod["metadata"].get("deletionTimestamp"), pod.get("status")) for pod in pods or []]
        self.checks.that(what, False, told)
        raise TimeoutError(f"gave up waiting: {what}")

    def converged(self, pods):
        node = self.cluster.api.get(f"/api/v1/nodes/{NODE}")
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", []))
        return ready and all(self.deployed(name, replicas, pods) for name, replicas in self.replicas.items())

    def deployed(self, name, replicas, pods):
        found = self.cluster.api.get(f"{DEPLOYMENTS}/{name}")
        status = found["status"]
        own = [pod for pod in pods if pod["metadata"]["labels"].get("app") == name]
        return (status.get("observedGeneration") == found["metadata"]["generation"] and len(own) == replicas
                and all("deletionTimestamp" not in pod["metadata"] and is_ready(pod) for pod in own)
                and all(status.get(field, 0) == replicas for field in ("replicas", "updatedReplicas", "readyReplicas")))

    def converge(self):
        pods = self.wait("every Deployment converges", self.converged)
        until(LIMIT, "an answer of the Service", self.answers)
        self.nothing_leaks(pods)
        return pods

    def answers(self):
        try:
            return self.cluster.in_node("curl", "-s", "-m", "5", f"http://{self.address}/") == "here\n"
        except CalledProcessError:
            return False

    def nothing_leaks(self, pods):
        """The node has for each pod what it needs, and nothing else."""
        c, uids = self.cluster, sorted(pod["metadata"]["uid"] for pod in pods)
        found = lambda: {"cgroups": c.pod_cgroups(), "mounts": c.pod_mounts(), "directories": c.pod_directories(),
                         "devices": len(c.pod_devices()), "addresses": len(c.pod_leases())}
        expected = {"cgroups": uids, "mounts": uids, "directories": uids, "devices": len(uids), "addresses": len(uids)}
        try:
            until(LIMIT, "what pods leave behind", lambda: found() == expected)
        except TimeoutError:
            pass
        self.checks.equal("nothing leaks", found(), expected)

    def running(self, pods):
        """What must stay as it is as long as the node has power."""
        steady = [pod for pod in pods if pod["metadata"]["labels"].get("app") == "steady"]
        return sorted(
            (pod["metadata"]["uid"], one["containerID"], one["restartCount"],
             tuple(self.cluster.container_process(one["containerID"].removeprefix("containerd://"))))
            for pod in steady for one in pod["status"]["containerStatuses"])

    def remove(self):
        for name in self.replicas:
            self.cluster.api.delete(f"{DEPLOYMENTS}/{name}")
        self.wait("deleted pods go", lambda pods: not pods)
        self.nothing_leaks([])


def is_ready(pod):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


class Run:
    def __init__(self, options, work):
        self.options, self.work, self.checks, self.number, self.survived = options, work, Checks(), 0, 0

    def life(self, life, number):
        directory = self.work / f"life-{number}"
        directory.mkdir()
        cluster = Cluster(directory, self.options.xebec, self.options.etcd, life.datastore)
        try:
            self.live(cluster, life)
        except BaseException:
            cluster.abandon()
            raise

    def live(self, cluster, life):
        cluster.start()
        journal = Journal(cluster.kubeconfig, self.checks)
        journal.start()
        workload = Workload(cluster, self.checks)
        running = workload.running(workload.converge())
        # containerd does not sync the images that it unpacks.
        cluster.node_disk.sync()
        print(f"a cluster on {'an etcd' if cluster.etcd else 'the embedded store'}", flush=True)
        for fault in life.faults:
            self.number += 1
            running = self.fault(fault, cluster, journal, workload, running)
        self.end(cluster, journal, workload)

    def fault(self, fault, cluster, journal, workload, running):
        failed = self.checks.failed
        workload.scale(fault.replicas)
        rest(fault.wait_ms)
        if self.options.lie and fault.kind == "the server loses power":
            lie = Injection(cluster.server.thread("store-log"), "fdatasync,fsync", "retval=0")
            lie.wait("INJECTED", 20, LIMIT)
        FAULTS[fault.kind](cluster, random.Random(fault.seed), **fault.given)
        gone = time.monotonic()
        writes = journal.wait_for_write(gone, LIMIT)
        if not self.checks.that("writes are acknowledged again", writes is not None, fault):
            raise TimeoutError("no write")
        pods = workload.converge()
        settled = time.monotonic() - gone
        now = workload.running(pods)
        if fault.kind != "the node loses power":
            self.checks.equal("running pods kept running", now, running)
        journal.check(LIMIT)
        verdict = "" if failed == self.checks.failed else "  VIOLATION"
        print(f"{self.number:4} {time.strftime('%T')}  {fault}: written after {writes:.2f} s, in place after {settled:.1f} s{verdict}", flush=True)
        return now

    def end(self, cluster, journal, workload):
        workload.remove()
        journal.check(LIMIT)
        journal.stop()
        print(journal.summary())
        self.checks.equal("the node ends in order", cluster.agent.end(30), 0)
        self.checks.equal("the server ends in order", cluster.server.end(30), 0)
        cluster.stop_node()
        command(cluster.xebec, "stop", "--data-dir", cluster.server_data)
        for what, left in cluster.left_on_machine().items():
            self.checks.that(f"nothing is left: {what}", not left, left)
        for log in cluster.work.glob("*.log"):
            panics = [line for line in log.read_text(errors="replace").splitlines() if "panicked" in line]
            self.checks.that("nothing panics", log.name == "etcd.log" or not panics, panics)
        cluster.end()

    def all(self, lives):
        """A life that can't go on ends; the next one is another cluster."""
        for number, life in enumerate(lives, 1):
            before = self.number
            try:
                self.life(life, number)
            except Exception as error:
                self.checks.that(f"fault {self.number} is survived", False, f"{type(error).__name__}: {error}")
                if self.options.debug:
                    traceback.print_exc()
            self.survived, self.number = self.survived + self.number - before, before + len(life.faults)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    root = here.parent.parent
    partner = Path.home() / ".cache/upstream-v1.37.2/etcd"
    arguments.add_argument("--xebec", type=Path, default=root / os.environ.get("CARGO_TARGET_DIR", "target") / "release/xebec")
    arguments.add_argument("--etcd", default=partner if partner.exists() else shutil.which("etcd"))
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--faults", type=int, default=300)
    arguments.add_argument("--life", type=int, default=plan.LIFE, help="faults that one cluster lives through")
    arguments.add_argument("--only", help="only faults whose kind contains this; the rest of the list stays what it is")
    arguments.add_argument("--without", help="no faults whose kind contains this")
    arguments.add_argument("--list", action="store_true", help="print the faults and end")
    arguments.add_argument("--lie", action="store_true", help="syncs of the log say yes and do nothing: losing power must be noticed")
    arguments.add_argument("--debug", action="store_true")
    options = arguments.parse_args()
    options.xebec = options.xebec.resolve()
    lives = plan.lives(options.seed, options.faults, options.life)
    for life in lives:
        life.faults = [fault for fault in life.faults if (not options.only or options.only in fault.kind)
                       and not (options.without and options.without in fault.kind)]
    if options.list:
        for life in lives:
            print(f"on {life.datastore}", *life.faults, sep="\n  ")
        return
    work = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
    began, run = time.monotonic(), Run(options, work)
    run.all(lives)
    print(f"seed {options.seed}: {run.survived} faults in {(time.monotonic() - began) / 60:.1f} minutes")
    if run.checks.failed:
        print(f"kept: {work}")
    else:
        shutil.rmtree(work)
    run.checks.end()


main()
