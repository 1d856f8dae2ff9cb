"""Two API servers on one etcd: one_etcd.py KUBECONFIG KUBECONFIG

Each check runs both ways round. The two may be one and the same server."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from client import Checks, Server

HERE = Path(__file__).parent
NAMESPACE = "/api/v1/namespaces/swap"
checks = Checks()


def main():
    one, two = Server(sys.argv[1]), Server(sys.argv[2])
    one.create("/api/v1/namespaces", {"metadata": {"name": "swap"}})
    # There is no controller that would make it.
    one.create(f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
    for number, (writer, reader, who) in enumerate([(one, two, "ours to theirs"), (two, one, "theirs to ours")]):
        every_kind(writer, reader, who, number)
        reads_are_consistent(writer, reader, who)
        conflicts(writer, reader, who)
        taken_addresses(writer, reader, who, number)
        finalizers(writer, reader, who)
        field_managers(writer, reader, who)
        pages(writer, reader, who)
        tokens(writer, reader, who)
        expiry(writer, reader, who)
    watches_agree(one, two)
    nobody_loses_an_update(one, two)
    addresses_are_unique(one, two)
    checks.end()


def every_kind(writer, reader, who, number):
    """One object of each kind: read back by the other byte by byte, changed by it, deleted by it."""
    request, bundle = material()
    for index, line in enumerate((HERE / "kinds.jsonl").read_text().splitlines()):
        path, body = json.loads(line)
        words = {
            "NAME": f"kind-{number}-{index}", "NUMBER": f"{number}{index}", "REQUEST": request, "BUNDLE": bundle,
            "ADDRESS": f"10.200.{number}.{index}", "SERVICE_RANGE": f"10.{210 + number}.0.0/24",
        }
        # Compact: the protobuf of raw JSON is what the client sent, to the byte; ours has no spaces.
        text = json.dumps(body, separators=(",", ":"))
        for word, value in words.items():
            text = text.replace(word, value)
        name, what = json.loads(text)["metadata"]["name"], f"{who}: {path}"
        status, _, data = writer.send("POST", path, text.encode())
        if not checks.that(f"{what} is created", status == 201, data.decode()):
            continue
        made, url = json.loads(data), f"{path}/{name}"
        settle(writer, url)
        settle(reader, url)
        written, read = both(lambda server: server.get(url), writer, reader)
        checks.equal(f"{what} is read alike", written, read)
        checks.equal(f"{what} keeps its uid", made["metadata"]["uid"], read["metadata"]["uid"])
        if "swap.example.com" not in path and "apiextensions" not in path and "apiregistration" not in path:
            proto = {"Accept": "application/vnd.kubernetes.protobuf"}
            a, b = both(lambda server: server.send("GET", url, headers=proto)[2], writer, reader)
            checks.equal(f"{what} is the same protobuf", a, b)
        changed = reader.patch(url, {"metadata": {"labels": {"changed": "by-the-other"}}})
        again = writer.get(url)
        checks.equal(f"{what} is changed by the other", changed, again)
        listed = writer.get(f"{path}?labelSelector=changed%3Dby-the-other&fieldSelector=metadata.name%3D{name}")
        checks.equal(f"{what} is listed", [item["metadata"]["name"] for item in listed["items"]], [name])
        reader.patch(url, {"metadata": {"finalizers": None}})
        reader.delete(url, {"propagationPolicy": "Background", "gracePeriodSeconds": 0})
        if "/namespaces" != path[-11:]:
            gone(writer, url, what)


def both(read, one, two):
    """Both servers' answers; once more if something was written in between (servers have controllers of their own)."""
    for _ in range(3):
        a, b, again = read(one), read(two), read(one)
        if a == b or a == again:
            break
    return a, b


def settle(server, url):
    """Some kinds have a controller in upstream's API server: waits for the status that it writes."""
    if "customresourcedefinitions" in url or "apiservices" in url:
        wait(lambda: server.get(url).get("status", {}).get("conditions"))


def wait(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def gone(server, url, what):
    checks.that(f"{what} is gone", wait(lambda: server.send("GET", url)[0] == 404), url)


def material():
    """A certificate request and a certificate, in base64 and PEM."""
    run = lambda *words: subprocess.check_output(["openssl", *words], stderr=subprocess.DEVNULL)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"]
    request = run("req", "-new", *key)
    bundle = run("req", "-x509", "-addext", "basicConstraints=critical,CA:TRUE", *key)
    import base64

    return base64.b64encode(request).decode(), json.dumps(bundle.decode())[1:-1]


def config_map(name, **data):
    return {"metadata": {"name": name}, "data": data}


def reads_are_consistent(writer, reader, who):
    """A list and a get by the other right after a write have it, without waiting."""
    path = f"{NAMESPACE}/configmaps"
    for number in range(30):
        name = f"fresh-{number}"
        revision = int(writer.create(path, config_map(name))["metadata"]["resourceVersion"])
        listed = reader.get(path)
        names = [item["metadata"]["name"] for item in listed["items"]]
        checks.that(f"{who}: listed at once", name in names and int(listed["metadata"]["resourceVersion"]) >= revision)
        checks.that(f"{who}: got at once", reader.send("GET", f"{path}/{name}")[0] == 200)
    reader.delete(path)
    checks.equal(f"{who}: all deleted at once", writer.get(f"{path}?fieldSelector=metadata.name%3Dfresh-3")["items"], [])


def conflicts(writer, reader, who):
    path = f"{NAMESPACE}/configmaps"
    old = writer.create(path, config_map("contested", a="1"))
    reader.update(f"{path}/contested", {**old, "data": {"a": "2"}})
    status, _, data = writer.send("PUT", f"{path}/contested", {**old, "data": {"a": "3"}})
    checks.that(f"{who}: an old revision conflicts", status == 409 and b"please apply your changes" in data, data)
    status, _, data = writer.send("POST", path, config_map("contested"))
    checks.that(f"{who}: a taken name", status == 409 and b"already exists" in data, data)
    status, _, data = reader.send("DELETE", f"{path}/contested", {"preconditions": {"uid": "other"}})
    checks.that(f"{who}: another uid", status == 409 and b"does not match the UID" in data, data)
    writer.delete(f"{path}/contested")
    status, _, _ = reader.send("PUT", f"{path}/contested", {**old, "data": {"a": "4"}})
    checks.that(f"{who}: an update after the deletion", status in (404, 409), status)


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def taken_addresses(writer, reader, who, number):
    path = f"{NAMESPACE}/services"
    address, port = f"10.96.77.{10 + number}", 31000 + number
    ports = {"ports": [{"port": 80, "nodePort": port}], "type": "NodePort"}
    writer.create(path, service("holder", clusterIP=address, **ports))
    status, _, data = reader.send("POST", path, service("second", clusterIP=address))
    checks.that(f"{who}: a taken cluster IP", status == 422 and b"provided IP is already allocated" in data, data)
    status, _, data = reader.send("POST", path, service("second", **ports))
    checks.that(f"{who}: a taken node port", status == 422 and b"provided port is already allocated" in data, data)
    holder = reader.get(f"/apis/networking.k8s.io/v1/ipaddresses/{address}")
    checks.equal(f"{who}: the address's holder", holder["spec"]["parentRef"]["name"], "holder")
    reader.delete(f"{path}/holder")
    status, _, data = writer.send("POST", path, service("second", clusterIP=address, **ports))
    checks.that(f"{who}: released by the other", status == 201, data)
    reader.delete(f"{path}/second")


def finalizers(writer, reader, who):
    path = f"{NAMESPACE}/configmaps"
    writer.create(path, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    reader.delete(f"{path}/held")
    held = writer.get(f"{path}/held")
    checks.that(f"{who}: held by a finalizer", held["metadata"].get("deletionTimestamp"))
    reader.patch(f"{path}/held", {"metadata": {"finalizers": None}})
    checks.equal(f"{who}: released", writer.send("GET", f"{path}/held")[0], 404)


def field_managers(writer, reader, who):
    """Who owns a field is known to both."""
    url, apply = f"{NAMESPACE}/configmaps/applied", {"Content-Type": "application/apply-patch+yaml"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1"}}
    writer.call("PATCH", f"{url}?fieldManager=first", body, apply)
    body["data"]["a"] = "2"
    status, _, data = reader.send("PATCH", f"{url}?fieldManager=second", json.dumps(body).encode(), apply)
    checks.that(f"{who}: the other's field", status == 409 and b'conflict with \\"first\\": .data.a' in data, data)
    forced = reader.call("PATCH", f"{url}?fieldManager=second&force=true", body, apply)
    checks.equal(f"{who}: forced", forced, writer.get(url))
    writer.delete(url)


def pages(writer, reader, who):
    """A list begun at one goes on at the other, at its revision."""
    path = f"{NAMESPACE}/configmaps"
    for number in range(7):
        writer.create(path, config_map(f"page-{number}"))
    first = writer.get(f"{path}?limit=3")
    writer.create(path, config_map("page-9"))
    second = reader.get(f"{path}?limit=3&continue={first['metadata']['continue']}")
    third = writer.get(f"{path}?limit=3&continue={second['metadata']['continue']}")
    items = [item["metadata"]["name"] for page in (first, second, third) for item in page["items"]]
    checks.equal(f"{who}: pages", items, [f"page-{number}" for number in range(7)])
    revisions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    checks.equal(f"{who}: pages of one revision", len(revisions), 1)
    exact = reader.get(f"{path}?resourceVersionMatch=Exact&resourceVersion={first['metadata']['resourceVersion']}")
    checks.equal(f"{who}: the list at that revision", len(exact["items"]), 7)
    reader.delete(path)


def tokens(writer, reader, who):
    """A token of one is good at the other; so are roles."""
    path, rbac = f"{NAMESPACE}/serviceaccounts", "/apis/rbac.authorization.k8s.io/v1/namespaces/swap"
    writer.create(path, {"metadata": {"name": "robot"}})
    token = writer.create(f"{path}/robot/token", {"spec": {"expirationSeconds": 600}})["status"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = reader.create("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
    checks.that(f"{who}: the token is known", answer.get("authenticated"), answer)
    writer.create(f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]})
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "swap"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    writer.create(f"{rbac}/rolebindings", {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]})
    access = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "system:serviceaccount:swap:robot", "resourceAttributes": {"namespace": "swap", "verb": "list", "resource": "pods"}},
    }
    allowed = lambda: reader.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", access)["status"]["allowed"]
    checks.that(f"{who}: the role is known", wait(allowed))
    writer.delete(f"{path}/robot")
    checks.that(f"{who}: a deleted account's token", wait(lambda: not reader.create("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"].get("authenticated"), 30))
    for kind in ("roles", "rolebindings"):
        reader.delete(f"{rbac}/{kind}/r")


def etcdctl(*words):
    return subprocess.check_output([*os.environ["ETCDCTL"].split(), *words])


def expiry(writer, _reader, who):
    """Events lie in etcd with a lease of an hour."""
    involved = {"kind": "Pod", "namespace": "swap", "name": "p"}
    writer.create(f"{NAMESPACE}/events", {"metadata": {"name": "brief"}, "involvedObject": involved, "reason": "R", "message": "m"})
    stored = json.loads(etcdctl("get", "/registry/events/swap/brief", "-w", "json"))["kvs"][0]
    checks.that(f"{who}: the event has a lease", stored.get("lease"), stored)
    if lease := stored.get("lease"):
        ttl = json.loads(etcdctl("lease", "timetolive", format(lease, "x"), "-w", "json"))["granted-ttl"]
        checks.that(f"{who}: of an hour", 3600 <= ttl <= 3660, ttl)
    writer.delete(f"{NAMESPACE}/events/brief")


def watches_agree(one, two):
    """Two writers, one at each server: both servers' watchers see the same events in the same order."""
    path = f"{NAMESPACE}/configmaps"
    revision = one.get(path)["metadata"]["resourceVersion"]
    watches = [server.watch(path, revision) for server in (one, two)]

    def write(server, who):
        for number in range(100):
            name = f"{who}-{number}"
            server.create(path, config_map(name, n="0"))
            server.patch(f"{path}/{name}", {"data": {"n": "1"}})
            server.delete(f"{path}/{name}")

    writers = [threading.Thread(target=write, args=arguments) for arguments in ((one, "one"), (two, "two"))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    streams = [watch.take(600) for watch in watches]
    brief = lambda event: (event["type"], event["object"]["metadata"]["name"], int(event["object"]["metadata"]["resourceVersion"]))
    first, second = ([brief(event) for event in stream] for stream in streams)
    checks.equal("both watchers see the same", first, second)
    checks.equal("and the same objects", streams[0], streams[1])
    checks.equal("in order, each once", [revision for _, _, revision in first], sorted({revision for _, _, revision in first}))
    for who in ("one", "two"):
        kinds = [kind for kind, name, _ in first if name == f"{who}-42"]
        checks.equal(f"the life of {who}-42", kinds, ["ADDED", "MODIFIED", "DELETED"])
    half = first[300][2]
    for server, label in ((one, "ours"), (two, "theirs")):
        late = [brief(event) for event in server.watch(path, half).take(299)]
        checks.equal(f"{label}: a watch from the middle", late, first[301:])


def nobody_loses_an_update(one, two):
    """Eight writers count up one number through both servers, going by conflicts alone."""
    path = f"{NAMESPACE}/configmaps"
    one.create(path, config_map("counter", n="0"))

    def count(server):
        for _ in range(25):
            while True:
                now = server.get(f"{path}/counter")
                now["data"]["n"] = str(int(now["data"]["n"]) + 1)
                status = server.send("PUT", f"{path}/counter", now)[0]
                if status == 200:
                    break
                assert status == 409, status

    counters = [threading.Thread(target=count, args=[server]) for server in (one, two) * 4]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    checks.equal("every update counts", one.get(f"{path}/counter")["data"]["n"], "200")
    one.delete(f"{path}/counter")


def addresses_are_unique(one, two):
    """Services made at both at the same time: no cluster IP, no node port twice."""
    path = f"{NAMESPACE}/services"

    def make(server, who):
        for number in range(40):
            server.create(path, service(f"{who}-{number}", type="NodePort"))

    makers = [threading.Thread(target=make, args=arguments) for arguments in ((one, "one"), (two, "two"), (one, "three"), (two, "four"))]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    services = one.get(path)["items"]
    checks.equal("services of both", len(services), 160)
    addresses = {item["spec"]["clusterIP"] for item in services}
    checks.equal("cluster IPs", len(addresses), 160)
    checks.equal("node ports", len({item["spec"]["ports"][0]["nodePort"] for item in services}), 160)
    known = {item["metadata"]["name"] for item in two.get("/apis/networking.k8s.io/v1/ipaddresses")["items"]}
    checks.that("all addresses are allocated", addresses <= known, addresses - known)
    for number, item in enumerate(services):
        (one, two)[number % 2].delete(f"{path}/{item['metadata']['name']}")
    left = {item["metadata"]["name"] for item in one.get("/apis/networking.k8s.io/v1/ipaddresses")["items"]} & addresses
    checks.equal("all addresses are released", left, set())


main()
