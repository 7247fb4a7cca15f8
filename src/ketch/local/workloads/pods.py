"""What controllers ask of pods: is it ready, does it count, which one to delete first. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from ketch.kube.conditions import find, is_true
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.pods import Pod, PodTemplateSpec

SUCCEEDED, FAILED, RUNNING, PENDING = "Succeeded", "Failed", "Running", "Pending"
TERMINAL = (SUCCEEDED, FAILED)
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
LATEST = datetime.max.replace(tzinfo=UTC)
_PHASES = {PENDING: 0, "Unknown": 1, RUNNING: 2}


def is_terminal(pod: Pod) -> bool:
    """Whether it has ended for good."""
    return pod.status.phase in TERMINAL


def is_deleting(pod: Pod) -> bool:
    """Whether its deletion was asked for."""
    return pod.metadata.deletion_timestamp is not None


def is_active(pod: Pod) -> bool:
    """Whether it counts as one of the pods that somebody wants."""
    return not is_terminal(pod) and not is_deleting(pod)


def is_ready(pod: Pod) -> bool:
    """Whether it serves."""
    return is_true(pod.status.conditions, "Ready")


def available_in(pod: Pod, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until it has been ready for long enough; 0 when it has, None when it is not ready."""
    ready = find(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    since = ready.last_transition_time or now
    return max(0.0, (since + timedelta(seconds=min_ready_seconds) - now).total_seconds())


def from_template(owner: KubeObject, template: PodTemplateSpec) -> Pod:
    """A new pod of ``owner``, named by the server."""
    meta = template.metadata
    return controlled_by(
        owner,
        Pod(
            metadata=ObjectMeta(
                generate_name=f"{owner.metadata.name}-",
                namespace=owner.metadata.namespace,
                labels=meta.labels,
                annotations=meta.annotations,
                finalizers=meta.finalizers,
            ),
            spec=template.spec,
        ),
    )


def _cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _restarts(pod: Pod) -> int:
    return max((status.restart_count or 0 for status in pod.status.container_statuses), default=0)


def _age_key(moment: datetime | None) -> float:
    return -(moment or LATEST).timestamp()


def to_delete(pods: Sequence[Pod], count: int, neighbours: Iterable[Pod] = ()) -> list[Pod]:
    """The ``count`` pods whose loss is the least: unplaced, not begun, not ready, cheap, crowded, young.

    ``neighbours`` are pods of kin (of the same Deployment) that crowd a node as well.
    """
    crowd = Counter(pod.spec.node_name for pod in (*pods, *neighbours) if is_active(pod))

    def loss(pod: Pod) -> tuple[object, ...]:
        ready = find(pod.status.conditions, "Ready")
        since = ready.last_transition_time if ready and ready.status == "True" else None
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase, 0),
            is_ready(pod),
            _cost(pod),
            -crowd[pod.spec.node_name],
            _age_key(since) if since else 0.0,
            -_restarts(pod),
            _age_key(pod.metadata.creation_timestamp),
            pod.metadata.name,
        )

    return sorted(pods, key=loss)[:count]
