"""Which pods of a job were made for another number of processes. Pure.

Processes learn when they start how many they are. An elastic job is told a range, and goes on through a change within
it; of any other job that keeps checkpoints all pods begin again, and it goes on from the last one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ketch.kube.codec import encode
from ketch.kube.meta import KubeObject
from ketch.kube.types.containers import EnvVar
from ketch.training.checkpoints.contract import PREFIX, VOLUME

WORLD: Final = f"{PREFIX}world"
"""A pod's annotation: a mark of what it was told of the others."""


def world_mark(job: KubeObject, environment: Sequence[EnvVar]) -> Mapping[str, str]:
    """The annotation of a pod that is told ``environment``; nothing where the job keeps no checkpoints."""
    if VOLUME not in job.metadata.annotations:
        return {}
    content = msgspec.json.encode([encode(each) for each in environment])
    return {WORLD: hashlib.sha1(content, usedforsecurity=False).hexdigest()}


def is_outdated(pod: KubeObject, job: KubeObject, environment: Sequence[EnvVar]) -> bool:
    """Whether the pod was told something else than it would be now."""
    wanted, told = world_mark(job, environment).get(WORLD), pod.metadata.annotations.get(WORLD)
    return None not in (wanted, told) and wanted != told
