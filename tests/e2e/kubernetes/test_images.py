"""OCI images with official clients: pulled from a private registry with a ServiceAccount's secret, run, looked into."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config
from tests.e2e.manifests import container, pod
from tests.e2e.platforms import SCRIPTS, Platform, eventually
from tests.ociimages import BuiltImage, Entry, layer
from tests.pythonimages import python_image, tools_layer
from tests.registries import PASSWORD, USER, RunningRegistry, running_registry

pytestmark = [pytest.mark.e2e]

SERVE = """
import http.server, os, signal, sys
signal.signal(signal.SIGINT, lambda *_: (print("asked to end", flush=True), os._exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getuid()} {os.environ['GREETING']} {open('/data/greeting').read()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry"), private=True) as running:
        image = python_image(
            Entrypoint=["python3", "/app/serve.py"],
            Cmd=["8080"],
            User="app",
            WorkingDir="/home/app",
            StopSignal="SIGINT",
            Env=["PATH=/usr/bin:/bin", "GREETING=hello"],
        )
        layers = [*image.layers, layer(Entry("app/serve.py", SERVE.encode()))]
        running.push("team/web", "1", BuiltImage(layers, image.process, image.media_type))
        yield running


def test_a_private_image_as_a_service(platform: Platform, registry: RunningRegistry, namespace: str):
    image = f"{registry.host}/team/web:1"
    login = (f"--docker-server={registry.host}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    platform.kubectl("create", "secret", "docker-registry", "pull", "-n", namespace, *login)
    account = {"imagePullSecrets": [{"name": "pull"}]}
    eventually(lambda: "default" in platform.kubectl("get", "serviceaccounts", "-n", namespace, "-o", "name"))
    platform.kubectl("patch", "serviceaccount", "default", "-n", namespace, "-p", json.dumps(account))
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"greeting": "from a volume"},
    }
    web = {"name": "main", "image": image, "volumeMounts": [{"name": "c", "mountPath": "/data"}]}
    web["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    web["livenessProbe"] = {"exec": {"command": ["test", "-e", "/app/serve.py"]}, "periodSeconds": 1}
    volumes = [{"name": "c", "configMap": {"name": "c"}}]
    platform.apply(config_map, pod("web", web, volumes=volumes, terminationGracePeriodSeconds=30), namespace=namespace)
    platform.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080", "-n", namespace)
    platform.kubectl("wait", "pod/web", "-n", namespace, "--for=condition=Ready", "--timeout=90s")

    asking = f"import urllib.request; print(urllib.request.urlopen('http://web.{namespace}').read().decode())"
    asked = platform.kubectl("exec", "web", "-n", namespace, "--", "python3", "-c", asking)
    assert asked == "1234 hello from a volume\n"
    said = platform.kubectl(
        "exec", "web", "-n", namespace, "--", "sh", "-c", "id -u; id -g; pwd; echo $HOME; touch kept; ls /"
    )
    assert said.split()[:4] == ["1234", "2345", "/home/app", "/home/app"]
    assert "etc" in said
    assert "boot" not in said

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder, "carried").write_text("there")
        platform.kubectl("cp", f"{folder}/carried", f"{namespace}/web:/tmp/carried")
        platform.kubectl("cp", f"{namespace}/web:/tmp/carried", f"{folder}/back")
        assert Path(folder, "back").read_text() == "there"

    events = platform.kubectl("get", "events", "-n", namespace, "-o", "jsonpath={.items[*].message}")
    assert f'Pulling image "{image}"' in events
    assert f'Successfully pulled image "{image}" in ' in events
    status = platform.get("pod", "web", "-n", namespace)["status"]["containerStatuses"][0]
    assert status["imageID"].startswith(f"{registry.host}/team/web@sha256:")

    _listed_and_kept(platform, image)
    program = [str(SCRIPTS / "kubectl"), "--kubeconfig", str(platform.kubeconfig)]
    with subprocess.Popen([*program, "logs", "-f", "web", "-n", namespace], stdout=subprocess.PIPE, text=True) as log:
        assert log.stdout is not None
        assert log.stdout.readline() == "serving\n"
        platform.kubectl("delete", "pod", "web", "-n", namespace)
        assert "asked to end" in log.communicate(timeout=60)[0]
    eventually(lambda: platform.ketch("image", "rm", image).returncode == 0, what="the image may go")
    assert image not in platform.ketch("image", "ls").stdout


def _listed_and_kept(platform: Platform, image: str) -> None:
    """The node tells of the image, and what a container uses is not removed."""
    config.load_kube_config(str(platform.kubeconfig))
    node = client.CoreV1Api().list_node().items[0].metadata.name

    def told() -> bool:
        names = [name for each in client.CoreV1Api().read_node(node).status.images or () for name in each.names]
        return image in names

    eventually(told, what="the image in the node's status")
    refused = platform.ketch("image", "rm", image)
    assert refused.returncode == 1
    assert "is used by 1 container" in refused.stderr


def test_what_is_imported_runs_and_what_is_nowhere_says_what_to_do(platform: Platform, namespace: str, tmp_path: Path):
    saved = BuiltImage([tools_layer()], {"Cmd": ["sh", "-c", "echo from an archive"]}).write_saved(
        tmp_path / "s.tar", "local/app"
    )
    assert platform.ketch("image", "import", str(saved)).returncode == 0
    missing = container("x", image="127.0.0.1:1/no/such:1")
    never = container("x", image="nowhere.example/app:1", imagePullPolicy="Never")
    app = {"name": "main", "image": "local/app"}
    platform.apply(pod("imported", app), pod("missing", missing), pod("never", never), namespace=namespace)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    platform.kubectl("wait", "pod/imported", "-n", namespace, done, "--timeout=60s")
    assert platform.kubectl("logs", "imported", "-n", namespace) == "from an archive\n"

    def waiting(name: str) -> dict:
        statuses = platform.get("pod", name, "-n", namespace)["status"].get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("waiting") or {}

    found = eventually(
        lambda: (told := waiting("missing")).get("reason") in ("ErrImagePull", "ImagePullBackOff") and told
    )
    assert "cannot be reached" in found["message"]
    assert "ketch image import" in found["message"]
    found = eventually(lambda: (told := waiting("never")).get("reason") == "ErrImageNeverPull" and told)
    assert "is not present with pull policy of Never" in found["message"]
