"""Work for controllers and scheduler: workload.py KUBECONFIG SECONDS PID_OF_FAKE_NODES

Deploys, scales, rolls and deletes until the time is over, and once through everything else that controllers do. Every
step waits for its result; prints how long the steps took."""

import os
import signal
import statistics
import sys
import time

from client import Checks, Server

NS = "/api/v1/namespaces/work"
APPS = "/apis/apps/v1/namespaces/work"
STEP_SECONDS_MAX = 90
checks = Checks()
times = {}


def container(**more):
    return {"name": "c", "image": "example.com/image:1", "resources": {"requests": {"cpu": "10m"}}, **more}


def template(app, **spec):
    return {"metadata": {"labels": {"app": app}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container()], **spec}}


def deployment(name, replicas):
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name)}}


def timed(step, name, condition):
    began = time.monotonic()
    while not (done := condition()) and time.monotonic() - began < STEP_SECONDS_MAX:
        time.sleep(0.05)
    times.setdefault(step, []).append(time.monotonic() - began)
    return checks.that(f"{step} ({name})", done, f"not within {STEP_SECONDS_MAX} s")


class Work:
    def __init__(self, server):
        self.server = server

    def pods(self, app):
        return self.server.get(f"{NS}/pods?labelSelector=app%3D{app}")["items"]

    def rolled_out(self, name, replicas):
        one = self.server.get(f"{APPS}/deployments/{name}")
        status = one.get("status", {})
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        return status.get("observedGeneration") == one["metadata"]["generation"] and counts == [replicas] * 3

    def round(self, number):
        """One Deployment with a Service: from its creation to the last trace of it."""
        name, server = f"web-{number}", self.server
        url = f"{APPS}/deployments/{name}"
        server.create(f"{APPS}/deployments", deployment(name, 50))
        server.create(f"{NS}/services", {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}})
        timed("deploy 50", name, lambda: self.rolled_out(name, 50))
        slices = f"/apis/discovery.k8s.io/v1/namespaces/work/endpointslices?labelSelector=kubernetes.io/service-name%3D{name}"
        ready = lambda: sum(len(one["endpoints"] or []) for one in server.get(slices)["items"])
        timed("endpoints of 50", name, lambda: ready() == 50)
        server.patch(f"{url}/scale", {"spec": {"replicas": 80}})
        timed("scale to 80", name, lambda: self.rolled_out(name, 80))
        server.patch(f"{url}/scale", {"spec": {"replicas": 20}})
        timed("scale to 20", name, lambda: self.rolled_out(name, 20) and len(self.pods(name)) == 20)
        server.patch(url, {"spec": {"template": {"spec": {"containers": [container(image="example.com/image:2")]}}}})
        timed("roll 20", name, lambda: self.rolled_out(name, 20) and len(self.pods(name)) == 20)
        server.delete(url, {"propagationPolicy": "Foreground"})
        timed("delete 20", name, lambda: server.send("GET", url)[0] == 404 and not self.pods(name))
        server.delete(f"{NS}/services/{name}")
        timed("endpoints go", name, lambda: not server.get(slices)["items"])

    def others(self):
        """Everything else, once."""
        server = self.server
        server.create(f"{APPS}/statefulsets", {"metadata": {"name": "db"}, "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template("db")}})
        server.create(f"{APPS}/daemonsets", {"metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent")}})
        batch = "/apis/batch/v1/namespaces/work"
        job = {"completions": 6, "parallelism": 3, "ttlSecondsAfterFinished": 2, "template": template("job", restartPolicy="Never")}
        server.create(f"{batch}/jobs", {"metadata": {"name": "job"}, "spec": job})
        server.create(f"{batch}/cronjobs", {"metadata": {"name": "cron"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template("cron", restartPolicy="Never")}}}})
        server.create("/apis/policy/v1/namespaces/work/poddisruptionbudgets", {"metadata": {"name": "db"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "db"}}}})
        server.create(f"{NS}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1000", "count/deployments.apps": "50"}}})
        server.create(f"{NS}/replicationcontrollers", {"metadata": {"name": "old"}, "spec": {"replicas": 2, "selector": {"app": "old"}, "template": template("old")}})
        ready = lambda url, field, count: server.get(url).get("status", {}).get(field) == count
        timed("statefulset of 3", "db", lambda: ready(f"{APPS}/statefulsets/db", "readyReplicas", 3))
        timed("daemonset", "agent", lambda: ready(f"{APPS}/daemonsets/agent", "numberReady", len(server.get("/api/v1/nodes")["items"])))
        timed("replication controller", "old", lambda: ready(f"{NS}/replicationcontrollers/old", "readyReplicas", 2))
        timed("disruption budget", "db", lambda: ready("/apis/policy/v1/namespaces/work/poddisruptionbudgets/db", "disruptionsAllowed", 1))
        timed("quota", "q", lambda: "pods" in server.get(f"{NS}/resourcequotas/q").get("status", {}).get("used", {}))
        timed("job goes after its end", "job", lambda: server.send("GET", f"{batch}/jobs/job")[0] == 404)
        timed("eviction", "db-0", lambda: server.send("POST", f"{NS}/pods/db-0/eviction", {"metadata": {"name": "db-0"}})[0] in (201, 429))
        timed("statefulset heals", "db", lambda: ready(f"{APPS}/statefulsets/db", "readyReplicas", 3))
        self.volumes()
        self.orphans()
        self.certificates()
        timed("cron job's job", "cron", lambda: any(one["metadata"]["name"].startswith("cron-") for one in server.get(f"{batch}/jobs")["items"]))

    def volumes(self):
        server = self.server
        server.create("/api/v1/persistentvolumes", {"metadata": {"name": "disk"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/x"}, "storageClassName": "by-hand"}})
        server.create(f"{NS}/persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand", "resources": {"requests": {"storage": "1Gi"}}}})
        timed("claim is bound", "claim", lambda: server.get(f"{NS}/persistentvolumeclaims/claim")["status"].get("phase") == "Bound")
        server.delete(f"{NS}/persistentvolumeclaims/claim")
        timed("volume is released", "disk", lambda: server.get("/api/v1/persistentvolumes/disk")["status"]["phase"] == "Released")
        server.delete("/api/v1/persistentvolumes/disk")

    def orphans(self):
        server = self.server
        server.create(f"{APPS}/replicasets", {"metadata": {"name": "left"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "left"}}, "template": template("left")}})
        timed("replica set", "left", lambda: len(self.pods("left")) == 2)
        server.delete(f"{APPS}/replicasets/left", {"propagationPolicy": "Orphan"})
        timed("orphans", "left", lambda: len(self.pods("left")) == 2 and all("ownerReferences" not in pod["metadata"] for pod in self.pods("left")))
        server.delete(f"{NS}/pods?labelSelector=app%3Dleft")

    def certificates(self):
        server = self.server
        import base64
        import subprocess

        made = subprocess.check_output(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/O=people/CN=somebody"], stderr=subprocess.DEVNULL)
        path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        request = server.create(path, {"metadata": {"name": "somebody"}, "spec": {"request": base64.b64encode(made).decode(), "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}})
        request["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": ""}]}
        server.update(f"{path}/somebody/approval", request)
        timed("certificate", "somebody", lambda: server.get(f"{path}/somebody")["status"].get("certificate"))

    def silent_node(self, process):
        """A node that is not heard of: its pods are replaced on the others, and it comes back."""
        server = self.server
        last = server.get("/api/v1/nodes")["items"][-1]["metadata"]["name"]
        tolerations = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1} for key in ("not-ready", "unreachable")]
        spec = deployment("moves", 10)
        spec["spec"]["template"] = template("moves", tolerations=tolerations)
        server.create(f"{APPS}/deployments", spec)
        timed("deploy 10", "moves", lambda: self.rolled_out("moves", 10))
        os.kill(process, signal.SIGUSR1)
        ready = lambda: next(one["status"] for one in server.get(f"/api/v1/nodes/{last}")["status"]["conditions"] if one["type"] == "Ready")
        timed("node is unknown", last, lambda: ready() == "Unknown")
        elsewhere = lambda: [pod for pod in self.pods("moves") if pod["spec"].get("nodeName") != last and pod["status"]["phase"] == "Running"]
        timed("pods are replaced", "moves", lambda: len(elsewhere()) == 10)
        os.kill(process, signal.SIGUSR2)
        server.delete(f"/api/v1/nodes/{last}")
        timed("pods of a deleted node go", last, lambda: not [pod for pod in self.pods("moves") if pod["spec"].get("nodeName") == last])
        server.delete(f"{APPS}/deployments/moves")

    def namespace_goes(self):
        self.server.delete(NS)
        timed("namespace goes", "work", lambda: self.server.send("GET", NS)[0] == 404)


def main():
    server, seconds, process = Server(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    end = time.monotonic() + seconds
    work = Work(server)
    server.create("/api/v1/namespaces", {"metadata": {"name": "work"}})
    timed("default account", "work", lambda: server.send("GET", f"{NS}/serviceaccounts/default")[0] == 200)
    timed("root certificate", "work", lambda: server.send("GET", f"{NS}/configmaps/kube-root-ca.crt")[0] == 200)
    work.others()
    work.silent_node(process)
    number = 0
    while time.monotonic() < end and not checks.failed:
        work.round(number)
        number += 1
    work.namespace_goes()
    for step, took in times.items():
        print(f"{step:28} {statistics.median(took):7.2f} s   ({len(took)} times)")
    checks.end()


main()
