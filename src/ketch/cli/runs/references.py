"""Which run, and which of its steps, the user's words mean."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from ketch.cli.messages import USAGE, fail
from ketch.cli.runs.api import APINotFound, PipelinesAPI, predicates
from ketch.cli.runs.steps import Step, every_step, moment, worked
from ketch.cli.runs.table import age

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run: its id or the beginning of one, its name, or @latest.")]

LATEST: Final = "@latest"
SHORT: Final = 8
"""As many characters of an id as are shown."""

_NEWEST_FIRST: Final = "created_at desc"
_ID = re.compile(r"[0-9a-f-]{1,36}", re.IGNORECASE)
_FULL_LENGTH: Final = 36
_MOST_NAMED: Final = 8


def find_run(api: PipelinesAPI, words: str) -> str:
    """The id of the run that is meant; ends the command where that is none, or several."""
    words = words.strip()
    if words == LATEST:
        newest = next(api.pages("/runs", "runs", {"sort_by": _NEWEST_FIRST}, size=1), None)
        return str(newest["run_id"]) if newest else fail("there are no runs yet: start one with 'ketch run'", USAGE)
    if not words:
        fail("name a run: its id or the beginning of one, its name, or @latest", USAGE)
    if _ID.fullmatch(words) and (found := _by_id(api, words.lower())):
        return found
    named = _runs(api, "EQUALS", "display_name", words)
    if len(named) > 1:
        _several(words, named)
    return str(named[0]["run_id"]) if named else fail(f"there is no run {words!r}: see 'ketch runs ls'", USAGE)


def find_step(steps: Sequence[Step], words: str) -> Step:
    """The step of the run that is meant: by path, name, task id or pod; ends the command where that is none."""
    every = list(every_step(steps))
    for meant in (
        [step for step in every if words in (step.path, step.id, *step.pods)],
        [step for step in every if not step.below and step.name == words],
        [step for step in every if not step.below and f"/{step.path}".endswith(f"/{words.lstrip('/')}")],
    ):
        if len(meant) > 1:
            paths = "\n  ".join(step.path for step in meant[:_MOST_NAMED])
            fail(f"several steps are called {words!r}; name one by its path:\n  {paths}", USAGE)
        if meant:
            return meant[0]
    known = ", ".join(step.path for step in list(worked(steps))[:_MOST_NAMED]) or "none yet"
    return fail(f"the run has no step {words!r}: there are {known}", USAGE)


def _by_id(api: PipelinesAPI, beginning: str) -> str:
    if len(beginning) == _FULL_LENGTH:
        try:
            return str(api.get_run(beginning)["run_id"])
        except APINotFound:
            return ""
    found = [run for run in _runs(api, "IS_SUBSTRING", "run_id", beginning) if run["run_id"].startswith(beginning)]
    if len(found) > 1:
        _several(beginning, found)
    return str(found[0]["run_id"]) if found else ""


def _runs(api: PipelinesAPI, operation: str, key: str, value: str) -> list[dict[str, Any]]:
    query = {"sort_by": _NEWEST_FIRST, "filter": predicates((operation, key, "string_value", value))}
    return list(api.pages("/runs", "runs", query))


def _several(words: str, runs: Sequence[dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    lines = [
        f"{run['run_id']}  {run['display_name']}  {age(moment(run.get('created_at')), now)}"
        for run in runs[:_MOST_NAMED]
    ]
    fail("\n  ".join([f"{len(runs)} runs are meant by {words!r}; name one by its id:", *lines]), USAGE)
