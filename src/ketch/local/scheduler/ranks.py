"""Nodes that say the same of themselves, emptiest first: of those alike, the first that will do is the best. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from ketch.local.scheduler.terms import Taint

Rank = tuple[float, int, str]
"""How full a node is, how many pods it has, its name: of nodes alike the least is the best, whatever a pod asks for."""

Likeness = tuple[frozenset[tuple[str, str]], tuple[Taint, ...], frozenset[tuple[str, int]]]
"""What a node says of itself but its name: labels, taints, allocatable resources."""


class Ranks:
    """Every node's place among its like. A change costs one search, however many nodes there are."""

    def __init__(self) -> None:
        self._ranked: dict[Likeness, list[Rank]] = {}
        self._places: dict[str, tuple[Likeness, Rank]] = {}

    def put(self, like: Likeness, rank: Rank) -> None:
        """A node is there, or has changed."""
        name = rank[-1]
        place = self._places.get(name)
        if place == (like, rank):
            return
        self.drop(name)
        insort(self._ranked.setdefault(like, []), rank)
        self._places[name] = (like, rank)

    def drop(self, name: str) -> None:
        """A node is gone; harmless when it is not there."""
        place = self._places.pop(name, None)
        if place is not None:
            like, rank = place
            ranked = self._ranked[like]
            del ranked[bisect_left(ranked, rank)]
            if not ranked:
                del self._ranked[like]

    def alike(self) -> Iterator[Iterator[str]]:
        """Names of the nodes, those that are alike together, the best of them first."""
        for ranked in self._ranked.values():
            yield (name for _, _, name in ranked)
