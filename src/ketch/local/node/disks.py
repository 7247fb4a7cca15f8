"""Gives disk space back: a PersistentVolume that is being deleted loses its directory, then its finalizer."""

import asyncio
import logging
import shutil
from pathlib import Path

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.informer import Informer
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import PersistentVolume
from ketch.local.node.volumes.places import VOLUMES_DRIVER

log = logging.getLogger(__name__)

FINALIZER = "volumes.ketch.dev/data"
RETRY_SECONDS = 1.0


def _is_going(volume: PersistentVolume) -> bool:
    meta = volume.metadata
    return meta.deletion_timestamp is not None and FINALIZER in meta.finalizers


class Disks:
    """Looks after the volumes whose directories are on this machine."""

    def __init__(self, client: Client, clock: Clock, volumes: Informer[PersistentVolume], data_dir: Path) -> None:
        self._client = client
        self._clock = clock
        self._volumes = volumes
        self._root = data_dir / "volumes"
        self._changed = asyncio.Event()
        volumes.add_handler(self._on_change)

    def _on_change(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:  # noqa: ARG002
        if new is not None and _is_going(new):
            self._changed.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                for volume in filter(_is_going, self._volumes.list()):
                    await self._remove(volume)
            except (APIError, TransportError, OSError) as error:
                log.warning("a volume was not removed yet: %s", error)
                await self._clock.sleep(RETRY_SECONDS)
                self._changed.set()

    async def _remove(self, volume: PersistentVolume) -> None:
        csi = volume.spec.csi
        if csi is not None and csi.driver == VOLUMES_DRIVER:
            path = (self._root / csi.volume_handle).resolve()
            if path.parent == self._root.resolve():
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        meta = volume.metadata
        patch = {
            "metadata": {
                "resourceVersion": meta.resource_version,
                "finalizers": [name for name in meta.finalizers if name != FINALIZER],
            }
        }
        try:
            await self._client.patch(PersistentVolume, meta.name, "", patch, content_type=MERGE_PATCH)
        except (NotFound, Conflict):
            return  # its next version brings it back, if there is one
