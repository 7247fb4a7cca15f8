"""What the node serves of a pod: its log, and live connections into it (exec, attach, port-forward)."""

from collections.abc import Mapping
from typing import Any

from ketch.kube.errors import BadRequest, MethodNotAllowed
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.answers import Answer, ConnectAnswer, StreamAnswer
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.streams.nodedoor import NodeDoors, Way, node_stream
from ketch.local.apiserver.verbs.reading import ReadHandlers

LOG_PARAMETERS = ("follow", "tailLines", "previous", "sinceSeconds", "sinceTime", "timestamps", "limitBytes")
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
CONNECTED = frozenset({"exec", "attach", "portforward"})
"""Subresources of pods that are live connections."""


class PodStreams:
    """Finds the node of a pod, and what to ask it."""

    def __init__(self, doors: NodeDoors, reads: ReadHandlers) -> None:
        self._doors = doors
        self._reads = reads

    async def log(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        """A container's log."""
        pod = self._pod(target, resource)
        container = _container(pod, call.query.get("container", ""))
        way = self._way(pod)
        query = {name: call.query[name] for name in LOG_PARAMETERS if name in call.query}
        path = f"/containerLogs/{target.namespace}/{target.name}/{container}"
        return StreamAnswer(node_stream(way, path, query))

    async def connect(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        """A live connection."""
        if target.verb not in ("get", "create"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        pod = self._pod(target, resource)
        path = f"{target.namespace}/{target.name}"
        if target.subresource == "portforward":
            return ConnectAnswer(self._way(pod), f"/portForward/{path}")
        container = _container(pod, call.query.get("container", ""))
        return ConnectAnswer(self._way(pod), f"/{target.subresource}/{path}/{container}")

    def _pod(self, target: Target, resource: ServedResource) -> Mapping[str, Any]:
        record = self._reads.get(target, resource).record
        assert record
        return record.value

    def _way(self, pod: Mapping[str, Any]) -> Way:
        """Where the pod's node answers. Raises BadRequest, Unavailable."""
        name = pod["spec"].get("nodeName")
        if not name:
            raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
        return self._doors.find(name)


def _container(pod: Mapping[str, Any], wanted: str) -> str:
    spec = pod["spec"]
    names = [each["name"] for kind in CONTAINERS for each in spec.get(kind) or NO_ITEMS]
    if wanted:
        if wanted not in names:
            raise BadRequest(f"container {wanted} is not valid for pod {pod['metadata']['name']}")
        return wanted
    main = [each["name"] for each in spec["containers"]]
    default = (pod["metadata"].get("annotations") or NOTHING).get("kubectl.kubernetes.io/default-container")
    if default in main:
        return str(default)
    if len(main) > 1:
        raise BadRequest(
            f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: [{' '.join(main)}]"
        )
    return main[0]
