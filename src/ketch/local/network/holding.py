"""The daemon's side of the holder: finding it, starting it, giving it what must live on."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ketch.local.network import holder

SOCKET_NAME, RECORD_NAME = "holder.sock", "network.json"
_ANSWER_SECONDS = 10.0


class Held(NamedTuple):
    """What the holder keeps under a name; the receiver owns the descriptor (None when there is none)."""

    value: str
    descriptor: int | None


def start_ticks(pid: int) -> int | None:
    """When the process started, in the kernel's ticks; None when there is none of that number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


class Holder:
    """A connection to the running holder of a data directory."""

    def __init__(self, run: Path, connection: socket.socket) -> None:
        self._run = run
        self._connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid = int.from_bytes(credentials[:4], sys.byteorder)

    @classmethod
    def find(cls, run: Path) -> "Holder | None":
        """The holder that an earlier daemon of this directory started, if it lives."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(str(run / SOCKET_NAME))
        except (ConnectionRefusedError, FileNotFoundError):
            connection.close()
            return None
        return cls(run, connection)

    @classmethod
    def start(cls, run: Path) -> "Holder":
        """Start a holder for this directory and record its process. Raises OSError when it does not come up."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", holder.__file__, str(run / SOCKET_NAME)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd="/",
        )
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise OSError("the holder of the cluster's network does not start")
        process.stdout.close()
        process.returncode = 0  # it outlives us: nobody waits for it
        found = cls.find(run)
        if found is None:
            raise OSError("the holder of the cluster's network does not answer")
        record = {"holder": {"pid": found.pid, "start": start_ticks(found.pid)}}
        temporary = run / f"{RECORD_NAME}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(record))
        temporary.replace(run / RECORD_NAME)
        return found

    def put(self, key: str, value: str = "", descriptor: int | None = None) -> None:
        """Keep a copy of ``descriptor`` and ``value`` under ``key``, in place of what was there."""
        self._ask({"op": "put", "key": key, "value": value}, descriptor)
        self._connection.recv(holder.PACKET)

    def drop(self, key: str) -> None:
        """Let go of what is kept under ``key``."""
        self._ask({"op": "drop", "key": key})
        self._connection.recv(holder.PACKET)

    def entries(self) -> Mapping[str, Held]:
        """Everything that is kept."""
        self._ask({"op": "list"})
        entries: dict[str, Held] = {}
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self._connection, holder.PACKET, 1, socket.MSG_CMSG_CLOEXEC)
            if packet in (b"{}", b""):
                return entries
            entry = json.loads(packet)
            entries[entry["key"]] = Held(entry["value"], descriptors[0] if descriptors else None)

    def end(self) -> None:
        """End the holder; what nobody else uses of what it keeps is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.close()
        for name in (SOCKET_NAME, RECORD_NAME):
            (self._run / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the connection; the holder lives on."""
        self._connection.close()

    def _ask(self, request: Mapping[str, str], descriptor: int | None = None) -> None:
        packet = json.dumps(request).encode()
        socket.send_fds(self._connection, [packet], [] if descriptor is None else [descriptor])


def end_holder(data_directory: Path) -> None:
    """End the holder of a data directory, and with it the cluster's network, if there is one."""
    found = Holder.find(data_directory / "run")
    if found is not None:
        found.end()
