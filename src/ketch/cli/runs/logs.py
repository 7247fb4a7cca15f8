"""``ketch runs logs``: what the steps of a run wrote, one of them or all, live or afterwards."""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Annotated

import typer

from ketch.cli.messages import FAILED, USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.prefixes import PrefixedLines, whole_lines
from ketch.cli.runs.api import FINISHED, APIRefused, APIUnreachable, PipelinesAPI
from ketch.cli.runs.following import LOOK_AGAIN_AFTER, PATIENCE, Host, Watched, pipelines_api
from ketch.cli.runs.references import Run, find_run, find_step
from ketch.cli.runs.steps import ENDED, Step, worked


def logs(
    run: Run = "@latest",
    step: Annotated[str, typer.Argument(help="Only this step: its path, name or id.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run, or the step, has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="This attempt of a step that was retried; the newest when left out.")
    ] = None,
    previous: Annotated[bool, typer.Option("--previous", help="The attempt before the newest.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines of each step.")] = None,
    host: Host = "",
    data_dir: DataDir = None,
) -> None:
    """Print what a run's steps wrote: of all of them, each line after its step's name, or of one."""
    if (attempt or previous) and not step:
        fail("--attempt and --previous are about one step: name it", USAGE)
    if attempt and previous:
        fail("--attempt and --previous contradict each other", USAGE)
    with pipelines_api(host, data_dir) as api:
        watched = Watched(api, find_run(api, run))
        watched.look()
        if step:
            _one(api, watched, step, _Wanted(attempt, previous=previous, follow=follow, tail=tail))
        elif follow:
            _follow_all(api, watched, tail)
        else:
            _all(api, watched, tail)


class _Wanted:
    """Which part of one step's log."""

    def __init__(self, attempt: int | None, *, previous: bool, follow: bool, tail: int | None) -> None:
        self.attempt, self.previous, self.follow, self.tail = attempt, previous, follow, tail

    def pod(self, step: Step) -> str:
        """The pod of the attempt; ends the command where there is none."""
        number = step.attempts - 1 if self.previous else self.attempt or step.attempts
        if self.previous and number < 1:
            fail(f"step {step.path} was begun only once", USAGE)
        if number > step.attempts:
            fail(f"step {step.path} has had {step.attempts} attempts: there is no attempt {number}", USAGE)
        return step.pods[number - 1]


def _one(api: PipelinesAPI, watched: Watched, words: str, wanted: _Wanted) -> None:
    step = find_step(watched.steps, words)
    if step.below:
        inner = ", ".join(below.path for below in list(worked(step.below))[:8])
        fail(f"{step.path} only holds other steps: name one of {inner}", USAGE)
    while wanted.follow and not step.pods and step.state not in ENDED:
        time.sleep(LOOK_AGAIN_AFTER)
        watched.look()
        step = find_step(watched.steps, step.id)
    if not step.pods:
        fail(f"step {step.path} is {step.state.lower()} and has run nowhere: it has no log", FAILED)
    run_id, pod = str(watched.run["run_id"]), wanted.pod(step)
    with api.log(run_id, pod, follow=wanted.follow) as chunks:
        for line in _tail(whole_lines(chunks), wanted.tail):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _all(api: PipelinesAPI, watched: Watched, tail: int | None) -> None:
    run_id = str(watched.run["run_id"])
    steps = sorted((step for step in worked(watched.steps) if step.pods), key=_begun)
    if not steps:
        fail(f"no step of run {run_id} has run: it has no logs (cached and skipped steps write none)", FAILED)
    printer, missing = PrefixedLines([step.path for step in steps]), list[str]()
    for step in steps:
        try:
            with api.log(run_id, step.id, follow=False) as chunks:
                for line in _tail(whole_lines(chunks), tail):
                    printer.line(step.path, line)
        except APIRefused as error:
            missing.append(f"{step.path}: {error}")
    if missing:
        fail("some logs are not there any more\n  " + "\n  ".join(missing), FAILED)


def _follow_all(api: PipelinesAPI, watched: Watched, tail: int | None) -> None:
    """A thread for each attempt that runs, from when it begins until it has ended."""
    printer, threads, begun = PrefixedLines([]), list[threading.Thread](), set[str]()
    heard = time.monotonic()
    while True:
        for step in worked(watched.steps):
            for pod in step.pods:
                if pod not in begun and (step.began is not None or pod != step.pods[-1]):
                    begun.add(pod)
                    arguments = (api, str(watched.run["run_id"]), step, pod, printer, tail)
                    threads.append(threading.Thread(target=_pump, args=arguments, daemon=True))
                    threads[-1].start()
        if watched.run.get("state") in FINISHED:
            break
        time.sleep(LOOK_AGAIN_AFTER)
        try:
            watched.look()
            heard = time.monotonic()
        except APIUnreachable:
            if time.monotonic() - heard > PATIENCE:
                raise
    for thread in threads:
        thread.join()


def _pump(api: PipelinesAPI, run_id: str, step: Step, pod: str, printer: PrefixedLines, tail: int | None) -> None:
    follow = tail is None
    try:
        with api.log(run_id, pod, follow=follow) as chunks:
            for line in _tail(whole_lines(chunks), tail):
                printer.line(step.path, line)
    except (APIRefused, APIUnreachable) as error:
        printer.line(step.path, f"(no more of its log: {error})\n".encode())


def _tail(lines: Iterator[bytes], count: int | None) -> Iterator[bytes]:
    if count is None:
        return lines
    return iter(deque(lines, maxlen=count))


def _begun(step: Step) -> tuple[bool, str, str]:
    return step.began is None, step.began.isoformat() if step.began else step.created, step.path
