"""What controllers and commands ask of a Kubernetes API server: small protocols that compose into ``Client``.

A function that only reads takes a ``Reader``; its signature then says so. The one implementation is
``ketch.kube.rest.RESTClient`` over any ``Transport``. Every method raises the errors of ``ketch.kube.errors``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ketch.kube.meta import KubeObject

K = TypeVar("K", bound=KubeObject)


@dataclass(frozen=True, slots=True)
class ObjectList(Generic[K]):
    """One page of a list. ``continue_token`` is empty on the last page; watch from ``resource_version``."""

    items: tuple[K, ...]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[K]):
    """One change. ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK (then only the resourceVersion counts)."""

    type: str
    object: K


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete. ``propagation`` is Background, Foreground or Orphan; None leaves it to the kind's default."""

    propagation: str | None = None
    grace_period_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None


class Reader(Protocol):
    """Reads objects. Selectors are in the API's text form (``app=a,tier!=b``; ``spec.nodeName=n``)."""

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """The object, or NotFound."""
        ...

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
        ...

    def watch(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent[K]]]:
        """Changes after ``resource_version``. Raises Gone when the server no longer remembers it."""
        ...


class Writer(Protocol):
    """Writes objects. ``apply`` is the ordinary write of a controller."""

    async def create(self, obj: K, *, manager: str = "", dry_run: bool = False) -> K:
        """Create; AlreadyExists when the name is taken."""
        ...

    async def update(self, obj: K, *, manager: str = "") -> K:
        """Replace everything but status; Conflict when ``metadata.resource_version`` is set and not the newest."""
        ...

    async def apply(self, obj: K, *, manager: str, force: bool = True) -> K:
        """Server-side apply: own exactly the fields set in ``obj``. An unchanged apply writes nothing."""
        ...

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
        ...

    async def delete(
        self, kind: type[KubeObject], name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        """Delete; NotFound when absent, Conflict when a precondition fails. Returns before dependents are gone."""
        ...

    async def delete_collection(
        self, kind: type[KubeObject], namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> None:
        """Delete all that match."""
        ...


class StatusWriter(Protocol):
    """Writes the status subresource; nothing but ``status`` changes."""

    async def update_status(self, obj: K, *, manager: str = "") -> K:
        """Replace the status; Conflict as for update."""
        ...

    async def apply_status(self, obj: K, *, manager: str, force: bool = True) -> K:
        """Server-side apply of the status fields set in ``obj``."""
        ...


class Client(Reader, Writer, StatusWriter, Protocol):
    """All that a controller may do, and the calls that are no plain object verbs."""

    async def create_subresource(
        self, kind: type[KubeObject], name: str, namespace: str, subresource: str, body: Mapping[str, Any]
    ) -> Any:
        """POST to a subresource (binding, eviction, token); the answer as JSON."""
        ...

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
        ...

    async def request(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """Any other call (discovery, /version, /readyz)."""
        ...

    async def close(self) -> None:
        """Release the transport."""
        ...
