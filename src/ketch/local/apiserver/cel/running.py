"""One evaluation, and what is evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ketch.local.apiserver.cel.errors import BudgetError
from ketch.local.apiserver.cel.types import Type

MOST_STEPS = 100_000
"""Elements that the macros of one run may look at: some tens of milliseconds."""


class Run:
    """One evaluation: the variables, and how much it may still do."""

    __slots__ = ("left", "values")

    def __init__(self, values: dict[str, Any], left: int = MOST_STEPS) -> None:
        self.values = values
        self.left = left

    def step(self) -> None:
        """Count one element. Raises BudgetError."""
        self.left -= 1
        if self.left < 0:
            raise BudgetError("operation cancelled: actual cost limit exceeded")


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled part: what it gives, and how."""

    type: Type
    run: Callable[[Run], Any]
