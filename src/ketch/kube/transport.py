"""The seam between a client and an API server: one request, one answer; or one request, many events.

A transport carries decoded JSON, not bytes, so that the in-process one costs no encoding. What it returns is shared
and must never be changed by the caller. Two implementations stand behind it: HTTP (``ketch.kube.http``) and the
embedded API server's own (``ketch.local.apiserver``); one contract suite runs over both.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

JSON_TYPE = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the Kubernetes API.

    ``path`` is absolute and percent-decoded (``/api/v1/namespaces/default/pods/a``); ``query`` holds the last value of
    each parameter; ``body`` is decoded JSON (dict, or list for a JSON patch) or None.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    content_type: str = JSON_TYPE


class Transport(Protocol):
    """Carries requests to one API server as one identity.

    Laws: failures with a Status raise ``ketch.kube.errors.APIError`` subclasses, no answer raises ``TransportError``;
    cancelling a call frees everything it held; after ``close`` every call raises ``TransportError``.
    """

    async def request(self, request: Request) -> Any:
        """Send ``request``; return the decoded JSON answer (a dict; str for text answers)."""
        ...

    def watch(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """Open a watch; iterate raw events ``{"type": ..., "object": {...}}``.

        The iterator ends when the server ends the watch (timeoutSeconds). An ERROR event raises its APIError
        (410: ``Gone``); a torn connection raises ``TransportError``.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a byte stream (pod logs); iterate its chunks as they come."""
        ...

    async def close(self) -> None:
        """Release connections and end open watches."""
        ...
