"""The end of all containers of a data directory, for when the platform itself ends. Needs no other part of it."""

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from ketch.local.node.adoption import containers_below
from ketch.local.node.cpulimits import CPULimits
from ketch.local.node.sharing import is_init
from ketch.local.node.volumes.places import Folders, remove_objects
from ketch.local.sandbox.container import Container

GRACE_SECONDS = 5.0
AFTER_KILL_SECONDS = 5.0


def _running(data_dir: Path) -> Iterator[Container]:
    for folder in (data_dir / "pods").glob("*"):
        yield from (container for container in containers_below(folder) if container.running)


def containers_run(data_dir: Path) -> bool:
    """Whether any container of the data directory runs."""
    return next(_running(data_dir), None) is not None


def _wait(containers: list[Container], seconds: float) -> list[Container]:
    """Those that still run after ``seconds``, or sooner when none does."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    left: dict[int, Container] = {}
    for container in containers:
        try:
            descriptor = os.pidfd_open(container.started.keeper_pid)
        except ProcessLookupError:
            continue
        left[descriptor] = container
        poll.register(descriptor, select.POLLIN)
    while left and (pause := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(pause * 1000):
            poll.unregister(descriptor)
            os.close(descriptor)
            del left[descriptor]
    for descriptor in left:
        os.close(descriptor)
    return [container for container in left.values() if container.running]


def end_all_containers(data_dir: Path, grace_seconds: float = GRACE_SECONDS) -> None:
    """SIGTERM to every container, SIGKILL to those that go on; returns when all have ended.

    What lies in memory for them goes too: an agent that starts again makes it anew.
    """
    running = list(_running(data_dir))
    inits = [container for container in running if is_init(container)]
    containers = [container for container in running if not is_init(container)]
    for container in containers:
        container.shut_down()
    left = [*_wait(containers, grace_seconds), *inits]
    for container in left:
        container.kill()
    _wait(left, AFTER_KILL_SECONDS)
    folders = Folders(data_dir)
    for uid in folders.pods():
        remove_objects(folders, uid)
    CPULimits(data_dir).sweep()
