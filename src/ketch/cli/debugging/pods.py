"""The calls of the Kubernetes API that debugging makes: find a step's pod, make one like it, take that away again."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from ketch.cli.cluster import cluster
from ketch.cli.debugging.cloning import LABEL
from ketch.cli.runs.steps import part
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import NotFound
from ketch.kube.rest import RESTClient

TASK_LABEL: Final = "pipelines.kubeflow.org/task-id"
LOOK_AGAIN_AFTER: Final = 0.05
START_SECONDS: Final = 300
QUIET_SECONDS: Final = 2

_ENDED: Final = ("Succeeded", "Failed")
_HOPELESS: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")


class DebugPodProblem(Exception):
    """The pod cannot be had; the message says why."""


async def pods_of(kubeconfig: Path, task_id: str) -> Sequence[Mapping[str, Any]]:
    """The pods of a step's attempts that are still there; whole debug pods that were left behind go on the way."""
    async with cluster(kubeconfig) as client:
        await _sweep(client)
        found = await client.request("GET", "/api/v1/pods", {"labelSelector": f"{TASK_LABEL}={task_id}"})
    return found["items"]


async def start(kubeconfig: Path, pod: Mapping[str, Any], tell: Callable[[str], None]) -> Mapping[str, Any]:
    """Make the pod and wait until it runs: the pod as it is then. ``tell`` hears why that takes longer.

    Raises DebugPodProblem.
    """
    async with cluster(kubeconfig) as client:
        namespace = pod["metadata"]["namespace"]
        made = await client.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=pod)
        path = _path(made)
        now = SYSTEM_CLOCK.now()
        deadline, patience, told = now + timedelta(seconds=START_SECONDS), now + timedelta(seconds=QUIET_SECONDS), ""
        while True:
            try:
                seen = await client.request("GET", path)
            except NotFound:
                raise DebugPodProblem("the pod was deleted before it ran") from None
            status = part(seen, "status")
            if status.get("phase") == "Running":
                return seen
            reason, hopeless = _waits_for(status)
            if hopeless or SYSTEM_CLOCK.now() >= deadline:
                raise DebugPodProblem(reason or f"the pod does not start: {status.get('phase', 'no phase')}")
            if reason not in ("", told) and SYSTEM_CLOCK.now() >= patience:
                told = reason
                tell(reason)
            await SYSTEM_CLOCK.sleep(LOOK_AGAIN_AFTER)


async def remove(kubeconfig: Path, pod: Mapping[str, Any]) -> None:
    """Take the pod away, if it is there."""
    async with cluster(kubeconfig) as client:
        try:
            await client.request("DELETE", _path(pod), {"gracePeriodSeconds": "0"})
        except NotFound:
            return


async def _sweep(client: RESTClient) -> None:
    """Debug pods that have ended by themselves have nobody who takes them away."""
    left = await client.request("GET", "/api/v1/pods", {"labelSelector": LABEL})
    for pod in left["items"]:
        if part(pod, "status").get("phase") in _ENDED:
            await client.request("DELETE", _path(pod), {"gracePeriodSeconds": "0"})


def _path(pod: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _waits_for(status: Mapping[str, Any]) -> tuple[str, bool]:
    """Why the pod does not run yet, and whether it never will."""
    if status.get("phase") in _ENDED:
        words = [status.get("reason", ""), status.get("message", "")]
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            ended = part(part(container, "state"), "terminated")
            if ended.get("exitCode"):
                words.append(f"{container['name']}: {ended.get('reason', '')} {ended.get('message', '')}".strip())
        return " ".join(filter(None, words)) or "the pod ended before it could be entered", True
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = part(part(container, "state"), "waiting")
        if waiting.get("message"):
            return f"{waiting.get('reason', '')}: {waiting['message']}", waiting.get("reason") in _HOPELESS
    for condition in status.get("conditions", ()):
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"]), False
    return "", False
