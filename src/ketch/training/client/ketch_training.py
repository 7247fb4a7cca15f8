"""For training scripts: where checkpoints are, which one is the last, and how far training is.

On Ketch this module can be imported by every job that asks for it; elsewhere a copy of this file does no harm::

    import ketch_training

    last = ketch_training.latest_checkpoint()           # None when training begins
    with ketch_training.saving_checkpoint(step) as path:  # complete once the block has ended
        torch.save(state, path)
    ketch_training.report(step, total=steps, samples=batch, loss=loss)

Only the standard library, Python 3.8 and later. Nothing here raises because a platform is not there.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import ssl
import sys
import threading
import time
import urllib.request
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generator

DIRECTORY = "KETCH_CHECKPOINT_DIR"
KEEP = "KETCH_CHECKPOINT_KEEP"
DEFAULT_KEEP = 3
SERVER = "KUBEFLOW_TRAINER_SERVER_URL"
CERTIFICATE = "KUBEFLOW_TRAINER_SERVER_CA_CERT"
TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105  # the name of a variable that names a file
RANKS = ("RANK", "JAX_PROCESS_ID", "PROCESS_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
SIZES = ("WORLD_SIZE", "JAX_NUM_PROCESSES", "NUM_PROCESSES", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
SECONDS_BETWEEN_REPORTS = 2.0
POST_SECONDS = 5.0
LAST_WORD_SECONDS = 1.0
MOST_METRICS = 200
LONGEST_TEXT = 64
WINDOW = 8
"""Reports over which speed is taken."""

_UNFINISHED = re.compile(r"^[._]|tmp|\.(?:part|partial|incomplete|lock)$", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_OWN = re.compile(r"step-(\d+)(?:\.\w+)?")
_HALF = ".saving-"


# --- checkpoints ---


def checkpoint_directory() -> Path:
    """The folder of this job's checkpoints, the same for all its processes and attempts; ./checkpoints elsewhere."""
    return Path(os.environ.get(DIRECTORY) or "checkpoints")


def checkpoint_step(path: str | Path) -> int | None:
    """The number in a checkpoint's name: 40 of ``step-40``, 1200 of ``epoch=3-step=1200.ckpt``; None without one."""
    name = Path(path).name
    stem = name.split(".", 1)[0] if _NUMBER.search(name.split(".", 1)[0]) else name
    found = _NUMBER.search(stem)
    return int(found.group(1)) if found else None


def is_complete(path: str | Path) -> bool:
    """Whether a file or folder is a whole checkpoint.

    Names of what is still being written begin with a dot or an underscore, hold "tmp", or end in .part, .partial,
    .incomplete or .lock. A folder of transformers is whole with its trainer_state.json, one of
    torch.distributed.checkpoint with its .metadata; any other was given its name when it was whole.
    """
    path = Path(path)
    if _UNFINISHED.search(path.name):
        return False
    try:
        if path.is_file():
            return path.stat().st_size > 0
        inside = {each.name for each in path.iterdir()}
    except OSError:
        return False  # it was removed meanwhile
    if path.name.startswith("checkpoint-"):
        return "trainer_state.json" in inside
    if any(name.endswith(".distcp") for name in inside):
        return ".metadata" in inside
    return bool(inside)


def complete_checkpoints() -> list[Path]:
    """All whole checkpoints, those of the lowest step first."""
    try:
        found = [(checkpoint_step(path), path) for path in checkpoint_directory().iterdir()]
    except OSError:
        return []
    return [path for _, path in sorted((step, path) for step, path in found if step is not None and is_complete(path))]


def latest_checkpoint() -> Path | None:
    """The whole checkpoint of the highest step, as it is now; None when there is none."""
    found = complete_checkpoints()
    return found[-1] if found else None


@contextlib.contextmanager
def saving_checkpoint(step: int, suffix: str = "") -> Generator[Path, None, None]:
    """Where to write the checkpoint of ``step``: a path that becomes ``step-<step><suffix>`` when the block ends well.

    One process of the job saves (rank 0, as a rule). What the block wrote is on disk before it has its name; older ones
    that were saved so are removed, except for as many as the job keeps.
    """
    folder = checkpoint_directory()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(_HALF + "*"):
        _remove(left)  # of a process that was killed while it wrote
    half, whole = folder / f"{_HALF}{step}-{os.getpid()}{suffix}", folder / f"step-{step}{suffix}"
    try:
        yield half
        _sync(half)
        if whole.is_dir():
            _remove(whole)
        half.replace(whole)
        _sync(folder)
    finally:
        _remove(half)
    _REPORTER.saved(whole.name)
    _prune()


def _prune() -> None:
    """Remove what ``saving_checkpoint`` wrote, except for the last ones."""
    word = os.environ.get(KEEP) or str(DEFAULT_KEEP)
    if not word.isdigit():
        return  # all
    own = [path for path in complete_checkpoints() if _OWN.fullmatch(path.name)]
    for path in own[: -max(int(word), 1)]:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync(path: Path) -> None:
    """To the disk, with what is below."""
    below = [Path(root) / name for root, _, names in os.walk(path) for name in names] if path.is_dir() else []
    for each in (*below, path):
        with contextlib.suppress(OSError):
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# --- progress ---


def report(step: int, total: int | None = None, samples: float | None = None, **metrics: Any) -> None:
    """Tell how far this process is: after every step; what is sent is paced and never delays training.

    ``total`` is the number of steps, ``samples`` how many one step of this process takes; ``metrics`` are figures such
    as loss=0.1. Each rank may tell of itself; the job's own figures are those of rank 0.
    """
    # A tensor is read when it is sent, not now: that would wait for its device.
    kept = {name: value.detach() if hasattr(value, "detach") else value for name, value in metrics.items()}
    _REPORTER.tell(_Word(step, total, samples, kept))


class _Word:
    """What a process said last."""

    def __init__(self, step: int, total: int | None, samples: float | None, metrics: dict[str, Any]) -> None:
        self.step, self.total, self.samples, self.metrics = max(0, int(step)), total, samples, metrics

    @property
    def is_last(self) -> bool:
        """Whether it was the last step, as far as the script told how many there are."""
        return self.total is not None and self.step >= self.total


class _Reporter:
    """What this process knows of itself, and the thread that tells it."""

    def __init__(self) -> None:
        self._checkpoint = ""
        self._word: _Word | None = None
        self._sent: _Word | None = None
        self._seen: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._meter = _Meter()
        self._wake = threading.Event()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None

    def tell(self, word: _Word) -> None:
        """Note it, and have it sent soon; the last word is sent at once, as the process may end."""
        if not os.environ.get(SERVER):
            return
        if not self._seen:
            self._seen.append((time.monotonic(), word.step))
        self._word = word
        if self._thread is None:
            atexit.register(self._last_word)
            self._thread = threading.Thread(target=self._run, name="ketch-report", daemon=True)
            self._thread.start()
        if word.is_last:
            self._send(word)
        else:
            self._wake.set()

    def saved(self, checkpoint: str) -> None:
        """Note the last checkpoint; it is told with the next word, or at once with the last one, told again."""
        self._checkpoint, self._sent = checkpoint, None
        if self._word is not None and self._word.is_last:
            self._send(
                self._word
            )  # nothing comes after it, not even what runs at exit where a script leaves by os._exit
        elif self._thread is not None:
            self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._word is not None:
                self._send(self._word)
            time.sleep(SECONDS_BETWEEN_REPORTS)

    def _last_word(self) -> None:
        """A process that ends by an error, or before its last step, is told of as it was."""
        if self._word is not None and self._word is not self._sent:
            self._send(self._word, LAST_WORD_SECONDS)

    def _send(self, word: _Word, timeout: float = POST_SECONDS) -> None:
        with self._sending, contextlib.suppress(Exception):  # training does not fail because nobody listens
            now = time.monotonic()
            began, first = self._seen[0]
            self._seen.append((now, word.step))
            _post(self._body(word, (word.step - first) / max(now - began, 1e-9)), timeout)
            self._sent = word

    def _body(self, word: _Word, speed: float) -> dict[str, Any]:
        """The request of Trainer's status endpoint, and beside it what this rank is at."""
        now = datetime.now(timezone.utc).isoformat()
        status: dict[str, Any] = {"lastUpdatedTime": now}
        rank: dict[str, Any] = {"rank": _integer(RANKS) or 0, "step": word.step, "lastUpdatedTime": now}
        size = _integer(SIZES)
        if size is not None:
            rank["worldSize"] = size
        if word.total:
            status["progressPercentage"] = rank["progressPercentage"] = min(100, 100 * word.step // word.total)
            if speed > 0:
                status["estimatedRemainingSeconds"] = max(0, int((word.total - word.step) / speed))
        if speed > 0:
            rank["stepsPerSecond"] = f"{speed:.4g}"
            if word.samples:
                rank["samplesPerSecond"] = f"{speed * word.samples:.4g}"
        pairs = list(word.metrics.items())[:MOST_METRICS]
        status["metrics"] = [{"name": name[:LONGEST_TEXT], "value": _text(value)} for name, value in pairs]
        if self._checkpoint:
            rank["checkpoint"] = self._checkpoint
        return {"trainerStatus": status, "rank": {**rank, **self._meter.read()}}


def _post(body: dict[str, Any], timeout: float) -> None:
    token = Path(os.environ[TOKEN]).read_text(encoding="utf-8").strip()
    context = ssl.create_default_context(cafile=os.environ.get(CERTIFICATE))
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    request = urllib.request.Request(os.environ[SERVER], json.dumps(body).encode(), headers, method="POST")  # noqa: S310  # the platform's own address
    # Straight to the platform: a proxy is for the world outside.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(request, timeout=timeout):
        pass


class _Meter:
    """What this process uses: cores since the last reading, memory, and of a GPU what torch knows."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def read(self) -> dict[str, Any]:
        """The fields of a rank's status."""
        wall, cpu = time.monotonic(), time.process_time()
        found: dict[str, Any] = {}
        if wall > self.wall:
            found["cpu"] = f"{round(1000 * (cpu - self.cpu) / (wall - self.wall))}m"
            self.wall, self.cpu = wall, cpu
        with contextlib.suppress(Exception):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            found["memory"] = f"{pages * os.sysconf('SC_PAGE_SIZE') // 1024}Ki"
        with contextlib.suppress(Exception):
            cuda: Any = sys.modules["torch"].cuda
            if cuda.is_available() and cuda.is_initialized():
                found["gpuMemory"] = f"{cuda.memory_reserved() >> 20}Mi"
                found["gpuUtilization"] = int(cuda.utilization())
        return found


def _integer(names: tuple[str, ...]) -> int | None:
    """The first of the variables that is a number."""
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), None)


def _text(value: Any) -> str:
    if hasattr(value, "item"):
        value = value.item()  # a tensor's, or numpy's, number
    return (f"{value:.6g}" if isinstance(value, float) else str(value))[:LONGEST_TEXT] or "-"


_REPORTER = _Reporter()

if __name__ == "__main__" and sys.argv[1:] == ["latest"]:
    sys.stdout.write(str(latest_checkpoint() or ""))
