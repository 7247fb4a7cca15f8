"""One run of 100, of 1,000 and of 10,000 tasks: what a task costs must not depend on how many there are.

The peer is the platform itself with a smaller run. Each size has a platform of its own.
"""

import shutil
import tempfile
from pathlib import Path

from benchmarks.platforms import MEBIBYTE, running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import compiled, connect, load, seconds_of
from benchmarks.tables import show

SIZES = (100, 1_000, 10_000)
PARALLELISM = 100
PARTS = ("control-plane", "node-agent", "network")


def _measured(folder: Path, steps: int, parallelism: int | None) -> tuple[str, ...]:
    with running_platform() as platform:
        client = connect(platform.address)
        seconds_of(client, compiled(folder, "chain", 2))
        before, memory_before = platform.database_bytes(), platform.memory()
        seconds = seconds_of(client, compiled(folder, "fan_out", steps, parallelism))
        grown = {name: size - before[name] for name, size in platform.database_bytes().items()}
        memory = platform.memory()
    return (
        f"{steps:,}{f', {parallelism} at once' if parallelism else ''}",
        f"{seconds:.1f}",
        f"{seconds / steps * 1000:.1f}",
        *(f"{memory[name]:.0f} (+{memory[name] - memory_before[name]:.0f})" for name in PARTS),
        *(f"{size / MEBIBYTE:.1f} ({size / steps / 1024:.1f})" for size in grown.values()),
    )


def main() -> None:
    """Print the table."""
    folder, before = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp")), load()
    sizes = [scaled(size) for size in SIZES]
    rows = [_measured(folder, steps, None) for steps in sizes]
    rows.append(_measured(folder, sizes[-1], PARALLELISM))
    shutil.rmtree(folder, ignore_errors=True)
    columns = ("tasks in one run", "seconds", "ms a task")
    memory = tuple(f"{name}, MiB" for name in PARTS)
    show(
        f"Growth of one run ({before})",
        (*columns, *memory, "kube.db, MiB (KiB a task)", "platform.db, MiB (KiB a task)"),
        rows,
    )
