"""How a run ended, in words and as the command's exit code: failing steps with the last lines of their logs."""

import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TextIO

import typer

from ketch.cli.messages import FAILED, INTERRUPTED, fail
from ketch.cli.runs.api import APIRefused, APIUnreachable, PipelinesAPI
from ketch.cli.runs.document import as_json
from ketch.cli.runs.following import Watched, follow_run, platform_address
from ketch.cli.runs.references import SHORT
from ketch.cli.runs.steps import Step, failures, message_of
from ketch.cli.runs.tree import INDENT

LAST_LINES: Final = 20
MOST_TOLD: Final = 5
"""Failing steps whose logs are printed; the others are named."""

_SUCCEEDED: Final = "SUCCEEDED"


def end_with_outcome(
    api: PipelinesAPI, run_id: str, *, json_output: bool = False, interrupted: Callable[[], bool] = lambda: False
) -> bool:
    """Follow the run to its end, which becomes the command's where it is a failure.

    Ctrl-C ends the following, not the run. False when it was ``interrupted`` before the run's end.
    """
    out = sys.stderr if json_output else sys.stdout
    typer.echo(f"run {run_id}", file=out)
    try:
        watched = follow_run(api, run_id, out, interrupted)
    except KeyboardInterrupt:
        _interrupted(api, run_id)
    if watched is None:
        return False
    if json_output:
        typer.echo(json.dumps(as_json(watched.run, watched.steps), indent=1))
    state = str(watched.run.get("state", ""))
    if state != _SUCCEEDED:
        tell_failures(api, watched, sys.stderr)
        fail(f"run {run_id} {state.lower()}{_hints(watched.steps, run_id)}", FAILED)
    typer.echo(f"run {run_id} succeeded", file=out)
    return True


def tell_failures(api: PipelinesAPI, watched: Watched, out: TextIO) -> None:
    """Each failing step with the last lines of its log, else with its error; else the run's own error."""
    failed = failures(watched.steps)
    run_id = str(watched.run.get("run_id", ""))
    for step in failed[:MOST_TOLD]:
        attempts = f", attempt {step.attempts}" if step.attempts > 1 else ""
        typer.echo(f"\n✗ {step.path} failed{attempts}: {step.reason}", file=out)
        for line in last_lines(api, run_id, step) or step.error.splitlines()[1:]:
            typer.echo(f"{INDENT}│ {line}", file=out)
    if len(failed) > MOST_TOLD:
        typer.echo(f"\nand {len(failed) - MOST_TOLD} more steps failed", file=out)
    if not failed and (message := message_of(watched.run)):
        typer.echo(f"\n{message}", file=out)
    typer.echo("", file=out)


def last_lines(api: PipelinesAPI, run_id: str, step: Step, count: int = LAST_LINES) -> Sequence[str]:
    """The end of the step's log; nothing where it has none any more."""
    if not step.pods:
        return ()
    last: deque[str] = deque(maxlen=count)
    rest = b""
    try:
        with api.log(run_id, step.id, follow=False) as chunks:
            for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                last.extend(line.decode(errors="replace").rstrip("\r") for line in lines)
    except (APIRefused, APIUnreachable):
        return ()  # the error that the run carries is told instead
    if rest:
        last.append(rest.decode(errors="replace"))
    return tuple(last)


def _hints(steps: Sequence[Step], run_id: str) -> str:
    failed = [step for step in failures(steps) if step.pods]
    if not failed:
        return ""
    path = failed[0].path if " " not in failed[0].path else f"'{failed[0].path}'"
    run = run_id[:SHORT]
    return f"\n  its whole log:    ketch runs logs {run} {path}\n  a shell in there: ketch runs debug {run} {path}"


def _interrupted(api: PipelinesAPI, run_id: str) -> NoReturn:
    host = "" if api.host == platform_address("", None) else f" --host {api.host}"
    fail(
        f"no longer followed, the run goes on\n  follow it again: ketch follow {run_id}{host}\n"
        f"  end it:          ketch runs terminate {run_id}{host}",
        INTERRUPTED,
    )
