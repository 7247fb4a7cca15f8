"""What a StatefulSet does next: which pods to make and which to delete. Pure.

OrderedReady takes one step at a time: up in the order of numbers, each once those below it serve; down from the top,
each once it has gone. Parallel takes all steps of making and shrinking at once. A new template is rolled out from the
top, never with more pods missing than may be. A pod that does not serve and whose turn to be replaced has come is not
waited for: a template that never comes up is left by writing another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ketch.kube.types.apps import StatefulSet
from ketch.kube.types.pods import Pod
from ketch.local.workloads.digests import resolve
from ketch.local.workloads.pods import available_in, is_deleting, is_terminal
from ketch.local.workloads.revisions import REVISION_LABEL
from ketch.local.workloads.statefulsets.identities import ordinal_of, ordinals

PARALLEL, ON_DELETE, ROLLING = "Parallel", "OnDelete", "RollingUpdate"


@dataclass(frozen=True)
class Revisions:
    """Names: of the template that pods below the partition keep, and of the one that others get."""

    current: str
    update: str


@dataclass(frozen=True)
class Step:
    """Numbers to make pods for, and pods to delete."""

    create: tuple[int, ...] = ()
    delete: tuple[Pod, ...] = ()


NOTHING_TO_DO = Step()


@dataclass(frozen=True)
class Members:
    """The set's pods by number: those that belong, and those that are too many."""

    kept: dict[int, Pod]
    condemned: dict[int, Pod]


def members(owner: StatefulSet, pods: Iterable[Pod]) -> Members:
    """Sort the pods by number."""
    wanted, kept, condemned = ordinals(owner), dict[int, Pod](), dict[int, Pod]()
    for pod in pods:
        number = ordinal_of(owner, pod)
        if number is not None:
            (kept if number in wanted else condemned)[number] = pod
    return Members(kept, condemned)


def partition(owner: StatefulSet) -> int:
    """The first number that gets a new template."""
    rolling = owner.spec.update_strategy.rolling_update
    return owner.spec.ordinals.start + ((rolling.partition or 0) if rolling else 0)


def revision_for(owner: StatefulSet, ordinal: int, names: Revisions) -> str:
    """The revision that a new pod of that number is made from."""
    rolls = owner.spec.update_strategy.type != ON_DELETE
    return names.current if rolls and ordinal < partition(owner) else names.update


def most_unavailable(owner: StatefulSet) -> int:
    """How many pods a roll-out may leave not serving."""
    rolling = owner.spec.update_strategy.rolling_update
    if rolling is None or rolling.max_unavailable is None:
        return 1
    return max(1, resolve(rolling.max_unavailable, len(ordinals(owner)), up=True))


def serves(owner: StatefulSet, pod: Pod, now: datetime) -> bool:
    """Whether it has been ready for long enough and is to stay."""
    return not is_deleting(pod) and available_in(pod, owner.spec.min_ready_seconds, now) == 0


def is_outdated(pod: Pod, revision: str) -> bool:
    """Whether it was made from another template."""
    return pod.metadata.labels.get(REVISION_LABEL) != revision


def next_step(owner: StatefulSet, found: Members, names: Revisions, now: datetime) -> Step:
    """The step to take now; none while something must happen first."""
    ended = tuple(pod for pod in _sorted(found.kept) if is_terminal(pod) and not is_deleting(pod))
    if owner.spec.pod_management_policy == PARALLEL:
        missing = tuple(number for number in ordinals(owner) if number not in found.kept)
        surplus = tuple(pod for pod in _sorted(found.condemned, down=True) if not is_deleting(pod))
        if ended or missing or surplus:
            return Step(missing, (*ended, *surplus))
        return rolling(owner, found, names, now)
    return _ordered(owner, found, names, now) or rolling(owner, found, names, now)


def _sorted(pods: dict[int, Pod], *, down: bool = False) -> list[Pod]:
    return [pods[number] for number in sorted(pods, reverse=down)]


def _ordered(owner: StatefulSet, found: Members, names: Revisions, now: datetime) -> Step | None:
    """One step up or down; None when there is none left to take."""
    for number in ordinals(owner):
        pod = found.kept.get(number)
        if pod is None:
            return Step(create=(number,))
        if is_deleting(pod):
            return NOTHING_TO_DO
        if is_terminal(pod):
            return Step(delete=(pod,))
        if not serves(owner, pod, now):
            return Step(delete=(pod,)) if _is_hopeless(owner, number, found, names, now) else NOTHING_TO_DO
    for pod in _sorted(found.condemned, down=True):
        return NOTHING_TO_DO if is_deleting(pod) else Step(delete=(pod,))
    return None


def _is_hopeless(owner: StatefulSet, number: int, found: Members, names: Revisions, now: datetime) -> bool:
    """Whether a pod that does not serve would be replaced as soon as it did, and nothing is lost by doing so now.

    Its template is neither the former nor the new one; or its turn in the roll-out has come.
    """
    if owner.spec.update_strategy.type != ROLLING or number < partition(owner):
        return False
    if _is_stray(found.kept[number], names):
        return True
    turn = max((each for each, pod in found.kept.items() if is_outdated(pod, names.update)), default=None)
    return number == turn and len(_broken(owner, found, now)) <= most_unavailable(owner)


def _is_stray(pod: Pod, names: Revisions) -> bool:
    """Whether its template was given up before it was rolled out."""
    return is_outdated(pod, names.update) and is_outdated(pod, names.current)


def _broken(owner: StatefulSet, found: Members, now: datetime) -> set[int]:
    return {number for number, pod in found.kept.items() if not serves(owner, pod, now)}


def rolling(owner: StatefulSet, found: Members, names: Revisions, now: datetime) -> Step:
    """Pods to replace by ones of the new template: from the top, as many as may be missing at once."""
    if owner.spec.update_strategy.type != ROLLING:
        return NOTHING_TO_DO
    broken = _broken(owner, found, now)
    room, doomed = most_unavailable(owner) - len(broken), list[Pod]()
    in_turn = True
    for number in sorted(found.kept, reverse=True):
        pod = found.kept[number]
        if number < partition(owner) or is_deleting(pod) or not is_outdated(pod, names.update):
            continue
        if number in broken and (in_turn or _is_stray(pod, names)):
            doomed.append(pod)  # it is missing already
        elif in_turn and number not in broken and room > 0:
            doomed.append(pod)
            room -= 1
        else:
            in_turn = False
    return Step(delete=tuple(doomed))


def next_look(owner: StatefulSet, pods: Sequence[Pod], now: datetime) -> float | None:
    """Seconds until a pod has been ready for long enough without any event."""
    delays = [available_in(pod, owner.spec.min_ready_seconds, now) for pod in pods if not is_deleting(pod)]
    return min((delay for delay in delays if delay), default=None)
