"""Pods whose containers see each other's processes: an init of the pod's own, which outlives each of them.

It stands among the pod's containers as one that no pod can name, so whoever ends all of them finds it, too.
"""

import asyncio
import contextlib
import shutil
from pathlib import Path

from ketch.kube.types.core import Pod
from ketch.local.images.rootfs import SEARCH_PATH, system_mounts
from ketch.local.node.starting import container_directory, hostname
from ketch.local.node.volumes.places import Folders
from ketch.local.sandbox.client import SandboxClient
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.errors import NotStarted
from ketch.local.sandbox.spec import ContainerSpec

PROCESSES = ".processes"
"""Its name among the pod's containers."""

# It ends with the pod, not by a signal from a container that may send one.
PROGRAM = ("sh", "-c", "trap '' TERM INT HUP; exec sleep infinity")


def is_init(container: Container) -> bool:
    """Whether the container is a pod's init, which ends after the others."""
    return container.directory.parent.name == PROCESSES


class SharedProcesses:
    """The PID namespace of one pod, if its containers share one."""

    def __init__(self, sandbox: SandboxClient, folders: Folders) -> None:
        self._sandbox = sandbox
        self._folders = folders
        self._starting = asyncio.Lock()

    async def join(self, pod: Pod) -> Path:
        """The records of the container among whose processes those of the pod live. Raises SandboxError, OSError."""
        directory = self._directory(pod.metadata.uid)
        async with self._starting:
            with contextlib.suppress(NotStarted):
                if Container.adopt(directory).running:
                    return directory
                await asyncio.to_thread(shutil.rmtree, directory)
            await self._sandbox.start(
                ContainerSpec(
                    directory=directory,
                    argv=PROGRAM,
                    env={"PATH": SEARCH_PATH},
                    log=directory.with_suffix(".log"),
                    mounts=tuple(system_mounts()),
                    hostname=hostname(pod),
                )
            )
        return directory

    def end(self, uid: str) -> None:
        """End the namespace with all that is left in it."""
        with contextlib.suppress(NotStarted):
            Container.adopt(self._directory(uid)).kill()

    def _directory(self, uid: str) -> Path:
        return container_directory(self._folders, uid, PROCESSES, 0)
