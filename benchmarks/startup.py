"""Cold start to Ready, idle memory. The peer is the interpreter itself: `python -c pass` in the same minute."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.platforms import running_platform
from benchmarks.tables import median, show

ROUNDS = 5
MEBIBYTE = 1024 * 1024


def _bare_interpreter() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started


def main() -> None:
    fresh, again, bare, memory = [], [], [], {}
    for _ in range(ROUNDS):
        bare.append(_bare_interpreter())
        root = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
        with running_platform(root) as platform:
            fresh.append(platform.ready_seconds)
        with running_platform(root) as platform:
            again.append(platform.ready_seconds)
            for name, process in platform.processes().items():
                pss = psutil.Process(process["pid"]).memory_full_info().pss
                memory.setdefault(name, []).append(pss / MEBIBYTE)
        shutil.rmtree(root, ignore_errors=True)
    show(
        f"Cold start to Ready (median of {ROUNDS}; all processes, gateway included)",
        ("", "seconds", "x bare interpreter"),
        [
            ("ketch up, empty data directory", f"{median(fresh):.2f}", f"{median(fresh) / median(bare):.0f}"),
            ("ketch up, again", f"{median(again):.2f}", f"{median(again) / median(bare):.0f}"),
            ("python -c pass", f"{median(bare):.3f}", "1"),
        ],
    )
    rows = [(name, f"{median(values):.0f}") for name, values in memory.items()]
    without_gateway = sum(median(values) for name, values in memory.items() if name != "gateway")
    show("Idle memory (PSS)", ("process", "MiB"), [*rows, ("all but the gateway", f"{without_gateway:.0f}")])
