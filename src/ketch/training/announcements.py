"""What is told about a job: events as values. Pure."""

from dataclasses import dataclass
from typing import Final

NORMAL: Final = "Normal"
WARNING: Final = "Warning"


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event to record about a job."""

    type: str
    reason: str
    message: str
