"""How many of a run's pods wait for a place at the same time. Pure.

A loop over ten thousand items orders ten thousand pods at once. Made all together they would only wait, each with a
verdict that it does; so of each component no more are made than may soon have room, and others as those begin.
Components are counted apart: steps that wait for something rare hold up nothing but their like.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

MOST_COMING: Final = 64
"""Pods of one component that have been made and do not run yet."""


class Window:
    """Tasks whose pods are to be made, and those whose pods are on their way; tasks by their ids."""

    def __init__(self, most: int = MOST_COMING) -> None:
        self._most = most
        self._held: dict[str, deque[str]] = {}
        self._coming: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def offer(self, task_id: str, component: str) -> None:
        """The task's pod is to be made as soon as it may be."""
        self._held.setdefault(component, deque()).append(task_id)

    def come(self, task_id: str, component: str) -> None:
        """The task's pod is there, or about to be made."""
        if task_id not in self._coming:
            self._coming[task_id] = component
            self._counts[component] = self._counts.get(component, 0) + 1

    def begun(self, task_id: str) -> None:
        """The task's pod runs, or has ended."""
        component = self._coming.pop(task_id, None)
        if component is not None:
            self._counts[component] -= 1

    def take(self, is_wanted: Callable[[str], bool]) -> Iterator[str]:
        """The tasks whose pods may be made now, each once; what is not wanted any more is dropped."""
        for component in list(self._held):
            held = self._held[component]
            while held and self._counts.get(component, 0) < self._most:
                task_id = held.popleft()
                if is_wanted(task_id):
                    self.come(task_id, component)
                    yield task_id
            if not held:
                del self._held[component]
