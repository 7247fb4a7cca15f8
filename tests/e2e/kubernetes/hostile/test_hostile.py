"""Hostile code in a container: everything it tries is in vain, and the platform stays Ready.

The same attempts in five worlds: a container of a platform that root runs, a step in a warm interpreter there, a
container of an OCI image, and both kinds of containers on an ordinary user's platform.
"""

import contextlib
import json
import multiprocessing.shared_memory
import os
import re
import socket
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kfp
import pytest
from kfp import dsl
from tests.e2e.manifests import Manifest, container, pod, shell
from tests.e2e.platforms import Platform, eventually
from tests.e2e.test_ordinary_user import ordinary
from tests.pythonimages import python_image

from ketch.local.sandbox.processlimit import kept_by_namespaces

__all__ = ["ordinary"]

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]

BOMBS = (Path(__file__).parent / "bombs.py").read_text()
PROGRAM = (Path(__file__).parent / "attempts.py").read_text()
ATTEMPTS = re.findall(r"^def (try_\w+)", PROGRAM, flags=re.MULTILINE)
NAMESPACE, NEIGHBOUR = "hostile", "neighbour"
MOST_PROCESSES = 12
"""A container's own, with room for what a step of a pipeline has beside it."""

OWN_PROGRAMS = "try_writing_programs"
IMAGE = "hostile.example/python:1"
BOUND = 4096 + 300
"""Processes that a container may have, and the lowest numbers that the kernel keeps for itself."""

LOG_BOUND = 33 << 20
"""Bytes of a container's log that are kept, with room for the line in which it was turned over."""

INIT = "1"
"""Parent of a process that a warm interpreter has sent; a cold step has a shell between."""

Gained = Mapping[str, str | None]


@dsl.component(base_image="python:3.11")
def attack(program: str, targets: str):

    exec(program, {"__name__": "hostile", "TOLD": targets})


def _neighbour(secret: str) -> list[Manifest]:
    """Somebody with a secret volume and an artefact of a name that is nowhere else."""
    kept = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kept"}, "stringData": {secret: "mine"}}
    mounted = {"name": "kept", "secret": {"secretName": "kept"}}
    container = {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
    container["volumeMounts"] = [{"name": "kept", "mountPath": "/kept"}]
    return [kept, pod(NEIGHBOUR, container, volumes=[mounted])]


def _prepared(platform: Platform, namespace: str, secret: str, abstract: str, shared: str) -> dict[str, Any]:
    """What the attacker is told: it must not help."""
    platform.kubectl("create", "namespace", namespace)
    platform.apply(*_neighbour(secret), namespace=namespace)
    platform.kubectl("wait", f"pod/{NEIGHBOUR}", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    home_file = platform.root.parent / f"home-{secret}"
    home_file.write_text("mine")
    home_file.chmod(0o644)
    return {
        "root": str(platform.root),
        "home_file": str(home_file),
        "planted": f"planted_{secret}.py",
        "processes": MOST_PROCESSES,
        "port": int(platform.address.rpartition(":")[2]),
        "abstract": abstract,
        "shared_memory": shared,
        "namespace": namespace,
        "neighbour": NEIGHBOUR,
        "neighbours_file": secret,
        "node": platform.get("nodes")["items"][0]["metadata"]["name"],
    }


def _told(log: str) -> Gained:
    told = [line for line in log.splitlines() if line.startswith('{"parent"')]
    assert told, f"the attacker did not come to its end: {log[-2000:]}"
    return json.loads(told[0])


def _in_a_pod(platform: Platform, targets: dict[str, Any], image: str = "python:3.11") -> Gained:
    container = {"name": "main", "image": image, "command": ["python3", "-c", PROGRAM, json.dumps(targets)]}
    container["imagePullPolicy"] = "IfNotPresent"
    platform.apply(pod("attacker", container), namespace=targets["namespace"])
    ended = "jsonpath={.status.containerStatuses[0].state.terminated}"
    platform.kubectl("wait", "pod/attacker", "-n", targets["namespace"], f"--for={ended}", "--timeout=100s")
    said = platform.kubectl("logs", "attacker", "-n", targets["namespace"])
    return _told(said)


def _in_an_image(platform: Platform, targets: dict[str, Any]) -> Gained:
    """In a file system of the container's own, with links where the platform mounts things."""
    with tempfile.TemporaryDirectory(dir=platform.root.parent) as folder:
        layout = python_image().write_layout(Path(folder) / "layout", IMAGE)
        Path(folder).chmod(0o755)
        imported = platform.ketch("image", "import", str(layout))
    assert imported.returncode == 0, imported.stderr
    return _in_a_pod(platform, targets, IMAGE)


def _in_a_warm_step(platform: Platform, targets: dict[str, Any]) -> Gained:
    @dsl.pipeline(name="hostile")
    def pipeline(program: str, targets: str):
        attack(program=program, targets=targets)  # pyright: ignore[reportCallIssue]  # the SDK's way

    client = kfp.Client(host=platform.address)
    told = {"program": PROGRAM, "targets": json.dumps({**targets, "namespace": "kubeflow"})}

    def attacked() -> Gained | None:
        run = client.create_run_from_pipeline_func(pipeline, told, enable_caching=False)
        with contextlib.suppress(RuntimeError):  # it ends by killing whom it can reach
            client.wait_for_run_completion(run.run_id, timeout=120, sleep_duration=1)
        (step,) = platform.get("pods", "-A", "-l", f"pipelines.kubeflow.org/run-id={run.run_id}")["items"]
        name, where = step["metadata"]["name"], step["metadata"]["namespace"]
        gained = _told(platform.kubectl("logs", name, "-n", where))
        return gained if gained["parent"] == INIT else None

    return eventually(attacked, what="a step in a warm interpreter")


WORLDS = {
    "container": ("platform", _in_a_pod),
    "warm step": ("platform", _in_a_warm_step),
    "image": ("platform", _in_an_image),
    "ordinary user": ("ordinary", _in_a_pod),
    "ordinary user's image": ("ordinary", _in_an_image),
}


@pytest.fixture(scope="module", params=list(WORLDS))
def attacked(request: pytest.FixtureRequest) -> Iterator[tuple[Platform, Gained]]:
    """A platform with a hostile container that has tried everything, and what it gained."""
    fixture, run = WORLDS[request.param]
    platform: Platform = request.getfixturevalue(fixture)
    secret = uuid.uuid4().hex
    namespace = f"{NAMESPACE}-{re.sub('[^a-z]+', '-', request.param)}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0ketch-{secret}")
    listener.listen()
    shared = multiprocessing.shared_memory.SharedMemory(f"ketch-{secret}", create=True, size=16)
    try:
        targets = _prepared(platform, namespace, secret, f"ketch-{secret}", f"ketch-{secret}")
        yield platform, run(platform, targets)
    finally:
        shared.close()
        shared.unlink()
        listener.close()
        platform.kubectl("delete", "namespace", namespace, "--wait=false", check=False)
        (platform.root.parent / f"home-{secret}").unlink()


def _exhausting() -> list[Manifest]:
    """Pods that take all they can get of one thing each."""
    hungry = "import os\nfor _ in range(3): os.fork()\ndata = b'x' * (60 << 20)\nimport time; time.sleep(600)"
    limited = {"resources": {"limits": {"memory": "128Mi"}}}
    stored = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    mounted = {"volumeMounts": [{"name": "room", "mountPath": "/room"}]}
    room = [{"name": "room", "emptyDir": {"sizeLimit": "1Mi"}}]
    written = "head -c 20000000 /dev/zero > {}; exec sleep 600"
    flood = "head -c 60000000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo the end; exec sleep 600"
    return [
        pod("bombs", container("python3", "-c", BOMBS, image="python:3.11")),
        pod("memory", container("python3", "-c", hungry, image="python:3.11", **limited)),
        pod("memory-files", shell(written.replace("20000000", "200000000").format("/dev/shm/file"), **limited)),
        pod("disk", shell(written.format("/tmp/file"), **stored)),
        pod("volume", shell(written.format("/room/file"), **mounted), volumes=room),
        pod("log", shell(flood)),
    ]


def _bombs(log: str) -> dict[str, int]:
    (told,) = [line for line in log.splitlines() if line.startswith('{"bombs"')]
    return json.loads(told)["bombs"]


def _exhausted_in_pods(platform: Platform, namespace: str) -> dict[str, int]:
    """Each pod comes to its bound, and is told why it ended; what the bombs gained."""
    platform.apply(*_exhausting(), namespace=namespace)
    for name, reason in (("memory", "OOMKilled"), ("memory-files", "OOMKilled"), ("bombs", "Completed")):
        told = f"jsonpath={{.status.containerStatuses[0].state.terminated.reason}}={reason}"
        platform.kubectl("wait", f"pod/{name}", "-n", namespace, f"--for={told}", "--timeout=100s")
    for name, words in (("disk", "local ephemeral storage"), ("volume", "EmptyDir volume")):
        platform.kubectl(
            "wait", f"pod/{name}", "-n", namespace, "--for=jsonpath={.status.reason}=Evicted", "--timeout=100s"
        )
        assert words in platform.get("pod", name, "-n", namespace)["status"]["message"]
    eventually(lambda: platform.kubectl("logs", "log", "-n", namespace, "--tail=1") == "the end\n")
    uid = platform.get("pod", "log", "-n", namespace)["metadata"]["uid"]
    kept = sum(path.stat().st_size for path in (platform.root / "pods" / uid / "logs").rglob("*") if path.is_file())
    assert kept < LOG_BOUND
    log = platform.kubectl("logs", "log", "-n", namespace)  # across the files that are kept
    assert len(log) > LOG_BOUND // 3
    assert set(log.removesuffix("the end\n")) == {"x", "\n"}
    return _bombs(platform.kubectl("logs", "bombs", "-n", namespace))


def _exhausted_in_a_warm_step(platform: Platform) -> dict[str, int]:
    @dsl.pipeline(name="bombs")
    def pipeline(program: str):
        attack(program=program, targets="")  # pyright: ignore[reportCallIssue]  # the SDK's way

    client = kfp.Client(host=platform.address)
    run = client.create_run_from_pipeline_func(pipeline, {"program": BOMBS}, enable_caching=False)
    client.wait_for_run_completion(run.run_id, timeout=120, sleep_duration=1)
    (step,) = platform.get("pods", "-A", "-l", f"pipelines.kubeflow.org/run-id={run.run_id}")["items"]
    return _bombs(platform.kubectl("logs", step["metadata"]["name"], "-n", step["metadata"]["namespace"]))


@pytest.mark.parametrize("attacked", ["container", "warm step", "ordinary user"], indirect=True)
def test_whoever_takes_all_there_is_comes_to_a_bound(attacked: tuple[Platform, Gained], request: pytest.FixtureRequest):
    platform, _ = attacked
    world = request.node.callspec.params["attacked"]
    if world == "warm step":
        gained = _exhausted_in_a_warm_step(platform)
    else:
        gained = _exhausted_in_pods(platform, f"{NAMESPACE}-{world.replace(' ', '-')}")
    if kept_by_namespaces(os.uname().release):
        assert gained["processes"] <= BOUND
    assert gained["files"] > 0


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_a_hostile_container_tries_is_in_vain(attacked: tuple[Platform, Gained], attempt: str):
    _, gained = attacked
    if attempt == OWN_PROGRAMS and gained[attempt]:  # in an image's own file system they are the container's
        assert not [path for path in (gained[attempt] or "").split(", ") if Path(path).exists()]
    else:
        assert gained[attempt] is None


def test_nothing_of_the_machine_has_changed(attacked: tuple[Platform, Gained]):
    platform, _ = attacked
    assert list(platform.root.rglob("planted_*.py")) == []
    assert not any(Path(folder, "ketch-was-here").exists() for folder in ("/usr/bin", "/usr/lib"))


def test_the_platform_stays_ready_and_the_neighbour_lives(attacked: tuple[Platform, Gained]):
    platform, _ = attacked
    assert all(each["ready"] for each in platform.record()["processes"].values())
    (node,) = platform.get("nodes")["items"]
    assert {"type": "Ready", "status": "True"}.items() <= next(
        each for each in node["status"]["conditions"] if each["type"] == "Ready"
    ).items()
    found = platform.get("pods", "-A", "--field-selector=status.phase=Running")["items"]
    assert NEIGHBOUR in {each["metadata"]["name"] for each in found}
