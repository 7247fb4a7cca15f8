"""How a Deployment's ReplicaSets share its pods while the template changes. Pure arithmetic over counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ketch.kube.codec import encode
from ketch.kube.types.apps import Deployment, ReplicaSet
from ketch.kube.types.pods import PodTemplateSpec
from ketch.local.workloads.digests import digest, resolve

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COPIED = frozenset({LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAXIMUM})
"""Annotations that a ReplicaSet does not take over from its Deployment."""
RECREATE = "Recreate"
A_QUARTER = "25%"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many pods are wanted, how many more may exist and how many fewer may serve meanwhile."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """The most pods that may exist."""
        return self.replicas + self.surge

    @property
    def least_available(self) -> int:
        """The fewest that must serve."""
        return self.replicas - self.unavailable


def limits(deployment: Deployment) -> Limits:
    """The limits of a Deployment's strategy. Surge and unavailable are never both zero: nothing could move."""
    spec = deployment.spec
    replicas = 1 if spec.replicas is None else spec.replicas
    if spec.strategy.type == RECREATE:
        return Limits(replicas, 0, replicas)
    rolling = spec.strategy.rolling_update
    over, below = (rolling.max_surge, rolling.max_unavailable) if rolling else (None, None)
    surge = resolve(A_QUARTER if over is None else over, replicas, up=True)
    unavailable = resolve(A_QUARTER if below is None else below, replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


def template_hash(template: PodTemplateSpec, collisions: int) -> str:
    """A label value that tells templates apart."""
    return digest(encode(template), collisions)


def with_label(template: PodTemplateSpec, value: str) -> PodTemplateSpec:
    """The template whose pods carry the hash."""
    labels = {**template.metadata.labels, HASH_LABEL: value}
    return msgspec.structs.replace(template, metadata=msgspec.structs.replace(template.metadata, labels=labels))


def _without_label(template: PodTemplateSpec) -> PodTemplateSpec:
    labels = {key: value for key, value in template.metadata.labels.items() if key != HASH_LABEL}
    return msgspec.structs.replace(template, metadata=msgspec.structs.replace(template.metadata, labels=labels))


def same_template(replica_set: ReplicaSet, deployment: Deployment) -> bool:
    """Whether the ReplicaSet makes the pods that the Deployment wants now."""
    return _without_label(replica_set.spec.template) == _without_label(deployment.spec.template)


def size(replica_set: ReplicaSet) -> int:
    """How many pods it is told to keep."""
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def _age(replica_set: ReplicaSet) -> tuple[float, str]:
    created = replica_set.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, replica_set.metadata.name)


def current(deployment: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of the present template; the oldest, should there be several."""
    return min((each for each in sets if same_template(each, deployment)), key=_age, default=None)


def revision(replica_set: ReplicaSet | Deployment) -> int:
    """Its place in the history; 0 when it has none."""
    try:
        return int(replica_set.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0


def next_revision(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> int:
    """The revision that the present template has: above all others."""
    newest = max(map(revision, old), default=0)
    return max(newest + 1, revision(new) if new else 0)


def history(new: ReplicaSet, number: int) -> str:
    """Revisions that a template which is taken up again had before."""
    before = new.metadata.annotations.get(REVISION_HISTORY, "")
    was = revision(new)
    if not was or was == number:
        return before
    return f"{before},{was}" if before else str(was)


def annotations(deployment: Deployment, number: int, bounds: Limits) -> dict[str, str]:
    """Annotations of the ReplicaSet of the present template."""
    copied = {key: value for key, value in deployment.metadata.annotations.items() if key not in NOT_COPIED}
    return {**copied, REVISION: str(number), **scale_marks(bounds)}


def scale_marks(bounds: Limits) -> dict[str, str]:
    """What a ReplicaSet remembers of the Deployment's size, to tell scaling from rolling."""
    return {DESIRED: str(bounds.replicas), MAXIMUM: str(bounds.most)}


def is_scaling(sets: Sequence[ReplicaSet], bounds: Limits) -> bool:
    """Whether the Deployment was resized since its ReplicaSets were."""
    desired = str(bounds.replicas)
    return any(size(each) > 0 and each.metadata.annotations.get(DESIRED, desired) != desired for each in sets)


Sizes = dict[str, int]
"""New sizes by ReplicaSet name; what is not named stays."""


def proportional(new: ReplicaSet | None, sets: Sequence[ReplicaSet], bounds: Limits, *, rolling: bool) -> Sizes:
    """Sizes after a resize in the middle of a roll-out, or while it is paused: each set keeps its share."""
    active = [each for each in sets if size(each) > 0]
    only = active[0] if len(active) == 1 else new if not active else None
    if only is not None:
        return {} if size(only) == bounds.replicas else {only.metadata.name: bounds.replicas}
    if new is not None and size(new) == bounds.replicas and _available(new) == bounds.replicas:
        return {each.metadata.name: 0 for each in active if each is not new}
    if not rolling or not active:
        return {}
    total = sum(map(size, active))
    room = (bounds.most if bounds.replicas > 0 else 0) - total
    return _shared_out(active, bounds, room)


def _shared_out(active: Sequence[ReplicaSet], bounds: Limits, room: int) -> Sizes:
    """``room`` (negative: too many) divided by size, the rest to the largest set."""
    ordered = sorted(active, key=lambda each: (-size(each), _age(each)), reverse=False)
    left, sizes = room, Sizes()
    for each in ordered:
        share = 0
        if left:
            before = int(each.metadata.annotations.get(MAXIMUM, "0") or 0) or bounds.most
            exact = size(each) * bounds.most / before - size(each)
            share = round(exact)
            share = max(0, min(share, left)) if room > 0 else min(0, max(share, left))
        sizes[each.metadata.name] = size(each) + share
        left -= share
    if left:
        first = ordered[0].metadata.name
        sizes[first] = max(0, sizes[first] + left)
    return {each.metadata.name: sizes[each.metadata.name] for each in active if sizes[each.metadata.name] != size(each)}


def _available(replica_set: ReplicaSet) -> int:
    return replica_set.status.available_replicas


def scale_up(new: ReplicaSet, sets: Sequence[ReplicaSet], bounds: Limits) -> Sizes:
    """The new set grows as far as the surge allows; or shrinks to what is wanted."""
    own, total = size(new), sum(map(size, sets))
    if own > bounds.replicas:
        return {new.metadata.name: bounds.replicas}
    grown = own + max(0, min(bounds.most - total, bounds.replicas - own))
    return {} if grown == own else {new.metadata.name: grown}


def scale_down(new: ReplicaSet | None, old: Sequence[ReplicaSet], bounds: Limits) -> Sizes:
    """Old sets shrink: pods that do not serve first, then as many as may be missing."""
    active = sorted((each for each in old if size(each) > 0), key=_age)
    sets = [*active, *([new] if new else [])]
    unserving = size(new) - _available(new) if new else 0
    spare = sum(map(size, sets)) - bounds.least_available - unserving
    sizes = {each.metadata.name: size(each) for each in active}
    for each in active:  # those that do not serve anyway
        cut = min(max(0, spare), size(each) - min(_available(each), size(each)))
        sizes[each.metadata.name] -= cut
        spare -= cut
    spare = sum(map(_available, sets)) - bounds.least_available
    for each in active:
        cut = min(max(0, spare), sizes[each.metadata.name])
        sizes[each.metadata.name] -= cut
        spare -= cut
    return {each.metadata.name: sizes[each.metadata.name] for each in active if sizes[each.metadata.name] != size(each)}


def outlived(old: Sequence[ReplicaSet], limit: int | None) -> list[ReplicaSet]:
    """Old sets beyond the history limit, oldest revision first; only those that are done."""
    idle = [each for each in old if not size(each) and not each.status.replicas and _settled(each)]
    excess = len(idle) - (10 if limit is None else limit)
    return sorted(idle, key=lambda each: (revision(each), _age(each)))[: max(0, excess)]


def _settled(replica_set: ReplicaSet) -> bool:
    meta = replica_set.metadata
    return replica_set.status.observed_generation >= meta.generation and meta.deletion_timestamp is None


def merged_marks(replica_set: ReplicaSet, wanted: Mapping[str, str]) -> dict[str, Any]:
    """A merge patch of the annotations that differ; empty when none do."""
    differing = {key: value for key, value in wanted.items() if replica_set.metadata.annotations.get(key) != value}
    return {"metadata": {"annotations": differing}} if differing else {}
