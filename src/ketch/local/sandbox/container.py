"""A container that was started, whoever started it: found again by its directory."""

import asyncio
import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.processes import boot, open_process, send_signal
from ketch.local.sandbox.ending import Ending
from ketch.local.sandbox.errors import NotStarted
from ketch.local.sandbox.records import EXIT, SPEC, STARTED, read_record
from ketch.local.sandbox.spec import Exit, Started

NANOSECONDS = 1_000_000_000
KILLED = 128 + signal.SIGKILL
COMPLETED, FAILED, OUT_OF_MEMORY, UNKNOWN = "Completed", "Error", "OOMKilled", "ContainerStatusUnknown"
SHUTDOWN = "NodeShutdown"
"""Why a container ended that was told to because the platform itself did; also the file that remembers it."""

LOST = "The container's keeper is gone without a record of how the container ended"


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / NANOSECONDS, UTC)


class Container:
    """One started container. Every method works after any restart of the node agent or the zygote."""

    def __init__(self, directory: Path, record: Mapping[str, Any], ending: Ending | None = None) -> None:
        self.directory = directory
        self._ending = ending
        self.started = Started(record["keeper_pid"], record["pid"], _time(record["started_at"]), record["warm"])
        self._record = record
        self._this_boot = record["boot"] == boot()

    @classmethod
    def adopt(cls, directory: Path, ending: Ending | None = None) -> Self:
        """The container whose records stand in ``directory``; ``ending`` tells its starter. Raises NotStarted."""
        try:
            return cls(directory, read_record(str(directory / STARTED)), ending)
        except FileNotFoundError as error:
            raise NotStarted(f"no container was started in {directory}") from error

    @property
    def pid(self) -> int:
        """The user's process, as the platform sees it."""
        return self.started.pid

    @property
    def extra(self) -> Mapping[str, str]:
        """What the starter left in ``ContainerSpec.extra``."""
        return read_record(str(self.directory / SPEC))["extra"]

    @property
    def running(self) -> bool:
        """Whether its end is still to come."""
        if (self.directory / EXIT).exists():
            return False
        keeper = self._open_keeper()
        if keeper is None:
            return False
        os.close(keeper)
        return True

    async def wait(self) -> Exit:
        """How it ended, once it has. A keeper that is gone without a word: 137, ContainerStatusUnknown."""
        if self._ending is not None:
            await self._ending.wait()
            if (self.directory / EXIT).exists():
                return self._exit()
        keeper = self._open_keeper()
        if keeper is not None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(keeper, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(keeper)
                os.close(keeper)
        return self._exit()

    def signal(self, number: int) -> None:
        """Send a signal to the user's process. Harmless when it has ended."""
        self._send("pid", "ticks", number)

    def shut_down(self) -> None:
        """Tell the user's process to end, because the platform ends; what it then ends with, it is not to blame for."""
        if self.running:
            (self.directory / SHUTDOWN).touch()
            self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every process of the container at once. Harmless when it has ended."""
        if self._record["init"] == self._record["keeper_pid"]:  # it ends the others, and is to tell of the end
            self._send("pid", "ticks", signal.SIGKILL)
        else:
            self._send("init", "init_ticks", signal.SIGKILL)

    def _open_keeper(self) -> int | None:
        if not self._this_boot:
            return None
        return open_process(self._record["keeper_pid"], self._record["keeper_ticks"])

    def _send(self, pid: str, ticks: str, number: int) -> None:
        if self._this_boot:
            send_signal(self._record[pid], self._record[ticks], number)

    def _exit(self) -> Exit:
        try:
            record = read_record(str(self.directory / EXIT))
        except (FileNotFoundError, ValueError):  # not there, or lost with the machine's last moments
            # Nobody saw the end: the time is that of the discovery.
            return Exit(KILLED, signal.SIGKILL, False, UNKNOWN, LOST, self.started.started_at, SYSTEM_CLOCK.now())
        failed = SHUTDOWN if (self.directory / SHUTDOWN).exists() else FAILED
        reason = OUT_OF_MEMORY if record["oom_killed"] else failed if record["code"] else COMPLETED
        finished_at = _time(record["finished_at"])
        started_at = self.started.started_at
        return Exit(record["code"], record["signal"], record["oom_killed"], reason, "", started_at, finished_at)
