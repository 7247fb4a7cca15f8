"""Objects watched by their names: known while held, and a while longer."""

from collections.abc import AsyncIterator, Collection

import pytest
from tests.waiting import eventually

from ketch.kube.client import Client
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.rest import RESTClient
from ketch.kube.testing import VirtualClock
from ketch.kube.types.core import ConfigMap
from ketch.local.apiserver.auth.identity import AUTHENTICATED, UserInfo
from ketch.local.apiserver.server import APIServer
from ketch.local.node import named
from ketch.local.node.named import LINGER_SECONDS, NamedObjects, NotTold

A, B = ObjectKey("default", "a"), ObjectKey("default", "b")


def a_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


class Watched:
    """Objects under test, and who was told of changes."""

    def __init__(self, client: Client, clock: VirtualClock) -> None:
        self.told: list[set[str]] = []
        self.clock = clock
        self.objects = NamedObjects(client, ConfigMap, clock, self._changed)

    def _changed(self, holders: Collection[str]) -> None:
        self.told.append(set(holders))


@pytest.fixture
async def watched(client: Client) -> AsyncIterator[Watched]:
    found = Watched(client, VirtualClock())
    yield found
    await found.objects.close()


async def test_holders_are_told_of_what_they_hold(watched: Watched, client: Client) -> None:
    await client.create(a_map("a", key="1"))
    watched.objects.hold("one", frozenset({A}))
    watched.objects.hold("two", frozenset({A, B}))
    await watched.objects.told((A, B))
    assert (found := watched.objects.get(A)) is not None
    assert found.data == {"key": "1"}
    assert watched.objects.get(B) is None
    assert watched.told == []  # whoever waits reads for himself
    await client.create(a_map("b"))
    await eventually(lambda: watched.told == [{"two"}], "news of b")
    await client.apply(a_map("a", key="2"), manager="test")
    await eventually(lambda: watched.told == [{"two"}, {"one", "two"}], "news of a")
    await client.create(a_map("c"))
    await client.delete(ConfigMap, "b", "default")
    await eventually(lambda: watched.told[2:] == [{"two"}], "the end of b")
    assert watched.objects.get(B) is None


async def test_what_is_let_go_is_kept_for_a_while(watched: Watched, client: Client) -> None:
    await client.create(a_map("a"))
    watched.objects.hold("one", frozenset({A}))
    await watched.objects.told((A,))
    watched.objects.hold("one", frozenset())
    await watched.clock.advance(LINGER_SECONDS - 1)
    assert watched.objects.get(A) is not None
    watched.objects.hold("two", frozenset({A}))
    await watched.clock.advance(LINGER_SECONDS * 2)
    assert watched.objects.get(A) is not None
    watched.objects.hold("two", frozenset({B}))
    await watched.clock.advance(LINGER_SECONDS + 1)
    await eventually(lambda: watched.objects.get(A) is None, "the end of the watch")


async def test_why_nothing_is_told_is_told(api: APIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "PATIENCE_SECONDS", 0.2)
    stranger = RESTClient(api.transport(UserInfo("ann", (AUTHENTICATED,))))
    watched = Watched(stranger, VirtualClock())
    watched.objects.hold("one", frozenset({A}))
    with pytest.raises(NotTold, match='configmap "a": failed to sync configmap cache: Forbidden: '):
        await watched.objects.told((A,))
    await watched.objects.close()
