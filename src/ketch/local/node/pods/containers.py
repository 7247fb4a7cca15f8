"""What is known of one container of a pod, and what follows from that alone. Pure."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto

from ketch.kube.types.containers import Container
from ketch.kube.types.core import Pod
from ketch.local.node.pods.events import ProbeKind
from ketch.local.node.pods.needs import Need
from ketch.local.node.pods.probing import ProbeState, probe_of

FIRST_BACKOFF, LONGEST_BACKOFF = 10.0, 300.0
STEADY = timedelta(minutes=10)
"""A run at least this long makes the next crash count as the first."""

START_RETRY, LONGEST_START_RETRY = 1.0, 60.0
COMPLETED = "Completed"
RESTART = "Restart"
"""The action of a rule by which a container starts again."""


class Role(StrEnum):
    """How a container takes part in its pod."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"
    EPHEMERAL = "ephemeral"


class Stage(Enum):
    """Where a container is. EXITED may be followed by the next run."""

    WAITING = auto()
    STARTING = auto()
    RUNNING = auto()
    EXITED = auto()


class StopPhase(Enum):
    """How far the ending of a running container is."""

    HOOK = auto()
    SIGNALLED = auto()
    KILLED = auto()


@dataclass(frozen=True, slots=True)
class Termination:
    """How one run ended."""

    exit_code: int
    reason: str
    finished_at: datetime
    started_at: datetime | None = None
    container_id: str = ""
    message: str = ""


@dataclass
class Stopping:
    """A container that is being ended: what was done last, and when the next step is due.

    A ``final`` deadline is not shortened any more.
    """

    phase: StopPhase
    deadline: datetime
    final: bool = False


@dataclass(frozen=True, slots=True)
class AdoptedRun:
    """A run found on disk after a restart of the agent. Without ``termination`` it still runs."""

    attempt: int
    image: str
    image_id: str
    started_at: datetime
    termination: Termination | None = None


def container_id(uid: str, name: str, attempt: int) -> str:
    """The id of one run, the same whoever computes it."""
    return f"ketch://{hashlib.sha256(f'{uid}/{name}/{attempt}'.encode()).hexdigest()}"


@dataclass
class TrackedContainer:
    """Facts about one container. ``attempt`` numbers its latest run (-1: none was ordered yet)."""

    spec: Container
    role: Role
    stage: Stage = Stage.WAITING
    attempt: int = -1
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    started_at: datetime | None = None
    termination: Termination | None = None
    previous: Termination | None = None
    backoff: float = 0.0
    restart_at: datetime | None = None
    post_start_done: bool = False
    probes: dict[ProbeKind, ProbeState] = field(default_factory=dict[ProbeKind, ProbeState])
    stopping: Stopping | None = None
    start: Need = field(default_factory=lambda: Need(START_RETRY, LONGEST_START_RETRY))

    @property
    def name(self) -> str:
        """The container's name, unique in its pod."""
        return self.spec.name

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist."""
        return self.stage in (Stage.STARTING, Stage.RUNNING)

    @property
    def succeeded(self) -> bool:
        """Whether its latest run ended well."""
        return self.stage is Stage.EXITED and self.termination is not None and self.termination.exit_code == 0

    @property
    def started(self) -> bool:
        """Whether it runs, its postStart hook is over and its startup probe has passed."""
        startup = self.probes.get(ProbeKind.STARTUP)
        return self.stage is Stage.RUNNING and self.post_start_done and (startup is None or startup.passing)

    @property
    def ready(self) -> bool:
        """Whether it should get traffic; for an init container, whether it is done."""
        if self.role is Role.INIT:
            return self.succeeded
        readiness = self.probes.get(ProbeKind.READINESS)
        return self.started and (readiness is None or readiness.passing)

    @property
    def passed(self) -> bool:
        """Whether the containers after it may begin (init containers and sidecars only)."""
        return self.succeeded if self.role is Role.INIT else self.started

    def active_probes(self) -> list[ProbeState]:
        """The probes that count at present: startup alone until it has passed, then the other two."""
        if self.stage is not Stage.RUNNING or not self.post_start_done or self.stopping is not None:
            return []
        if not self.started:
            return [self.probes[ProbeKind.STARTUP]]
        return [state for kind, state in self.probes.items() if kind is not ProbeKind.STARTUP]

    def ordered(self) -> None:
        """Its next run is being started."""
        self.attempt += 1
        self.stage, self.stopping, self.post_start_done = Stage.STARTING, None, False
        self.image = self.spec.image
        self.probes = {}
        self.start.ask()

    def running(self, uid: str, started_at: datetime, now: datetime) -> None:
        """Its process runs. What the run before ended with becomes the last state."""
        self.previous, self.termination = self.termination or self.previous, None
        self.stage, self.started_at, self.restart_at = Stage.RUNNING, started_at, None
        self.container_id = container_id(uid, self.name, self.attempt)
        self.post_start_done = self.spec.lifecycle is None or self.spec.lifecycle.post_start is None
        self.start.meet()
        self._begin_probes(started_at, now)

    def _begin_probes(self, started_at: datetime, now: datetime) -> None:
        for kind in ProbeKind:
            if (probe := probe_of(self.spec, kind)) is not None:
                self.probes[kind] = ProbeState.begin(kind, probe, started_at, now)

    def not_started(self, reason: str, message: str, now: datetime) -> None:
        """The run that was ordered never came to be: its number is free again."""
        self.attempt -= 1
        self.stage = Stage.EXITED if self.termination else Stage.WAITING
        self.start.fail(reason, message, now)

    def exited(self, termination: Termination) -> None:
        """Its process ended; the pause before the next run follows from how long it lived."""
        begun = termination.started_at or termination.finished_at
        if termination.finished_at - begun >= STEADY:
            self.backoff = 0.0
        self.stage, self.termination, self.stopping = Stage.EXITED, termination, None
        self.restart_at = termination.finished_at + timedelta(seconds=self.backoff)
        self._lengthen()

    def _lengthen(self) -> None:
        """As a kubelet does: the first restart is immediate, the pauses after it double."""
        self.backoff = min(LONGEST_BACKOFF, self.backoff * 2) if self.backoff else FIRST_BACKOFF

    def restarts(self, policy: str) -> bool:
        """Whether its end is followed by another run, as long as the pod lives."""
        if self.role is Role.SIDECAR:
            return True
        if self.role is Role.EPHEMERAL or (self.role is Role.INIT and self.succeeded):
            return False
        if self.termination is not None and _asked_for(self.spec, self.termination.exit_code):
            return True
        policy = self.spec.restart_policy or policy
        return policy == "Always" if self.succeeded else policy != "Never"

    def adopt(self, uid: str, runs: list[AdoptedRun], now: datetime, *, was_started: bool, was_ready: bool) -> None:
        """Take over what an earlier agent left; ``runs`` in order of their attempts, the first ones maybe removed."""
        for _ in range(runs[0].attempt):
            self._lengthen()
        for run in runs:
            self.attempt, self.image, self.image_id = run.attempt, run.image, run.image_id
            self.running(uid, run.started_at, now)
            if run.termination is not None:
                self.exited(replace(run.termination, container_id=self.container_id))
        if self.stage is Stage.RUNNING:
            self.post_start_done = True
            for kind, was in ((ProbeKind.STARTUP, was_started), (ProbeKind.READINESS, was_ready)):
                if kind in self.probes and was:
                    self.probes[kind].passing, self.probes[kind].eager = True, 0.0


def _asked_for(container: Container, code: int) -> bool:
    """Whether a rule of the container has it start again after this end."""
    return any(
        rule.action == RESTART
        and rule.exit_codes is not None
        and (code in rule.exit_codes.values) is (rule.exit_codes.operator == "In")
        for rule in container.restart_policy_rules
    )


def containers_of(pod: Pod) -> list[TrackedContainer]:
    """The pod's containers in the order in which they begin."""
    inits = [
        TrackedContainer(each, Role.SIDECAR if each.restart_policy == "Always" else Role.INIT)
        for each in pod.spec.init_containers
    ]
    mains = (TrackedContainer(each, Role.MAIN) for each in pod.spec.containers)
    return [*inits, *mains, *(TrackedContainer(each, Role.EPHEMERAL) for each in pod.spec.ephemeral_containers)]
