"""Steps in a row and steps at once, each tool's own way of running a small Python function as a step.

Ketch runs each in a sandbox of its own and has every change of state on disk before it goes on; twice: from warm
interpreters, and cold. The peers run a process per step (kfp.local, Dagster, Metaflow) or a thread (Prefect).
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.peers.programs import PEERS
from benchmarks.platforms import running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import compiled, connect, load, seconds_of
from benchmarks.tables import median, show

CHAIN, FAN_OUT = 100, 1000
ROUNDS = 3
MILLISECONDS = 1000


def _ours(folder: Path, shape: str, steps: int, rounds: int, *, warm: bool) -> float:
    """Seconds per step: median of the rounds, after one small run that prepares the environment."""
    with running_platform(warm=warm) as platform:
        client = connect(platform.address)
        seconds_of(client, compiled(folder, "chain", 2))
        pipeline = compiled(folder, shape, steps)
        return median([seconds_of(client, pipeline) for _ in range(rounds)]) / steps


def _compare(title: str, shape: str, steps: int, rounds: int, peer_figure: Callable[[Peer, Path], float]) -> None:
    folder, before = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp")), load()
    figures = [
        ("Ketch, warm", _ours(folder, shape, steps, rounds, warm=True)),
        ("Ketch, cold", _ours(folder, shape, steps, rounds, warm=False)),
        *(
            (f"{peer.name} ({peer.requirement.partition('==')[2].split()[0]})", peer_figure(peer, folder))
            for peer in PEERS
        ),
    ]
    shutil.rmtree(folder, ignore_errors=True)
    show(f"{title} ({before})", ("", "ms per step", "steps/s", "x Ketch warm"), _rows(figures))


def _rows(figures: Sequence[tuple[str, float]]) -> list[tuple[str, str, str, str]]:
    ours = figures[0][1]
    return [
        (name, f"{seconds * MILLISECONDS:.1f}", f"{1 / seconds:.1f}", f"{seconds / ours:.1f}")
        for name, seconds in figures
    ]


def chain() -> None:
    """Seconds per step where each waits for the one before."""
    steps = scaled(CHAIN)
    _compare(f"A chain of {steps} steps", "chain", steps, ROUNDS, lambda peer, folder: peer.chained(steps, folder))


def fan_out() -> None:
    """Steps per second where none waits for another."""
    steps = scaled(FAN_OUT)
    _compare(f"A fan-out of {steps} steps", "fan_out", steps, 1, lambda peer, folder: peer.fanned_out(steps, folder))
