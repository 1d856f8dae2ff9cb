"""Clients that remember. Writers create, update, patch and delete objects and note what was acknowledged; watchers
note what they see, resume from what they saw last, and list anew on 410. `Journal.check` compares the two with what
the server holds and with its own history.

    journal.py KUBECONFIG STOP_FILE     writes and watches until the file appears, then checks (for tests/swap/faults)

An object is written whole or not at all: its data says the same thing twice and has a filler of a length that follows
from it. A Service and the `IPAddress` of its cluster IP are two objects of one transaction. Each key has one writer,
so that a conditional update can fail only if an earlier write of unknown outcome was done."""

import http.client
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "swap"))
from client import Checks, Server  # noqa: E402

MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
SELECTOR = "labelSelector=journal"
MARK = "mark"
WRITERS, KEYS, RESUMING, LISTING = 3, 5, 2, 1
# What a writer rests between two writes: the journal is to be dense, not a benchmark.
REST = 0.02
LOST = (OSError, http.client.HTTPException)
SURPRISED = (404, 409)  # a write of unknown outcome came up after all


def filler(value):
    return "x" * (sum(map(ord, value)) * 37 % 4000)


def contents(value):
    return {"n": value, "twin": value, "fill": filler(value)}


class Journal:
    """All that was written and seen since the last check."""

    def __init__(self, kubeconfig, checks):
        self.checks, self.server = checks, Server(kubeconfig)
        self.stopped, self.running = threading.Event(), threading.Event()
        self.changed = threading.Condition()
        self.acknowledged_at, self.writes, self.checked = 0.0, 0, 0
        self.marks, self.revision, self.state = 0, 0, {}
        self.writers = [MapWriter(self, kubeconfig, number) for number in range(WRITERS)] + [ServiceWriter(self, kubeconfig)]
        self.watchers = [Watcher(self, kubeconfig, number, number >= RESUMING) for number in range(RESUMING + LISTING)]

    def start(self):
        """Whatever lies there from before is known from now on."""
        self.mark(60)
        listed = self.server.get(f"{MAPS}?{SELECTOR}")
        self.revision, self.state = int(listed["metadata"]["resourceVersion"]), states(listed)
        self.running.set()
        for thread in self.watchers + self.writers:
            thread.start()

    def stop(self):
        self.stopped.set()
        self.running.set()
        for thread in self.writers:
            thread.join()
        for watcher in self.watchers:
            watcher.hang_up()

    def acknowledged(self):
        with self.changed:
            self.acknowledged_at, self.writes = time.monotonic(), self.writes + 1
            self.changed.notify_all()

    def wait(self, holds, limit):
        """Until `holds()`; it is asked whenever something was acknowledged or seen."""
        with self.changed:
            return self.changed.wait_for(holds, limit)

    def wait_for_write(self, since, limit):
        """Seconds from `since` to a write that was begun after it and acknowledged; None if there is none."""
        begun = lambda: any(writer.acknowledged_begun > since for writer in self.writers)
        return time.monotonic() - since if self.wait(begun, limit) else None

    def mark(self, limit):
        """Writes an object that every watcher sees, and returns its revision."""
        self.marks += 1
        value = f"mark-{os.getpid()}-{self.marks}"
        body = {"metadata": {"name": MARK, "labels": {"journal": "yes"}}, "data": contents(value)}
        end = time.monotonic() + limit
        while True:
            try:
                status, _, data = self.server.send("PUT", f"{MAPS}/{MARK}", body)
                if status == 404:
                    status, _, data = self.server.send("POST", MAPS, body)
                if status in (200, 201):
                    return int(json.loads(data)["metadata"]["resourceVersion"])
            except LOST as error:
                data = error
            if time.monotonic() > end:
                self.checks.that("a write is acknowledged again", False, data)
                raise TimeoutError(f"no write within {limit} s: {data}")
            self.stopped.wait(0.05)

    def check(self, limit=60):
        """Nothing acknowledged lost, nothing half, every event once and in order."""
        self.running.clear()
        for writer in self.writers:
            writer.idle.wait()
        try:
            self.compare(self.mark(limit), limit)
        finally:
            self.running.set()

    def compare(self, mark, limit):
        checks = self.checks
        listed = self.server.get(f"{MAPS}?{SELECTOR}")
        state, services, addresses = states(listed), self.server.get(SERVICES), self.server.get(ADDRESSES)
        for item in listed["items"]:
            checks.that("every object is whole", item["data"] == contents(item["data"]["n"]), item)
        for writer in self.writers:
            writer.compare(state if isinstance(writer, MapWriter) else {item["metadata"]["name"]: None for item in services["items"]})
        given = {item["spec"]["clusterIP"] for item in self.server.get("/api/v1/services")["items"]} - {"None"}
        checks.equal("Services and their addresses are one transaction", given, {item["metadata"]["name"] for item in addresses["items"]})
        history, before = self.history(mark), dict(self.state)
        arrived = self.wait(lambda: all(watcher.revision >= mark for watcher in self.watchers), limit)
        checks.that("every watcher gets on", arrived, [(watcher.revision, mark) for watcher in self.watchers])
        if history is not None:
            for revision, kind, name, value in history:
                checks.that("the kind fits the history", (name in self.state) == (kind != "ADDED"), (revision, kind, name))
                apply(self.state, kind, name, value, revision)
            checks.equal("the history leads to the state", self.state, state)
        for watcher in self.watchers:
            watcher.compare(mark, history, before, state)
        known = {}
        sources = [history or []] + [watcher.taken for watcher in self.watchers]
        for revision, kind, name, value in (event for source in sources for event in source):
            checks.equal(f"revision {revision} is given once", known.setdefault(revision, (kind, name, value)), (kind, name, value))
        acknowledged = [write for writer in self.writers for write in writer.take()]
        for revision, name, value in acknowledged:
            if revision in known:
                checks.equal("an event says what was acknowledged", known[revision][1:], (name, value))
        for watcher in self.watchers:
            seen = {event[0] for event in watcher.taken}
            missed = [write for write in acknowledged if write[0] not in seen and not watcher.in_gap(write[0])]
            checks.equal(f"{watcher.name} has seen every write", missed, [])
            watcher.forget(mark)
        self.revision, self.state, self.checked = mark, state, self.checked + 1

    def history(self, mark):
        """What the server says has happened since the last check: a watch from there. None where it is compacted."""
        connection = self.server.connect(timeout=30)
        connection.request("GET", f"{MAPS}?watch=1&resourceVersion={self.revision}&{SELECTOR}")
        answer = connection.getresponse()
        assert answer.status == 200, f"{answer.status} {answer.read()}"
        events = []
        for line in answer:
            event = json.loads(line)
            if event["type"] == "ERROR":
                self.checks.equal("only what is compacted can't be watched", event["object"].get("code"), 410)
                return None
            events.append(told(event))
            if events[-1][0] >= mark:
                connection.close()
                break
        ascending = all(one[0] < next[0] for one, next in zip(events, events[1:]))
        self.checks.that("the history is in order", ascending, events)
        return events

    def summary(self):
        return (f"{self.writes} writes acknowledged, checked {self.checked} times; watchers' connections "
                f"{[one.connections for one in self.watchers]}, events {[one.seen for one in self.watchers]}, "
                f"lists after 410 {[one.lists for one in self.watchers]}")


def states(listed):
    return {item["metadata"]["name"]: (item["data"]["n"], int(item["metadata"]["resourceVersion"])) for item in listed["items"]}


def told(event):
    item = event["object"]
    return int(item["metadata"]["resourceVersion"]), event["type"], item["metadata"]["name"], item["data"]["n"]


def apply(state, kind, name, value, revision):
    if kind == "DELETED":
        state.pop(name, None)
    else:
        state[name] = (value, revision)


class Writer(threading.Thread):
    """One write at a time on keys of its own, so it knows what each may hold."""

    def __init__(self, journal, kubeconfig):
        super().__init__(daemon=True)
        self.journal, self.checks, self.server = journal, journal.checks, Server(kubeconfig)
        self.log, self.counter, self.acknowledged_begun = [], 0, 0.0
        self.connection, self.idle = None, threading.Event()

    def run(self):
        while not self.journal.stopped.is_set():
            self.idle.set()
            self.journal.running.wait()
            self.idle.clear()
            if not self.journal.stopped.is_set() and self.journal.running.is_set():
                self.counter += 1
                self.turn()
                self.journal.stopped.wait(REST)
        self.idle.set()

    def once(self, method, path, body=None, kind="application/json"):
        """Status and answer, None for an unknown outcome. Never tries again: that could do it twice."""
        begun = time.monotonic()
        connection, self.connection = self.connection or self.server.connect(timeout=60), None
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
            answer = connection.getresponse()
            status, data = answer.status, answer.read()
        except LOST:
            connection.close()
            self.journal.stopped.wait(REST)
            return None, None
        self.connection = connection
        if status >= 500 or status == 429:
            self.journal.stopped.wait(REST)
            return None, None
        if status < 300 and method != "GET":
            self.acknowledged_begun = begun
            self.journal.acknowledged()
        return status, json.loads(data)

    def take(self):
        log, self.log = self.log, []
        return log


class MapWriter(Writer):
    """ConfigMaps, with every kind of write."""

    def __init__(self, journal, kubeconfig, number):
        super().__init__(journal, kubeconfig)
        self.number = number
        self.last = {}  # key: its value and revision, as acknowledged; None: it is not there
        self.maybe = {}  # key: values that were sent since, of unknown outcome
        self.doubts = {}  # key: such values, though the object was seen without: a log that failed may still bring them up

    def turn(self):
        key = f"k-{self.number}-{self.counter % KEYS}"
        value = f"{os.getpid()}-{self.number}-{self.counter}"
        path, last = f"{MAPS}/{key}", self.last.get(key)
        if key in self.maybe:
            self.settle(key, path)
        elif last is None:
            body = {"metadata": {"name": key, "labels": {"journal": "yes"}}, "data": contents(value)}
            self.done(key, value, *self.once("POST", MAPS, body))
        elif self.counter % 7 == 0:
            self.done(key, None, *self.once("DELETE", path))
        elif self.counter % 2:
            meta = {"name": key, "labels": {"journal": "yes"}, "resourceVersion": str(last[1])}
            self.done(key, value, *self.once("PUT", path, {"metadata": meta, "data": contents(value)}))
        else:
            self.done(key, value, *self.once("PATCH", path, {"data": contents(value)}, "application/merge-patch+json"))

    def done(self, key, value, status, answer):
        if status is None:
            self.maybe[key] = [value]
        elif status in SURPRISED and key in self.doubts:
            self.maybe[key] = self.doubts.pop(key)
        elif self.checks.that("a write of one's own key", status < 300, f"{key} {status} {answer}, last {self.last.get(key)}"):
            self.doubts.pop(key, None)
            if value is None:
                self.last[key] = None
                return
            revision = int(answer["metadata"]["resourceVersion"])
            self.last[key] = (value, revision)
            self.log.append((revision, key, value))
        else:
            self.maybe[key] = [value]

    def settle(self, key, path):
        """Finds out what came of a write of unknown outcome."""
        status, answer = self.once("GET", path)
        if status == 200:
            self.checks.that("every object is whole", answer["data"] == contents(answer["data"]["n"]), answer)
            self.fits(key, (answer["data"]["n"], int(answer["metadata"]["resourceVersion"])))
        elif status == 404:
            self.fits(key, None)

    def fits(self, key, found):
        last, maybe = self.last.get(key), self.maybe.pop(key, []) + self.doubts.pop(key, [])
        good = found == last or (found[0] if found else None) in maybe
        self.checks.that("nothing acknowledged is lost", good, f"{key}: {found}, acknowledged {last}, perhaps {maybe}")
        self.last[key] = found
        if found == last and maybe:
            self.doubts[key] = maybe

    def compare(self, state):
        for key in {*self.last, *self.maybe, *self.doubts}:
            self.fits(key, state.get(key))


class ServiceWriter(Writer):
    """Services come and go, each with the object that holds its address."""

    name_of = "service-{}".format

    def __init__(self, journal, kubeconfig):
        super().__init__(journal, kubeconfig)
        self.there, self.unknown, self.doubts = set(), set(), set()

    def turn(self):
        name = self.name_of(self.counter % 4)
        if name in self.unknown:
            status, _ = self.once("GET", f"{SERVICES}/{name}")
            if status is not None:
                self.unknown.discard(name)
                (self.there.add if status == 200 else self.there.discard)(name)
        elif name in self.there:
            self.done(name, False, *self.once("DELETE", f"{SERVICES}/{name}"))
        else:
            body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "type": ("ClusterIP", "NodePort")[self.counter % 3 == 0]}}
            self.done(name, True, *self.once("POST", SERVICES, body))
        self.journal.stopped.wait(REST)

    def done(self, name, there, status, answer):
        if status is None or (status in SURPRISED and name in self.doubts):
            self.unknown.add(name)
            self.doubts.add(name)
        elif self.checks.that("a write of one's own key", status < 300, f"{name} {status} {answer}"):
            (self.there.add if there else self.there.discard)(name)
            self.doubts.discard(name)
        else:
            self.unknown.add(name)

    def compare(self, state):
        for number in range(4):
            name = self.name_of(number)
            if name in self.unknown | self.doubts:
                self.unknown.discard(name)
                (self.there.add if name in state else self.there.discard)(name)
            self.checks.equal("nothing acknowledged is lost", (name, name in state), (name, name in self.there))


class Watcher(threading.Thread):
    """Sees every event from its start on, across connections; a listing one gets the state in its watch each time."""

    def __init__(self, journal, kubeconfig, number, listing):
        super().__init__(daemon=True, name=f"{'listing' if listing else 'resuming'} watcher {number}")
        self.journal, self.checks, self.server, self.listing = journal, journal.checks, Server(kubeconfig), listing
        self.state, self.revision, self.connection = {}, 0, None
        self.events, self.gaps, self.initial = [], [], []  # since the last check
        self.taken = []
        self.seen, self.connections, self.lists = 0, 0, 0

    def run(self):
        while not self.journal.stopped.is_set():
            try:
                if not self.revision and not self.listing:
                    self.list()
                self.follow()
            except (*LOST, AssertionError, ValueError) as error:
                if "410" in str(error) and not self.listing:
                    self.again()
            self.journal.stopped.wait(0.05)

    def hang_up(self):
        connection = self.connection
        if connection and connection.sock:
            try:
                connection.sock.shutdown(2)
            except OSError:
                pass

    def list(self):
        listed = self.server.get(f"{MAPS}?{SELECTOR}")
        self.restart(states(listed), int(listed["metadata"]["resourceVersion"]))

    def again(self):
        try:
            self.list()
            self.lists += 1
        except (*LOST, AssertionError):
            pass  # The next watch is told 410 again.

    def restart(self, state, revision):
        """The state at a revision, instead of the events up to it."""
        self.checks.that("a new list is not older", revision >= self.revision, f"{revision} after {self.revision}")
        with self.journal.changed:
            self.gaps.append((self.revision, revision))
            self.initial.append((revision, state))
            self.state, self.revision = dict(state), revision
            self.journal.changed.notify_all()

    def follow(self):
        self.connections += 1
        self.connection = self.server.connect(timeout=90)
        how = f"resourceVersion={self.revision or ''}"
        if self.listing:
            how += "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        self.connection.request("GET", f"{MAPS}?watch=1&allowWatchBookmarks=true&{how}&{SELECTOR}")
        answer = self.connection.getresponse()
        assert answer.status == 200, f"{answer.status} {answer.read()}"
        initial = {} if self.listing else None
        for line in answer:
            event = json.loads(line)
            if event["type"] == "ERROR":
                if event["object"].get("code") == 410 and not self.listing:
                    self.again()
                return
            revision = int(event["object"]["metadata"]["resourceVersion"])
            if event["type"] == "BOOKMARK":
                if initial is not None:
                    end = event["object"]["metadata"].get("annotations", {}).get("k8s.io/initial-events-end")
                    if self.checks.equal("the first bookmark ends the initial events", end, "true"):
                        self.restart(initial, revision)
                        initial = None
                    continue
                self.checks.that("a bookmark is not older", revision >= self.revision, f"{revision} after {self.revision}")
                self.move(revision)
            elif initial is not None:
                self.checks.equal("initial events are additions", event["type"], "ADDED")
                _, _, name, value = told(event)
                initial[name] = (value, revision)
            else:
                self.see(*told(event))

    def see(self, revision, kind, name, value):
        self.checks.that("events are in order, each once", revision > self.revision, f"{self.name}: {kind} {name} {revision} after {self.revision}")
        known = name in self.state
        self.checks.that("the kind fits", known == (kind != "ADDED"), f"{self.name}: {kind} {name} at {revision}, known: {known}")
        apply(self.state, kind, name, value, revision)
        self.seen += 1
        with self.journal.changed:
            self.events.append((revision, kind, name, value))
        self.move(revision)

    def move(self, revision):
        with self.journal.changed:
            self.revision = max(revision, self.revision)
            self.journal.changed.notify_all()

    def in_gap(self, revision):
        return any(after < revision <= upto for after, upto in self.gaps)

    def compare(self, mark, history, before, state):
        """Its events since the last check are the history, but for where it has listed anew."""
        with self.journal.changed:
            self.taken = [event for event in self.events if event[0] <= mark]
            mine = dict(self.state)
        self.checks.equal(f"{self.name} ends with the state", mine, state)
        if history is None:
            return
        expected = [event for event in history if not self.in_gap(event[0])]
        seen = [event for event in self.taken if not self.in_gap(event[0])]
        self.checks.equal(f"{self.name} has seen every event once", seen, expected)
        for revision, initial in self.initial:
            if self.journal.revision <= revision <= mark:
                at = dict(before)
                for event in history:
                    if event[0] <= revision:
                        apply(at, event[1], event[2], event[3], event[0])
                self.checks.equal(f"{self.name}: a list is the state at its revision {revision}", initial, at)

    def forget(self, mark):
        with self.journal.changed:
            self.events = [event for event in self.events if event[0] > mark]
            self.gaps, self.initial = [], []


def main():
    checks = Checks()
    journal = Journal(sys.argv[1], checks)
    journal.start()
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.1)
    journal.check()
    journal.stop()
    print(journal.summary())
    checks.that("there was load", journal.writes > 200, journal.writes)
    checks.end()


if __name__ == "__main__":
    main()
