"""The requests: a table of kinds (tests/swap/kinds.jsonl) times a table of what is done to each, and lists of their own.

A request is (label, method, path, headers, body); `$RV`, `$UID`, `$LIST` and `$CONTINUE` in it stand for what the
server said in its last answers."""

import json
import subprocess
from pathlib import Path

KINDS = Path(__file__).parent.parent / "swap" / "kinds.jsonl"
JSON = {"Content-Type": "application/json"}
ENCODINGS = {
    "json": "application/json",
    "pretty": "application/json;pretty=1",
    "yaml": "application/yaml",
    "protobuf": "application/vnd.kubernetes.protobuf",
    "table": "application/json;as=Table;g=meta.k8s.io;v=v1",
    "metadata": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "anything": "*/*",
    "browser": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "none": "application/x-unknown",
}
PATCHES = {"json": "json-patch+json", "merge": "merge-patch+json", "strategic": "strategic-merge-patch+json", "apply": "apply-patch+yaml"}


def patch_type(kind):
    return {"Content-Type": f"application/{PATCHES[kind]}"}


def kinds():
    """Path, API version, kind's plural, name and body of each kind's example."""
    for index, line in enumerate(KINDS.read_text().splitlines()):
        path, body = json.loads(line)
        words = {"NAME": f"one-{index}", "NUMBER": str(index), "ADDRESS": f"10.201.0.{index}", "SERVICE_RANGE": "10.202.0.0/24", "REQUEST": REQUEST, "BUNDLE": BUNDLE}
        text = json.dumps(body, separators=(",", ":"))
        for word, value in words.items():
            text = text.replace(word, value)
        body = json.loads(text)
        if path.endswith("/services"):
            # What is chosen at random can't be compared.
            body["spec"]["clusterIP"] = "10.96.7.7"
            for number, port in enumerate(body["spec"]["ports"]):
                port["nodePort"] = 31007 + number
        version = path.split("/")[2] if path.startswith("/api/") else "/".join(path.split("/")[2:4])
        yield path.replace("/namespaces/swap/", "/namespaces/compare/"), version, path.split("/")[-1], body


def openssl(*words):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"]
    return subprocess.check_output(["openssl", *words, *key], stderr=subprocess.DEVNULL)


def encode_request():
    import base64

    return base64.b64encode(openssl("req", "-new")).decode()


REQUEST = encode_request()
BUNDLE = json.dumps(openssl("req", "-x509", "-addext", "basicConstraints=critical,CA:TRUE").decode())[1:-1]


def life(path, version, plural, body):
    """One object from its creation to its deletion."""
    name = body["metadata"]["name"]
    url, group = f"{path}/{name}", version
    kind = KIND_OF[plural]
    typed = {"apiVersion": version, "kind": kind, **body}
    label = lambda what: f"{group} {plural}: {what}"
    get = lambda what, where, accept="application/json": (label(what), "GET", where, {"Accept": accept}, None)
    send = lambda what, method, where, content, headers=JSON: (label(what), method, where, headers, content)

    yield get("get before", url)
    yield send("create dry", "POST", f"{path}?dryRun=All", body)
    yield send("create strict unknown", "POST", f"{path}?fieldValidation=Strict", {**body, "unknownField": 1})
    yield send("create warn unknown dry", "POST", f"{path}?fieldValidation=Warn&dryRun=All", {**body, "unknownField": 1})
    yield send("create wrong kind", "POST", path, {**body, "apiVersion": version, "kind": "Wrong"})
    yield send("create wrong version", "POST", path, {**body, "apiVersion": "v9", "kind": kind})
    yield send("create without name", "POST", path, {**typed, "metadata": {}})
    yield send("create bad name", "POST", path, {**typed, "metadata": {**body["metadata"], "name": "Bad_Name/x"}})
    yield send("create bad label", "POST", path, {**typed, "metadata": {**body["metadata"], "labels": {"-a": "b c"}, "annotations": {"x y": "z"}}})
    yield send("create with revision", "POST", path, {**typed, "metadata": {**body["metadata"], "resourceVersion": "5"}})
    yield send("create empty spec", "POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **({"spec": {}} if "spec" in body else {})})
    yield send("create", "POST", f"{path}?fieldManager=maker", typed)
    if plural in WATCHED_BY_SERVER:
        # Both servers write something into its status a moment later.
        yield (label("create"), "PAUSE", 1)
    yield send("create again", "POST", path, typed)
    for encoding, accept in ENCODINGS.items():
        yield get(f"get as {encoding}", url, accept)
    for encoding in ("json", "yaml", "protobuf", "table", "metadata"):
        yield get(f"list as {encoding}", f"{path}?fieldSelector=metadata.name%3D{name}", ENCODINGS[encoding])
    yield get("list by label", f"{path}?labelSelector=a%3Db,c%21%3Dd")
    yield get("list bad label selector", f"{path}?labelSelector=a%3D%3D%3Db")
    yield get("list bad field selector", f"{path}?fieldSelector=spec.nothing%3Db")
    yield get("table with objects", f"{url}?includeObject=Object", ENCODINGS["table"])
    yield get("get old", f"{url}?resourceVersion=1")
    yield get("get bad revision", f"{url}?resourceVersion=x")
    yield send("put unchanged", "PUT", url, {**typed, "metadata": {**body["metadata"], "resourceVersion": "$RV"}})
    yield send("put other name", "PUT", url, {**typed, "metadata": {**body["metadata"], "name": "other"}})
    yield send("put stale", "PUT", url, {**typed, "metadata": {**body["metadata"], "resourceVersion": "1"}})
    yield send("put other uid", "PUT", url, {**typed, "metadata": {**body["metadata"], "uid": "11111111-2222-3333-4444-555555555555", "resourceVersion": "$RV"}})
    yield send("merge patch", "PATCH", f"{url}?fieldManager=merger", {"metadata": {"labels": {"m": "1"}}}, patch_type("merge"))
    yield send("merge patch nothing", "PATCH", url, {"metadata": {"labels": {"m": "1"}}}, patch_type("merge"))
    yield send("merge patch unknown", "PATCH", f"{url}?fieldValidation=Strict", {"unknownField": 1}, patch_type("merge"))
    yield send("merge patch name", "PATCH", url, {"metadata": {"name": "x"}}, patch_type("merge"))
    yield send("strategic patch", "PATCH", f"{url}?fieldManager=merger", {"metadata": {"annotations": {"s": "1"}}}, patch_type("strategic"))
    yield send("strategic patch finalizers", "PATCH", url, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}, patch_type("strategic"))
    yield send("json patch", "PATCH", url, [{"op": "add", "path": "/metadata/labels/j", "value": "1"}], patch_type("json"))
    yield send("json patch test fails", "PATCH", url, [{"op": "test", "path": "/metadata/name", "value": "x"}], patch_type("json"))
    yield send("json patch bad path", "PATCH", url, [{"op": "remove", "path": "/no/such"}], patch_type("json"))
    yield send("json patch bad op", "PATCH", url, [{"op": "jump", "path": "/metadata"}], patch_type("json"))
    yield send("patch of no type", "PATCH", url, {}, {"Content-Type": "application/json"})
    yield send("apply", "PATCH", f"{url}?fieldManager=applier", {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"applied": "1"}}}, patch_type("apply"))
    yield send("apply conflict", "PATCH", f"{url}?fieldManager=applier", {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"m": "2"}}}, patch_type("apply"))
    yield send("apply force", "PATCH", f"{url}?fieldManager=applier&force=true", {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"m": "2"}}}, patch_type("apply"))
    yield send("apply without manager", "PATCH", url, {"apiVersion": version, "kind": kind, "metadata": {"name": name}}, patch_type("apply"))
    yield send("apply unknown field", "PATCH", f"{url}?fieldManager=applier", {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "unknownField": 1}, patch_type("apply"))
    yield get("get status", f"{url}/status")
    yield send("patch status", "PATCH", f"{url}/status", {"status": {}, "metadata": {"annotations": {"st": "1"}}}, patch_type("merge"))
    yield get("get scale", f"{url}/scale")
    yield send("patch scale", "PATCH", f"{url}/scale", {"spec": {"replicas": 0}}, patch_type("merge"))
    yield send("post to the object", "POST", url, typed)
    yield send("put to the list", "PUT", path, typed)
    for encoding in ("json", "table", "protobuf"):
        yield get(f"watch as {encoding}", f"{path}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3D{name}", ENCODINGS[encoding])
    yield send("delete dry", "DELETE", f"{url}?dryRun=All", None)
    yield send("delete other uid", "DELETE", url, {"preconditions": {"uid": "x"}})
    yield send("delete other revision", "DELETE", url, {"preconditions": {"resourceVersion": "1"}})
    yield send("delete bad policy", "DELETE", f"{url}?propagationPolicy=Wrong", None)
    yield send("delete", "DELETE", f"{url}?gracePeriodSeconds=0", None)
    yield get("get after", url)
    yield send("delete after", "DELETE", url, None)
    yield send("apply creates dry", "PATCH", f"{url}?fieldManager=applier&dryRun=All", {"apiVersion": version, "kind": kind, "metadata": {"name": name}}, patch_type("apply"))
    yield send("merge patch of nothing", "PATCH", url, {}, patch_type("merge"))


KIND_OF = {}
WATCHED_BY_SERVER = {"flowschemas", "prioritylevelconfigurations", "apiservices", "customresourcedefinitions"}


def everything(discovery):
    """`discovery`: plural to kind, from the servers."""
    KIND_OF.update(discovery)
    namespace = "/api/v1/namespaces/compare"
    yield ("set-up", "POST", "/api/v1/namespaces", JSON, {"metadata": {"name": "compare"}})
    yield ("set-up", "POST", f"{namespace}/serviceaccounts", JSON, {"metadata": {"name": "default"}})
    yield from discovery_requests()
    yield from component_statuses()
    yield from list_options(namespace)
    yield from applies(namespace)
    for path, version, plural, body in kinds():
        yield from life(path, version, plural, body)


def discovery_requests():
    accept = {"aggregated": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "plain": "application/json", "protobuf": ENCODINGS["protobuf"], "table": ENCODINGS["table"]}
    for path in ("/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/batch/v1", "/apis/none", "/apis/apps/v9", "/", "/version", "/api/", "/apis/apps/", "/healthz", "/livez", "/readyz", "/metrics/nothing", "/nothing", "/api/v2"):
        for name, value in accept.items():
            yield (f"discovery: {path} as {name}", "GET", path, {"Accept": value}, None)
    for path in ("/api/v1/nothing", "/api/v1/namespaces/compare/nothing", "/apis/apps/v1/pods", "/api/v1/pods/x/y/z", "/api/v1/namespaces/compare/pods/x/nothing"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            yield (f"unknown: {path}", method, path, JSON, {} if method in ("POST", "PUT", "PATCH") else None)


def component_statuses():
    path = "/api/v1/componentstatuses"
    yield ("componentstatuses: all", "GET", path, {"Accept": "application/json"}, None)
    for name in ("?fieldSelector=metadata.name%3Detcd-0", "/etcd-0", "/scheduler", "/controller-manager", "/other"):
        for encoding, accept in ENCODINGS.items():
            yield (f"componentstatuses: {name} as {encoding}", "GET", path + name, {"Accept": accept}, None)
    for option in ("fieldSelector=metadata.name%3Detcd-0", "fieldSelector=a%3Db", "labelSelector=a", "labelSelector=%21a", "watch=1&timeoutSeconds=1", "resourceVersion=x"):
        yield (f"componentstatuses: ?{option}", "GET", f"{path}?{option}", {}, None)
    for method in ("POST", "DELETE"):
        yield ("componentstatuses: written", method, path, JSON, {} if method == "POST" else None)


def list_options(namespace):
    path = f"{namespace}/configmaps"
    for number in range(7):
        yield ("set-up", "POST", path, JSON, {"metadata": {"name": f"m-{number}", "labels": {"n": str(number), "even": str(number % 2 == 0).lower()}}, "data": {"n": str(number)}})
    options = [
        "", "limit=3", "limit=3&continue=$CONTINUE", "limit=3&continue=$CONTINUE&resourceVersion=5", "continue=x", "continue=%21", "limit=-1", "limit=x", "limit=0",
        "resourceVersion=0", "resourceVersion=$LIST", "resourceVersion=$LIST&resourceVersionMatch=Exact", "resourceVersion=$LIST&resourceVersionMatch=NotOlderThan",
        "resourceVersionMatch=Exact", "resourceVersion=0&resourceVersionMatch=Exact", "resourceVersion=5&resourceVersionMatch=Wrong", "resourceVersion=x", "resourceVersion=-1",
        "resourceVersion=99999999", "labelSelector=even%3Dtrue", "labelSelector=even%3Dtrue&limit=2", "labelSelector=n+in+(1,2,9)", "labelSelector=n+notin+(1,2)", "labelSelector=%21even",
        "labelSelector=n%3E4", "labelSelector=n%3Cx", "labelSelector=a%2Fb%2Fc%3Dd", "labelSelector=,", "labelSelector=even%3D%3Dtrue,n%21%3D2", "fieldSelector=metadata.name%3Dm-1",
        "fieldSelector=metadata.name%21%3Dm-1", "fieldSelector=metadata.namespace%3Dcompare", "fieldSelector=metadata.name%3Dm-1,metadata.name%3Dm-2", "fieldSelector=bad", "fieldSelector=a%3Db",
        "watch=1&timeoutSeconds=1&resourceVersion=$LIST", "watch=1&timeoutSeconds=1&resourceVersion=0", "watch=1&timeoutSeconds=1", "watch=true&timeoutSeconds=1&resourceVersion=x",
        "watch=1&timeoutSeconds=1&resourceVersion=$LIST&allowWatchBookmarks=true", "watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
        "watch=1&sendInitialEvents=true", "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", "watch=1&limit=3&timeoutSeconds=1&resourceVersion=$LIST", "sendInitialEvents=true", "watch=1&timeoutSeconds=1&resourceVersion=1",
        "watch=1&timeoutSeconds=1&labelSelector=n%3D1", "watch=1&continue=x", "timeoutSeconds=x", "watch=maybe", "pretty=true", "pretty=1&limit=1", "dryRun=All", "unknownOption=1", "watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dm-1",
    ]
    for option in options:
        for encoding in ("json", "table", "metadata", "protobuf"):
            yield (f"list: ?{option} as {encoding}", "GET", f"{path}?{option}", {"Accept": ENCODINGS[encoding]}, None)
        if "watch" not in option:
            yield (f"list all: ?{option}", "GET", f"/api/v1/configmaps?{option}&labelSelector=n" if "labelSelector" not in option and "continue" not in option else f"/api/v1/configmaps?{option}", {"Accept": "application/json"}, None)
    for path_of_watch in (f"/api/v1/watch/namespaces/compare/configmaps?timeoutSeconds=1", "/api/v1/watch/namespaces/compare/configmaps/m-1?timeoutSeconds=1"):
        yield ("list: old watch path", "GET", path_of_watch, {}, None)
    for body in ({}, {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}, {"gracePeriodSeconds": -1}, {"unknown": 1}, {"kind": "Wrong"}, {"dryRun": ["All"]}, {"dryRun": ["Some"]}, {"orphanDependents": True, "propagationPolicy": "Orphan"}):
        yield (f"delete collection: {json.dumps(body)}", "DELETE", f"{path}?labelSelector=n%3D9", JSON, body)
    yield ("delete collection: two", "DELETE", f"{path}?labelSelector=n+in+(0,1)", JSON, None)
    yield ("delete collection: dry", "DELETE", f"{path}?labelSelector=n&dryRun=All", JSON, None)
    yield ("delete collection: all", "DELETE", f"{path}?labelSelector=n", JSON, None)


def applies(namespace):
    """Server-side apply on a Deployment: lists by key, owners, conflicts, removal."""
    url = "/apis/apps/v1/namespaces/compare/deployments/applied"
    container = lambda name, **more: {"name": name, "image": "i:1", **more}
    spec = lambda *containers, **more: {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}, **more}}
    steps = [
        ("one", "", spec(container("x", env=[{"name": "A", "value": "1"}], ports=[{"containerPort": 80}]), replicas=2)),
        ("two", "", spec(container("x", image="i:2"))),
        ("two", "&force=true", spec(container("x", image="i:2"))),
        ("three", "", spec(container("y"), replicas=2)),
        ("one", "", spec(container("x", ports=[{"containerPort": 81}, {"containerPort": 81, "protocol": "UDP"}]))),
        ("one", "", spec(container("x", ports=[{"containerPort": 81}, {"containerPort": 81}]))),
        ("one", "", spec(container("x"), replicas=3)),
        ("two", "&dryRun=All&force=true", spec(container("x"), replicas=5)),
        ("two", "&fieldValidation=Strict", {**spec(container("x")), "nope": 1}),
        ("two", "", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied", "managedFields": [{}]}}),
        ("two", "", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other"}}),
        ("two", "", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "applied"}}),
        ("two", "", {"kind": "Deployment"}),
        ("x" * 200, "", spec(container("x"))),
        ("two", "", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied"}}),
        ("three", "", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied"}}),
    ]
    for manager, options, body in steps:
        yield (f"apply: {manager[:5]}{options}", "PATCH", f"{url}?fieldManager={manager}{options}", patch_type("apply"), body)
    strategic = [
        {"spec": {"template": {"spec": {"containers": [{"name": "x", "env": [{"name": "B", "value": "2"}]}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "z", "image": "z"}], "$setElementOrder/containers": [{"name": "z"}, {"name": "x"}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "z", "$patch": "delete"}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]}}}},
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        {"spec": {"template": {"spec": {"containers": [{"image": "noname"}]}}}},
        {"spec": {"replicas": "many"}},
        {"spec": {"selector": {"matchLabels": {"a": "c"}}}},
        {"spec": None},
        {"metadata": {"managedFields": []}},
        {"metadata": {"resourceVersion": "1"}},
        {"$patch": "delete"},
    ]
    for body in strategic:
        yield (f"strategic: {json.dumps(body)[:60]}", "PATCH", url, patch_type("strategic"), body)
        yield (f"merge: {json.dumps(body)[:60]}", "PATCH", f"{url}?dryRun=All", patch_type("merge"), body)
    yield ("apply: delete", "DELETE", url, JSON, None)
