"""The whole platform by somebody without any rights: pods with networks of their own, Services, a pipeline, kill -9."""

import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kfp
import pytest
from tests.e2e.forwarding import forwarded
from tests.e2e.manifests import container, pod, shell
from tests.e2e.platforms import SCRIPTS, Platform, eventually, start_platform
from tests.e2e.test_pipelines import means
from tests.ordinary import as_ordinary_user

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
ASK = """
import os, sys, urllib.request
for _ in range(20):
    print(urllib.request.urlopen("http://web", timeout=10).read().decode())
for path in sys.argv[1:]:
    assert not os.path.exists(path), path
"""


@dataclasses.dataclass(frozen=True)
class OrdinaryPlatform(Platform):
    """A platform that an ordinary user started and stops."""

    @property
    def home(self) -> Path:
        return self.root.parent

    def ketch(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPTS / "ketch"), *arguments, "--data-dir", str(self.root)]
        return subprocess.run(
            as_ordinary_user(command, self.home), check=False, text=True, capture_output=True, timeout=120, **options
        )


@pytest.fixture(scope="module")
def ordinary() -> Iterator[OrdinaryPlatform]:
    """A platform of an ordinary user, whose home is empty but for it."""
    if os.geteuid() == 0 and not all(shutil.which(tool) for tool in ("unshare", "setpriv", "mount")):
        pytest.skip("becoming an ordinary user needs unshare, setpriv and mount (util-linux)")
    home = Path(tempfile.mkdtemp(prefix="ko-", dir="/tmp"))
    started = start_platform(home / "d", lambda command: as_ordinary_user(command, home))
    yield OrdinaryPlatform(**dataclasses.asdict(started))
    OrdinaryPlatform(**dataclasses.asdict(started)).ketch("down")
    shutil.rmtree(home, ignore_errors=True)


def _server(name: str) -> dict:
    container = {"name": "main", "image": "python:3.11", "command": ["python3", "-c", SERVER]}
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    metadata = {"name": name, "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _once(name: str, *command: str) -> dict:
    spec = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "python:3.11", "command": list(command)}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _ended(platform: Platform, name: str) -> dict:
    def terminated() -> dict | None:
        statuses = platform.get("pod", name)["status"].get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("terminated")

    return eventually(terminated, what=f"pod {name} ends")


def test_the_platform_belongs_to_the_user_and_isolates_pods(ordinary: OrdinaryPlatform):
    owner = ordinary.root.stat().st_uid
    for item in ordinary.record()["processes"].values():
        assert Path(f"/proc/{item['pid']}").stat().st_uid in (owner, 0)  # 0: not to be looked at, as it holds keys
        assert f"Uid:\t{owner}\t" in Path(f"/proc/{item['pid']}/status").read_text()
    status = ordinary.ketch("status")
    assert status.returncode == 0, status.stdout
    assert "host's network" not in status.stdout


@pytest.fixture(scope="module")
def web(ordinary: OrdinaryPlatform) -> None:
    """Two pods that listen on one port, behind a Service."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    ordinary.apply(_server("one"), _server("two"), service)
    ordinary.kubectl("wait", "pod/one", "pod/two", "--for=condition=Ready", "--timeout=60s")


def _ask(platform: Platform, name: str, *hidden: Path) -> None:
    """A pod asks for the Service by its name, and looks for what it must not see."""
    platform.apply(_once(name, "python3", "-c", ASK, *map(str, hidden)))
    ended = _ended(platform, name)
    assert ended["exitCode"] == 0, platform.kubectl("logs", name)
    assert set(platform.kubectl("logs", name).split()) == {"one", "two"}


@pytest.mark.usefixtures("web")
def test_two_pods_on_one_port_behind_a_service_are_reached_by_name(ordinary: OrdinaryPlatform):
    addresses = {ordinary.get("pod", name)["status"]["podIP"] for name in ("one", "two")}
    assert len(addresses) == 2
    assert all(address.startswith("10.244.") for address in addresses)
    _ask(ordinary, "asker", ordinary.home, ordinary.root / "kube.db", Path("/root/.ssh"))


def test_a_pipeline_runs(ordinary: OrdinaryPlatform):
    package = ordinary.home / "means.yaml"
    kfp.compiler.Compiler().compile(means, str(package))
    result = ordinary.ketch("run", str(package), "-p", "count=3", "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("process", ["node-agent", "keeper", "network", "control-plane"])
def test_a_pod_lives_on_when_a_process_is_killed(ordinary: OrdinaryPlatform, process: str):
    name = f"lives-{process}"
    ordinary.apply(_once(name, "sh", "-c", "echo begun; sleep 3; echo ended; exit 7"))
    ordinary.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    pid = ordinary.pid(process)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: ordinary.record()["processes"][process]["pid"] not in (pid, None))
    ordinary.pid(process)
    assert _ended(ordinary, name)["exitCode"] == 7
    assert ordinary.kubectl("logs", name) == "begun\nended\n"
    _ask(ordinary, f"after-{process}")


def test_clients_get_into_pods(ordinary: OrdinaryPlatform):
    script = "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=8000, bind='127.0.0.1')"
    inside = container("python3", "-c", script, image="python:3.11", workingDir="/etc")
    users = {"runAsUser": 1234, "runAsGroup": 4321}
    asks = shell("read x; echo got $x; tty; id -u", stdin=True, tty=True, securityContext=users)
    ordinary.apply(pod("inside", inside, securityContext=users), pod("asks", asks))
    for name in ("inside", "asks"):
        ordinary.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    done = ordinary.kubectl_result(
        "exec", "-i", "inside", "--", "sh", "-c", "cat; id -u; id -g; exit 3", stdin="said\n"
    )
    assert (done.returncode, done.stdout) == (3, "said\n1234\n4321\n")
    with (
        forwarded(ordinary, "pod/inside", ":8000") as (_, port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=60) as answer,
    ):
        assert answer.read() == b"inside\n"
    assert "got hello" in ordinary.kubectl_result("attach", "-i", "asks", stdin="hello\n").stdout
    eventually(lambda: "1234" in ordinary.kubectl("logs", "asks"))
    assert "/dev/console" in ordinary.kubectl("logs", "asks")
    eventually(lambda: "inside" in ordinary.kubectl_result("top", "pod", "--no-headers").stdout)


@pytest.mark.usefixtures("web")
def test_what_a_killed_supervisor_left_ends_and_the_pods_go_on(ordinary: OrdinaryPlatform):
    ordinary.apply(_once("goes-on", "sh", "-c", "echo begun; sleep 4; echo ended; exit 7"))
    ordinary.kubectl("wait", "pod/goes-on", "--for=condition=Ready", "--timeout=60s")
    os.kill(ordinary.record()["pid"], signal.SIGKILL)
    started = start_platform(ordinary.root, lambda command: as_ordinary_user(command, ordinary.home))
    assert _ended(started, "goes-on")["exitCode"] == 7
    assert started.kubectl("logs", "goes-on") == "begun\nended\n"
    _ask(started, "after-all")
    assert ordinary.ketch("down").returncode == 0
    assert not (ordinary.root / "run" / "holder.sock").exists()
