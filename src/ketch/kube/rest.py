"""The ``Client``: typed verbs over any transport."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from ketch.kube.client import DeleteOptions, ObjectList, WatchEvent
from ketch.kube.codec import decode
from ketch.kube.errors import BadRequest
from ketch.kube.meta import KubeObject, Resource
from ketch.kube.sharing import Shared
from ketch.kube.transport import APPLY_PATCH, JSON_TYPE, Request, Transport

K = TypeVar("K", bound=KubeObject)


def _query(**parameters: object) -> dict[str, str]:
    """Query parameters in the API's form, without the empty ones."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in parameters.items()
        if value
    }


def _options(options: DeleteOptions | None) -> dict[str, Any] | None:
    """metav1.DeleteOptions."""
    if options is None:
        return None
    preconditions = {"uid": options.uid, "resourceVersion": options.resource_version}
    body: dict[str, Any] = {
        "propagationPolicy": options.propagation,
        "gracePeriodSeconds": options.grace_period_seconds,
        "preconditions": {name: value for name, value in preconditions.items() if value is not None} or None,
    }
    return {"kind": "DeleteOptions", "apiVersion": "v1"} | {k: value for k, value in body.items() if value is not None}


def _named(resource: Resource, namespace: str, name: str, subresource: str = "") -> str:
    """The path of one object. A name that would lead elsewhere (to the whole collection!) raises BadRequest."""
    if not name or "/" in name or name in (".", ".."):
        raise BadRequest(f"{resource.plural}: {name!r} is no resource name")
    if resource.namespaced and not namespace:
        raise BadRequest(f'{resource.plural} "{name}": an empty namespace may not be set')
    return resource.path(namespace, name, subresource)


def _path(obj: KubeObject, subresource: str = "") -> str:
    return _named(obj.resource, obj.metadata.namespace, obj.metadata.name, subresource)


def _applied(obj: KubeObject) -> dict[str, Any]:
    """``obj`` as an apply body: what the server owns is not claimed; a uid stays, so that no namesake is meant."""
    body = obj.to_json()
    metadata = dict(body.get("metadata") or {})
    for name in ("managedFields", "resourceVersion", "generation", "creationTimestamp"):
        metadata.pop(name, None)
    body["metadata"] = metadata
    return body


Decode = Callable[[type[Any], Mapping[str, Any]], Any]


class RESTClient:
    """Implements ``ketch.kube.client.Client`` over ``transport``, which it owns.

    ``shared`` is for a transport whose answers are the server's own objects: each is decoded once, whoever gets it.
    """

    def __init__(self, transport: Transport, *, shared: bool = False) -> None:
        self._transport = transport
        self._decode: Decode = Shared().decode if shared else decode

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """The object, or NotFound."""
        return self._decode(kind, await self._transport.request(Request("GET", _named(kind.resource, namespace, name))))

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList[K]:
        """A page of objects (all of them when ``limit`` is 0); all namespaces when ``namespace`` is empty."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector, limit=limit)
        if continue_token:
            query["continue"] = continue_token
        answer = await self._transport.request(Request("GET", kind.resource.path(namespace), query))
        metadata: dict[str, Any] = answer.get("metadata") or {}
        items = tuple([self._decode(kind, item) for item in answer.get("items") or ()])
        return ObjectList(items, metadata.get("resourceVersion", ""), metadata.get("continue", ""))

    @asynccontextmanager
    async def watch(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[K]]]:
        """Changes after ``resource_version``. Raises Gone when the server no longer remembers it."""
        query = _query(
            watch=True,
            allowWatchBookmarks=True,
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=timeout_seconds,
        )
        async with self._transport.watch(Request("GET", kind.resource.path(namespace), query)) as events:

            async def decoded() -> AsyncIterator[WatchEvent[K]]:
                async for event in events:
                    yield WatchEvent(event["type"], self._decode(kind, event["object"]))

            yield decoded()

    async def create(self, obj: K, *, manager: str = "", dry_run: bool = False) -> K:
        """Create; AlreadyExists when the name is taken."""
        query = _query(fieldManager=manager, dryRun="All" if dry_run else "")
        path = obj.resource.path(obj.metadata.namespace)
        return self._decode(type(obj), await self._transport.request(Request("POST", path, query, obj.to_json())))

    async def update(self, obj: K, *, manager: str = "") -> K:
        """Replace everything but status; Conflict when ``metadata.resource_version`` is set and not the newest."""
        return await self._replace(obj, "", manager)

    async def update_status(self, obj: K, *, manager: str = "") -> K:
        """Replace the status; Conflict as for update."""
        return await self._replace(obj, "status", manager)

    async def _replace(self, obj: K, subresource: str, manager: str) -> K:
        request = Request("PUT", _path(obj, subresource), _query(fieldManager=manager), obj.to_json())
        return self._decode(type(obj), await self._transport.request(request))

    async def apply(self, obj: K, *, manager: str, force: bool = True) -> K:
        """Server-side apply: own exactly the fields set in ``obj``. An unchanged apply writes nothing."""
        return await self._apply(obj, "", _applied(obj), manager, force=force)

    async def apply_status(self, obj: K, *, manager: str, force: bool = True) -> K:
        """Server-side apply of the status fields set in ``obj``; nothing else of it is sent but name and uid."""
        body = obj.to_json()
        names = {name: body["metadata"][name] for name in ("name", "namespace", "uid") if name in body["metadata"]}
        body = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": names, "status": body.get("status")}
        if body["status"] is None:
            del body["status"]
        return await self._apply(obj, "status", body, manager, force=force)

    async def _apply(self, obj: K, subresource: str, body: dict[str, Any], manager: str, *, force: bool) -> K:
        query = _query(fieldManager=manager, force=force)
        request = Request("PATCH", _path(obj, subresource), query, body, APPLY_PATCH)
        return self._decode(type(obj), await self._transport.request(request))

    async def patch(
        self,
        kind: type[K],
        name: str,
        namespace: str,
        body: Any,
        *,
        content_type: str,
        manager: str = "",
        subresource: str = "",
    ) -> K:
        """Patch with one of the patch content types of ``ketch.kube.transport``."""
        path = _named(kind.resource, namespace, name, subresource)
        request = Request("PATCH", path, _query(fieldManager=manager), body, content_type)
        return self._decode(kind, await self._transport.request(request))

    async def delete(
        self, kind: type[KubeObject], name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        """Delete; NotFound when absent, Conflict when a precondition fails. Returns before dependents are gone."""
        path = _named(kind.resource, namespace, name)
        await self._transport.request(Request("DELETE", path, body=_options(options)))

    async def delete_collection(
        self, kind: type[KubeObject], namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> None:
        """Delete all that match."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        await self._transport.request(Request("DELETE", kind.resource.path(namespace), query))

    async def create_subresource(
        self, kind: type[KubeObject], name: str, namespace: str, subresource: str, body: Mapping[str, Any]
    ) -> Any:
        """POST to a subresource (binding, eviction, token); the answer as JSON."""
        path = _named(kind.resource, namespace, name, subresource)
        return await self._transport.request(Request("POST", path, body=dict(body)))

    def logs(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        tail_lines: int | None = None,
        previous: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """A container's log as it comes."""
        query = _query(container=container, follow=follow, previous=previous)
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        return self._transport.stream(Request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log", query))

    async def request(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """Any other call (discovery, /version, /readyz)."""
        return await self._transport.request(Request(method, path, query or {}, body, JSON_TYPE))

    async def close(self) -> None:
        """Release the transport."""
        await self._transport.close()
