"""What the node serves of a pod: its log, and live connections into it (exec, attach, port-forward)."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import orjson

from ketch.kube.errors import BadRequest, MethodNotAllowed, Unavailable, error_from_status
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.answers import Answer, ConnectAnswer, StreamAnswer
from ketch.local.apiserver.reading import ReadHandlers
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store

SOCKET_ANNOTATION = "node.ketch.dev/socket"
LOG_PARAMETERS = ("follow", "tailLines", "previous", "sinceSeconds", "sinceTime", "timestamps", "limitBytes")
CONNECTED = frozenset({"exec", "attach", "portforward"})
"""Subresources of pods that are live connections."""


class PodStreams:
    """Finds the node of a pod, and what to ask it."""

    def __init__(self, store: Store, reads: ReadHandlers) -> None:
        self._store = store
        self._reads = reads

    async def log(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        """A container's log."""
        pod = self._pod(target, resource)
        container = _container(pod, call.query.get("container", ""))
        socket = self._socket(pod)
        query = {name: call.query[name] for name in LOG_PARAMETERS if name in call.query}
        path = f"/containerLogs/{target.namespace}/{target.name}/{container}"
        return StreamAnswer(_node_stream(socket, path, query))

    async def connect(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        """A live connection."""
        if target.verb not in ("get", "create"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        pod = self._pod(target, resource)
        path = f"{target.namespace}/{target.name}"
        if target.subresource == "portforward":
            return ConnectAnswer(self._socket(pod), f"/portForward/{path}")
        container = _container(pod, call.query.get("container", ""))
        return ConnectAnswer(self._socket(pod), f"/{target.subresource}/{path}/{container}")

    def _pod(self, target: Target, resource: ServedResource) -> Mapping[str, Any]:
        record = self._reads.get(target, resource).record
        assert record
        return record.value

    def _socket(self, pod: Mapping[str, Any]) -> str:
        """Where the pod's node answers. Raises BadRequest, Unavailable."""
        name = pod["spec"].get("nodeName")
        if not name:
            raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
        node = self._store.get(StoreKey("/nodes", "", name))
        annotations: Mapping[str, Any] = (node.value["metadata"].get("annotations") if node else None) or NOTHING
        socket = annotations.get(SOCKET_ANNOTATION)
        if not socket:
            raise Unavailable(f"node {name} cannot be reached: it is not there or tells no address")
        return socket


def _container(pod: Mapping[str, Any], wanted: str) -> str:
    spec = pod["spec"]
    names = [each["name"] for kind in ("initContainers", "containers") for each in spec.get(kind) or NO_ITEMS]
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


@contextlib.asynccontextmanager
async def _node_stream(socket: str, path: str, query: Mapping[str, str]) -> AsyncGenerator[AsyncIterator[bytes]]:
    import httpx  # noqa: PLC0415  # deferred: 60 ms of every start, needed by the first log

    # Without TLS there is nothing to verify, and to be ready for it takes 25 ms.
    transport = httpx.AsyncHTTPTransport(uds=socket, verify=False)
    timeout = httpx.Timeout(10.0, read=None)
    async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=timeout) as client:
        try:
            async with client.stream("GET", path, params=dict(query)) as response:
                if response.status_code != 200:
                    body = await response.aread()
                    with contextlib.suppress(orjson.JSONDecodeError):
                        raise error_from_status(orjson.loads(body), response.status_code)
                    raise error_from_status(body.decode(errors="replace"), response.status_code)
                yield response.aiter_raw()
        except httpx.TransportError as error:
            raise Unavailable(f"the node does not answer: {error}") from error
