"""Counts of a process in Prometheus' text form: who counts something registers it, one address answers all of it."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Sequence
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Lines = Iterable[str]


class Registry:
    """What is counted in this process."""

    def __init__(self) -> None:
        self._sources: list[Callable[[], Lines]] = []

    def add(self, source: Callable[[], Lines]) -> None:
        """Ask ``source`` for its lines whenever somebody wants to know."""
        self._sources.append(source)

    def text(self) -> str:
        """All of it; empty when nothing is counted."""
        return "".join(f"{line}\n" for source in self._sources for line in source())


class Counter:
    """How often something happened, by the values of some labels."""

    def __init__(self, name: str, description: str, labels: Sequence[str]) -> None:
        self._name, self._description, self._labels = name, description, tuple(labels)
        self._counts: Counts[tuple[str, ...]] = Counts()

    def count(self, *values: str) -> None:
        """Once more, for these values of the labels."""
        self._counts[values] += 1

    def forget(self, *values: str) -> None:
        """Say nothing more of what does not exist any more."""
        self._counts.pop(values, None)

    def lines(self) -> Lines:
        """The family in text form."""
        return family(self._name, self._description, "counter", self._labels, self._counts.items())


def family(
    name: str, description: str, kind: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> Lines:
    """A family of samples in text form."""
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} {kind}"
    for values, value in sorted(samples):
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(labels, values, strict=True))
        yield f"{name}{{{pairs}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
