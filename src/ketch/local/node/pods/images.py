"""What is said of a pod's images, in a kubelet's words, and what follows for the pod. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from ketch.local.node.pods import events
from ketch.local.node.pods.containers import TrackedContainer
from ketch.local.node.pods.needs import Need
from ketch.local.node.pods.orders import Announce

PULL_REASON, BACKOFF_REASON = "ErrImagePull", "ImagePullBackOff"
NEVER_REASON, NAME_REASON = "ErrImageNeverPull", "InvalidImageName"


def image_failed(need: Need, event: events.ImageFailed, now: datetime) -> Iterator[Announce]:
    """The image cannot be had now. Of trouble that no registry can end, nothing is said twice."""
    again = need.message == event.message
    need.fail(event.reason, event.message, now)
    first = {NEVER_REASON: NEVER_REASON, NAME_REASON: "InspectFailed"}.get(event.reason, "Failed")
    pull = event.reason == PULL_REASON
    text = f'Failed to pull image "{event.image}": {event.message}' if pull else event.message
    if again and not pull:
        return
    yield Announce("Warning", first, text)
    yield Announce("Warning", "Failed", f"Error: {event.reason}")
    if pull:
        yield Announce("Normal", "BackOff", f'Back-off pulling image "{event.image}"')
        yield Announce("Warning", "Failed", f"Error: {BACKOFF_REASON}")


def image_ready(need: Need, event: events.ImageReady, containers: Iterable[TrackedContainer]) -> Iterator[Announce]:
    """The image is there."""
    need.meet(event.image_id)
    if not any(each.spec.image == event.image and each.image != event.image for each in containers):
        return  # every container of it was started by an earlier agent, which has told
    if event.seconds is None:
        yield Announce("Normal", "Pulled", f'Container image "{event.image}" already present on machine')
        return
    took = f"{event.seconds:.3f}s"
    size = f" ({took} including waiting). Image size: {event.size} bytes." if event.size else ""
    yield Announce("Normal", "Pulled", f'Successfully pulled image "{event.image}" in {took}{size}')
