"""The Python client: what scripts written with the `kubernetes` package do, a step a line.

KUBECONFIG leads to the cluster, IMAGE is an image with busybox that its node has.
"""

import json
import os
import sys
import threading
import time
from urllib.error import HTTPError
from urllib.request import urlopen

from kubernetes import client, config, dynamic, informer, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

NAMESPACE = "python"
IMAGE = os.environ["IMAGE"]
steps = []


def step(name):
    """A function decorated with it is a step: it runs where it stands."""

    def take(function):
        try:
            function()
        except Exception as error:  # whatever it is ends the client
            print(f"FAILED {name}\n  {type(error).__name__}: {error}")
            sys.exit(1)
        steps.append(name)
        print(f"  {name}", flush=True)

    return take


def equal(got, expected):
    assert got == expected, f"expected {expected!r}, got {got!r}"


def refused(status, reason, call, *arguments, **options):
    """The call is refused so; gives the Status."""
    try:
        call(*arguments, **options)
    except ApiException as error:
        body = json.loads(error.body)
        equal((error.status, body["reason"]), (status, reason))
        return body
    raise AssertionError(f"not refused with {status} {reason}")


def eventually(seconds, ask):
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (AssertionError, ApiException):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()


@step("version and groups")
def _():
    version = client.VersionApi().get_code()
    equal((version.major, version.minor), ("1", "37"))
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"} <= groups, groups


@step("a namespace, whose default account comes")
def _():
    made = core.create_namespace({"metadata": {"name": NAMESPACE}})
    equal(made.status.phase, "Active")
    eventually(20, lambda: core.read_namespaced_service_account("default", NAMESPACE))


DEPLOYMENT = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="web", labels={"app": "web"}),
    spec=client.V1DeploymentSpec(
        replicas=2,
        selector=client.V1LabelSelector(match_labels={"app": "web"}),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels={"app": "web"}),
            spec=client.V1PodSpec(
                termination_grace_period_seconds=1,
                containers=[
                    client.V1Container(
                        name="web",
                        image=IMAGE,
                        command=["sh", "-c", "mkdir /w; hostname >/w/index.html; echo started; exec httpd -f -p 8080 -h /w"],
                        readiness_probe=client.V1Probe(
                            http_get=client.V1HTTPGetAction(path="/", port=8080), period_seconds=1
                        ),
                    )
                ],
            ),
        ),
    ),
)


@step("a Deployment, watched until all is ready")
def _():
    apps.create_namespaced_deployment(NAMESPACE, DEPLOYMENT)
    watcher = watch.Watch()
    for event in watcher.stream(
        apps.list_namespaced_deployment, NAMESPACE, field_selector="metadata.name=web", timeout_seconds=60
    ):
        if event["object"].status.ready_replicas == 2:
            watcher.stop()
            return
    raise AssertionError("not ready after a minute")


def pods():
    return core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items


@step("its pods: owners, conditions, addresses")
def _():
    found = pods()
    equal(len(found), 2)
    for pod in found:
        equal(pod.metadata.owner_references[0].kind, "ReplicaSet")
        equal(pod.status.qos_class, "BestEffort")
        assert pod.status.pod_ip and pod.status.start_time.tzinfo


@step("a Service of theirs has both endpoints")
def _():
    core.create_namespaced_service(
        NAMESPACE,
        client.V1Service(
            metadata=client.V1ObjectMeta(name="web"),
            spec=client.V1ServiceSpec(selector={"app": "web"}, ports=[client.V1ServicePort(port=80, target_port=8080)]),
        ),
    )

    def both():
        slices = client.DiscoveryV1Api().list_namespaced_endpoint_slice(
            NAMESPACE, label_selector="kubernetes.io/service-name=web"
        )
        addresses = {address for one in slices.items for endpoint in one.endpoints for address in endpoint.addresses}
        equal(addresses, {pod.status.pod_ip for pod in pods()})

    eventually(20, both)


@step("logs, whole and as a stream")
def _():
    name = pods()[0].metadata.name
    equal(core.read_namespaced_pod_log(name, NAMESPACE), "started\n")
    lines = watch.Watch().stream(core.read_namespaced_pod_log, name, NAMESPACE, follow=True)
    equal(next(lines), "started")


@step("exec: output, errors, exit code")
def _():
    shell = stream(
        core.connect_get_namespaced_pod_exec,
        pods()[0].metadata.name,
        NAMESPACE,
        command=["sh", "-c", "echo out; echo err >&2; exit 3"],
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    shell.run_forever(timeout=10)
    equal((shell.read_stdout(), shell.read_stderr(), shell.returncode), ("out\n", "err\n", 3))


@step("exec with a conversation")
def _():
    shell = stream(
        core.connect_get_namespaced_pod_exec,
        pods()[0].metadata.name,
        NAMESPACE,
        command=["sh"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    for question, answer in [("echo $((6*7))", "42"), ("x=kept", None), ("echo $x", "kept")]:
        shell.write_stdin(question + "\n")
        if answer:
            equal(shell.readline_stdout(timeout=10), answer)
    shell.write_stdin("exit 0\n")
    shell.run_forever(timeout=10)
    equal(shell.returncode, 0)


@step("exec in a container that is not there is refused")
def _():
    try:
        stream(
            core.connect_get_namespaced_pod_exec,
            pods()[0].metadata.name,
            NAMESPACE,
            container="nosuch",
            command=["true"],
            stdout=True,
        )
    except ApiException as error:
        assert "400" in str(error) and "container nosuch is not valid" in str(error), error
    else:
        raise AssertionError("not refused")


@step("port-forward")
def _():
    name = pods()[0].metadata.name
    forward = portforward(core.connect_get_namespaced_pod_portforward, name, NAMESPACE, ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    said = b""
    while piece := socket.recv(4096):
        said += piece
    socket.close()
    equal(said.split(b"\r\n\r\n")[1].decode(), name + "\n")
    equal(forward.error(8080), None)


@step("the proxy of a Service")
def _():
    page = core.connect_get_namespaced_service_proxy_with_path("web:80", NAMESPACE, "index.html")
    assert page.strip() in {pod.metadata.name for pod in pods()}, page


@step("strategic merge patch: one container among them, by name")
def _():
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}}}}
    made = apps.patch_namespaced_deployment("web", NAMESPACE, body)
    equal(made.spec.template.spec.containers[0].image, IMAGE)
    equal(made.spec.template.spec.containers[0].env[0].value, "1")


@step("merge patch: null takes away")
def _():
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "patched"}, "data": {"a": "1", "b": "2"}})
    body = {"data": {"a": None, "c": "3"}}
    made = core.patch_namespaced_config_map("patched", NAMESPACE, body, _content_type="application/merge-patch+json")
    equal(made.data, {"b": "2", "c": "3"})


@step("JSON patch: a test that fails changes nothing")
def _():
    good = [{"op": "test", "path": "/data/b", "value": "2"}, {"op": "replace", "path": "/data/b", "value": "4"}]
    equal(core.patch_namespaced_config_map("patched", NAMESPACE, good).data["b"], "4")
    refused(422, "Invalid", core.patch_namespaced_config_map, "patched", NAMESPACE, good)


@step("server-side apply, a conflict, force")
def _():
    def apply(value, manager, **options):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": value}}
        return core.patch_namespaced_config_map(
            "applied", NAMESPACE, body, field_manager=manager, _content_type="application/apply-patch+yaml", **options
        )

    equal(apply("1", "one").metadata.managed_fields[0].operation, "Apply")
    status = refused(409, "Conflict", apply, "2", "two")
    equal(status["details"]["causes"][0]["field"], ".data.k")
    equal(apply("2", "two", force=True).data, {"k": "2"})


@step("replace with an old revision is a conflict")
def _():
    old = core.read_namespaced_config_map("patched", NAMESPACE)
    core.patch_namespaced_config_map("patched", NAMESPACE, {"data": {"d": "5"}})
    old.data = {}
    refused(409, "Conflict", core.replace_namespaced_config_map, "patched", NAMESPACE, old)


@step("errors: not found, already there, invalid, unknown field, bad selector")
def _():
    refused(404, "NotFound", core.read_namespaced_pod, "nosuch", NAMESPACE)
    refused(409, "AlreadyExists", core.create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "patched"}})
    status = refused(422, "Invalid", core.create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "Not_A_Name"}})
    equal(status["details"]["causes"][0]["field"], "metadata.name")
    refused(
        422,
        "Invalid",
        core.patch_namespaced_config_map,
        "patched",
        NAMESPACE,
        {"dta": {}},
        field_validation="Strict",
    )
    refused(400, "BadRequest", core.list_namespaced_pod, NAMESPACE, label_selector="a in (")


@step("a dry run leaves nothing")
def _():
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "dry"}}, dry_run="All")
    refused(404, "NotFound", core.read_namespaced_config_map, "dry", NAMESPACE)


@step("pages with a continue token")
def _():
    for n in range(25):
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": f"p-{n:02}", "labels": {"set": "p"}}})
    names, token, pages = [], None, 0
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="set=p", limit=10, _continue=token)
        names += [item.metadata.name for item in page.items]
        pages += 1
        token = page.metadata._continue
        if not token:
            break
    equal((names, pages), ([f"p-{n:02}" for n in range(25)], 3))


@step("a list and a watch from it, broken off and resumed, see every event once and in order")
def _():
    listed = core.list_namespaced_config_map(NAMESPACE, label_selector="set=p")
    revision = listed.metadata.resource_version
    expected = [("DELETED", f"p-{n:02}") for n in range(20)] + [("ADDED", f"q-{n}") for n in range(5)]

    def change():
        for n in range(20):
            core.delete_namespaced_config_map(f"p-{n:02}", NAMESPACE)
        for n in range(5):
            core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": f"q-{n}", "labels": {"set": "p"}}})

    changes = threading.Thread(target=change)
    changes.start()
    seen, watches = [], 0
    while len(seen) < len(expected) and watches < 20:
        watches += 1
        watcher = watch.Watch()
        for event in watcher.stream(
            core.list_namespaced_config_map,
            NAMESPACE,
            label_selector="set=p",
            resource_version=revision,
            timeout_seconds=10,
        ):
            revision = event["object"].metadata.resource_version
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) % 6 == 0 or len(seen) == len(expected):
                watcher.stop()
    changes.join()
    equal(seen, expected)
    equal(watches, 5)


@step("a shared informer: its cache, its handlers")
def _():
    told = []
    shared = informer.SharedInformer(core.list_namespaced_config_map, namespace=NAMESPACE, label_selector="set=p")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        shared.add_event_handler(kind, lambda one, kind=kind: told.append((kind, one.metadata.name)))
    shared.start()
    try:
        eventually(10, lambda: equal(len(shared.cache.list()), 10))
        equal(sorted(told), sorted([("ADDED", f"p-{n}") for n in range(20, 25)] + [("ADDED", f"q-{n}") for n in range(5)]))
        told.clear()
        core.patch_namespaced_config_map("q-0", NAMESPACE, {"data": {"a": "1"}})
        core.delete_namespaced_config_map("q-1", NAMESPACE)
        eventually(10, lambda: equal(told, [("MODIFIED", "q-0"), ("DELETED", "q-1")]))
        equal(shared.cache.get_by_key(f"{NAMESPACE}/q-0").data, {"a": "1"})
        equal(shared.cache.get_by_key(f"{NAMESPACE}/q-1"), None)
    finally:
        shared.stop()


@step("a streaming list ends with a bookmark")
def _():
    revision = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    kinds = []
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_secret,
        NAMESPACE,
        resource_version="0",
        send_initial_events=True,
        allow_watch_bookmarks=True,
        resource_version_match="NotOlderThan",
        timeout_seconds=10,
    ):
        kinds.append(event["type"])
        if event["type"] == "BOOKMARK":
            metadata = event["object"]["metadata"] if isinstance(event["object"], dict) else event["object"].metadata.to_dict()
            assert int(metadata.get("resourceVersion") or metadata["resource_version"]) >= int(revision)
            watcher.stop()
    equal(kinds[-1], "BOOKMARK")


@step("the dynamic client: kinds by name, apply, patch, watch, not found")
def _():
    dynamics = dynamic.DynamicClient(client.ApiClient())
    maps = dynamics.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dyn", "labels": {"by": "dyn"}}, "data": {"a": "1"}}
    revision = maps.get(namespace=NAMESPACE).metadata.resourceVersion
    equal(maps.server_side_apply(body=body, namespace=NAMESPACE, field_manager="dyn").data.a, "1")
    try:
        body["data"]["a"] = "2"
        maps.server_side_apply(body=body, namespace=NAMESPACE, field_manager="other")
        raise AssertionError("no conflict")
    except ConflictError:
        pass
    maps.patch(body={"data": {"b": "2"}}, name="dyn", namespace=NAMESPACE, content_type="application/merge-patch+json")
    events = []
    for event in maps.watch(namespace=NAMESPACE, resource_version=revision, label_selector="by=dyn", timeout=2):
        events.append((event["type"], event["object"].data.to_dict()))
    equal(events, [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "1", "b": "2"})])
    maps.delete(name="dyn", namespace=NAMESPACE)
    try:
        maps.get(name="dyn", namespace=NAMESPACE)
        raise AssertionError("still there")
    except NotFoundError:
        pass


@step("scale and status as subresources")
def _():
    scale = apps.read_namespaced_deployment_scale("web", NAMESPACE)
    scale.spec.replicas = 1
    scale.metadata.resource_version = None  # the controller tells its status all the while
    apps.replace_namespaced_deployment_scale("web", NAMESPACE, scale)

    def scaled():
        status = apps.read_namespaced_deployment_status("web", NAMESPACE).status
        equal((status.replicas, status.ready_replicas, status.updated_replicas), (1, 1, 1))

    eventually(60, scaled)


@step("objects from YAML, a list of several kinds")
def _():
    text = f"""
- {{apiVersion: v1, kind: Secret, metadata: {{name: from-yaml}}, stringData: {{a: b}}}}
- apiVersion: batch/v1
  kind: Job
  metadata: {{name: from-yaml}}
  spec:
    template:
      spec:
        restartPolicy: Never
        containers: [{{name: c, image: {IMAGE}, command: [sh, -c, exit 0]}}]
"""
    import yaml

    utils.create_from_yaml(client.ApiClient(), yaml_objects=yaml.safe_load(text), namespace=NAMESPACE)
    equal(core.read_namespaced_secret("from-yaml", NAMESPACE).data, {"a": "Yg=="})

    def complete():
        conditions = batch.read_namespaced_job("from-yaml", NAMESPACE).status.conditions or []
        assert any(condition.type == "Complete" and condition.status == "True" for condition in conditions)

    eventually(60, complete)


@step("quantities")
def _():
    equal(utils.parse_quantity("1500m") * 2, utils.parse_quantity("3"))
    node = core.list_node().items[0]
    assert utils.parse_quantity(node.status.allocatable["memory"]) > utils.parse_quantity("64Mi")


@step("a token of an account, and what its bearer may")
def _():
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("default", NAMESPACE, request).status.token
    own = client.Configuration.get_default_copy()
    bearer = client.Configuration()
    bearer.host, bearer.ssl_ca_cert = own.host, own.ssl_ca_cert
    bearer.api_key = {"authorization": "Bearer " + token}
    api = client.ApiClient(bearer)
    who = client.AuthenticationV1Api(api).create_self_subject_review({})
    equal(who.status.user_info.username, f"system:serviceaccount:{NAMESPACE}:default")
    refused(403, "Forbidden", client.CoreV1Api(api).list_namespaced_secret, NAMESPACE)
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": NAMESPACE}}}
    equal(client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed, False)


@step("without credentials nothing is told")
def _():
    import ssl

    trust = ssl.create_default_context(cafile=client.Configuration.get_default_copy().ssl_ca_cert)
    try:
        urlopen(client.Configuration.get_default_copy().host + "/api/v1/secrets", context=trust)
        raise AssertionError("told")
    except HTTPError as error:
        equal(error.code, 403)


@step("leader election by a Lease")
def _():
    led = threading.Event()
    lock = LeaseLock("leader", NAMESPACE, "python-1")
    election = electionconfig.Config(
        lock, lease_duration=15, renew_deadline=10, retry_period=1, onstarted_leading=led.set, onstopped_leading=None
    )
    threading.Thread(target=leaderelection.LeaderElection(election).run, daemon=True).start()
    assert led.wait(15), "nobody leads"
    lease = client.CoordinationV1Api().read_namespaced_lease("leader", NAMESPACE)
    equal(lease.spec.holder_identity, "python-1")


@step("events of an object")
def _():
    name = pods()[0].metadata.name
    reasons = {event.reason for event in core.list_namespaced_event(NAMESPACE, field_selector=f"involvedObject.name={name}").items}
    assert {"Scheduled", "Started"} <= reasons, reasons


@step("an eviction")
def _():
    name = pods()[0].metadata.name
    core.create_namespaced_pod_eviction(name, NAMESPACE, client.V1Eviction(metadata=client.V1ObjectMeta(name=name)))
    eventually(30, lambda: refused(404, "NotFound", core.read_namespaced_pod, name, NAMESPACE))


@step("a collection is deleted; the namespace goes with the rest")
def _():
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="set=p")
    equal(core.list_namespaced_config_map(NAMESPACE, label_selector="set=p").items, [])
    core.delete_namespace(NAMESPACE)
    eventually(60, lambda: refused(404, "NotFound", core.read_namespace, NAMESPACE))


print(f"ok {len(steps)} steps", flush=True)
os._exit(0)  # the election's thread is still holding its lease
