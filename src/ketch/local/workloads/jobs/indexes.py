"""Sets of completion indexes in the form of a Job's status: ``0-2,5``."""

from collections.abc import Iterable


def runs_of(text: str | None) -> list[tuple[int, int]]:
    """The runs that ``text`` lists, first and last index of each; what is no number is passed over."""
    found: list[tuple[int, int]] = []
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            found.append((int(first), int(last or first)))
    return found


def parse(text: str | None) -> set[int]:
    """The indexes that ``text`` lists."""
    return {index for first, last in runs_of(text) for index in range(first, last + 1)}


def text_of(indexes: Iterable[int]) -> str:
    """The shortest text: three or more in a row become a range, two are listed as ``a,b``."""
    runs: list[list[int]] = []
    for index in sorted(set(indexes)):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(_run(run) for run in runs)


def _run(run: list[int]) -> str:
    if len(run) > 2:
        return f"{run[0]}-{run[-1]}"
    return ",".join(map(str, run))
