"""metrics.k8s.io: what nodes and pods use, as their nodes measure it when they are asked."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ketch.kube.errors import APIError
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.answers import Answer, ObjectAnswer
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.schemas import compile_schema
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.streams.nodedoor import NodeDoors, node_json
from ketch.local.apiserver.verbs.reading import ReadHandlers, not_found

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"
PATIENCE = 10.0
"""Seconds until a node that does not answer is left out."""

MOST_AT_ONCE = 50
_QUANTITIES = {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}
_COMMON = {
    "timestamp": {"type": "string", "format": "date-time", "description": "When the window ended."},
    "window": {"type": "string", "description": "The time over which the use of processors was measured."},
}
_USAGE = {**_QUANTITIES, "description": "Cores over the window, and memory at its end."}
_CONTAINER = {"type": "object", "properties": {"name": {"type": "string"}, "usage": _USAGE}}
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "NodeMetrics": {**_COMMON, "usage": _USAGE},
    "PodMetrics": {**_COMMON, "containers": {"type": "array", "items": _CONTAINER}},
}


def metrics_resources() -> Iterable[ServedResource]:
    """What the API serves."""
    for kind, plural, namespaced in (("NodeMetrics", "nodes", False), ("PodMetrics", "pods", True)):
        yield ServedResource(
            group=GROUP,
            version=VERSION,
            kind=kind,
            plural=plural,
            singular="",
            namespaced=namespaced,
            schema=compile_schema({"type": "object", "properties": _SCHEMAS[kind]}),
            storage=f"{GROUP}/{plural}",
            stored_api_version=API_VERSION,
            verbs=("get", "list"),
        )


class UsageHandlers:
    """Asks the nodes."""

    def __init__(self, store: Store, registry: Registry, reads: ReadHandlers, doors: NodeDoors) -> None:
        self._store = store
        self._doors = doors
        self._registry = registry
        self._reads = reads

    async def answer(self, call: Call, target: Target, resource: ServedResource) -> Answer:
        """A ``get`` or a ``list`` of those objects of which something is known. Raises APIError."""
        measured = self._registry.find("", "v1", target.plural)
        if target.verb == "get":
            record = self._store.get(StoreKey(measured.storage, target.namespace, target.name))
            objects: Sequence[Mapping[str, Any]] = [] if record is None else [record.value]
        else:
            plain = Target("", "v1", target.plural, target.namespace, "", "", "list")
            objects = [each.value for each in self._reads.list(call, plain, measured).records]
        items = await self._items(objects, target.plural)
        if target.verb == "get":
            if not items:
                raise not_found(resource, target.name)
            return ObjectAnswer(value=items[0])
        kind = f"{resource.kind}List"
        return ObjectAnswer(value={"kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items})

    async def _items(self, objects: Sequence[Mapping[str, Any]], plural: str) -> list[dict[str, Any]]:
        if plural == "nodes":
            names = {each["metadata"]["name"] for each in objects}
        else:
            names = {each["spec"]["nodeName"] for each in objects if each["spec"].get("nodeName")}
        told = await self._ask(names)
        made = (_node(each, told) if plural == "nodes" else _pod(each, told) for each in objects)
        return [each for each in made if each is not None]

    async def _ask(self, names: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """What the nodes say, by their names; those that say nothing are left out."""
        room = asyncio.Semaphore(MOST_AT_ONCE)

        async def ask(name: str) -> tuple[str, Any]:
            try:
                way = self._doors.told(name)
                if way is None:
                    return name, None
                async with room, asyncio.timeout(PATIENCE):
                    return name, await node_json(way, "/usage")
            except (APIError, TimeoutError):
                return name, None

        answers = await asyncio.gather(*(ask(name) for name in sorted(names)))
        return {name: answer for name, answer in answers if answer is not None}


def _usage(use: Mapping[str, Any]) -> dict[str, str]:
    return {"cpu": f"{round(use['cores'] * 1e9)}n", "memory": f"{use['memory'] >> 10}Ki"}


def _object(kind: str, measured: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "namespace", "labels")
    meta = {name: measured["metadata"][name] for name in names if name in measured["metadata"]}
    return {
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": {**meta, "creationTimestamp": told["time"]},
        "timestamp": told["time"],
        "window": f"{told['window']:.3f}s",
    }


def _node(node: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    answer = told.get(node["metadata"]["name"])
    if answer is None:
        return None
    return {**_object("NodeMetrics", node, answer), "usage": _usage(answer["machine"])}


def _pod(pod: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    answer = told.get(pod["spec"].get("nodeName", ""))
    if answer is None:
        return None
    containers: Mapping[str, Any] = answer["pods"].get(pod["metadata"]["uid"]) or NOTHING
    if not containers:
        return None
    found = [{"name": name, "usage": _usage(use)} for name, use in containers.items()]
    return {**_object("PodMetrics", pod, answer), "containers": found}
