"""Whoever may give a pod its node while it is being created.

A pod is created, then placed by a second write, which everybody who watches pods is told of: where one process has both
the API server and the scheduler, and the decision is known at once, the pod can be born placed. What decides is the
same, and so is the outcome; a cluster whose scheduler is elsewhere knows nothing of this.
"""

from collections.abc import Mapping
from typing import Any, Protocol


class Placement(Protocol):
    """Asked for each new pod that names no node, after it was completed and before it is stored. Never waits."""

    def place(self, pod: Mapping[str, Any]) -> str:
        """The pod's node, whose room counts as taken from now on; empty where the pod is to wait for its turn."""
        ...

    def withdraw(self, uid: str) -> None:
        """The pod was not created after all."""
        ...
