"""The node's images: told of in its status, and removed when the disk fills, those first that were wanted least lately.

Thresholds are percentages of the file system in use, as a kubelet's: from ``KETCH_IMAGE_GC_HIGH`` on images go until
``KETCH_IMAGE_GC_LOW`` is reached. What a container uses, or was wanted in the last minutes, stays.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, TransportError
from ketch.kube.types.core import ContainerImage
from ketch.local.images.mappings import FILE as MAPPINGS
from ketch.local.images.oci.collection import prune, removable, users
from ketch.local.images.oci.errors import OCIError, StoreBusy
from ketch.local.images.oci.store import Store

log = logging.getLogger(__name__)

HIGH, LOW = "KETCH_IMAGE_GC_HIGH", "KETCH_IMAGE_GC_LOW"
DEFAULT_HIGH, DEFAULT_LOW = 85.0, 80.0
LOOK_SECONDS = 5.0
LEAST_AGE = 120.0
"""Seconds for which an image is kept that was just wanted: its containers may not have begun."""

MOST_TOLD = 50


@dataclass(frozen=True)
class Thresholds:
    """Percentages of the disk in use: where removing begins, and where it ends."""

    high: float = DEFAULT_HIGH
    low: float = DEFAULT_LOW


def thresholds_of(environment: Mapping[str, str]) -> Thresholds:
    """Those that the environment sets; senseless ones are told of and not heeded."""
    try:
        found = Thresholds(float(environment.get(HIGH, DEFAULT_HIGH)), float(environment.get(LOW, DEFAULT_LOW)))
    except ValueError:
        found = Thresholds(0, 0)
    if 0 < found.low <= found.high <= 100:
        return found
    log.warning("%s and %s must be percentages, the low one not above the high one: not heeded", HIGH, LOW)
    return Thresholds()


def told_images(store: Store) -> tuple[ContainerImage, ...]:
    """The images as the node's status has them, the largest first."""
    names: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for each in store.images().values():
        known = names.setdefault(each.config, [])
        known += [name for name in (each.id, each.name) if name not in known]
        sizes[each.config] = each.size
    largest = sorted(sizes, key=lambda config: sizes[config], reverse=True)[:MOST_TOLD]
    return tuple(ContainerImage(names=tuple(names[config]), size_bytes=sizes[config]) for config in largest)


def version_of(path: Path) -> tuple[int, int]:
    """Tells one version of a file that is replaced whole from another."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


class ImageKeeper:
    """Looks after the images of one data directory; ``report`` says the node's status anew.

    ``changed`` is called when names mean something else than before.
    """

    def __init__(
        self,
        clock: Clock,
        store: Store,
        data_dir: Path,
        report: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
        thresholds: Thresholds,
    ) -> None:
        self._clock = clock
        self._store = store
        self._data_dir = data_dir
        self._report = report
        self._changed = changed
        self._mappings = version_of(data_dir / MAPPINGS)
        self._thresholds = thresholds
        self._told: Sequence[ContainerImage] = ()

    def told(self) -> tuple[ContainerImage, ...]:
        """The images, for the node's status."""
        try:
            self._told = told_images(self._store)
        except OCIError as error:
            log.warning("images are not told of: %s", error)
        return tuple(self._told)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Remove images where there is too little room; tell of what has changed."""
        before = tuple(self._told)
        if self._percent() >= self._thresholds.high:
            await self.free(lambda: self._percent() <= self._thresholds.low)
        mappings = version_of(self._data_dir / MAPPINGS)
        told = self.told()
        if mappings != self._mappings or told != before:
            self._mappings = mappings
            self._changed()
        if told != before:
            try:
                await self._report()
            except (APIError, TransportError) as error:
                self._told = before
                log.info("images are not told of yet: %s", error)

    async def free(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Remove images that no container uses, until it is ``enough``."""
        if self._store.images():
            await asyncio.to_thread(self._free, enough)

    def _free(self, enough: Callable[[], bool]) -> None:
        oldest = self._clock.now().timestamp() - LEAST_AGE
        try:
            found = removable(self._store, users(self._data_dir), named=True)
            chosen = [each for each in found if self._store.last_used(each) < oldest]
            gone, size = prune(self._store, chosen, enough=enough, patience=0.0)
        except StoreBusy:
            return  # what comes now would need the room anyway
        except (OCIError, OSError) as error:
            log.warning("images cannot be removed: %s", error)
            return
        if gone:
            log.warning("the disk is nearly full: removed %s (%d bytes)", ", ".join(each.name for each in gone), size)

    def _percent(self) -> float:
        usage = shutil.disk_usage(self._data_dir)
        return 100.0 * usage.used / (usage.used + usage.free)
