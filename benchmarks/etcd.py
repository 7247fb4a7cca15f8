"""etcd, the peer of the API server's store: on a free port, with files of its own, asked by its JSON gateway."""

import asyncio
import base64
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Connection, Endpoint

PATIENCE = 60
LOOK = 0.02


def encoded(text: str) -> str:
    """A key as the gateway takes it."""
    return base64.b64encode(text.encode()).decode()


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


async def _answering(endpoint: Endpoint) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                connection = await Connection.open(endpoint)
                await connection.request("POST", "/v3/kv/range", json.dumps({"key": encoded("x")}).encode())
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(LOOK)
            else:
                await connection.close()
                return


@dataclass
class Etcd:
    """A running server."""

    endpoint: Endpoint
    root: Path
    command: list[str]

    def __post_init__(self) -> None:
        self.process = self._started()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _started(self) -> "subprocess.Popen[bytes]":
        with (self.root / "log").open("ab") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log)
        asyncio.run(_answering(self.endpoint))
        return process

    def kill_and_start(self) -> float:
        """Seconds from kill -9 until it answers again."""
        started = time.perf_counter()
        self.process.kill()
        self.process.wait()
        self.process = self._started()
        return time.perf_counter() - started

    def database_bytes(self) -> int:
        """All of its files."""
        return sum(path.stat().st_blocks * 512 for path in (self.root / "data").rglob("*") if path.is_file())

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def running_etcd(tls: Endpoint) -> Iterator[Etcd]:
    """etcd with a certificate from the platform's authority: ``server.crt`` and ``.key`` beside what ``tls`` names."""
    root = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    port, peer = _free_ports()
    url, peer_url = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    certificate, key = (tls.certificate_authority.with_name(f"server.{kind}") for kind in ("crt", "key"))
    command = [str(Path(sys.executable).parent / "etcd"), "--data-dir", str(root / "data"), "--name", "one"]
    command += ["--listen-client-urls", url, "--advertise-client-urls", url]
    command += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    command += ["--initial-cluster", f"one={peer_url}", "--log-level", "error"]
    command += ["--cert-file", str(certificate), "--key-file", str(key)]
    server = Etcd(Endpoint(port, tls.certificate_authority, tls.certificate, tls.key), root, command)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(root, ignore_errors=True)
