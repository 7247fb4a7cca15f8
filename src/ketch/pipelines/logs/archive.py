"""LogArchive: where each attempt's log lies in the object store, beside what else the attempt left there."""

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Final

from ketch.metadata.objects import KeyOutside, StoreError
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.steps.layout import TaskPlace, place_of
from ketch.pipelines.steps.step import pod_name
from ketch.pipelines.transfer.stores import Stores

LOG_FILE: Final = "executor-logs"
HEAD: Final = 1024 * 1024
TAIL: Final = 15 * 1024 * 1024
"""How much of a log's end is kept when it is too long to be kept whole."""


def log_uri(place: TaskPlace) -> str:
    """Where the log of the attempt at ``place`` is kept."""
    return f"{place.uri}/{LOG_FILE}"


def attempt_of(run: Run, task: Task, node_id: str) -> int:
    """The attempt whose pod is called ``node_id``; the newest, when that names none."""
    attempts = range(task.attempt + 1)
    return next((each for each in attempts if pod_name(run.name, task.name, task.id, each) == node_id), task.attempt)


log_of_ours = logging.getLogger(__name__)


class LogArchive:
    """Reads what the archiver wrote."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def read(self, run: Run, task: Task, attempt: int) -> bytes | None:
        """The log of the task's attempt; None when none was kept. Raises StoreError."""
        pipeline = str(run.pipeline_spec.get("pipelineInfo", {}).get("name", ""))
        place = place_of(run.pipeline_root, pipeline, run.id, (task.name, task.id), attempt)
        store = await self._stores.of(run.namespace)
        try:
            return await store.read(log_uri(place))
        except KeyOutside:
            return None

    async def write(self, namespace: str, uri: str, log: AsyncIterator[bytes]) -> None:
        """Keep a log, its beginning and its end if it is long. Raises StoreError."""
        content = await shortened(log)
        if not content:
            return
        try:
            await (await self._stores.of(namespace)).write(uri, content)
        except KeyOutside as error:
            log_of_ours.warning("a step left something where its log belongs: %s", error)  # it never will be kept
        except OSError as error:
            raise StoreError(f"the log cannot be kept at {uri}: {error}") from error


async def shortened(log: AsyncIterator[bytes], head: int = HEAD, tail: int = TAIL) -> bytes:
    """All of it, or its first ``head`` and last ``tail`` bytes with a word between them; never more in memory."""
    begin, end, held, left_out = bytearray(), deque[bytes](), 0, 0
    async for chunk in log:
        room = head - len(begin)
        begin += chunk[:room]
        rest = chunk[room:]
        if not rest:
            continue
        end.append(rest)
        held += len(rest)
        while held - len(end[0]) >= tail:
            dropped = len(end.popleft())
            held, left_out = held - dropped, left_out + dropped
    return _joined(begin, end, held, left_out, tail)


def _joined(begin: bytearray, end: Iterable[bytes], held: int, left_out: int, tail: int) -> bytes:
    ending = b"".join(end)
    if held > tail:
        ending, left_out = ending[held - tail :], left_out + held - tail
    if not left_out:
        return bytes(begin) + ending
    return bytes(begin) + f"\n[... {left_out} bytes of the log were not kept ...]\n".encode() + ending
