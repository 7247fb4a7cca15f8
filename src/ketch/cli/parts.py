"""What a platform may be started without: ``ketch up --without``."""

from collections.abc import Collection, Iterable
from enum import StrEnum

OPTION = "--without"


class Part(StrEnum):
    """A part of the platform that the rest does not need."""

    PIPELINES = "pipelines"
    TRAINING = "training"
    NODE = "node"


Parts = Collection[Part]


def arguments(without: Iterable[Part]) -> tuple[str, ...]:
    """How a program of the platform is told."""
    return tuple(word for part in sorted(set(without)) for word in (OPTION, part.value))
