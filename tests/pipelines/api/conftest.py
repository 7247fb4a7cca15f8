"""The real application on a loopback port, without an engine: tests drive runs through the store."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.rest import RESTClient
from ketch.kube.types.core import ConfigMap
from ketch.local.apiserver.server import APIServer
from ketch.metadata.database import Database
from ketch.metadata.objects import LocalObjectStore
from ketch.pipelines.api.application import Backing, Engines, application
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import advance_run
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.sources.rules import HTTPS_ONLY
from ketch.pipelines.transfer.stores import Stores

T = TypeVar("T")


@dataclass
class Stage:
    """The served application; ``enqueued`` is what it told the engine, ``scheduled`` what the scheduler."""

    loop: asyncio.AbstractEventLoop
    host: str
    database: Database
    enqueued: list[ObjectKey]
    scheduled: list[ObjectKey]
    objects: LocalObjectStore

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @property
    def runs(self) -> RunStore:
        return RunStore(self.database)

    def bring(self, run_id: str, state: str) -> None:
        async def change() -> None:
            async with self.runs.change_existing(run_id) as run:
                advance_run(
                    run, state, SYSTEM_CLOCK.now(), {"code": 2, "message": "broken"} if state == "FAILED" else None
                )

        self.call(change())


class _Served(threading.Thread):
    """A loop of its own, so that blocking clients may be used in tests; each test has a database of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.directory, self.ready = directory, threading.Event()
        self.app: ASGIApp | None = None
        self.packages = PackageFetcher(HTTPS_ONLY)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with APIServer(self.directory / "kube.db", self.directory / "pki") as api:
            self.client = RESTClient(api.transport())
            configuration = uvicorn.Config(
                self._dispatch, interface="asgi3", port=0, log_level="warning", lifespan="off"
            )
            self.server = uvicorn.Server(configuration)
            serving = asyncio.create_task(self.server.serve())
            while not self.server.started:  # uvicorn offers nothing to wait on
                await SYSTEM_CLOCK.sleep(0.005)
            self.host = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
            self.ready.set()
            await serving

    async def begin(self, path: Path) -> Stage:
        database = Database(f"sqlite:///{path}")
        await database.open()
        await ExperimentStore(database, SYSTEM_CLOCK).default()
        enqueued: list[ObjectKey] = []
        scheduled: list[ObjectKey] = []
        engines = Engines(enqueued.append, scheduled.append)
        objects = LocalObjectStore(path.with_name("objects"))
        nothing = Informer(self.client, ConfigMap, SYSTEM_CLOCK)  # nobody configures stores here
        stores = Stores(self.client, nothing, SYSTEM_CLOCK, objects)
        self.app = application(Backing(database, stores, self.client, SYSTEM_CLOCK, engines, "1.2.3", self.packages))
        return Stage(self.loop, self.host, database, enqueued, scheduled, objects)


@pytest.fixture(scope="session")
def served_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    thread = _Served(tmp_path_factory.mktemp("api"))
    thread.start()
    assert thread.ready.wait(30)
    yield thread
    thread.server.should_exit = True
    thread.join(30)


@pytest.fixture
def stage(served_api: _Served, tmp_path: Path) -> Iterator[Stage]:
    begin = served_api.begin(tmp_path / "platform.db")
    stage = asyncio.run_coroutine_threadsafe(begin, served_api.loop).result(30)
    yield stage
    stage.call(stage.database.close())


@pytest.fixture
def http(stage: Stage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stage.host}/apis/v2beta1", trust_env=False) as client:
        yield client
