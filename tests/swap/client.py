"""A client for API servers: requests, watches and checks, with nothing but Python's own library."""

import base64
import http.client
import json
import re
import ssl
import tempfile
import threading
import queue


class Server:
    """One API server, known by a kubeconfig as Xebec writes them. Each thread uses a connection of its own."""

    def __init__(self, kubeconfig):
        with open(kubeconfig) as file:
            fields = dict(re.findall(r"^[ -]*([a-z-]+): (\S+)$", file.read(), re.MULTILINE))
        self.host = fields["server"].removeprefix("https://")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(fields["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(fields["client-certificate-data"]) + base64.b64decode(fields["client-key-data"]))
            pem.flush()
            self.tls.load_cert_chain(pem.name)
        self.own = threading.local()

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(self.host, context=self.tls, timeout=timeout)

    def send(self, method, path, body=None, headers=None):
        """Status, headers and bytes of an answer. A connection that idled to its end is made anew."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        for attempt in (0, 1):
            connection = getattr(self.own, "connection", None)
            fresh = connection is None
            if fresh:
                connection = self.own.connection = self.connect()
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            except (OSError, http.client.HTTPException):
                self.own.connection = None
                connection.close()
                if fresh or attempt:
                    raise

    def call(self, method, path, body=None, headers=None, expect=None):
        """The answer's JSON; fails unless the status is a success, or the one expected."""
        status, _, data = self.send(method, path, body, headers)
        answer = json.loads(data) if data else None
        good = status == expect if expect else 200 <= status < 300
        assert good, f"{method} {path}: {status} {data[:500]}"
        return answer

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def create(self, path, body, **more):
        return self.call("POST", path, body, **more)

    def update(self, path, body, **more):
        return self.call("PUT", path, body, **more)

    def patch(self, path, body, kind="merge", **more):
        return self.call("PATCH", path, body, {"Content-Type": f"application/{kind}-patch+json"}, **more)

    def delete(self, path, body=None, **more):
        return self.call("DELETE", path, body, **more)

    def watch(self, path, revision, **query):
        return Watch(self, path, revision, query)


class Watch:
    """Events of a watch, read in a thread of its own; the end of the stream is `None`."""

    def __init__(self, server, path, revision, query):
        self.events = queue.Queue()
        self.connection = server.connect(timeout=600)
        more = "".join(f"&{key}={value}" for key, value in query.items())
        self.connection.request("GET", f"{path}?watch=1&resourceVersion={revision}{more}")
        answer = self.connection.getresponse()
        assert answer.status == 200, f"watch of {path}: {answer.status} {answer.read()[:500]}"
        threading.Thread(target=self.read, args=[answer], daemon=True).start()

    def read(self, answer):
        try:
            for line in answer:
                self.events.put(json.loads(line))
        except (OSError, http.client.HTTPException, ValueError):
            pass
        self.events.put(None)

    def next(self, timeout=20):
        return self.events.get(timeout=timeout)

    def take(self, count, timeout=20):
        return [self.next(timeout) for _ in range(count)]


class Checks:
    """Counts what holds and tells what does not."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def that(self, name, holds, detail=""):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {name}: {detail}"[:3000], flush=True)
        return bool(holds)

    def equal(self, name, ours, theirs):
        return self.that(name, ours == theirs, f"\n  {ours}\n  {theirs}")

    def end(self):
        print(f"{self.passed} checks passed, {self.failed} failed")
        raise SystemExit(1 if self.failed else 0)
