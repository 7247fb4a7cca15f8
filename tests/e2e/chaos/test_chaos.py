"""kill -9 at random moments, again and again, while users work: nothing acknowledged is lost, nothing is left over.

``KETCH_CHAOS_ROUNDS=200 KETCH_CHAOS_SECONDS=10 pytest -s tests/e2e/chaos`` is the long run; ``KETCH_CHAOS_SEED`` plays
one again.
"""

import contextlib
import os
import random
import socket
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp import compiler
from kubernetes import client as kubernetes
from tests.e2e.chaos import leftovers
from tests.e2e.chaos.kills import Killer, keepers_of, kill
from tests.e2e.chaos.load import FAILURES, NAMESPACE, STEPS, Load, chaos
from tests.e2e.manifests import container, deployment, pod, service, shell
from tests.e2e.platforms import PATIENCE, Platform, eventually, start_platform

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.timeout(0)]

ROUNDS = int(os.environ.get("KETCH_CHAOS_ROUNDS", "10"))
SECONDS = float(os.environ.get("KETCH_CHAOS_SECONDS", "60"))
"""How soon after a kill the platform is to be whole again; generous where others load the machine."""

SEED = int(os.environ.get("KETCH_CHAOS_SEED", str(random.randrange(1 << 30))))
PIPELINES = "kubeflow"
NOBODYS_PORTS = (20_000, 32_000)
PLACES = 28
"""Interfaces in the cluster's network that are there ahead of pods: loopback, the way out, and a stock of places."""

ASK = "import urllib.request as r; print(r.urlopen('http://web', timeout=5).read().decode())"
SERVE = "mkdir -p /w; echo here > /w/index.html; exec python3 -m http.server 8080 -d /w"


def _free_port() -> int:
    """One that the kernel gives to nobody by itself: a client might get it while no supervisor listens there."""
    while True:
        port = random.randrange(*NOBODYS_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def ports() -> list[str]:
    """The same from one supervisor to the next: clients need not look for new addresses."""
    return ["--port", str(_free_port()), "--api-port", str(_free_port())]


@pytest.fixture
def stricken(ports: list[str]) -> Iterator[Platform]:
    """A platform, which the test itself brings down."""
    root = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    started = start_platform(root, lambda command: [*command, *ports])
    yield started
    started.ketch("down")


class Rounds:
    """One kill after the other, each with the wait until the platform is whole."""

    def __init__(self, platform: Platform, load: Load, ports: list[str]) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)
        self._platform = platform
        self._load = load
        self._core = load.core
        self._chance = random.Random(SEED)
        self._killer = Killer(platform, self._chance, ports)
        self._number = 0

    def play(self) -> None:
        """A kill at some moment, and what comes after it."""
        self._number += 1
        kind = self._chance.choice([*self._killer.kinds, "container"])
        time.sleep(self._chance.random())  # the moment is by chance
        begun = time.monotonic()
        if kind == "container":
            self._kill_a_container()
        else:
            self._killer.kinds[kind]()
        self._become_whole(begun + SECONDS, kind)
        self.took[kind].append(time.monotonic() - begun)
        print(f"round {self._number}: {kind}: whole after {self.took[kind][-1]:.1f} s", flush=True)

    def _left(self, deadline: float) -> float:
        return max(1.0, deadline - time.monotonic())

    def _become_whole(self, deadline: float, kind: str) -> None:
        """Every process is ready, and a new pod is made, reaches a Service by its name, and ends."""
        name = f"probe-{self._number}"
        eventually(self._ready, self._left(deadline), f"after {kind}: ready: {self._platform.record()['processes']}")
        asks = container("python3", "-c", ASK, image="python:3.11")
        manifest = pod(name, asks, restartPolicy="OnFailure")
        eventually(lambda: self._made(name, manifest), self._left(deadline), f"after {kind}: {name} is created")
        eventually(lambda: self._phase(name) == "Succeeded", self._left(deadline), f"after {kind}: {name} ends")

    def _ready(self) -> bool:
        return self._platform.record()["ready"]

    def _made(self, name: str, manifest: dict) -> bool:
        try:
            self._core.create_namespaced_pod(NAMESPACE, manifest)
        except kubernetes.ApiException as error:
            return error.status == 409
        except FAILURES:
            return False
        return True

    def _phase(self, name: str) -> str:
        try:
            return self._core.read_namespaced_pod(name, NAMESPACE).status.phase
        except FAILURES:
            return ""

    def _kill_a_container(self) -> None:
        """The keeper of a container: its end is told, whatever the container still had to do."""
        name = f"victim-{self._number}"
        self._core.create_namespaced_pod(NAMESPACE, pod(name, shell("sleep 600 & sleep 600")))
        eventually(lambda: self._phase(name) == "Running", what=f"{name} runs")
        found = self._core.read_namespaced_pod(name, NAMESPACE)
        kill(*keepers_of(self._platform, found.metadata.uid))
        eventually(lambda: self._phase(name) == "Failed", SECONDS, f"{name} is told to have failed")
        self._core.delete_namespaced_pod(name, NAMESPACE)


def _nothing_is_lost(load: Load) -> None:
    """All that was acknowledged is there, and has gone on to its right end."""
    told = load.acknowledged
    there = {each.metadata.name: each.data for each in load.core.list_namespaced_config_map(NAMESPACE).items}
    assert {name: there.get(name) for name in told.objects} == {
        name: {"value": value} for name, value in told.objects.items()
    }
    assert not told.objects_deleted & set(there)

    def pods() -> dict:
        listed = load.core.list_namespaced_pod(NAMESPACE, label_selector="of=load").items
        return {each.metadata.name: each for each in listed}

    def ended() -> bool:
        phases = {name: each.status.phase for name, each in pods().items()}
        return all(phases.get(name) in ("Succeeded", "Failed") for name in told.pods)

    eventually(ended, PATIENCE, "pods end")
    eventually(lambda: not told.pods_deleted & set(pods()), PATIENCE, "deleted pods go")
    ends = {}
    for name, each in pods().items():
        (status,) = each.status.container_statuses or [None]
        ends[name] = status and status.state.terminated and (status.state.terminated.exit_code, status.restart_count)
    assert {name: ends[name] for name in told.pods} == {name: (code, 0) for name, code in told.pods.items()}
    for name in list(told.pods)[-20:]:
        assert load.core.read_namespaced_pod_log(name, NAMESPACE) == f"{name}\n"


def _runs_ended_right(load: Load) -> None:
    """Each run has succeeded, and no step of it has run twice."""
    runs = load.acknowledged.runs
    for run in runs:
        state = eventually(
            lambda run=run: (s := load.pipelines.get_run(run).state) in ("SUCCEEDED", "FAILED") and s, 90
        )
        assert state == "SUCCEEDED", run
    steps = Counter(
        each.metadata.labels.get("pipelines.kubeflow.org/run-id")
        for each in load.core.list_namespaced_pod(PIPELINES).items
    )
    assert {run: steps[run] for run in runs if run in steps} == {run: STEPS for run in runs if run in steps}


def _nothing_is_left(platform: Platform, load: Load) -> None:
    """Once the pods are deleted nothing is there but what stands."""
    core = load.core
    for namespace in (NAMESPACE, PIPELINES):
        core.delete_collection_namespaced_pod(namespace, label_selector="app!=web", grace_period_seconds=0)
    standing = eventually(
        lambda: (found := core.list_namespaced_pod(NAMESPACE).items) and len(found) == 1 and found, what="pods go"
    )
    uids = {each.metadata.uid for each in standing}
    eventually(lambda: leftovers.folders(platform) == uids, what="folders of pods go")
    assert leftovers.in_memory(load.acknowledged.uids) == set()
    eventually(lambda: leftovers.groups(platform) == [], what="control groups go")
    eventually(lambda: len(leftovers.strays(platform, uids)) <= 1 + len(uids), what="keepers and sweepers end")
    if os.geteuid() == 0:
        eventually(lambda: leftovers.interfaces(platform) <= PLACES + len(uids), what="interfaces go")
    assert leftovers.mounts_of(platform.root) == []


def test_nothing_is_lost_and_nothing_is_left_whatever_is_killed(stricken: Platform, ports: list[str], tmp_path: Path):
    print(f"\nseed {SEED}, {ROUNDS} rounds, {stricken.root}")
    stricken.apply(deployment("web", 1, shell(SERVE, image="python:3.11")), service("web"))
    stricken.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    package = tmp_path / "chaos.yaml"
    compiler.Compiler().compile(chaos, str(package))
    with Load(stricken, SEED, package) as load:
        rounds = Rounds(stricken, load, ports)
        for _ in range(ROUNDS):
            rounds.play()
            assert not load.errors
    told = load.acknowledged
    every = sorted(seconds for took in rounds.took.values() for seconds in took)
    for kind, took in sorted(rounds.took.items()):
        print(f"{kind:25} {len(took):4} x, median {statistics.median(took):5.1f} s, longest {max(took):5.1f} s")
    print(f"all: median {statistics.median(every):.1f} s, longest {every[-1]:.1f} s")
    print(
        f"{told.calls} calls, {told.refused} not answered; {len(told.objects)} objects, {len(told.pods)} pods to their "
        f"end, {len(told.pods_deleted)} deleted, {len(told.runs)} runs"
    )
    eventually(lambda: stricken.record()["ready"])
    _nothing_is_lost(load)
    _runs_ended_right(load)
    _nothing_is_left(stricken, load)
    assert stricken.ketch("down").returncode == 0
    eventually(lambda: not leftovers.processes_naming(stricken.root), what="all processes end")
    assert leftovers.groups(stricken) == []
    assert leftovers.in_memory(told.uids) == set()
