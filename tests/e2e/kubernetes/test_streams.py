"""Into running pods with official clients: kubectl exec, attach, run, cp, port-forward, top; Python's ``stream``."""

import gc
import hashlib
import os
import random
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client as official
from kubernetes import config
from kubernetes.stream import portforward, stream
from tests.e2e.forwarding import forwarded
from tests.e2e.manifests import container, pod, shell
from tests.e2e.platforms import SCRIPTS, Platform, eventually

pytestmark = [
    pytest.mark.e2e,
    # The Python client leaves sockets of streams that were refused, and of its port-forwards, to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SERVER = ("python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/srv/files")
MEGABYTES = 40


@pytest.fixture(scope="module")
def space(platform: Platform) -> Iterator[str]:
    """A namespace with a pod ``p`` of two containers; one serves /srv/files on its loopback."""
    name = "streams"
    platform.kubectl("create", "namespace", name)
    files = {"name": "files", "mountPath": "/srv/files"}
    colour = {"name": "COLOUR", "value": "red"}
    main = container("sleep", "100000", env=[colour], volumeMounts=[files], workingDir="/tmp")
    web = container(*SERVER, name="web", image="python:3.11", volumeMounts=[files])
    annotations = {"kubectl.kubernetes.io/default-container": "main"}
    volumes = [{"name": "files", "emptyDir": {}}]
    platform.apply(pod("p", main, web, annotations=annotations, volumes=volumes), namespace=name)
    platform.kubectl("wait", "-n", name, "--for=condition=Ready", "pod/p", "--timeout=60s")
    yield name
    platform.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def core(platform: Platform) -> Iterator[official.CoreV1Api]:
    """The official Python client."""
    with config.new_client_from_config(str(platform.kubeconfig)) as connection:
        yield official.CoreV1Api(connection)
        connection.rest_client.pool_manager.clear()
        connection.last_response = None
    gc.collect()  # what the client has left open is not to be found in another module's tests


def run(platform: Platform, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """kubectl with bytes for its stdin."""
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
    command = [str(SCRIPTS / "kubectl"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, input=data, env=environment, timeout=120)


def test_exec_is_as_a_shell_would_be(platform: Platform, space: str):
    done = run(platform, "exec", "-n", space, "p", "--", "sh", "-c", "echo out $COLOUR $PWD; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out red /tmp\n")
    assert done.stderr == b"err\ncommand terminated with exit code 7\n"
    data = random.Random(1).randbytes(MEGABYTES << 20)
    done = run(platform, "exec", "-i", "-n", space, "p", "-c", "web", "--", "cat", data=data)
    assert (done.returncode, len(done.stdout), done.stdout == data) == (0, len(data), True)
    done = run(platform, "exec", "-i", "-n", space, "p", "--", "sha256sum", data=data)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(("p", "--", "nonesuch"), 127, '"nonesuch": executable file not found in $PATH', id="no program"),
        pytest.param(("p", "--", "/etc/hosts"), 126, "permission denied", id="not executable"),
        pytest.param(("p", "-c", "other", "--", "true"), 1, "container other is not valid for pod p", id="container"),
        pytest.param(("q", "--", "true"), 1, 'pods "q" not found', id="no pod"),
        pytest.param(("p", "--", "sh", "-c", "kill -9 $$"), 137, "exit code 137", id="killed"),
    ],
)
def test_exec_that_fails_says_why(platform: Platform, space: str, arguments: tuple[str, ...], code: int, words: str):
    done = run(platform, "exec", "-n", space, *arguments)
    assert done.returncode == code
    assert words in done.stderr.decode()


def test_a_terminal_by_kubectl(platform: Platform, space: str):
    script = "read x; echo got $x on $(tty) as $TERM; stty size; exit 5"
    kubectl = f"{SCRIPTS / 'kubectl'} exec -it -n {space} p -- sh -c '{script}'"
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
    command = ["script", "-qec", f"stty rows 31 cols 101; {kubectl}", "/dev/null"]
    done = subprocess.run(command, check=False, capture_output=True, input=b"hello\n", env=environment, timeout=60)
    assert done.returncode == 5
    assert re.search(rb"got hello on /dev/pts/\d+ as xterm\r+\n31 101", done.stdout), done.stdout


def test_python_stream(core: official.CoreV1Api, space: str):
    common = {"stderr": True, "stdout": True}
    connect = core.connect_get_namespaced_pod_exec
    script = ["sh", "-c", "echo out; echo err >&2"]
    assert set(stream(connect, "p", space, command=script, stdin=False, tty=False, **common).split()) == {"out", "err"}
    shell_ = stream(connect, "p", space, command="sh", stdin=True, tty=False, _preload_content=False, **common)
    shell_.write_stdin("echo $COLOUR; exit 3\n")
    shell_.run_forever(timeout=60)
    assert (shell_.read_stdout(), shell_.returncode) == ("red\n", 3)
    shell_.close()
    post = core.connect_post_namespaced_pod_exec
    terminal = stream(post, "p", space, command="bash", stdin=True, tty=True, _preload_content=False, **common)
    terminal.write_channel(4, '{"Width":99,"Height":22}')
    terminal.write_stdin("stty size; exit 4\n")
    terminal.run_forever(timeout=60)
    assert "22 99" in terminal.read_stdout()
    assert terminal.returncode == 4
    terminal.close()
    with pytest.raises(official.ApiException):
        stream(connect, "p", space, command="true", container="other", stdin=False, tty=False, **common)


def test_who_may_not(platform: Platform, space: str):
    platform.kubectl("create", "serviceaccount", "reader", "-n", space)
    platform.kubectl(
        "create", "rolebinding", "reader", "-n", space, "--clusterrole=view", f"--serviceaccount={space}:reader"
    )
    who = f"--as=system:serviceaccount:{space}:reader"
    for arguments in (("exec", "p", "--", "true"), ("attach", "p")):
        done = run(platform, *arguments[:1], "-n", space, who, *arguments[1:])
        assert done.returncode == 1
        assert b"cannot " in done.stderr
    assert platform.kubectl("auth", "can-i", "create", "pods/exec", "-n", space).strip() == "yes"
    assert platform.kubectl_result("auth", "can-i", "create", "pods/exec", "-n", space, who).stdout.strip() == "no"


def test_files_both_ways(platform: Platform, space: str, tmp_path: Path):
    tree = tmp_path / "tree"
    (tree / "deep" / "deeper").mkdir(parents=True)
    (tree / "deep" / "deeper" / "big").write_bytes(random.Random(2).randbytes(5 << 20))
    (tree / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tree / "run.sh").chmod(0o755)
    platform.kubectl("cp", "-n", space, str(tree), "p:/srv/files/tree")
    assert run(platform, "exec", "-n", space, "p", "--", "/srv/files/tree/run.sh").stdout == b"ran\n"
    platform.kubectl("cp", "-n", space, "p:/srv/files/tree", str(tmp_path / "back"), "-c", "web")
    names = sorted(path.relative_to(tree) for path in tree.rglob("*"))
    assert sorted(path.relative_to(tmp_path / "back") for path in (tmp_path / "back").rglob("*")) == names
    big = Path("deep/deeper/big")
    assert (tmp_path / "back" / big).read_bytes() == (tree / big).read_bytes()


def test_ports_by_kubectl_and_by_python(platform: Platform, space: str, core: official.CoreV1Api):
    run(platform, "exec", "-n", space, "p", "--", "sh", "-c", "head -c 9000000 /dev/zero > /srv/files/zeros")
    with forwarded(platform, "-n", space, "pod/p", ":8000") as (_, port):
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/zeros", timeout=60) as answer:
                assert answer.read() == bytes(9_000_000)
    with forwarded(platform, "-n", space, "pod/p", ":8001") as (process, port):
        with pytest.raises(OSError, match=r".*"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).close()
        assert process.stdout is not None
        assert "dial tcp 127.0.0.1:8001: connect: connection refused" in process.stdout.read()
    connection = portforward(core.connect_get_namespaced_pod_portforward, "p", space, ports="8000")
    socket = connection.socket(8000)
    socket.setblocking(True)
    socket.sendall(b"HEAD /zeros HTTP/1.0\r\n\r\n")
    assert b"9000000" in b"".join(iter(lambda: socket.recv(4096), b""))
    assert connection.error(8000) is None
    connection.close()


def test_attach_and_run(platform: Platform, space: str):
    asks = shell("echo begin; while read x; do echo got $x; done; exit 4", stdin=True, stdinOnce=True)
    platform.apply(pod("asks", asks), namespace=space)
    platform.kubectl("wait", "-n", space, "--for=condition=Ready", "pod/asks", "--timeout=60s")
    done = run(platform, "attach", "-i", "-n", space, "asks", data=b"one\ntwo\n")
    assert (done.returncode, done.stdout.endswith(b"got one\ngot two\n")) == (0, True)
    ended = eventually(
        lambda: platform.get("pod", "asks", "-n", space)["status"]["containerStatuses"][0]["state"].get("terminated")
    )
    assert ended["exitCode"] == 4
    options = ("--restart=Never", "--image=python:3.11", "--rm", "-i", "-q", "-n", space)
    done = run(platform, "run", "once", *options, "--", "sh", data=b"echo $((6 * 7)); exit 3\n")
    assert (done.returncode, done.stdout.split()[:1]) == (3, [b"42"])


def test_top(platform: Platform, space: str):
    spins = container("python3", "-c", "x = bytearray(80_000_000)\nwhile True: pass", name="spins", image="python:3.11")
    platform.apply(pod("works", spins, container("sleep", "1000", name="sleeps")), namespace=space)
    platform.kubectl("wait", "-n", space, "--for=condition=Ready", "pod/works", "--timeout=60s")

    def measured() -> dict[str, tuple[int, int]] | None:
        lines = platform.kubectl("top", "pod", "works", "-n", space, "--containers", "--no-headers").splitlines()
        found = {line.split()[1]: tuple(int(re.sub(r"\D", "", word)) for word in line.split()[2:4]) for line in lines}
        return found if len(found) == 2 and found["spins"][1] >= 76 else None

    found = eventually(measured)
    assert found["spins"][0] > found["sleeps"][0]
    assert found["sleeps"][1] < 20
    node = platform.kubectl("top", "node", "--no-headers").split()
    assert int(node[1].removesuffix("m")) > 0
    platform.kubectl("delete", "pod", "works", "-n", space, "--now")
