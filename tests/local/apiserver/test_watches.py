"""Watches: no gap, no repetition, told when it cannot be."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ketch.kube.errors import Gone, Invalid, TransportError, Unavailable
from ketch.kube.transport import MERGE_PATCH, Request
from ketch.local.apiserver.server import APIServer
from ketch.local.apiserver.store import collection

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def watch(api: APIServer) -> Any:
    transport = api.transport()

    @asynccontextmanager
    async def begin(path: str = MAPS, query: Mapping[str, str] | None = None) -> AsyncIterator[Any]:
        async with transport.watch(Request("GET", path, query or {})) as events:
            yield events

    return begin


async def take(events: Any, count: int) -> list[tuple[str, str]]:
    """The next events, as type and name."""
    async with asyncio.timeout(10):
        found = [await anext(events) for _ in range(count)]
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in found]


async def test_a_watch_begins_with_what_is_there(ask: Any, watch: Any) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "a"}})
    async with watch() as events:
        assert await take(events, 1) == [("ADDED", "a")]
        await ask("PATCH", f"{MAPS}/a", {"data": {"x": "1"}}, MERGE_PATCH)
        await ask("DELETE", f"{MAPS}/a")
        assert await take(events, 2) == [("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_resumed_watch_sees_every_change_once(ask: Any, watch: Any) -> None:
    start = (await ask("GET", MAPS))["metadata"]["resourceVersion"]
    writes = [asyncio.ensure_future(ask("POST", MAPS, {"metadata": {"name": f"n{i:02}"}})) for i in range(40)]
    await writes[3]
    async with watch(query={"resourceVersion": start}) as events:
        await asyncio.gather(*writes)
        assert sorted(await take(events, 40)) == [("ADDED", f"n{index:02}") for index in range(40)]


async def test_a_deletion_carries_its_own_revision(ask: Any, watch: Any) -> None:
    made = await ask("POST", MAPS, {"metadata": {"name": "a"}})
    async with watch(query={"resourceVersion": made["metadata"]["resourceVersion"]}) as events:
        await ask("DELETE", f"{MAPS}/a")
        event = await anext(events)
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_objects_come_and_go_as_they_match(ask: Any, watch: Any) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "a", "labels": {"on": "yes"}}})
    async with watch(query={"labelSelector": "on=yes"}) as events:
        for value in ("no", "no", "yes"):
            await ask("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"on": value}}, "data": {"x": value}}, MERGE_PATCH)
        assert await take(events, 3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


async def test_one_object_is_watched_by_name(ask: Any, watch: Any) -> None:
    async with watch(query={"fieldSelector": "metadata.name=b"}) as events:
        for name in "abc":
            await ask("POST", MAPS, {"metadata": {"name": name}})
        assert await take(events, 1) == [("ADDED", "b")]


async def test_the_end_of_the_initial_events_is_marked(ask: Any, watch: Any) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "a"}})
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watch(query=query) as events:
        assert await take(events, 1) == [("ADDED", "a")]
        mark = await anext(events)
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    with pytest.raises(Invalid, match="resourceVersionMatch"):
        async with watch(query={"sendInitialEvents": "true"}):
            pass


async def test_a_watch_ends_when_its_time_is_over(watch: Any) -> None:
    async with asyncio.timeout(10), watch(query={"timeoutSeconds": "1"}) as events:
        assert [event async for event in events] == []


async def test_a_revision_that_is_forgotten_is_gone(ask: Any, watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "HISTORY", 3)
    start = (await ask("GET", MAPS))["metadata"]["resourceVersion"]
    for index in range(6):
        await ask("POST", MAPS, {"metadata": {"name": f"n{index}"}})
    with pytest.raises(Gone, match="too old resource version"):
        async with watch(query={"resourceVersion": start}):
            pass


async def test_closing_a_transport_ends_its_watches(api: APIServer) -> None:
    transport = api.transport()
    async with transport.watch(Request("GET", MAPS)) as events:
        reading = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)  # noqa: TID251  # one turn of the loop: the reader waits
        await transport.close()
        assert await reading is None
    with pytest.raises(TransportError):
        await transport.request(Request("GET", MAPS))


async def test_closing_the_server_ends_all_watches(api: APIServer) -> None:
    transport = api.transport()
    async with transport.watch(Request("GET", MAPS)) as events:
        reading = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)  # noqa: TID251  # one turn of the loop: the reader waits
        await api.close()
        assert await reading is None
    with pytest.raises(TransportError):
        await transport.request(Request("GET", MAPS))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        pytest.param({"resourceVersionMatch": "Newest"}, "Unsupported value", id="no such match"),
        pytest.param({"resourceVersionMatch": "Exact"}, "unless resourceVersion is provided", id="a match of nothing"),
        pytest.param({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, "is forbidden for", id="any, exactly"),
        pytest.param({"sendInitialEvents": "true"}, "is forbidden for list", id="a list is no watch"),
    ],
)
async def test_parameters_that_do_not_go_together(ask: Any, query: dict[str, str], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        await ask("GET", MAPS, query=query)


async def test_a_revision_of_the_future(ask: Any, watch: Any) -> None:
    with pytest.raises(Unavailable, match="Too large resource version: 99999") as caught:
        await ask("GET", MAPS, query={"resourceVersion": "99999", "resourceVersionMatch": "NotOlderThan"})
    assert caught.value.http_code == 504
    with pytest.raises(Gone):
        async with watch(query={"resourceVersion": "99999"}):
            pass
