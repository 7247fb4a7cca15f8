"""What a job's status says of its progress; declared once for every kind of job, of both generations."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from ketch.kube.codec import KubeStruct
from ketch.kube.quantities import Quantity

MOST_METRICS: Final = 256
MOST_RANKS: Final = 512
"""Ranks, and pods, that a status lists: an object must not grow with the job without end."""

_Text = Annotated[str, Meta(min_length=1, max_length=64)]
_Count = Annotated[int, Meta(ge=0)]
_Percentage = Annotated[int, Meta(ge=0, le=100)]


class Metric(KubeStruct, frozen=True, kw_only=True):
    """A figure that the trainer told."""

    name: _Text
    value: _Text


class TrainerStatus(KubeStruct, frozen=True, kw_only=True):
    """How far training is, by its own word."""

    progress_percentage: _Percentage | None = None
    estimated_remaining_seconds: _Count | None = None
    metrics: Annotated[tuple[Metric, ...], Meta(max_length=MOST_METRICS)] = ()
    last_updated_time: datetime | None = None


class RankStatus(KubeStruct, frozen=True, kw_only=True):
    """What one process of the job is at: by its own word, CPU in cores since its last word."""

    rank: _Count
    pod: str = ""
    world_size: _Count | None = None
    step: _Count | None = None
    progress_percentage: _Percentage | None = None
    steps_per_second: str = ""
    samples_per_second: str = ""
    cpu: Quantity | None = None
    memory: Quantity | None = None
    gpu_memory: Quantity | None = None
    gpu_utilization: _Percentage | None = None
    checkpoint: str = ""
    last_updated_time: datetime | None = None


class PodUsage(KubeStruct, frozen=True, kw_only=True):
    """What one pod of the job uses, as the cluster measures it."""

    pod: str
    cpu: Quantity | None = None
    memory: Quantity | None = None


class Progress(KubeStruct, frozen=True, kw_only=True):
    """The part of a job's status that this package writes, its lists in order and as a whole."""

    trainer_status: TrainerStatus | None = None
    ranks: tuple[RankStatus, ...] = ()
    usage: tuple[PodUsage, ...] = ()


class Report(KubeStruct, frozen=True, kw_only=True):
    """What a process sends: Trainer's ``UpdateTrainJobStatusRequest``, and who it is if it says so."""

    trainer_status: TrainerStatus | None = None
    rank: RankStatus | None = None
