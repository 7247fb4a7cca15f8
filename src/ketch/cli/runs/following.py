"""A run followed to its end: live on a terminal, line by line elsewhere."""

import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from ketch.cli.messages import UNAVAILABLE, USAGE, fail
from ketch.cli.options import data_directory
from ketch.cli.runs.api import FINISHED, APIRefused, APIUnreachable, PipelinesAPI
from ketch.cli.runs.steps import Step, steps_of, task_details
from ketch.cli.runs.tree import COLOURS, INDENT, PENDING, Line, columns, fitting, heading, lines_of, width_of
from ketch.local.platform.record import running_platform

DEFAULT_HOST = "http://localhost:8080"
HOST_VARIABLE = "KETCH_HOST"
LOOK_AGAIN_AFTER = 0.2
SHARE = 4
"""A look at a large run takes longer: at most one part in so many of the time is spent on looking."""

PATIENCE = 30.0
"""Seconds for which a platform that was there may be away: its processes are started again when they die."""

LEAST_ROOM = 5
"""Lines of a terminal that are used however low it is."""

Host = Annotated[
    str, typer.Option(metavar="URL", envvar=HOST_VARIABLE, help="Another platform's address [also: $KETCH_HOST].")
]


@contextmanager
def pipelines_api(host: str, data_dir: Path | None) -> Generator[PipelinesAPI]:
    """The API of ``host``, else of the platform that runs on the data directory; its errors end the command."""
    try:
        with PipelinesAPI(platform_address(host, data_dir)) as api:
            yield api
    except APIRefused as error:
        fail(str(error), USAGE)
    except APIUnreachable as error:
        fail(str(error), UNAVAILABLE)


def platform_address(given: str, data_dir: Path | None) -> str:
    """Where the platform that is meant answers."""
    if given:
        return given
    platform = running_platform(data_directory(data_dir))
    if platform is not None and not platform.platform:
        fail("the platform was started without pipelines: say where they are with --host", USAGE)
    return platform.platform if platform else DEFAULT_HOST


class Watched:
    """A run as it is now, with its steps; what never changes of a task is asked for once."""

    def __init__(self, api: PipelinesAPI, run_id: str) -> None:
        self._api, self._run_id = api, run_id
        self._natives: dict[str, Mapping[str, Any]] = {}
        self.run: Mapping[str, Any] = {}
        self.steps: Sequence[Step] = ()

    def look(self) -> None:
        """Ask again."""
        self.run = self._api.get_run(self._run_id)
        ended = self.run.get("state") in FINISHED
        if ended or any(task.get("task_id") not in self._natives for task in task_details(self.run)):
            self._natives = {task["task_id"]: task for task in self._api.tasks(self._run_id)}
        else:  # states that are not of this look would contradict it
            self._natives = {key: {**task, "state": ""} for key, task in self._natives.items()}
        self.steps = steps_of(self.run, self._natives)


def follow_run(
    api: PipelinesAPI, run_id: str, out: TextIO, interrupted: Callable[[], bool] = lambda: False
) -> Watched | None:
    """Show the run on ``out`` until it has ended. None when it was ``interrupted`` before."""
    watched = Watched(api, run_id)
    with (_live if is_terminal(out) else _plain)(out) as show:
        heard = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                watched.look()
            except APIUnreachable:
                if time.monotonic() - heard > PATIENCE:
                    raise
            else:
                heard = time.monotonic()
                show(watched)
                if watched.run.get("state") in FINISHED:
                    return watched
            if interrupted():
                return None
            time.sleep(max(LOOK_AGAIN_AFTER, (time.monotonic() - began) * SHARE))


def is_terminal(out: TextIO) -> bool:
    """Whether lines on ``out`` may be written over."""
    return out.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def _live(out: TextIO) -> Generator[Callable[[Watched], None]]:
    from rich.console import Console  # noqa: PLC0415  # deferred: only a terminal shows live progress
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(file=out), auto_refresh=False) as live:

        def show(watched: Watched) -> None:
            now = datetime.now(UTC)
            room = max(LEAST_ROOM, shutil.get_terminal_size().lines - 2)
            live.update(painted(heading(watched.run, now), fitting(watched.steps, now, room)), refresh=True)

        yield show


def painted(title: str, lines: Sequence[Line]) -> Any:
    """The tree below its title, with colours."""
    from rich.text import Text  # noqa: PLC0415

    width = width_of(lines)
    text = Text(title, style="bold", no_wrap=True, overflow="ellipsis", end="")
    for line in lines:
        colour = COLOURS.get(line.state, "dim")
        text.append(f"\n{INDENT}{line.sign} ", style=f"not bold {colour}")
        text.append(columns(line, width), style="not bold" if line.state in COLOURS else "not bold dim")
    return text


@contextmanager
def _plain(out: TextIO) -> Generator[Callable[[Watched], None]]:
    """For pipes and logs: each change of a step is a line; what only holds others, when it has ended."""
    seen: set[tuple[str, str, str]] = set()
    width = 0

    def show(watched: Watched) -> None:
        nonlocal width
        for line in lines_of(watched.steps, datetime.now(UTC)):
            if line.key in seen or not _is_news(line):
                continue
            seen.add(line.key)
            width = max(width, len(line.path))
            typer.echo(f"{INDENT}{line.sign} {columns(line, width, line.path)}", file=out)
        out.flush()

    yield show


def _is_news(line: Line) -> bool:
    if line.is_leaf:
        return line.state != PENDING or bool(line.note)
    return line.state in FINISHED
