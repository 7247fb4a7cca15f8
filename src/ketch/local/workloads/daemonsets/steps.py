"""What a DaemonSet does next: on which nodes to make pods, and which pods to delete. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ketch.kube.types.apps import DaemonSet
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod
from ketch.local.workloads.daemonsets.placement import may_stay, node_of, should_run
from ketch.local.workloads.digests import resolve
from ketch.local.workloads.pods import FAILED, available_in, is_deleting, is_ready, is_terminal
from ketch.local.workloads.revisions import REVISION_LABEL

ROLLING = "RollingUpdate"
LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Station:
    """A node with the daemon's pods there."""

    node: Node
    wanted: bool
    stays: bool
    pods: tuple[Pod, ...]


@dataclass(frozen=True)
class Step:
    """Nodes to make a pod for, pods to delete, and of those, pods that have failed."""

    create: tuple[str, ...] = ()
    delete: tuple[Pod, ...] = ()
    failed: tuple[Pod, ...] = ()


@dataclass
class _Orders:
    create: list[str] = field(default_factory=list[str])
    delete: list[Pod] = field(default_factory=list[Pod])
    failed: list[Pod] = field(default_factory=list[Pod])


def stations(owner: DaemonSet, nodes: Iterable[Node], pods: Iterable[Pod]) -> list[Station]:
    """Each node with its pods; pods of nodes that are gone are nobody's, the garbage collector's."""
    by_node: dict[str, list[Pod]] = {}
    for pod in pods:
        by_node.setdefault(node_of(pod), []).append(pod)
    spec = owner.spec.template.spec
    return [
        Station(node, should_run(spec, node), may_stay(spec, node), tuple(by_node.get(node.metadata.name, ())))
        for node in nodes
    ]


def stranded(nodes: Iterable[Node], pods: Iterable[Pod]) -> list[Pod]:
    """Pods that wait for a node which is gone."""
    names = {node.metadata.name for node in nodes}
    return [pod for pod in pods if not pod.spec.node_name and not is_deleting(pod) and node_of(pod) not in names]


def is_outdated(pod: Pod, revision: str) -> bool:
    """Whether it was made from another template."""
    return pod.metadata.labels.get(REVISION_LABEL) != revision


def is_available(owner: DaemonSet, pod: Pod, now: datetime) -> bool:
    """Whether it has been ready for long enough and is to stay."""
    return not is_deleting(pod) and available_in(pod, owner.spec.min_ready_seconds, now) == 0


def limits(owner: DaemonSet, wanted: int) -> tuple[int, int]:
    """On how many nodes the pod may be missing, and on how many be there twice, while a template is rolled out."""
    rolling = owner.spec.update_strategy.rolling_update
    missing = 1 if rolling is None or rolling.max_unavailable is None else rolling.max_unavailable
    surge = 0 if rolling is None or rolling.max_surge is None else rolling.max_surge
    missing, surge = resolve(missing, wanted, up=True), resolve(surge, wanted, up=True)
    return (missing, surge) if missing or surge else (1, 0)


def next_step(owner: DaemonSet, found: Sequence[Station], revision: str, now: datetime) -> Step:
    """What to do on all nodes."""
    orders = _Orders()
    surges = owner.spec.update_strategy.type == ROLLING and limits(owner, _wanted(found))[1] > 0
    for station in found:
        _mind(station, orders, revision, surges=surges)
    if owner.spec.update_strategy.type == ROLLING:
        _roll(owner, found, orders, revision, now)
    return Step(tuple(orders.create), tuple(orders.delete), tuple(orders.failed))


def _wanted(found: Iterable[Station]) -> int:
    return sum(station.wanted for station in found)


def _mind(station: Station, orders: _Orders, revision: str, *, surges: bool) -> None:
    """One pod where one should be, none where none may stay; a failed one is deleted before another comes."""
    staying = [pod for pod in station.pods if not is_deleting(pod)]
    if not station.stays:
        orders.delete += [pod for pod in staying if not is_terminal(pod)]
        return
    failed = [pod for pod in staying if pod.status.phase == FAILED]
    orders.failed += failed
    running = [pod for pod in staying if not is_terminal(pod)]
    if not station.pods and station.wanted:
        orders.create.append(station.node.metadata.name)
    by_kind = [[pod for pod in running if is_outdated(pod, revision) == old] for old in (False, True)]
    groups = by_kind if surges else [running]
    for group in groups:
        # Of several the one that serves, then the oldest, stays.
        ordered = sorted(
            group, key=lambda pod: (not is_ready(pod), pod.metadata.creation_timestamp or LATEST, pod.metadata.name)
        )
        orders.delete += ordered[1:]


def _roll(owner: DaemonSet, found: Sequence[Station], orders: _Orders, revision: str, now: datetime) -> None:
    """Replace pods of former templates, as many at once as may be missing or be there twice."""
    wanted = [station for station in found if station.wanted]
    missing, surge = limits(owner, len(wanted))
    doomed = {pod.metadata.uid for pod in (*orders.delete, *orders.failed)}
    gone = 0
    twice = 0
    serving: list[Pod] = []
    bare: list[str] = []
    for station in wanted:
        running = [pod for pod in station.pods if not is_terminal(pod) and pod.metadata.uid not in doomed]
        old = [pod for pod in running if is_outdated(pod, revision) and not is_deleting(pod)]
        new = [pod for pod in running if not is_outdated(pod, revision) and not is_deleting(pod)]
        if not any(is_available(owner, pod, now) for pod in running):
            gone += 1
            orders.delete += [pod for pod in old if not surge]  # they serve nobody
            if surge and old and not new:
                bare.insert(0, station.node.metadata.name)
        elif surge:
            if old and any(is_available(owner, pod, now) for pod in new):
                orders.delete += old
            elif old and new:
                twice += 1
            elif old:
                bare.append(station.node.metadata.name)
        else:
            serving += [pod for pod in old if is_available(owner, pod, now)]
    if surge:
        orders.create += bare[: max(0, surge - twice)]
    else:
        orders.delete += serving[: max(0, missing - gone)]


def next_look(owner: DaemonSet, pods: Iterable[Pod], now: datetime) -> float | None:
    """Seconds until a pod has been ready for long enough without any event."""
    delays = [available_in(pod, owner.spec.min_ready_seconds, now) for pod in pods if not is_deleting(pod)]
    return min((delay for delay in delays if delay), default=None)


def counts(owner: DaemonSet, found: Sequence[Station], revision: str, now: datetime) -> Mapping[str, int]:
    """The numbers of the status."""
    told: dict[str, int] = dict.fromkeys(("current", "misscheduled", "desired", "ready", "updated", "available"), 0)
    for station in found:
        running = [pod for pod in station.pods if not is_terminal(pod)]
        if not station.wanted:
            told["misscheduled"] += bool(running)
            continue
        told["desired"] += 1
        told["current"] += bool(running)
        told["ready"] += any(map(is_ready, running))
        told["updated"] += any(not is_outdated(pod, revision) for pod in running)
        told["available"] += any(is_available(owner, pod, now) for pod in running)
    return told
