"""The annotations by which a job asks for checkpoints, understood and checked. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ketch.kube.causes import invalid, unsupported
from ketch.kube.errors import Cause
from ketch.kube.quantities import QuantityError, parse_quantity

PREFIX: Final = "checkpoints.ketch.dev/"
VOLUME: Final = f"{PREFIX}volume"
"""``auto``: a claim of the job's own; else the name of a claim that is there."""

SIZE: Final = f"{PREFIX}size"
"""How large a claim of the job's own is."""

STORAGE_CLASS: Final = f"{PREFIX}storage-class"
ACCESS_MODE: Final = f"{PREFIX}access-mode"
RETAIN: Final = f"{PREFIX}retain"
"""Whether a claim of the job's own stays when the job is deleted."""

PATH: Final = f"{PREFIX}path"
"""The folder within a claim that was named: jobs that name the same one share their checkpoints."""

KEEP: Final = f"{PREFIX}keep"
"""How many checkpoints are kept of those that ``ketch_training`` saved."""

AUTO: Final = "auto"
ALL: Final = "all"
DEFAULT_SIZE: Final = "10Gi"
ACCESS_MODES: Final = ("ReadWriteOnce", "ReadWriteMany")

_KNOWN: Final = (VOLUME, SIZE, STORAGE_CLASS, ACCESS_MODE, RETAIN, PATH, KEEP)
_OF_ITS_OWN: Final = (SIZE, STORAGE_CLASS, ACCESS_MODE, RETAIN)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 253
_ANNOTATIONS: Final = "metadata.annotations"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job asks for. ``claim`` is empty for one of its own."""

    claim: str
    path: str
    size: str = DEFAULT_SIZE
    storage_class: str | None = None
    access_mode: str = ACCESS_MODES[0]
    retain: bool = False
    keep: str = ""


def wish_of(name: str, annotations: Mapping[str, str]) -> Wish | None:
    """What the job ``name`` asks for; None when it keeps no checkpoints."""
    volume = annotations.get(VOLUME, "")
    if not volume:
        return None
    own = volume == AUTO
    return Wish(
        claim="" if own else volume,
        path="" if own else annotations.get(PATH, name),
        size=annotations.get(SIZE, DEFAULT_SIZE),
        storage_class=annotations.get(STORAGE_CLASS),
        access_mode=annotations.get(ACCESS_MODE, ACCESS_MODES[0]),
        retain=annotations.get(RETAIN) == "true",
        keep=annotations.get(KEEP, ""),
    )


def problems(annotations: Mapping[str, str]) -> Iterable[Cause]:
    """What is wrong with a job's annotations."""
    ours = {key: value for key, value in annotations.items() if key.startswith(PREFIX)}
    if not ours:
        return
    for key in ours:
        if key not in _KNOWN:
            yield unsupported(_ANNOTATIONS, key, _KNOWN)
    volume = ours.get(VOLUME, "")
    if not volume:
        yield invalid(_at(VOLUME), volume, f"say where checkpoints are kept: {AUTO}, or the name of a claim")
    elif not _NAME.fullmatch(volume) or len(volume) > _LONGEST_NAME:
        yield invalid(_at(VOLUME), volume, f"must be {AUTO}, or the name of a PersistentVolumeClaim")
    elif volume != AUTO:
        for key in _OF_ITS_OWN:
            if key in ours:
                yield invalid(_at(key), ours[key], f"is about a claim of the job's own: set {VOLUME} to {AUTO}")
    elif PATH in ours:
        yield invalid(_at(PATH), ours[PATH], f"is about a claim that is there: name it in {VOLUME}")
    yield from _values(ours)


def _values(ours: Mapping[str, str]) -> Iterable[Cause]:
    if SIZE in ours and not _is_size(ours[SIZE]):
        yield invalid(_at(SIZE), ours[SIZE], "must be a positive quantity, such as 10Gi")
    if ours.get(ACCESS_MODE, ACCESS_MODES[0]) not in ACCESS_MODES:
        yield unsupported(_at(ACCESS_MODE), ours[ACCESS_MODE], ACCESS_MODES)
    if ours.get(RETAIN, "true") not in ("true", "false"):
        yield unsupported(_at(RETAIN), ours[RETAIN], ("true", "false"))
    keep = ours.get(KEEP, ALL)
    if keep != ALL and not (keep.isdecimal() and int(keep) > 0):
        yield invalid(_at(KEEP), keep, f"must be a positive number, or {ALL}")
    path = PurePosixPath(ours.get(PATH, "x"))
    if not ours.get(PATH, "x") or path.is_absolute() or ".." in path.parts:
        yield invalid(_at(PATH), ours[PATH], "must be relative and stay inside the volume")


def _is_size(text: str) -> bool:
    try:
        return parse_quantity(text) > 0
    except QuantityError:
        return False


def _at(key: str) -> str:
    return f"{_ANNOTATIONS}[{key}]"
