"""What the running platform says of itself: the supervisor's state file, read by every command."""

import json
import os
import select
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.identity import identity, kill

LEFT_SECONDS = 10.0


@dataclass(frozen=True)
class ProcessRecord:
    """One process of the platform. ``pid`` is None while it is down."""

    name: str
    pid: int | None
    ready: bool
    restarts: int
    last_exit: int | None


@dataclass(frozen=True)
class PlatformRecord:
    """The supervisor's word: its process id, start (seconds since the epoch), addresses and processes."""

    pid: int
    started: int
    ready: bool
    platform: str
    kubernetes: str
    processes: tuple[ProcessRecord, ...]


def _process(name: str, item: Mapping[str, Any]) -> ProcessRecord:
    return ProcessRecord(name, item["pid"], item["ready"], item["restarts"], item["lastExit"])


def running_platform(directory: DataDirectory) -> PlatformRecord | None:
    """The platform that runs on ``directory``; None when none does (a record left by a killed one counts as none)."""
    try:
        state = json.loads(directory.state.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    if identity(state["pid"]) != state["identity"]:
        return None
    processes = tuple(_process(name, item) for name, item in state["processes"].items())
    endpoints = state["endpoints"]
    return PlatformRecord(
        state["pid"], state["started"], state["ready"], endpoints["platform"], endpoints["kubernetes"], processes
    )


def stop_platform(platform: PlatformRecord) -> None:
    """Ask the supervisor to end everything; returns when it has ended."""
    try:
        descriptor = os.pidfd_open(platform.pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        select.select([descriptor], [], [])
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def end_leftovers(directory: DataDirectory) -> bool:
    """End the processes that a killed supervisor left, and forget it; whether there was one.

    For whoever holds the directory's lock. They end with their supervisor by themselves; this is to know when.
    """
    try:
        state = json.loads(directory.state.read_text())
    except FileNotFoundError:
        return False
    for item in state["processes"].values():
        if item["pid"] is not None:
            kill(item["pid"], item["identity"], LEFT_SECONDS)
    directory.state.unlink()
    return True
