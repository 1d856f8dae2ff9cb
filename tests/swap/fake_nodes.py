"""Nodes without containers: fake_nodes.py KUBECONFIG COUNT

Registers nodes, keeps their leases, and says of each pod bound to one what a kubelet would: it runs and is ready, a
pod of a job has succeeded, a pod that is to go is gone. SIGUSR1 makes the last node fall silent,
SIGUSR2 lets it speak again."""

import datetime
import json
import signal
import sys
import threading

from client import Server

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RENEW_SECONDS = 10


def now(micro=False):
    text = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text + "Z" if micro else text[:-7] + "Z"


class Nodes:
    def __init__(self, server, names):
        self.server, self.names, self.silent = server, names, set()
        self.addresses = {}

    def register(self):
        for number, name in enumerate(self.names):
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": f"z{number % 2}"}
            status, _, data = self.server.send("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
            assert status in (201, 409), data
            self.report(name)
            self.renew(name)

    def report(self, name):
        conditions = [("Ready", "True", "KubeletReady"), ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                      ("DiskPressure", "False", "KubeletHasNoDiskPressure"), ("PIDPressure", "False", "KubeletHasSufficientPID")]
        status = {
            "capacity": {"cpu": "16", "memory": "64Gi", "pods": "250", "ephemeral-storage": "100Gi"},
            "allocatable": {"cpu": "16", "memory": "64Gi", "pods": "250", "ephemeral-storage": "100Gi"},
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": "", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
                for kind, status, reason in conditions
            ],
            "addresses": [{"type": "InternalIP", "address": f"192.0.2.{10 + self.names.index(name)}"}, {"type": "Hostname", "address": name}],
        }
        self.server.patch(f"/api/v1/nodes/{name}/status", {"status": status}, "strategic-merge")

    def renew(self, name):
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now(micro=True)}
        status, _, _ = self.server.send("PATCH", f"{LEASES}/{name}", {"spec": spec}, {"Content-Type": "application/merge-patch+json"})
        if status == 404:
            self.server.create(LEASES, {"metadata": {"name": name}, "spec": spec})

    def keep_alive(self, stop):
        while not stop.wait(RENEW_SECONDS):
            for name in self.names:
                if name in self.silent:
                    continue
                try:
                    self.renew(name)
                except (OSError, AssertionError) as error:
                    print(f"lease of {name}: {error}", flush=True)

    def follow(self):
        """All pods, then every change of them; begins anew when the watch ends."""
        while True:
            listed = self.server.get("/api/v1/pods?fieldSelector=spec.nodeName!%3D")
            for pod in listed["items"]:
                self.look_at(pod)
            watch = self.server.watch("/api/v1/pods", listed["metadata"]["resourceVersion"], fieldSelector="spec.nodeName!%3D")
            while event := watch.next(timeout=600):
                if event["type"] in ("ADDED", "MODIFIED"):
                    self.look_at(event["object"])
                elif event["type"] == "DELETED":
                    self.addresses.pop(event["object"]["metadata"]["uid"], None)
                else:
                    print(f"watch: {json.dumps(event)}", flush=True)
                    break

    def look_at(self, pod):
        meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
        if spec["nodeName"] not in self.names or spec["nodeName"] in self.silent:
            return
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "deletionTimestamp" in meta:
            code, _, data = self.server.send("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
            if code not in (200, 404, 409):
                print(f"DELETE {path}: {code} {data}", flush=True)
            return
        once = spec["restartPolicy"] != "Always"
        wanted = "Succeeded" if once else "Running"
        if status.get("phase") == wanted:
            return
        code, _, data = self.server.send("PATCH", f"{path}/status", {"metadata": {"uid": meta["uid"]}, "status": self.status(pod, wanted)}, {"Content-Type": "application/strategic-merge-patch+json"})
        if code not in (200, 404, 409):
            print(f"PATCH {path}/status: {code} {data}", flush=True)

    def status(self, pod, phase):
        uid, ready = pod["metadata"]["uid"], "True" if phase == "Running" else "False"
        number = self.addresses.setdefault(uid, len(self.addresses) + 1)
        address = f"10.244.{number // 250 % 250}.{number % 250 + 1}"
        running = {"running": {"startedAt": now()}}
        ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}}
        return {
            "phase": phase, "startTime": now(), "podIP": address, "podIPs": [{"ip": address}], "hostIP": "192.0.2.10",
            "conditions": [{"type": kind, "status": ready, "lastTransitionTime": now()} for kind in ("Ready", "ContainersReady")]
            + [{"type": "Initialized", "status": "True", "lastTransitionTime": now()}],
            "containerStatuses": [
                {"name": one["name"], "image": one["image"], "imageID": "sha256:0", "ready": ready == "True", "restartCount": 0,
                 "started": ready == "True", "state": running if phase == "Running" else ended}
                for one in pod["spec"]["containers"]
            ],
        }


def main():
    nodes = Nodes(Server(sys.argv[1]), [f"fake-{number}" for number in range(int(sys.argv[2]))])
    signals = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # Before there are threads that could get them.
    nodes.register()
    stop = threading.Event()
    threading.Thread(target=nodes.keep_alive, args=[stop], daemon=True).start()
    threading.Thread(target=nodes.follow, daemon=True).start()
    print("ready", flush=True)
    while (got := signal.sigwait(signals)) != signal.SIGTERM:
        if got == signal.SIGUSR1:
            nodes.silent.add(nodes.names[-1])
        else:
            nodes.silent.clear()


main()
