"""``ketch runs debug``: enter a step's sandbox."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

from ketch.cli.debugging import pods, terminal
from ketch.cli.debugging.cloning import PDB_SCRIPT, READY, RECORDED, STEP_SCRIPT, debug_pod, is_lightweight
from ketch.cli.messages import FAILED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir, data_directory
from ketch.cli.runs.following import Watched, pipelines_api
from ketch.cli.runs.references import Run, find_run, find_step
from ketch.cli.runs.steps import Step
from ketch.kube.errors import APIError, TransportError
from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.record import running_platform
from ketch.local.sandbox.errors import SandboxError, StartError

KEEPER: Final = "keeper.sock"
LONGEST_NAME: Final = 50

_ENTER: Final = f"""
until [ -e {READY} ]; do sleep 0.05; done
export TERM="$1" PS1="$2"; shift 2
exec "$@"
"""
_SHELL: Final = "command -v bash >/dev/null && exec bash --norc -i; exec sh -i"
_SHELL_OF_PIPES: Final = "exec sh"


def debug(
    run: Run,
    step: Annotated[str, typer.Argument(help="The step: its path, name or id.")],
    pdb: Annotated[
        bool, typer.Option("--pdb", help="Run the step's function with its very inputs under Python's debugger.")
    ] = False,
    command: Annotated[str, typer.Option(metavar="TEXT", help="Run this shell text there and end with its code.")] = "",
    attempt: Annotated[
        int | None, typer.Option(min=1, help="As this attempt had it; the newest when left out.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Open a shell in a sandbox like that of a step: its image, environment, inputs and volumes.

    What the step has left stays as it is: outputs go to a directory that ends with the sandbox. Exit code: the
    shell's.
    """
    if pdb and command:
        fail("--pdb and --command contradict each other", USAGE)
    directory = data_directory(data_dir)
    if running_platform(directory) is None:
        fail(f"no platform runs on {directory.root}: steps can be entered only where they run", UNAVAILABLE)
    try:
        found, like = _found(directory, run, step, attempt)
        if pdb and not is_lightweight(like):
            fail(f"{found.path} runs no Python function of the SDK's: debug it in a shell, without --pdb", USAGE)
        code = _enter(directory, found, like, pdb=pdb, text=command)
    except StartError as error:
        fail(str(error), error.exit_code)
    except (SandboxError, TransportError) as error:
        fail(str(error), UNAVAILABLE)
    except (pods.DebugPodProblem, APIError) as error:
        fail(f"no sandbox like that of {step} can be made: {error}", FAILED)
    raise typer.Exit(code)


def _enter(directory: DataDirectory, step: Step, like: Mapping[str, Any], *, pdb: bool, text: str) -> int:
    name = f"{like['metadata']['name'][:LONGEST_NAME]}-debug-{secrets.token_hex(3)}"
    pod = debug_pod(like, name, step.id, ran=bool(step.pods))
    with _ended_by_signals():
        try:
            running = asyncio.run(pods.start(directory.kubeconfig, pod, _say))
            _greet(step, is_lightweight(like), quiet=pdb or bool(text))
            argv = _argv(step, pdb=pdb, text=text)
            return terminal.run(directory.run / KEEPER, _container(directory, running), argv)
        finally:
            with _undisturbed():
                asyncio.run(pods.remove(directory.kubeconfig, pod))


def _found(directory: DataDirectory, run: str, step: str, attempt: int | None) -> tuple[Step, Mapping[str, Any]]:
    """The step and the pod of its attempt; where that is gone, or never was, the API tells what it was like."""
    with pipelines_api("", directory.root) as api:
        watched = Watched(api, find_run(api, run))
        watched.look()
        found = find_step(watched.steps, step)
        if found.below:
            inner = ", ".join(below.path for below in found.below[:8])
            fail(f"{found.path} only holds other steps: name one of {inner}", USAGE)
        if attempt is not None and attempt > max(1, found.attempts):
            fail(f"step {found.path} has had {found.attempts} attempts: there is no attempt {attempt}", USAGE)
        wanted = found.pods[attempt - 1 if attempt else -1] if found.pods else ""
        there = {pod["metadata"]["name"]: pod for pod in asyncio.run(pods.pods_of(directory.kubeconfig, found.id))}
        return found, there[wanted] if wanted in there else api.pod(str(watched.run["run_id"]), wanted or found.id)


def _say(reason: str) -> None:
    typer.echo(f"waiting: {reason}", err=True)


def _argv(step: Step, *, pdb: bool, text: str) -> list[str]:
    inner = ["sh", "-c", text or (_SHELL if sys.stdin.isatty() else _SHELL_OF_PIPES)]
    if pdb:
        inner = [PDB_SCRIPT]
    prompt = f"(debug {step.path}) \\w \\$ "
    return ["sh", "-c", _ENTER, "ketch", os.environ.get("TERM", "xterm"), prompt, *inner]


def _greet(step: Step, lightweight: bool, *, quiet: bool) -> None:
    if quiet or not sys.stdin.isatty():
        return
    lines = [
        f"A sandbox like that of {step.path}; nothing done here touches what the run has recorded.",
        f"  {STEP_SCRIPT}   runs the step as the platform does",
    ]
    if step.pods:
        lines.append(f"  {RECORDED}   is what the step left")
    if lightweight:
        lines.append(f"  {PDB_SCRIPT}    runs its function under Python's debugger")
    typer.echo("\n".join([*lines, "It ends with this shell."]))


def _container(directory: DataDirectory, pod: Mapping[str, Any]) -> Path:
    """Where the node keeps the records of the pod's main container."""
    folder = directory.root / "pods" / pod["metadata"]["uid"] / "containers" / "main"
    return max(folder.iterdir(), key=lambda path: int(path.name))


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Whoever ends this process politely gets the sandbox removed too."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
        raise typer.Exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Generator[None]:
    """A second Ctrl-C does not leave the sandbox behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
