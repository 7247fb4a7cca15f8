"""How often the statuses of pods are told: each at once where it is alone, and only what lasts where there are many."""

from typing import Any

from ketch.kube.meta import ObjectMeta
from ketch.kube.testing import VirtualClock
from ketch.kube.types.core import PodStatus
from ketch.kube.types.pods import Pod, PodSpec
from ketch.local.node.reporting import Pace, Reporter


class Told:
    """A client that takes note of what it is told."""

    def __init__(self) -> None:
        self.phases: dict[str, list[str]] = {}

    async def patch(self, _kind: type, name: str, _namespace: str, patch: Any, **_options: Any) -> None:
        self.phases.setdefault(name, []).append(patch["status"]["phase"])


class Node:
    """Reporters of so many pods that may end by themselves."""

    def __init__(self, pods: int) -> None:
        self.clock, self.told, pace = VirtualClock(), Told(), Pace()
        self.names = [f"pod-{number}" for number in range(pods)]
        spec, pending = PodSpec(restart_policy="Never"), PodStatus(phase="Pending")
        metas = (ObjectMeta(name=name, namespace="default", uid=name) for name in self.names)
        client: Any = self.told
        pods_there = [Pod(metadata=meta, spec=spec, status=pending) for meta in metas]
        self.reporters = [Reporter(client, self.clock, pod, pace) for pod in pods_there]

    async def report(self, phase: str, seconds: float) -> None:
        """All are at that step for so long."""
        for reporter in self.reporters:
            reporter.report(PodStatus(phase=phase))
        await self.clock.advance(seconds)

    async def through(self, **seconds: float) -> list[list[str]]:
        """What was told of each after these steps."""
        for phase, each in seconds.items():
            await self.report(phase, each)
        for reporter in self.reporters:
            await reporter.settled()
        return [self.told.phases[name] for name in self.names]


class TestReporter:
    async def test_of_a_pod_that_ends_at_once_only_the_end_is_told(self):
        assert await Node(1).through(Pending=0.05, Running=0.01, Succeeded=0) == [["Succeeded"]]

    async def test_steps_that_last_are_told(self):
        told = await Node(1).through(Pending=0.11, Running=0.03, Succeeded=0)
        assert told == [["Pending", "Running", "Succeeded"]]

    async def test_where_many_begin_a_step_lasts_when_it_takes_longer_than_theirs(self):
        assert await Node(40).through(Pending=0.5, Running=0.15, Succeeded=0) == [["Succeeded"]] * 40

    async def test_what_lasts_longer_than_that_is_told_of_many_too(self):
        told = await Node(40).through(Pending=3, Running=0.5, Succeeded=0)
        assert told == [["Pending", "Running", "Succeeded"]] * 40

    async def test_pods_that_are_given_up_slow_nobody(self):
        node = Node(40)
        await node.report("Pending", 0.01)
        for reporter in node.reporters[1:]:
            await reporter.close()
        await node.clock.advance(0.2)
        assert node.told.phases == {"pod-0": ["Pending"]}
