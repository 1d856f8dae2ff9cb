"""Sends the same requests to two API servers and tells how their answers differ: compare.py OURS THEIRS ACCEPTED

OURS and THEIRS are kubeconfigs of fresh servers. ACCEPTED lists differences that are right, a line each: a regular
expression for `label: path`, a tab, the reason. Prints each other difference once, with the labels that show it."""

import http.client
import json
import os
import re
import sys
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor

import masks
import requests
from client import Server

SHOWN_LABELS = int(os.environ.get("SHOWN_LABELS", 4))
SHOWN = int(os.environ.get("SHOWN", 400))
PATIENCE_SECONDS = 10
# What a server says that is too busy to answer; it is asked again.
BUSY = b"context deadline exceeded"
ATTEMPTS = 5


class Side:
    """One server, and what it said last."""

    def __init__(self, kubeconfig):
        self.server, self.words = Server(kubeconfig), {}

    def send(self, method, path, headers, body):
        data = json.dumps(body, separators=(",", ":")) if body is not None else None
        for word, value in self.words.items():
            path = path.replace(word, value)
            data = data.replace(word, value) if data else data
        for _ in range(ATTEMPTS):
            connection = getattr(self, "connection", None) or self.server.connect(timeout=PATIENCE_SECONDS)
            self.connection = connection
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.connection = None
                return {"status": f"{type(error).__name__}", "headers": {}, "body": None}
            if BUSY not in content:
                break
        self.remember(content)
        content_type = answer.getheader("Content-Type") or ""
        return {"status": answer.status, "headers": masks.headers(answer.getheaders()), "body": masks.body(content_type, content)}

    def remember(self, content):
        try:
            metadata = json.loads(content).get("metadata", {})
        except (ValueError, AttributeError):
            return
        if "uid" in metadata:
            self.words.update({"$RV": metadata.get("resourceVersion", ""), "$UID": metadata["uid"]})
        elif "resourceVersion" in metadata:
            self.words["$LIST"] = metadata["resourceVersion"]
        if metadata.get("continue"):
            self.words["$CONTINUE"] = metadata["continue"]


def discovery(server):
    """Plural to kind, of everything served."""
    paths = ["/api/v1"] + [f"/apis/{group['preferredVersion']['groupVersion']}" for group in server.get("/apis")["groups"]]
    return {one["name"]: one["kind"] for path in paths for one in server.get(path)["resources"] if "/" not in one["name"]}


def main():
    ours, theirs = Side(sys.argv[1]), Side(sys.argv[2])
    both = ThreadPoolExecutor(2)
    with open(sys.argv[3]) as lines:
        accepted = [re.compile(line.split("\t")[0]) for line in lines if line.strip() and not line.startswith("#")]
    only = re.compile(sys.argv[4]) if len(sys.argv) > 4 else None
    found, count, tolerated = OrderedDict(), 0, Counter()
    for label, *request in requests.everything(discovery(theirs.server)):
        if only and label != "set-up" and not only.search(label):
            continue
        if request[0] == "PAUSE":
            time.sleep(request[1])
            continue
        count += 1
        answers = both.map(lambda side: side.send(*request), (ours, theirs))
        for path, one, other in masks.differences(*answers):
            pattern = next((pattern for pattern in accepted if pattern.search(f"{label}{path}")), None)
            if pattern:
                tolerated[pattern.pattern] += 1
                continue
            what = f"{path}\n    ours:   {json.dumps(one)[:SHOWN]}\n    theirs: {json.dumps(other)[:SHOWN]}"
            found.setdefault(what, []).append(label)
    for what, labels in sorted(found.items(), key=lambda item: -len(item[1])):
        more = f" and {len(labels) - SHOWN_LABELS} more" if len(labels) > SHOWN_LABELS else ""
        print(f"{len(labels)} × {what}\n    in: {'; '.join(labels[:SHOWN_LABELS])}{more}")
    for pattern in accepted:
        if not only:
            print(f"{tolerated[pattern.pattern]} accepted by {pattern.pattern}")
    print(f"{count} requests, {len(found)} kinds of difference, {tolerated.total()} accepted")
    raise SystemExit(1 if found else 0)


main()
