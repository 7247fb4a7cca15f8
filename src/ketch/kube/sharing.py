"""Objects decoded once for all who get them.

A transport within the server's process hands out the server's own JSON: several informers, and whoever wrote an object,
get the very same one. What is made of it is frozen, so one of it is enough.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from ketch.kube.codec import KubeStruct, decode

REMEMBERED: Final = 600
"""Objects for which another reader may still come; readers take turns after a few hundred."""

S = TypeVar("S", bound=KubeStruct)


class Shared:
    """Remembers what it decoded last, by the identity of what it was decoded from."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: dict[tuple[type[Any], int], tuple[Mapping[str, Any], Any]] = {}

    def decode(self, kind: type[S], raw: Mapping[str, Any]) -> S:
        """``raw``, which nobody may change any more, as a value of ``kind``."""
        identity = (kind, id(raw))
        known = self._known.get(identity)
        if known is not None:
            return known[1]
        value = decode(kind, raw)
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[identity] = (raw, value)  # with raw, so that no other object can have its identity
        return value
