"""Starts a packaged program in its container; travels with it, and knows nothing of Ketch.

``launcher.py torch|python SCRIPT [ARGUMENT...]``. The program's files are copied to where it may write, so that it
finds what was beside it and may leave things there. Under torchrun every line is told with its rank, and the exit code
is that of the process that failed first.
"""

import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

LINE_PREFIX = "[rank${rank}] "
BOTH_STREAMS = "3"


def main() -> None:
    """Run it."""
    kind, script, *arguments = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(prefix="program-"))
    shutil.copytree(Path(__file__).resolve().parent, folder, dirs_exist_ok=True)
    os.chdir(folder)
    if kind == "torch":
        sys.exit(torchrun(script, arguments))
    os.execv(sys.executable, [sys.executable, "-u", script, *arguments])  # noqa: S606  # in the place of this process


def torchrun(script: str, arguments: "list[str]") -> int:
    """Run it by torchrun; the exit code of the process that failed first, as a shell would have it."""
    errors: Any = importlib.import_module("torch.distributed.elastic.multiprocessing.errors")
    run: Any = importlib.import_module("torch.distributed.run")
    os.environ.setdefault("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", LINE_PREFIX)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    if os.environ.get("PET_NPROC_PER_NODE", "1") != "1":
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun sets it by itself, with a warning in many lines
    logs = tempfile.mkdtemp(prefix="logs-")
    try:
        run.main(["--tee", BOTH_STREAMS, "--log-dir", logs, script, *arguments])
    except errors.ChildFailedError as error:
        _, failure = error.get_first_failure()
        return 128 - failure.exitcode if failure.exitcode < 0 else failure.exitcode
    return 0


if __name__ == "__main__":
    main()
