"""The real API server, in this process, one per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
