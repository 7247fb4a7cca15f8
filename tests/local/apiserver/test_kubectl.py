"""kubectl, as people use it: on built-in kinds and on a custom resource."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ketch.kube.transport import MERGE_PATCH, Request

KUBECTL = Path(sys.executable).with_name("kubectl")
PATIENCE = 60

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: trains.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: trains, singular: train, kind: Train, shortNames: [tr], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A train.
        properties:
          spec:
            type: object
            description: What it should be.
            required: [line]
            properties:
              line: {type: string, enum: [red, blue], description: Which line it runs on.}
              replicas: {type: integer, maximum: 10, default: 1}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
TRAIN = """
apiVersion: example.com/v1
kind: Train
metadata: {name: t1}
spec: {line: red, free: {a: {b: 1}}}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "python:3.11", ports: [{containerPort: 8080}], env: [{name: A, value: b}]}
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def kubectl(served: Any, tmp_path: Path) -> Any:
    """``await kubectl("get", "pods")``: the output of a command that must succeed; ``code`` names another outcome."""
    environment = {"KUBECONFIG": str(served.kubeconfig), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    async def run(*arguments: str, stdin: str = "", code: int | None = 0) -> Any:
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin.encode())
        done = Done(process.returncode or 0, out.decode(), err.decode())
        assert code is None or done.code == code, done
        return done.out if code == 0 else done

    return run


async def patch_status(served: Any, path: str, status: dict[str, Any]) -> None:
    transport = served.api.transport()
    await transport.request(Request("PATCH", f"{path}/status", {}, {"status": status}, MERGE_PATCH))


async def test_what_there_is(kubectl: Any) -> None:
    assert "Server Version: v1.37.0+ketch" in await kubectl("version")
    resources = await kubectl("api-resources")
    assert "deploy" in resources
    assert "poddisruptionbudgets" in resources
    assert "apps/v1" in await kubectl("api-versions")
    assert "kubeflow" in await kubectl("get", "namespaces")
    assert "is running at" in await kubectl("cluster-info")
    assert await kubectl("get", "--raw", "/readyz") == "ok"
    assert await kubectl("get", "--raw", "/livez?verbose") == "[+]ping ok\nlivez check passed\n"
    missing = await kubectl("get", "frobs", code=1)
    assert "the server doesn't have a resource type" in missing.err


async def test_explain(kubectl: Any) -> None:
    text = await kubectl("explain", "pod.spec.containers.livenessProbe")
    assert "Periodic probe of container liveness" in text
    assert "initialDelaySeconds" in text
    assert "strategy\t<DeploymentStrategy>" in await kubectl("explain", "deployments.spec", "--recursive")


async def test_client_side_apply(kubectl: Any) -> None:
    assert "created" in await kubectl("apply", "-f", "-", stdin=WEB)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=WEB)
    changed = WEB.replace("replicas: 2", "replicas: 4").replace("value: b", "value: c")
    differences = await kubectl("diff", "-f", "-", stdin=changed, code=1)
    assert "+  replicas: 4" in differences.out
    assert "+          value: c" in differences.out
    assert "configured" in await kubectl("apply", "-f", "-", stdin=changed)
    without = changed.replace(", env: [{name: A, value: c}]", "")
    await kubectl("apply", "-f", "-", stdin=without)
    deployment = json.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    assert deployment["spec"]["replicas"] == 4
    assert "env" not in deployment["spec"]["template"]["spec"]["containers"][0]


async def test_server_side_apply(kubectl: Any) -> None:
    server_side = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in await kubectl(*server_side, stdin=WEB)
    other = WEB.replace("replicas: 2", "replicas: 3")
    refused = await kubectl(*server_side, "--field-manager=other", stdin=other, code=1)
    assert 'conflict with "kubectl": .spec.replicas' in refused.err
    differences = await kubectl("diff", "--server-side", "--force-conflicts", "-f", "-", stdin=other, code=1)
    assert "+  replicas: 3" in differences.out
    await kubectl(*server_side, "--field-manager=other", "--force-conflicts", stdin=other)
    shown = json.loads(await kubectl("get", "deploy", "web", "-o", "json", "--show-managed-fields"))
    assert {item["manager"] for item in shown["metadata"]["managedFields"]} == {"kubectl", "other"}


async def test_from_client_side_to_server_side(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=WEB)
    changed = WEB.replace("replicas: 2", "replicas: 5")
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=changed)


async def test_bad_manifests(kubectl: Any) -> None:
    unknown = await kubectl("apply", "-f", "-", stdin=WEB.replace("replicas:", "replica:"), code=1)
    assert 'unknown field "spec.replica"' in unknown.err
    invalid = await kubectl("apply", "-f", "-", stdin=WEB.replace("name: main", "name: Main!"), code=1)
    assert 'spec.template.spec.containers[0].name: Invalid value: "Main!"' in invalid.err
    mismatch = await kubectl(
        "create", "-f", "-", stdin=WEB.replace("labels: {app: web}}\n    spec", "labels: {app: x}}\n    spec"), code=1
    )
    assert "`selector` does not match template `labels`" in mismatch.err


async def test_reading(kubectl: Any, served: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=WEB)
    await kubectl("run", "p1", "--image=python:3.11", "--labels=app=one")
    pod = "/api/v1/namespaces/default/pods/p1"
    started = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    container = {"name": "p1", "image": "x", "imageID": "", "ready": True, "restartCount": 2, "state": started}
    await patch_status(served, pod, {"phase": "Running", "podIP": "10.244.0.9", "containerStatuses": [container]})
    header, row = (await kubectl("get", "pods", "-o", "wide")).splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[:4] == ["p1", "1/1", "Running", "2"]
    assert "10.244.0.9" in row
    assert "image: python:3.11" in await kubectl("get", "pod", "p1", "-o", "yaml")
    assert await kubectl("get", "pods", "-o", "name") == "pod/p1\n"
    assert await kubectl("get", "pod", "p1", "-o", "jsonpath={.status.phase}") == "Running"
    assert (
        await kubectl("get", "pods", "-l", "app=one", "-o", "custom-columns=N:.metadata.name", "--no-headers") == "p1\n"
    )
    assert "p1" in await kubectl("get", "pods", "--field-selector=status.phase=Running", "-A")
    assert "deployment.apps/web" in await kubectl("get", "all")
    described = await kubectl("describe", "pod", "p1")
    assert "Image:          python:3.11" in described
    assert "Replicas:               2 desired" in await kubectl("describe", "deployment", "web")
    absent = await kubectl("get", "pod", "none", code=1)
    assert 'pods "none" not found' in absent.err


async def test_changing(kubectl: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=WEB)
    await kubectl("label", "deploy", "web", "tier=front")
    await kubectl("annotate", "deploy", "web", "note=hello")
    await kubectl("patch", "deploy", "web", "-p", '{"spec":{"paused":true}}')
    await kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"minReadySeconds":3}}')
    step = '[{"op":"replace","path":"/spec/revisionHistoryLimit","value":2}]'
    await kubectl("patch", "deploy", "web", "--type=json", "-p", step)
    await kubectl("scale", "deploy", "web", "--replicas=7")
    await kubectl("set", "image", "deploy/web", "main=python:3.12")
    await kubectl("set", "env", "deploy/web", "B=c")
    shown = json.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    spec, meta = shown["spec"], shown["metadata"]
    assert (meta["labels"]["tier"], meta["annotations"]["note"]) == ("front", "hello")
    assert (spec["paused"], spec["minReadySeconds"], spec["revisionHistoryLimit"], spec["replicas"]) == (True, 3, 2, 7)
    container = spec["template"]["spec"]["containers"][0]
    assert (container["image"], [each["name"] for each in container["env"]]) == ("python:3.12", ["A", "B"])
    await kubectl("label", "deploy", "web", "tier-")
    refused = await kubectl("scale", "deploy", "web", "--replicas=1", "--current-replicas=3", code=1)
    assert "expected replicas" in refused.err.lower()
    await kubectl("replace", "-f", "-", stdin=WEB)


async def test_waiting_and_rollout(kubectl: Any, served: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=WEB)
    waiting = asyncio.ensure_future(kubectl("rollout", "status", "deploy/web", "--timeout=30s"))
    condition = asyncio.ensure_future(kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=30s"))
    conditions = [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}]
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 2)
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    await patch_status(served, path, {"observedGeneration": 1, **counts, "conditions": conditions})
    assert "successfully rolled out" in await waiting
    assert "condition met" in await condition
    gone = asyncio.ensure_future(kubectl("wait", "--for=delete", "deploy/web", "--timeout=30s"))
    assert "deleted" in await kubectl("delete", "deploy", "web")
    await gone
    late = await kubectl("wait", "--for=jsonpath={.status.phase}=Active", "ns/default", "--timeout=30s")
    assert "condition met" in late


async def test_watching(kubectl: Any, served: Any, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(served.kubeconfig), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = (str(KUBECTL), "get", "configmaps", "-w", "--output-watch-events")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await kubectl("create", "configmap", "a", "--from-literal=x=1")
    async with asyncio.timeout(PATIENCE):
        header, added = await process.stdout.readline(), await process.stdout.readline()
        await kubectl("delete", "configmap", "a")
        deleted = await process.stdout.readline()
    process.terminate()
    await process.wait()
    assert header.split() == [b"EVENT", b"NAME", b"DATA", b"AGE"]
    assert (added.split()[:2], deleted.split()[:2]) == ([b"ADDED", b"a"], [b"DELETED", b"a"])


async def test_making_things(kubectl: Any) -> None:
    for command in (
        "namespace team",
        "configmap c --from-literal=a=b",
        "secret generic s --from-literal=a=b",
        "serviceaccount runner",
        "deployment d --image=python:3.11 --replicas=3",
        "job j --image=busybox",
        "cronjob cj --image=busybox --schedule=*/5_*_*_*_*",
        "role reader --verb=get,list --resource=pods",
        "rolebinding readers --role=reader --serviceaccount=default:runner",
        "clusterrole cr --verb=get --resource=nodes",
        "service clusterip svc --tcp=80:8080",
        "quota q --hard=cpu=1",
        "ingress i --rule=a.example/path=svc:80",
        "poddisruptionbudget pdb --selector=a=b --min-available=1",
        "priorityclass pc --value=5",
    ):
        assert "created" in await kubectl("create", *(part.replace("_", " ") for part in command.split()))
    shown = json.loads(await kubectl("get", "deploy", "d", "-o", "json"))
    assert (shown["spec"]["replicas"], shown["spec"]["template"]["spec"]["containers"][0]["name"]) == (3, "python")
    assert await kubectl("get", "cronjob", "cj", "-o", "jsonpath={.spec.schedule}") == "*/5 * * * *"
    rule = json.loads(await kubectl("get", "role", "reader", "-o", "json"))["rules"]
    assert rule == [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
    assert "8080" in await kubectl("get", "service", "svc", "-o", "jsonpath={.spec.ports[0].targetPort}")
    assert "exposed" in await kubectl("expose", "deploy", "d", "--port=80", "--name=exposed")
    assert "autoscaled" in await kubectl("autoscale", "deploy", "d", "--max=3", "--min=1")


async def test_who_may(kubectl: Any) -> None:
    await kubectl("create", "serviceaccount", "runner")
    await kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    await kubectl("create", "rolebinding", "readers", "--role=reader", "--serviceaccount=default:runner")
    runner = "--as=system:serviceaccount:default:runner"
    assert await kubectl("auth", "can-i", "get", "pods", runner) == "yes\n"
    assert (await kubectl("auth", "can-i", "delete", "pods", runner, code=1)).out == "no\n"
    assert "kubernetes-admin" in await kubectl("auth", "whoami")
    assert "*.*" in await kubectl("auth", "can-i", "--list")
    token = (await kubectl("create", "token", "runner", "--duration=1h")).strip()
    assert token.count(".") == 2
    assert "pods is forbidden" in (await kubectl("get", "pods", runner, code=1)).err


async def test_events(kubectl: Any, served: Any) -> None:
    await kubectl("run", "p1", "--image=x")
    uid = await kubectl("get", "pod", "p1", "-o", "jsonpath={.metadata.uid}")
    body = {
        "metadata": {"name": "e1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p1", "namespace": "default", "apiVersion": "v1", "uid": uid},
        "reason": "Scheduled",
        "message": "put on n1",
        "type": "Normal",
        "source": {"component": "scheduler"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:01:00Z",
        "count": 3,
    }
    transport = served.api.transport()
    await transport.request(Request("POST", "/api/v1/namespaces/default/events", {}, body))
    for listed in (await kubectl("get", "events"), await kubectl("events")):
        assert "Scheduled" in listed
        assert "pod/p1" in listed.lower()
    assert "put on n1" in await kubectl("describe", "pod", "p1")


async def test_a_custom_resource(kubectl: Any, served: Any) -> None:
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    await kubectl("wait", "--for=condition=Established", "crd/trains.example.com", "--timeout=30s")
    assert "created" in await kubectl("apply", "-f", "-", stdin=TRAIN)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=TRAIN)
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=TRAIN)
    explained = await kubectl("explain", "train.spec")
    assert "Which line it runs on." in explained
    assert "line\t<string> -required-" in explained
    assert "enum: red, blue" in explained
    await kubectl("scale", "train", "t1", "--replicas=3")
    conditions = [{"type": "Ready", "status": "True"}]
    await patch_status(served, "/apis/example.com/v1/namespaces/default/trains/t1", {"conditions": conditions})
    header, row = (await kubectl("get", "tr")).splitlines()
    assert header.split() == ["NAME", "REPLICAS", "READY", "AGE"]
    assert row.split()[:3] == ["t1", "3", "True"]
    assert "t1" in await kubectl("get", "all")
    await kubectl("wait", "--for=condition=Ready", "train/t1", "--timeout=30s")
    assert "Line:" in await kubectl("describe", "train", "t1")
    bad = TRAIN.replace("line: red", "line: green, replicas: 99").replace("t1", "t2")
    refused = await kubectl("apply", "-f", "-", stdin=bad, code=1)
    assert 'spec.line: Unsupported value: "green": supported values: "red", "blue"' in refused.err
    assert "spec.replicas: Invalid value: 99" in refused.err
    unknown = await kubectl("apply", "-f", "-", stdin=TRAIN.replace("line: red", "line: red, bogus: 1"), code=1)
    assert 'unknown field "spec.bogus"' in unknown.err
    await kubectl("delete", "crd", "trains.example.com", "--timeout=30s")
    await kubectl("get", "trains", code=1)


async def test_deleting(kubectl: Any) -> None:
    for name in "abc":
        await kubectl("create", "configmap", name)
    assert await kubectl("delete", "configmap", "a", "b", "-o", "name") == "configmap/a\nconfigmap/b\n"
    await kubectl("delete", "configmap", "--all")
    await kubectl("delete", "configmap", "a", "--ignore-not-found")
    assert 'configmaps "a" not found' in (await kubectl("delete", "configmap", "a", code=1)).err


async def test_logs_without_a_node_say_why(kubectl: Any) -> None:
    await kubectl("run", "p1", "--image=x")
    refused = await kubectl("logs", "p1", code=1)
    assert "pod p1 does not have a host assigned" in refused.err
