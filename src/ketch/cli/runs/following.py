"""``ketch follow``: watch a run until it ends, live on a terminal, line by line elsewhere."""

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ketch.cli.messages import FAILED, INTERRUPTED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.cli.pipelines_api import FINISHED, APIRefused, APIUnreachable, PipelinesAPI
from ketch.cli.progress import COLOURS, INDENT, columns, failure_text, heading, tree, width_of
from ketch.local.platform.record import running_platform

DEFAULT_HOST = "http://localhost:8080"
LOOK_AGAIN_AFTER = 0.2
PATIENCE = 30.0
"""Seconds for which a platform that was there may be away: its processes are started again when they die."""

Host = Annotated[str, typer.Option(metavar="URL", help="Another platform's address.")]


def follow(
    run_id: Annotated[str, typer.Argument(help="The run.")],
    terminate: Annotated[bool, typer.Option("--terminate", help="End the run first.")] = False,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Follow a run that was submitted before. Exit codes as of 'ketch run'."""
    with pipelines_api(host, data_dir) as api:
        if terminate:
            api.terminate_run(run_id)
        else:
            api.get_run(run_id)
        end_with_outcome(api, run_id)


@contextmanager
def pipelines_api(host: str, data_dir: Path | None) -> Generator[PipelinesAPI]:
    """The API of ``host``, else of the platform that runs on the data directory; its errors end the command."""
    with PipelinesAPI(_host(host, data_dir)) as api:
        try:
            yield api
        except APIRefused as error:
            fail(str(error), USAGE)
        except APIUnreachable as error:
            fail(str(error), UNAVAILABLE)


def end_with_outcome(api: PipelinesAPI, run_id: str) -> None:
    """Follow the run to its end, which becomes the command's. Ctrl-C ends the following, not the run."""
    typer.echo(f"run {run_id}")
    watch = _follow_on_terminal if sys.stdout.isatty() else _follow_plainly
    try:
        outcome = watch(api, run_id)
    except KeyboardInterrupt:
        _interrupted(run_id, api.host)
    if outcome.get("state") != "SUCCEEDED":
        fail(f"run {run_id} {outcome.get('state', '').lower()}\n{failure_text(outcome)}".rstrip(), FAILED)
    typer.echo(f"run {run_id} succeeded")


def _interrupted(run_id: str, host: str) -> NoReturn:
    again = f"ketch follow {run_id}" if host == _host("", None) else f"ketch follow {run_id} --host {host}"
    fail(
        f"no longer followed, the run goes on\n  follow it again: {again}\n  end it:          {again} --terminate",
        INTERRUPTED,
    )


def _host(given: str, data_dir: Path | None) -> str:
    if given:
        return given
    platform = running_platform(data_directory(data_dir))
    return platform.platform if platform else DEFAULT_HOST


def _follow(api: PipelinesAPI, run_id: str, show: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    heard = time.monotonic()
    while True:
        try:
            run = api.get_run(run_id)
        except APIUnreachable:
            if time.monotonic() - heard > PATIENCE:
                raise
        else:
            heard = time.monotonic()
            show(run)
            if run.get("state") in FINISHED:
                return run
        time.sleep(LOOK_AGAIN_AFTER)


def _follow_on_terminal(api: PipelinesAPI, run_id: str) -> Mapping[str, Any]:
    from rich.live import Live  # noqa: PLC0415  # deferred: only a terminal shows live progress
    from rich.text import Text  # noqa: PLC0415

    with Live(auto_refresh=False) as live:

        def show(run: Mapping[str, Any]) -> None:
            now = datetime.now(UTC)
            lines = tree(run, now)
            width = width_of(lines)
            text = Text(heading(run, now), style="bold", no_wrap=True, overflow="ellipsis", end="")
            for line in lines:
                text.append(f"\n{INDENT}{line.sign} ", style=f"not bold {COLOURS.get(line.state, 'dim')}")
                text.append(columns(line, width), style="not bold" if line.state in COLOURS else "not bold dim")
            live.update(text, refresh=True)

        return _follow(api, run_id, show)


def _follow_plainly(api: PipelinesAPI, run_id: str) -> Mapping[str, Any]:
    """For pipes and logs: each change of a task is a line."""
    seen: set[tuple[str, str, str]] = set()
    width = 0

    def show(run: Mapping[str, Any]) -> None:
        nonlocal width
        for line in tree(run, datetime.now(UTC)):
            if line.key not in seen:
                seen.add(line.key)
                width = max(width, len(line.path))
                typer.echo(f"{INDENT}{line.sign} {columns(line._replace(name=line.path, depth=0), width)}")
        sys.stdout.flush()

    return _follow(api, run_id, show)
