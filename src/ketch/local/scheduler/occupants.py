"""Pods that hold room, as far as it matters who else would rather have it. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ketch.kube.meta import ObjectKey
from ketch.kube.selectors import Selector
from ketch.kube.types.pods import Pod
from ketch.local.scheduler.terms import Labels


class Occupant(NamedTuple):
    """A placed pod. ``group`` is its PodGroup; ``leaves`` says that it is about to go anyway."""

    uid: str
    key: ObjectKey
    priority: int
    begun: datetime
    labels: Labels
    group: ObjectKey | None
    leaves: bool


class Budget(NamedTuple):
    """How many pods that ``selector`` means may be taken away."""

    namespace: str
    selector: Selector
    allowed: int


def occupant(pod: Pod, group: ObjectKey | None, beginning: datetime) -> Occupant:
    """A placed pod as the scheduler sees it."""
    return Occupant(
        pod.metadata.uid,
        pod.key,
        pod.spec.priority or 0,
        pod.status.start_time or pod.metadata.creation_timestamp or beginning,
        pod.metadata.labels,
        group,
        pod.metadata.deletion_timestamp is not None,
    )


@dataclass
class Occupants:
    """All placed pods, by uid; how many there are of each priority, so that nobody looks for what is not there."""

    _pods: dict[str, Occupant] = field(default_factory=dict[str, Occupant])
    _priorities: Counter[int] = field(default_factory=Counter[int])

    def put(self, pod: Occupant) -> None:
        """The pod holds room."""
        self.drop(pod.uid)
        self._pods[pod.uid] = pod
        self._priorities[pod.priority] += 1

    def drop(self, uid: str) -> None:
        """It holds none any more."""
        known = self._pods.pop(uid, None)
        if known is not None:
            self._priorities[known.priority] -= 1
            if not self._priorities[known.priority]:
                del self._priorities[known.priority]

    def get(self, uid: str) -> Occupant | None:
        """The pod, if it holds room."""
        return self._pods.get(uid)

    def any_below(self, priority: int) -> bool:
        """Whether some pod is less dear."""
        return any(each < priority for each in self._priorities)

    def among(self, uids: Iterable[str]) -> Iterator[Occupant]:
        """Those of ``uids`` that hold room."""
        return (found for uid in uids if (found := self._pods.get(uid)) is not None)
