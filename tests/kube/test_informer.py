"""Informers against the real API server, and against one that fails on demand."""

import asyncio
import socket
from contextlib import asynccontextmanager

import msgspec
import pytest

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import load_config
from ketch.kube.errors import Forbidden, TransportError
from ketch.kube.http import HTTPTransport
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.rest import RESTClient
from ketch.kube.selectors import parse_labels
from ketch.kube.testing import VirtualClock
from ketch.kube.types.core import ConfigMap, Namespace
from ketch.local.apiserver.server import APIServer


def config_map(name, namespace="default", labels=None, **data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or {}), data=data)


class Broken:
    """A transport to the real server whose lines can be cut."""

    def __init__(self, transport):
        self._transport = transport
        self.error = None
        self.lists = 0
        self.watches: list[str] = []
        self._cuts: set[asyncio.Event] = set()

    async def request(self, request):
        if request.method == "GET" and self.error:
            raise self.error
        self.lists += request.method == "GET"
        return await self._transport.request(request)

    @asynccontextmanager
    async def watch(self, request):
        if self.error:
            raise self.error
        self.watches.append(request.query["resourceVersion"])
        cut = asyncio.Event()
        self._cuts.add(cut)
        async with self._transport.watch(request) as events:
            yield self._until(cut, events)
        self._cuts.discard(cut)

    async def _until(self, cut, events):
        cutting = asyncio.ensure_future(cut.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(events))
                await asyncio.wait([coming, cutting], return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    raise TransportError("cut")
                yield coming.result()
        finally:
            cutting.cancel()

    def cut(self, error=None):
        """End all watches; with an error, let nothing through until ``mend``."""
        self.error = error
        for each in self._cuts:
            each.set()

    def mend(self):
        self.error = None

    async def close(self):
        await self._transport.close()


class Recorder:
    """A handler that remembers, and can be waited for."""

    def __init__(self):
        self.changes: list[tuple[str | None, str | None]] = []
        self._changed = asyncio.Event()

    def __call__(self, old, new):
        told = [None if obj is None else f"{obj.metadata.name}{obj.data.get('v', '')}" for obj in (old, new)]
        if told not in ([None, "kube-root-ca.crt"],):
            self.changes.append((told[0], told[1]))
        self._changed.set()

    async def saw(self, *changes):
        async with asyncio.timeout(10):
            while self.changes != list(changes):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def broken(api):
    return Broken(api.transport())


@pytest.fixture
async def clock():
    return VirtualClock()


@pytest.fixture
async def informer(broken, clock):
    """A running, synced informer of the ConfigMaps in ``default``."""
    informer = Informer(RESTClient(broken), ConfigMap, clock, namespace="default")
    running = asyncio.create_task(informer.run())
    await informer.wait_synced()
    yield informer
    running.cancel()
    await asyncio.wait([running])


@pytest.fixture
def recorder(informer):
    recorder = Recorder()
    informer.add_handler(recorder)
    return recorder


async def test_changes_are_seen_once_and_in_order(client, informer, recorder):
    created = await client.create(config_map("a", v="1"))
    await client.update(msgspec.structs.replace(created, data={"v": "2"}))
    await client.delete(ConfigMap, "a", "default")
    await recorder.saw((None, "a1"), ("a1", "a2"), ("a2", None))
    assert informer.get(ObjectKey("default", "a")) is None


async def test_what_exists_before_is_added(client, api):
    await client.create(config_map("a"))
    informer = Informer(client, ConfigMap, SYSTEM_CLOCK, namespace="default", field_selector="metadata.name=a")
    before, after = Recorder(), Recorder()
    informer.add_handler(before)
    running = asyncio.create_task(informer.run())
    await informer.wait_synced()
    informer.add_handler(after)
    assert before.changes == after.changes == [(None, "a")]
    running.cancel()
    await asyncio.wait([running])


async def test_a_cut_watch_resumes_without_a_list(client, broken, informer, recorder, clock):
    await client.create(config_map("a"))
    await recorder.saw((None, "a"))
    lists = broken.lists
    broken.cut(TransportError("down"))
    await clock.advance(0)
    assert "down" in informer.problem or "cut" in informer.problem
    await client.create(config_map("b"))
    broken.mend()
    await clock.advance(60)
    await recorder.saw((None, "a"), (None, "b"))
    assert broken.lists == lists
    assert informer.problem == ""


async def test_a_forgotten_version_is_listed_again_and_differences_told(
    client, broken, informer, recorder, clock, monkeypatch
):
    monkeypatch.setattr("ketch.local.apiserver.store.collection.HISTORY", 2)
    for name in ("stays", "goes", "changes", "anew"):
        await client.create(config_map(name, v="1"))
    await recorder.saw((None, "stays1"), (None, "goes1"), (None, "changes1"), (None, "anew1"))
    recorder.changes.clear()
    broken.cut(TransportError("down"))
    await clock.advance(0)
    await client.delete(ConfigMap, "goes", "default")
    await client.apply(config_map("changes", v="2"), manager="m")
    await client.delete(ConfigMap, "anew", "default")
    await client.create(config_map("anew", v="2"))
    await client.create(config_map("comes", v="1"))
    broken.mend()
    await clock.advance(60)
    expected = {("goes1", None), ("changes1", "changes2"), ("anew1", None), (None, "anew2"), (None, "comes1")}
    async with asyncio.timeout(10):
        while len(recorder.changes) < len(expected):
            await clock.advance(1)
    assert set(recorder.changes) == expected
    assert recorder.changes.index(("anew1", None)) < recorder.changes.index((None, "anew2"))


async def test_back_off_grows_while_the_server_is_away(broken, informer, clock):
    broken.cut(TransportError("down"))
    await clock.advance(0)
    attempts = len(broken.watches)
    await clock.advance(3600)
    broken.mend()
    await clock.advance(31)
    assert len(broken.watches) == attempts + 1


async def test_a_server_that_refuses_is_told_and_asked_again(broken, clock):
    broken.error = Forbidden("no")
    informer = Informer(RESTClient(broken), ConfigMap, clock)
    running = asyncio.create_task(informer.run())
    await clock.advance(1)
    assert not informer.is_synced
    assert "Forbidden" in informer.problem
    broken.mend()
    await clock.advance(31)
    await informer.wait_synced()
    running.cancel()
    await asyncio.wait([running])


async def test_reads(client, informer, recorder):
    owner = await client.create(config_map("owner"))
    await client.create(controlled_by(owner, config_map("owned", labels={"app": "x"})))
    await recorder.saw((None, "owner"), (None, "owned"))
    assert [obj.metadata.name for obj in informer.list(selector=parse_labels("app=x"))] == ["owned"]
    assert informer.list("elsewhere") == []
    assert [obj.metadata.name for obj in informer.owned_by(owner.metadata.uid)] == ["owned"]
    await client.delete(ConfigMap, "owned", "default")
    await recorder.saw((None, "owner"), (None, "owned"), ("owned", None))
    assert informer.owned_by(owner.metadata.uid) == []


async def test_indexes_follow_changes(client, informer, recorder):
    informer.add_index("value", lambda obj: obj.data.values())
    created = await client.create(config_map("a", v="1"))
    await recorder.saw((None, "a1"))
    assert [obj.metadata.name for obj in informer.by_index("value", "1")] == ["a"]
    await client.update(msgspec.structs.replace(created, data={"v": "2"}))
    await recorder.saw((None, "a1"), ("a1", "a2"))
    assert informer.by_index("value", "1") == []
    assert [obj.metadata.name for obj in informer.by_index("value", "2")] == ["a"]
    with pytest.raises(KeyError):
        informer.by_index("other", "1")


async def test_a_handler_that_fails_costs_the_others_nothing(client, informer, caplog):
    def fails(old, new):
        raise ValueError("bug")

    recorder = Recorder()
    informer.add_handler(fails)
    informer.add_handler(recorder)
    await client.create(config_map("a"))
    await recorder.saw((None, "a"))
    assert "a handler failed" in caplog.text


async def test_many_pages(client, monkeypatch):
    monkeypatch.setattr("ketch.kube.informer.PAGE_SIZE", 2)
    for number in range(5):
        await client.create(Namespace(metadata=ObjectMeta(name=f"n{number}", labels={"set": "x"})))
    informer = Informer(client, Namespace, SYSTEM_CLOCK, label_selector="set=x")
    running = asyncio.create_task(informer.run())
    await informer.wait_synced()
    assert len(informer.list()) == 5
    running.cancel()
    await asyncio.wait([running])


async def test_over_http_it_outlives_the_server(api, served, tmp_path):
    client = RESTClient(HTTPTransport(load_config(served.kubeconfig)))
    informer, recorder = Informer(client, ConfigMap, SYSTEM_CLOCK, namespace="default"), Recorder()
    informer.add_handler(recorder)
    running = asyncio.create_task(informer.run())
    await informer.wait_synced()
    await client.create(config_map("a"))
    await recorder.saw((None, "a"))
    await api.close()
    async with APIServer(tmp_path / "kube.db", tmp_path / "pki") as again:
        inside = RESTClient(again.transport())
        await inside.delete(ConfigMap, "a", "default")
        await inside.create(config_map("b"))
        await again.serve([socket.create_server(("127.0.0.1", served.port))])
        await recorder.saw((None, "a"), ("a", None), (None, "b"))
        running.cancel()
        await asyncio.wait([running])
        await client.close()
