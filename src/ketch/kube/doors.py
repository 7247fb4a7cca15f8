"""Paths that a domain answers itself beside the API server's own: what an aggregated API server would do.

A door is asked before anyone is authenticated: who may come in is the door's to decide. The embedded API server asks
in-process; on a cluster the same class stands behind a server of its own.
"""

from collections.abc import Mapping
from typing import Any, Protocol


class Door(Protocol):
    """Answers some paths."""

    def opens(self, method: str, path: str) -> bool:
        """Whether a request is this door's. Pure, and quick: every request is asked."""
        ...

    async def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        """The answer as JSON; header names are in small letters. Raises APIError."""
        ...
