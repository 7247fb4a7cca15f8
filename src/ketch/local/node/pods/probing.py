"""When to probe, and what the answers add up to. Pure.

The nominal rhythm is the kubelet's: ``initialDelaySeconds`` after the start, then every ``periodSeconds``, and only
these probes count towards thresholds. Until a startup or readiness probe has passed for the first time there are
additional, eager probes in between: a success among them is taken, a failure means nothing. So a server that is up
after 300 ms is Ready then, not ten seconds later, and no threshold is reached sooner than its author planned.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ketch.kube.types.containers import Container, Probe
from ketch.local.node.pods.events import ProbeKind

FIRST_EAGER, LONGEST_EAGER = 0.05, 1.0


def probe_of(container: Container, kind: ProbeKind) -> Probe | None:
    """The container's probe of that kind."""
    match kind:
        case ProbeKind.STARTUP:
            return container.startup_probe
        case ProbeKind.LIVENESS:
            return container.liveness_probe
        case ProbeKind.READINESS:
            return container.readiness_probe


@dataclass
class ProbeState:
    """One probe of one run of a container."""

    kind: ProbeKind
    probe: Probe
    nominal: datetime
    passing: bool
    due: datetime
    eager: float
    asked: bool = False
    counts: bool = True
    answers: int = 0
    last_answer: bool | None = None

    @classmethod
    def begin(cls, kind: ProbeKind, probe: Probe, started_at: datetime, now: datetime) -> "ProbeState":
        """The state before the first probe; liveness is presumed, readiness and startup are not."""
        first = max(now, started_at + timedelta(seconds=probe.initial_delay_seconds))
        eager = FIRST_EAGER if kind is not ProbeKind.LIVENESS and (probe.success_threshold or 1) == 1 else 0.0
        return cls(kind, probe, first, kind is ProbeKind.LIVENESS, first, eager)

    @property
    def period(self) -> timedelta:
        """Between two nominal probes."""
        return timedelta(seconds=self.probe.period_seconds or 10)

    def ask(self, now: datetime) -> None:
        """A probe is being run now."""
        self.asked, self.counts = True, now >= self.nominal
        while self.nominal <= now:
            self.nominal += self.period

    def answer(self, success: bool, now: datetime) -> bool:
        """Take the answer in; whether the failure threshold is reached (again)."""
        self.asked = False
        if success:
            self._take(success)
            if self.answers >= (self.probe.success_threshold or 1):
                self.passing, self.eager = True, 0.0
        elif self.counts:
            self._take(success)
        if self.eager and not self.passing:
            self.due = min(self.nominal, now + timedelta(seconds=self.eager))
            self.eager = min(LONGEST_EAGER, self.eager * 2)
        else:
            self.due = self.nominal
        failed = not success and self.counts and self.answers >= (self.probe.failure_threshold or 3)
        if failed:
            self.passing, self.answers = False, 0
        return failed

    def _take(self, success: bool) -> None:
        self.answers = self.answers + 1 if success is self.last_answer else 1
        self.last_answer = success
