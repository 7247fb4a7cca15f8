"""How results are printed, and the statistics in them."""

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS: list[dict[str, Any]] = []
"""All tables of this run, for ``--json``."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of ``values`` lie: nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table, as wide as it needs to be, and remember it."""
    RESULTS.append({"title": title, "columns": list(columns), "rows": [list(row) for row in rows]})
    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=140)
    console.print(f"\n{title}", highlight=False)
    console.print(table)
