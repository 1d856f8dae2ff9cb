"""Clients that remember: journal.py KUBECONFIG STOP_FILE

Writers create, update and delete ConfigMaps and note what was acknowledged; watchers note what they see, resume from
what they saw last, and list anew on 410. When STOP_FILE appears, the two are compared."""

import http.client
import json
import os
import sys
import threading
import time

from client import Checks, Server

PATH = "/api/v1/namespaces/default/configmaps"
WRITERS, WATCHERS, KEYS = 4, 4, 5
SELECTOR = "labelSelector=journal"
stop = threading.Event()
checks = Checks()


class Writer(threading.Thread):
    """Owns some keys; one write at a time, so it knows what each may hold."""

    def __init__(self, kubeconfig, number):
        super().__init__(daemon=True)
        self.server, self.number = Server(kubeconfig), number
        self.acknowledged = []  # (revision, key, value; None: deleted)
        self.last = {}  # key: the last acknowledged value
        self.maybe = {}  # key: values that were sent since, without an answer
        self.counter = 0

    def run(self):
        while not stop.is_set():
            key = f"k-{self.number}-{self.counter % KEYS}"
            self.counter += 1
            self.write(key, None if self.counter % 7 == 0 else str(self.counter))

    def write(self, key, value):
        body = {"metadata": {"name": key, "labels": {"journal": "yes"}}, "data": {"n": value}}
        try:
            if value is None:
                status, _, data = self.once("DELETE", f"{PATH}/{key}")
            elif self.maybe.get(key) or self.last.get(key):
                status, _, data = self.once("PATCH", f"{PATH}/{key}", {"data": {"n": value}}, {"Content-Type": "application/merge-patch+json"})
                if status == 404:
                    status, _, data = self.once("POST", PATH, body)
            else:
                status, _, data = self.once("POST", PATH, body)
        except (OSError, http.client.HTTPException):
            # Nobody knows whether it was written.
            self.maybe.setdefault(key, []).append(value)
            time.sleep(0.05)
            return
        if status in (200, 201):
            answer = json.loads(data)
            # The revision of a deletion is not in its answer.
            revision = int(answer["metadata"]["resourceVersion"]) if value is not None else 0
            self.acknowledged.append((revision, key, value))
            self.last[key], self.maybe[key] = value, []
        elif status >= 500 or status == 429:
            self.maybe.setdefault(key, []).append(value)
            time.sleep(0.05)
        elif status == 404 and value is None:
            self.last[key], self.maybe[key] = None, []
        elif status == 409:
            # It exists: an unanswered write was done.
            self.maybe.setdefault(key, []).append(value)
            self.last[key] = self.last.get(key) or "?"
        else:
            checks.that("a write", False, f"{status} {data}")

    def once(self, method, path, body=None, headers=None):
        """Without the client's second attempt: that could do it twice."""
        connection = getattr(self, "connection", None) or self.server.connect(timeout=20)
        self.connection = None
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        result = answer.status, dict(answer.getheaders()), answer.read()
        self.connection = connection
        return result


class Watcher(threading.Thread):
    """Sees every event from its start on, across connections."""

    def __init__(self, kubeconfig):
        super().__init__(daemon=True)
        self.server = Server(kubeconfig)
        self.events = []  # (revision, kind, key, value)
        self.gaps = []  # (after, up to): between the two it has listed anew
        self.state, self.revision, self.connections = {}, 0, 0

    def list(self):
        listed = self.server.get(f"{PATH}?{SELECTOR}")
        self.state = {item["metadata"]["name"]: item["data"]["n"] for item in listed["items"]}
        revision = int(listed["metadata"]["resourceVersion"])
        if self.revision:
            checks.that("a new list is not older", revision >= self.revision, f"{revision} after {self.revision}")
            self.gaps.append((self.revision, revision))
        self.start_revision = getattr(self, "start_revision", revision)
        self.revision = revision

    def run(self):
        while not stop.is_set() or self.connections == 0:
            try:
                if not self.revision:
                    self.list()
                self.connections += 1
                self.follow()
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                if "410" in str(error):
                    self.again()
                time.sleep(0.05)

    def again(self):
        try:
            self.list()
        except (OSError, http.client.HTTPException, AssertionError):
            pass  # The next watch is told 410 again.

    def follow(self):
        self.connection = self.server.connect(timeout=30)
        self.connection.request("GET", f"{PATH}?watch=1&allowWatchBookmarks=true&resourceVersion={self.revision}&{SELECTOR}")
        answer = self.connection.getresponse()
        assert answer.status == 200, f"{answer.status} {answer.read()}"
        for line in answer:
            event = json.loads(line)
            if event["type"] == "ERROR":
                if event["object"].get("code") == 410:
                    self.again()
                return
            revision = int(event["object"]["metadata"]["resourceVersion"])
            if event["type"] == "BOOKMARK":
                checks.that("a bookmark is not older", revision >= self.revision, f"{revision} after {self.revision}")
            else:
                self.see(event["type"], event["object"], revision)
            self.revision = max(revision, self.revision)

    def see(self, kind, item, revision):
        name, value = item["metadata"]["name"], item["data"]["n"]
        checks.that("events are in order, each once", revision > self.revision, f"{kind} {name} {revision} after {self.revision}")
        known = name in self.state
        checks.that("the kind fits", known == (kind != "ADDED"), f"{kind} {name} at {revision}, known: {known}")
        if kind == "DELETED":
            self.state.pop(name, None)
        else:
            self.state[name] = value
        self.events.append((revision, kind, name, value))


def compare(writers, watchers, server):
    final = server.get(f"{PATH}?{SELECTOR}")
    state = {item["metadata"]["name"]: item["data"]["n"] for item in final["items"]}
    revision = int(final["metadata"]["resourceVersion"])
    for writer in writers:
        for key, last in writer.last.items():
            possible = {last, *writer.maybe.get(key, [])} - {"?"}
            fits = state.get(key) in possible or (last == "?" and key in state)
            checks.that("nothing acknowledged is lost", fits, f"{key}: {state.get(key)}, acknowledged {last}, perhaps {writer.maybe.get(key)}")
    for number, watcher in enumerate(watchers):
        checks.equal(f"watcher {number} ends with the state", watcher.state, state)
        seen = {(at, name, value) for at, kind, name, value in watcher.events if kind != "DELETED"}
        in_gap = lambda at: any(after < at <= upto for after, upto in watcher.gaps)
        missed = [
            one for writer in writers for one in writer.acknowledged
            if one[2] is not None and watcher.start_revision < one[0] <= revision and one not in seen and not in_gap(one[0])
        ]
        checks.that(f"watcher {number} has seen every write", not missed, missed[:5])
    writes = sum(len(writer.acknowledged) for writer in writers)
    print(f"{writes} writes acknowledged; events {[len(one.events) for one in watchers]}, connections "
          f"{[one.connections for one in watchers]}, lists after 410 {[len(one.gaps) for one in watchers]}")
    checks.that("there was load", writes > 200, writes)


def main():
    kubeconfig = sys.argv[1]
    watchers = [Watcher(kubeconfig) for _ in range(WATCHERS)]
    writers = [Writer(kubeconfig, number) for number in range(WRITERS)]
    for thread in watchers + writers:
        thread.start()
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.1)
    stop.set()
    for writer in writers:
        writer.join()
    server = Server(kubeconfig)
    # The last word: every watcher sees it when it has seen all.
    end = server.create(PATH, {"metadata": {"name": "k-end", "labels": {"journal": "yes"}}, "data": {"n": "end"}})
    patience = time.monotonic() + 40
    while time.monotonic() < patience and not all("k-end" in one.state for one in watchers):
        time.sleep(0.05)
    assert end
    compare(writers, watchers, server)
    checks.end()


main()
