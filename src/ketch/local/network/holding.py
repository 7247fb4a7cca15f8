"""The daemon's side of the holder: finding it, starting it, giving it what must live on."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ketch.local.network import holder
from ketch.local.processes import start_ticks

SOCKET_NAME, RECORD_NAME = "holder.sock", "network.json"
_ANSWER_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


class Held(NamedTuple):
    """What the holder keeps under a name; the receiver owns the descriptor (None when there is none)."""

    value: str
    descriptor: int | None


def _connect(run: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_ANSWER_SECONDS)
    try:
        connection.connect(str(run / SOCKET_NAME))
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    return connection


def _launch(run: Path) -> socket.socket:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", holder.__file__, str(run / SOCKET_NAME), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        raise OSError(errno.ECHILD, "the holder of the cluster's network does not start")
    process.stdout.close()
    process.returncode = 0  # it outlives us: nobody waits for it
    connection = _connect(run)
    if connection is None:
        raise OSError(errno.ECHILD, "the holder of the cluster's network does not answer")
    record = {"holder": {"pid": process.pid, "start": start_ticks(process.pid)}}
    temporary = run / f"{RECORD_NAME}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(record))
    temporary.replace(run / RECORD_NAME)
    return connection


class Holder:
    """A connection to the holder of a data directory; one that was killed is replaced, with all it kept."""

    def __init__(self, run: Path, connection: socket.socket) -> None:
        self._run = run
        self._connection = connection
        self._kept: dict[str, Held] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def find(cls, run: Path) -> "Holder | None":
        """The holder that an earlier daemon of this directory started, if it lives."""
        connection = _connect(run)
        return None if connection is None else cls(run, connection)

    @classmethod
    def start(cls, run: Path) -> "Holder":
        """Start a holder for this directory and record its process. Raises OSError when it does not come up."""
        return cls(run, _launch(run))

    @property
    def pid(self) -> int:
        """The holder's process id."""
        credentials = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder)

    def put(self, key: str, value: str = "", descriptor: int | None = None) -> None:
        """Keep a copy of ``descriptor`` and ``value`` under ``key``, in place of what was there.

        The caller's own stays open until it is dropped: a new holder would be given it again.
        """
        self._kept[key] = Held(value, descriptor)
        self._tell({"op": "put", "key": key, "value": value}, descriptor)

    def drop(self, key: str) -> None:
        """Let go of what is kept under ``key``."""
        self._kept.pop(key, None)
        self._tell({"op": "drop", "key": key})

    def entries(self) -> Mapping[str, Held]:
        """Everything that is kept."""
        self._send({"op": "list"})
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self._connection, holder.PACKET, 1, socket.MSG_CMSG_CLOEXEC)
            if packet in (b"{}", b""):
                return dict(self._kept)
            entry = json.loads(packet)
            self._kept[entry["key"]] = Held(entry["value"], descriptors[0] if descriptors else None)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Replace the holder as soon as it is gone. From now on the loop's thread alone may use this object."""
        self._loop = loop
        loop.add_reader(self._connection.fileno(), self._replace)

    def end(self) -> None:
        """End the holder; what nobody else uses of what it keeps is gone."""
        if self._loop is not None:
            self._loop.remove_reader(self._connection.fileno())
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._connection.close()
        for name in (SOCKET_NAME, RECORD_NAME):
            (self._run / name).unlink(missing_ok=True)

    def _replace(self) -> None:
        _LOG.warning("the holder of the cluster's network was killed: starting another")
        if self._loop is not None:
            self._loop.remove_reader(self._connection.fileno())
        old, self._connection = self._connection, _launch(self._run)
        old.close()
        for key, (value, descriptor) in self._kept.items():
            self._send({"op": "put", "key": key, "value": value}, descriptor)
        if self._loop is not None:
            self.watch(self._loop)

    def _tell(self, request: Mapping[str, str], descriptor: int | None = None) -> None:
        try:
            self._send(request, descriptor)
        except ConnectionError:
            self._replace()

    def _send(self, request: Mapping[str, str], descriptor: int | None = None) -> None:
        packet = json.dumps(request).encode()
        socket.send_fds(self._connection, [packet], [] if descriptor is None else [descriptor])


def end_holder(data_directory: Path) -> None:
    """End the holder of a data directory, and with it the cluster's network, if there is one."""
    found = Holder.find(data_directory / "run")
    if found is not None:
        found.end()
