"""A hundred watches of one collection, a thousand, five thousand: what an event costs for each of them, beside etcd.

Every watch is a connection of its own, over TLS. CPU time is the server's alone. etcd's gateway carries 250 streams at
most, so it is asked with the fewest watches.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from benchmarks.api import MILLISECONDS, Subject, etcd_subject, ketch_subject, lend_certificate
from benchmarks.etcd import running_etcd
from benchmarks.load import Connection
from benchmarks.platforms import running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import load
from benchmarks.tables import median, show
from benchmarks.usage import Cost, memory_bytes

SIZES = (100, 1_000, 5_000)
EVENTS = 20
AT_ONCE = 64
PATIENCE = 300
QUIET_SECONDS = 0.5


class _Watches:
    """Open watches, and how many events they have shown."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._seen = 0
        self._wanted = asyncio.Event()
        self._until = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, count: int) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with slots:
                lines = self._subject.watch(await Connection.open(self._subject.endpoint))
                await anext(lines)
            self._tasks.append(asyncio.create_task(self._look(lines)))

        await asyncio.gather(*(asyncio.create_task(one()) for _ in range(count)))

    async def _look(self, lines: AsyncIterator[bytes]) -> None:
        async for _ in lines:
            self._seen += 1
            if self._seen >= self._until:
                self._wanted.set()

    async def settle(self) -> None:
        """Until what was there before has been shown."""
        seen = -1
        while seen != self._seen:
            seen = self._seen
            await asyncio.sleep(QUIET_SECONDS)

    def expect(self, count: int) -> None:
        self._wanted.clear()
        self._until = self._seen + count

    async def shown(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._wanted.wait()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _at_size(subject: Subject, pid: int, count: int) -> dict[str, str]:
    watches, writing = _Watches(subject), await Connection.open(subject.endpoint)
    before, figures = memory_bytes(pid), dict[str, str]()
    await watches.open(count)
    await watches.settle()
    figures["memory of a watch, KiB"] = f"{(memory_bytes(pid) - before) / count / 1024:.0f}"
    create, delays, cost = subject.create(f"watched-{count}"), [], Cost(pid)
    for number in range(EVENTS):
        watches.expect(count)
        started = time.perf_counter()
        await create(writing, number)
        await watches.shown()
        delays.append((time.perf_counter() - started) * MILLISECONDS)
    figures["an event for a watch: CPU, µs"] = f"{cost.taken(EVENTS * count)[0]:.1f}"
    figures["create until all show it, median, ms"] = f"{median(delays):.1f}"
    await watches.end()
    await writing.close()
    return figures


def main() -> None:
    """Print the table."""
    before, directory, sizes = (
        load(),
        Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp")),
        [scaled(each) for each in SIZES],
    )
    with running_platform(warm=False) as platform:
        subject, pid = ketch_subject(platform, directory), platform.processes()["control-plane"]["pid"]
        columns = [uvloop.run(_at_size(subject, pid, size)) for size in sizes]
        lend_certificate(platform, directory)
    with running_etcd(subject.endpoint) as etcd:
        columns.append(uvloop.run(_at_size(etcd_subject(etcd.endpoint), etcd.pid, sizes[0])))
    shutil.rmtree(directory, ignore_errors=True)
    names = [*(f"Ketch {size:,}" for size in sizes), f"etcd {sizes[0]:,}"]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    show(f"Watches: what an event costs the server for each of so many ({before})", ("", *names), rows)
