"""The real API server, in this process, one per test."""

import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.seaweed import Seaweed, running_seaweed

from ketch.kube.client import Client
from ketch.kube.rest import RESTClient
from ketch.local.apiserver.server import APIServer


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[APIServer]:
    """A running API server on an empty directory, reached by ``api.transport()``."""
    async with APIServer(tmp_path / "kube.db", tmp_path / "pki") as server:
        yield server


@pytest.fixture
async def client(api: APIServer) -> AsyncIterator[Client]:
    """A client of the running API server, in this process, with all rights."""
    connected = RESTClient(api.transport())
    yield connected
    await connected.close()


@dataclass(frozen=True)
class Served:
    """The API server on a loopback port and on a unix socket, and how to reach it."""

    api: APIServer
    kubeconfig: Path
    server: str
    port: int
    unix_socket: Path
    pki: Path


@pytest.fixture
async def served(api: APIServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The running API server, also over TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    server = f"https://127.0.0.1:{port}"
    unix_socket = tmp_path_factory.mktemp("s") / "api.sock"  # short: a socket's path has 107 bytes
    await api.serve([listener], unix_socket)
    kubeconfig = tmp_path / "kubeconfig"
    api.write_admin_kubeconfig(kubeconfig, server)
    return Served(api, kubeconfig, server, port, unix_socket, tmp_path / "pki")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """An S3 store that tests share: each uses keys of its own."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as store:
        yield store
