"""Something that containers wait for: wanted, asked for, had, or failed and to be tried again later."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto


class Progress(Enum):
    """How far a need is."""

    WANTED = auto()
    ASKED = auto()
    MET = auto()
    FAILED = auto()


@dataclass
class Need:
    """One thing to be had; after a failure the pause doubles from ``first`` to ``longest`` seconds."""

    first: float
    longest: float
    progress: Progress = Progress.WANTED
    value: str = ""
    reason: str = ""
    message: str = ""
    pause: float = 0.0
    failed_at: datetime | None = None

    @property
    def met(self) -> bool:
        """Whether it is there."""
        return self.progress is Progress.MET

    @property
    def retry_at(self) -> datetime | None:
        """When to try again; None when it has not failed."""
        if self.progress is Progress.FAILED and self.failed_at is not None:
            return self.failed_at + timedelta(seconds=self.pause)
        return None

    def due(self, now: datetime) -> bool:
        """Whether it should be asked for now."""
        return self.progress is Progress.WANTED or ((at := self.retry_at) is not None and now >= at)

    def ask(self) -> None:
        """It was asked for. What the last failure said stays until the answer."""
        self.progress = Progress.ASKED

    def meet(self, value: str = "") -> None:
        """It is there."""
        self.progress, self.value = Progress.MET, value
        self.reason = self.message = ""
        self.pause, self.failed_at = 0.0, None

    def fail(self, reason: str, message: str, now: datetime) -> None:
        """It could not be had."""
        self.progress, self.reason, self.message = Progress.FAILED, reason, message
        self.pause = min(self.longest, self.pause * 2) if self.pause else self.first
        self.failed_at = now

    def want(self) -> None:
        """Ask again at once if it failed; the pause keeps growing should it fail again."""
        if self.progress is Progress.FAILED:
            self.progress = Progress.WANTED
