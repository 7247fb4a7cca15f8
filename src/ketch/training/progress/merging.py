"""What a report, or a measurement, makes of a job's progress. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ketch.training.progress.types import MOST_RANKS, PodUsage, Progress, RankStatus, Report

LEADER: Final = 0
"""The rank whose word is the job's; where it says nothing, anyone's is."""


def progress_of(status: Progress) -> Progress:
    """The part of a job's status that is its progress."""
    return Progress(trainer_status=status.trainer_status, ranks=status.ranks, usage=status.usage)


def reported(progress: Progress, report: Report, pod: str, rank: int | None) -> Progress:
    """With what a process of ``pod`` told; ``rank`` is which one it is, where it does not say so itself."""
    told = report.rank
    if told is None and rank is not None and report.trainer_status is not None:
        status = report.trainer_status
        told = RankStatus(
            rank=rank, progress_percentage=status.progress_percentage, last_updated_time=status.last_updated_time
        )
    ranks = progress.ranks
    if told is not None:
        ranks = _with(ranks, msgspec.structs.replace(told, pod=pod))
    leads = told is None or told.rank == LEADER or all(each.rank != LEADER for each in ranks)
    status = report.trainer_status if leads and report.trainer_status is not None else progress.trainer_status
    return msgspec.structs.replace(progress, trainer_status=status, ranks=ranks)


def _with(ranks: Sequence[RankStatus], told: RankStatus) -> tuple[RankStatus, ...]:
    """Ranks that a job no longer has, since it is smaller now, are gone."""
    size = MOST_RANKS if told.world_size is None else min(told.world_size, MOST_RANKS)
    others = (each for each in ranks if each.rank != told.rank)
    return tuple(sorted((each for each in (*others, told) if each.rank < size), key=lambda each: each.rank))


def measured(progress: Progress, usage: Iterable[PodUsage]) -> Progress:
    """With what the job's pods use now."""
    listed = sorted(usage, key=lambda each: each.pod)[:MOST_RANKS]
    return msgspec.structs.replace(progress, usage=tuple(listed))
