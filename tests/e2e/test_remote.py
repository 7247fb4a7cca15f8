"""A cluster of others: `ketch manager` and `ketch node` on an API server that has no controllers of ours, and no node.

The manager is the service account that `ketch export` makes, and no more; the node is one under node restriction.
"""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kfp
import pytest
from kfp import dsl
from tests.e2e.forwarding import forwarded
from tests.e2e.platforms import SCRIPTS, Platform, eventually, start_platform

NODE = "local"


class Cluster:
    """A plain API server, and what was joined to it."""

    def __init__(self, folder: Path, platform: Platform) -> None:
        self.folder = folder
        self.platform = platform
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def start(self, name: str, *arguments: str) -> None:
        """A `ketch` command of its own, that goes on."""
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [str(SCRIPTS / "ketch"), *arguments, "--data-dir", str(self.folder / name)]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def said(self, name: str) -> str:
        """What the command has printed."""
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """SIGKILL, as a machine that is gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def node(self) -> None:
        """The node, once it is Ready."""
        kubeconfig = self.platform.root / "pki" / "node.kubeconfig"
        before = self.said("node").count("Ready:") if "node" in self._ports else 0
        self._ports["node"] = 0
        words = ("--label", "disk=ssd", "--taint", "team=ours:NoSchedule", "--port", "0", "--address", "127.0.0.1")
        self.start("node", "node", "--kubeconfig", str(kubeconfig), "--name", NODE, *words)
        eventually(lambda: self.said("node").count("Ready:") > before, what="the node")
        eventually(lambda: condition(self.platform.get("node", NODE), "Ready"), what="Ready")

    def manager(self, name: str, kubeconfig: Path) -> None:
        """A replica, once it answers."""
        ports = [free_port() for _ in range(3)]
        self._ports[name], self._ports[f"{name}-health"] = ports[0], ports[2]
        flags = [f"--{flag}={port}" for flag, port in zip(("port", "secure-port", "health-port"), ports, strict=True)]
        objects, database = self.folder / "node" / "objects", f"sqlite:///{self.folder / 'manager.db'}"
        where = ("--advertise", "127.0.0.1", "--objects", str(objects), "--database", database)
        self.start(name, "manager", "--kubeconfig", str(kubeconfig), *flags, *where)
        eventually(lambda: self.asked(name, "/healthz")[0] == 200, what=f"{name}: {self.said(name)}")

    def asked(self, name: str, path: str) -> tuple[int, str]:
        """What a replica's health port answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[f'{name}-health']}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def client(self, name: str) -> kfp.Client:
        """The official client of the pipelines' API of a replica."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return kfp.Client(host=f"http://127.0.0.1:{self._ports[name]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def condition(obj: dict[str, Any], kind: str) -> bool:
    """Whether a condition of an object is true."""
    conditions = obj.get("status", {}).get("conditions", ())
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def exported(*more: str) -> str:
    """What `ketch export` prints."""
    command = [str(SCRIPTS / "ketch"), "export", *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The API server with one node; what `ketch export` prints is applied."""
    folder = Path(tempfile.mkdtemp(prefix="kr-", dir="/tmp"))
    without = [word for part in ("pipelines", "training", "node") for word in ("--without", part)]
    platform = start_platform(folder / "api", lambda command: [*command, *without])
    cluster = Cluster(folder, platform)
    try:
        cluster.node()
        platform.kubectl("taint", "node", NODE, "team-")
        manifests = exported("--image", "ketch.dev/manager", "--replicas", "0")
        platform.kubectl("apply", "--server-side", "-f", "-", stdin=manifests)
        yield cluster
    finally:
        for process in cluster.processes.values():
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
        platform.ketch("down")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> Path:
    """The kubeconfig of the manager's service account."""
    token = cluster.platform.kubectl("create", "token", "--namespace", "kubeflow", "ketch-manager").strip()
    config = json.loads(cluster.platform.kubeconfig.read_text())
    config["users"] = [{"name": "manager", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "manager"
    path = cluster.folder / "manager.kubeconfig"
    path.touch(0o600)
    path.write_text(json.dumps(config))
    return path


SERVER = """
apiVersion: v1
kind: ConfigMap
metadata: {name: page, namespace: default}
data: {index.html: first}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  nodeSelector: {disk: ssd}
  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists}]
  containers:
  - name: web
    image: python:3.11
    command: [sh, -c, 'echo serving; cd /page; exec python3 -m http.server 8000']
    readinessProbe: {httpGet: {port: 8000, path: /index.html}, periodSeconds: 1}
    volumeMounts: [{name: page, mountPath: /page}]
  volumes: [{name: page, configMap: {name: page}}]
"""

CALL_THE_API = """
import ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
headers = {"Authorization": "Bearer " + open(f"{folder}/token").read()}
asked = urllib.request.Request("https://kubernetes.default.svc/version", headers=headers)
print(urllib.request.urlopen(asked, context=trust).status)
"""


def test_pods_of_another_api_server(cluster: Cluster) -> None:
    platform = cluster.platform
    platform.kubectl("apply", "-f", "-", stdin=SERVER)
    platform.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert platform.get("pod", "web")["spec"]["nodeName"] == NODE
    assert platform.kubectl("logs", "web").startswith("serving\n")
    assert platform.kubectl("exec", "web", "--", "python3", "-c", CALL_THE_API) == "200\n"
    assert platform.kubectl("exec", "-i", "web", "--", "cat", stdin="there and back") == "there and back"
    with forwarded(platform, "pod/web", ":8000") as (_, port):
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html").read() == b"first"
    platform.kubectl("patch", "configmap", "page", "--patch", '{"data": {"index.html": "second"}}')
    shown = ("exec", "web", "--", "cat", "/page/index.html")
    eventually(lambda: platform.kubectl(*shown) == "second", what="the volume's newer content")
    assert "web" in platform.kubectl("top", "pod", "web")


def test_a_nodes_door_is_closed_to_others(cluster: Cluster) -> None:
    """To whoever shows no certificate, and to those that the cluster vouches for, but does not let in."""
    port = cluster.platform.get("node", NODE)["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    config = json.loads((cluster.platform.root / "pki" / "node.kubeconfig").read_text())["users"][0]["user"]
    for name in ("client-certificate", "client-key"):
        (cluster.folder / name).write_bytes(base64.b64decode(config[f"{name}-data"]))
    url = f"https://127.0.0.1:{port}/containerLogs/default/web/web"
    shown = ("--cert", "client-certificate", "--key", "client-key")
    for who, code in (((), "000"), (shown, "403")):
        command = ["curl", "--silent", "--insecure", "--write-out", "%{http_code}", *who, url]
        asked = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cluster.folder)
        assert "serving" not in asked.stdout
        assert asked.stdout.endswith(code), asked


@dsl.component(base_image="python:3.11")
def make(number: int, out: dsl.Output[dsl.Dataset]):
    with open(out.path, "w") as file:  # noqa: PTH123  # a component imports what it needs
        file.write(str(number))


@dsl.component(base_image="python:3.11")
def use(data: dsl.Input[dsl.Dataset]) -> int:
    with open(data.path) as file:  # noqa: PTH123  # as above
        return int(file.read()) + 1


@dsl.pipeline
def handed_on(number: int = 1):
    use(data=make(number=number).outputs["out"])


def job(name: str, **more: Any) -> dict[str, Any]:
    """A PyTorchJob of two."""
    container = {
        "name": "pytorch",
        "image": "python:3.11",
        "command": ["python3", "-c", "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'])"],
    }
    replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": name, "namespace": "default", **more},
        "spec": {"pytorchReplicaSpecs": {"Master": replica, "Worker": replica}},
    }


TRAINJOB = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "metadata": {"name": "trained", "namespace": "default"},
    "spec": {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": {"image": "python:3.11", "numNodes": 1, "command": ["python3", "-c", "print('trained')"]},
    },
}


def succeeded(cluster: Cluster, name: str) -> None:
    cluster.platform.kubectl("wait", "--for=condition=Succeeded", f"pytorchjob/{name}", "--timeout=60s")


def test_domains_run_on_it_and_outlive_their_leader(cluster: Cluster, account: Path) -> None:
    platform = cluster.platform
    cluster.manager("first", account)
    eventually(lambda: cluster.asked("first", "/readyz")[0] == 200, what=cluster.said("first"))
    run = cluster.client("first").create_run_from_pipeline_func(handed_on, arguments={"number": 41})
    annotations = {"checkpoints.ketch.dev/volume": "auto", "training.ketch.dev/client": "true"}
    platform.apply(job("two", annotations=annotations), TRAINJOB)
    succeeded(cluster, "two")
    platform.kubectl("wait", "--for=condition=Complete", "trainjob/trained", "--timeout=60s")
    assert platform.kubectl("logs", "two-worker-0") == "1 2\n"
    assert run.wait_for_run_completion(timeout=120).state == "SUCCEEDED"
    assert "controller_runtime_reconcile_total" in cluster.asked("first", "/metrics")[1]

    wrong = job("wrong")
    wrong["spec"]["pytorchReplicaSpecs"]["Nobody"] = wrong["spec"]["pytorchReplicaSpecs"].pop("Worker")
    refused = platform.kubectl_result("create", "-f", "-", stdin=json.dumps(wrong))
    assert 'spec.pytorchReplicaSpecs[Nobody]: Unsupported value: "Nobody"' in refused.stderr, refused

    cluster.manager("second", account)
    assert cluster.asked("second", "/readyz") == (503, "leader election: another replica leads, or none yet\n")
    cluster.kill("first")
    before = platform.get("pod", "web")
    cluster.kill("node")
    cluster.node()
    eventually(lambda: cluster.asked("second", "/readyz")[0] == 200, what=cluster.said("second"))
    platform.apply(job("later"))
    succeeded(cluster, "later")
    assert "web" in platform.kubectl("exec", "web", "--", "sh", "-c", "echo web")
    after = platform.get("pod", "web")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert "forbidden" not in (cluster.said("first") + cluster.said("second")).lower()
    assert "forbidden" not in (cluster.folder / "node" / "logs" / "node-agent.log").read_text().lower()


TELLS = """
import json, os, ssl, urllib.request
trust = ssl.create_default_context(cafile=os.environ["KUBEFLOW_TRAINER_SERVER_CA_CERT"])
headers = {"Authorization": "Bearer " + open(os.environ["KUBEFLOW_TRAINER_SERVER_TOKEN"]).read()}
report = {"trainerStatus": {"progressPercentage": 50, "lastUpdatedTime": "2026-01-01T00:00:00Z"}}
url, body = os.environ["KUBEFLOW_TRAINER_SERVER_URL"], json.dumps(report).encode()
urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST"), context=trust)
print(urllib.request.urlopen("http://ml-pipeline.kubeflow:8888/apis/v2beta1/healthz").status)
"""


@pytest.fixture
def with_node() -> Iterator[Platform]:
    """A cluster with a node, and without domains."""
    root = Path(tempfile.mkdtemp(prefix="kr-", dir="/tmp"))
    without = ("--without", "pipelines", "--without", "training")
    platform = start_platform(root, lambda command: [*command, *without])
    yield platform
    platform.ketch("down")
    shutil.rmtree(root, ignore_errors=True)


def test_what_is_exported_runs_in_the_cluster(with_node: Platform) -> None:
    """A pod with its service account, reached through its Services: by webhooks, by jobs, by clients."""
    platform = with_node
    platform.kubectl("apply", "--server-side", "-f", "-", stdin=exported("--image", "ketch.dev/transfer"))
    rollout = ("rollout", "status", "--namespace", "kubeflow", "deployment/ketch-manager", "--timeout=100s")
    platform.kubectl(*rollout)
    wrong = job("wrong")
    wrong["spec"]["pytorchReplicaSpecs"]["Nobody"] = wrong["spec"]["pytorchReplicaSpecs"].pop("Worker")
    refused = platform.kubectl_result("create", "-f", "-", stdin=json.dumps(wrong))
    assert 'Unsupported value: "Nobody"' in refused.stderr, refused
    trainer = {**TRAINJOB["spec"]["trainer"], "command": ["python3", "-c", TELLS]}
    platform.apply({**TRAINJOB, "spec": {**TRAINJOB["spec"], "trainer": trainer}})
    platform.kubectl("wait", "--for=condition=Complete", "trainjob/trained", "--timeout=60s")
    assert platform.kubectl("logs", "--selector", "jobset.sigs.k8s.io/jobset-name=trained") == "200\n"
    status = platform.get("trainjob", "trained")["status"]
    assert status["trainerStatus"]["progressPercentage"] == 50
    assert "forbidden" not in platform.kubectl("logs", "--namespace", "kubeflow", "deployment/ketch-manager").lower()
