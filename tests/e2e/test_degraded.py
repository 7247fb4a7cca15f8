"""A machine that does not permit what the platform would like: it comes up all the same, and says what is missing."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import kfp
import pytest
from tests.e2e.platforms import SCRIPTS, Platform, eventually, start_platform
from tests.e2e.test_pipelines import means

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]

NO_NETWORKS = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"'


def _restricted(script: str) -> Callable[[list[str]], list[str]]:
    """Wraps a command so that it runs as a user to whom the kernel refuses something."""
    return lambda command: ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *command]


def _platform(script: str) -> Iterator[Platform]:
    somehow = _restricted(script)
    if not shutil.which("unshare") or subprocess.run(somehow(["true"]), check=False, capture_output=True).returncode:
        pytest.skip("this machine permits no user namespace to try it in")
    root = Path(tempfile.mkdtemp(prefix="kd-", dir="/tmp"))
    started = start_platform(root, somehow)
    yield started
    assert started.ketch("down").returncode == 0
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[Platform]:
    """A platform without network namespaces."""
    yield from _platform(NO_NETWORKS)


@pytest.fixture(scope="module")
def bare() -> Iterator[Platform]:
    """A platform without namespaces of any kind."""
    yield from _platform(NO_NAMESPACES)


def _doctor(platform: Platform, script: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "ketch"), "doctor", "--data-dir", str(platform.root)]
    return subprocess.run(_restricted(script)(command), check=False, text=True, capture_output=True, timeout=60)


def _pod(name: str, script: str, **container: object) -> dict:
    only = {"name": "main", "image": "busybox", "command": ["sh", "-c", script], **container}
    spec = {"restartPolicy": "Never", "containers": [only], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_without_networks_status_and_doctor_say_what_is_lost_and_what_would_help(shared: Platform):
    status = shared.ketch("status")
    assert status.returncode == 0
    assert "degraded: pods share the host's network" in status.stdout
    assert "user.max_net_namespaces=10000" in status.stdout
    assert "share the host's network" in json.loads(shared.ketch("status", "--json").stdout)["degraded"]
    doctor = _doctor(shared, NO_NETWORKS)
    assert doctor.returncode == 1
    assert "✗ network namespaces: " in doctor.stdout
    assert "sudo sysctl -w user.max_net_namespaces=10000" in doctor.stdout
    assert "✓ sandboxes: work" in doctor.stdout


def test_without_networks_pods_run_in_the_hosts(shared: Platform):
    shared.apply(_pod("looks", "readlink /proc/self/ns/net; echo $HOSTNAME"))
    shared.kubectl("wait", "pod/looks", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert shared.kubectl("logs", "looks").split() == [os.readlink("/proc/self/ns/net"), "looks"]  # noqa: PTH115
    assert shared.get("pod", "looks")["status"]["podIP"] == "127.0.0.1"


def test_without_networks_a_port_is_given_to_one_pod_at_a_time(shared: Platform):
    ports = [{"containerPort": 18765}]
    shared.apply(_pod("first", "exec sleep 600", ports=ports))
    shared.kubectl("wait", "pod/first", "--for=condition=Ready", "--timeout=60s")
    shared.apply(_pod("second", "exec sleep 600", ports=ports), _pod("other", "true", ports=[{"containerPort": 18766}]))
    shared.kubectl("wait", "pod/other", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    events = eventually(lambda: "FailedScheduling" in (text := shared.kubectl("describe", "pod", "second")) and text)
    assert "didn't have free ports for the requested pod ports (pods there share the network of their host)" in events
    shared.kubectl("delete", "pod", "first")
    shared.kubectl("wait", "pod/second", "--for=condition=Ready", "--timeout=60s")
    shared.kubectl("delete", "pod", "second")


def test_without_networks_pods_reach_the_api_server_as_anywhere(shared: Platform):
    script = (
        "import os, ssl, urllib.request\n"
        "account = '/var/run/secrets/kubernetes.io/serviceaccount'\n"
        "host, port = os.environ['KUBERNETES_SERVICE_HOST'], os.environ['KUBERNETES_SERVICE_PORT']\n"
        "head = {'Authorization': 'Bearer ' + open(account + '/token').read()}\n"
        "request = urllib.request.Request(f'https://{host}:{port}/api', headers=head)\n"
        "context = ssl.create_default_context(cafile=account + '/ca.crt')\n"
        "print(urllib.request.urlopen(request, context=context).status)\n"
    )
    shared.apply(_pod("asks", "", image="python:3.11", command=["python3", "-c", script]))
    shared.kubectl("wait", "pod/asks", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert shared.kubectl("logs", "asks") == "200\n"


def test_without_networks_a_pipeline_runs(shared: Platform, tmp_path: Path):
    package = tmp_path / "means.yaml"
    kfp.compiler.Compiler().compile(means, str(package))
    result = shared.ketch("run", str(package), "-p", "count=3", "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_namespaces_each_pod_and_command_says_why_none_can_run(bare: Platform):
    bare.apply(_pod("cannot", "true"))
    bare.kubectl("wait", "pod/cannot", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    ended = bare.get("pod", "cannot")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "cannot make the sandbox: this machine does not permit it" in ended["message"]
    assert "ketch doctor" in ended["message"]
    assert "degraded: no pod can run: sandboxes need user namespaces" in bare.ketch("status").stdout
    doctor = _doctor(bare, NO_NAMESPACES)
    assert doctor.returncode == 1
    assert "✗ sandboxes: " in doctor.stdout
    assert "sudo sysctl -w user.max_user_namespaces=10000" in doctor.stdout
