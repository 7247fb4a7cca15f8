"""Many runs: fifty at once, and a list of ten thousand."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import inspect

from benchmarks.peers.programs import KFP_LOCAL, PREFECT
from benchmarks.platforms import Platform, running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import compiled, connect, load, seconds_of, submit, wait
from benchmarks.tables import median, percentile, show
from ketch.metadata.database import Database
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.tables import Run, Task

AT_ONCE, STEPS = 50, 4
LISTED, CALLS, PAGE = 10_000, 300, 20
BATCH = 500
MILLISECONDS = 1000
Row = TypeVar("Row", Run, Task)


def at_once() -> None:
    """Fifty runs of four steps, sent by fifty threads; beside as many flows of Prefect, and kfp.local, one by one."""
    count, folder, before = scaled(AT_ONCE), Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp")), load()
    pipeline = compiled(folder, "chain", STEPS)
    with running_platform() as platform:
        clients = [connect(platform.address) for _ in range(count)]
        alone = median([seconds_of(clients[0], pipeline) for _ in range(5)][2:])

        def one(client: Any) -> float:
            started = time.perf_counter()
            wait(client, submit(client, pipeline), AT_ONCE * STEPS * 2)
            return time.perf_counter() - started

        started = time.perf_counter()
        with ThreadPoolExecutor(count) as threads:
            each = list(threads.map(one, clients))
        ours = (time.perf_counter() - started) / count / STEPS
    rows = [
        (f"Ketch, {count} runs at once", f"{ours * MILLISECONDS:.1f}", f"{median(each):.2f} / {max(each):.2f}", "1.0"),
        ("Ketch, one run alone", f"{alone / STEPS * MILLISECONDS:.1f}", f"{alone:.2f}", ""),
    ]
    for peer in (KFP_LOCAL, PREFECT):
        seconds = peer.fanned_out(count * STEPS, folder)
        rows.append((f"{peer.name}, as many steps", f"{seconds * MILLISECONDS:.1f}", "", f"{seconds / ours:.1f}"))
    shutil.rmtree(folder, ignore_errors=True)
    title = f"{count} runs of {STEPS} steps at once ({before})"
    show(title, ("", "ms per step, all runs", "a run, median / longest, s", "x Ketch"), rows)


def _copies(run: Run, tasks: list[Task], count: int) -> Iterator[Run | Task]:
    """The run and its tasks again and again, each a second later."""
    for number in range(count):
        identity = str(uuid4())
        own = _copy(run, id=identity, name=f"{run.name[:30]}-{number}", display_name=f"run {number}")
        own.created_at = run.created_at + timedelta(seconds=number)
        yield own
        ids = {task.id: str(uuid4()) for task in tasks}
        for task in tasks:
            parent = ids.get(task.parent_id or "")
            yield _copy(task, id=ids[task.id], run_id=identity, parent_id=parent, cache_key="")


def _copy(row: Row, **changes: Any) -> Row:
    values = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    return type(row)(**{**values, **changes})


async def _fill(platform: Platform, run_id: str, count: int) -> None:
    database = Database(f"sqlite:///{platform.directory / 'platform.db'}")
    store = RunStore(database)
    run, tasks = await store.get(run_id), list(await store.tasks(run_id))
    assert run is not None
    rows = list(_copies(run, tasks, count))
    for start in range(0, len(rows), BATCH):
        async with database.transaction() as session:
            session.add_all(rows[start : start + BATCH])
    await database.close()


def _calls(client: Any, count: int) -> list[tuple[str, list[float]]]:
    """Milliseconds of each call, by what was asked."""
    figures: list[tuple[str, list[float]]] = []
    for title, arguments, follows in (
        (f"first page of {PAGE}", {"page_size": PAGE, "sort_by": "created_at desc"}, False),
        (f"next pages of {PAGE}", {"page_size": PAGE, "sort_by": "created_at desc"}, True),
        ("first page of 100", {"page_size": 100, "sort_by": "created_at desc"}, False),
        ("first page, by name", {"page_size": PAGE, "sort_by": "name"}, False),
    ):
        taken, token = [], ""
        for _ in range(count):
            started = time.perf_counter()
            answer = client.list_runs(page_token=token, **arguments)
            taken.append((time.perf_counter() - started) * MILLISECONDS)
            token = answer.next_page_token or "" if follows else ""
        figures.append((title, taken))
    return figures


def listed() -> None:
    """A list of many runs through the official client. The peer is the same list of one run."""
    count, calls = scaled(LISTED), scaled(CALLS)
    folder, before = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp")), load()
    with running_platform() as platform:
        client = connect(platform.address)
        pipeline = compiled(folder, "chain", 3)
        run_id = submit(client, pipeline)
        wait(client, run_id, 3)
        few = _calls(client, calls)
        asyncio.run(_fill(platform, run_id, count))
        many = _calls(client, calls)
    shutil.rmtree(folder, ignore_errors=True)
    rows = [
        (title, *(f"{percentile(taken, share):.1f}" for taken in (alone, full) for share in (0.5, 0.99)))
        for (title, alone), (_, full) in zip(few, many, strict=True)
    ]
    columns = ("list_runs", "1 run: p50, ms", "p99", f"{count:,} runs: p50, ms", "p99")
    show(f"A list of {count:,} runs of 3 steps, {calls} calls each ({before})", columns, rows)
