"""What goes first when the disk is nearly full: what containers that have ended for good have printed.

Their records stay: how they ended is in their pods' statuses, and an agent that starts again reads it there.
"""

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path

from ketch.local.node.volumes.places import Folders
from ketch.local.node.worker import PodWorker
from ketch.local.sandbox.records import SCRATCH

ENDED = ("Succeeded", "Failed")


def has_ended(worker: PodWorker) -> bool:
    """Whether nothing of the pod will run any more."""
    return worker.machine.reported.phase in ENDED


async def forget_ended(folders: Folders, workers: Iterable[PodWorker]) -> None:
    """Remove logs of pods that have ended, and whatever else of them takes room."""
    roots = [folders.of_pod(each.machine.uid) for each in workers if has_ended(each)]
    if roots:
        await asyncio.to_thread(_forget, roots)


def _forget(roots: Iterable[Path]) -> None:
    for root in roots:
        shutil.rmtree(root / "logs", ignore_errors=True)
        for scratch in root.glob(f"containers/*/*/{SCRATCH}"):
            shutil.rmtree(scratch, ignore_errors=True)
