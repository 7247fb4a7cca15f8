"""A domain completes and checks its kinds before they are stored, whoever writes them and however."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from ketch.kube.admission import Admission, View
from ketch.kube.causes import immutable, invalid
from ketch.kube.client import Client
from ketch.kube.codec import KubeStruct
from ketch.kube.definitions import definition_of
from ketch.kube.errors import Cause, Invalid
from ketch.kube.meta import KubeObject, ObjectMeta, Resource
from ketch.kube.rest import RESTClient
from ketch.kube.types.core import ConfigMap
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.server import APIServer
from ketch.local.apiserver.strategies.base import Context
from ketch.local.apiserver.strategies.custom import AdmittedStrategy


class RaceSpec(KubeStruct, frozen=True, kw_only=True):
    """How it is run."""

    laps: int = 0
    track: str = ""


class RaceStatus(KubeStruct, frozen=True, kw_only=True):
    """How far it is."""

    lap: int = 0


class Race(KubeObject, frozen=True, kw_only=True):
    """A race."""

    resource: ClassVar = Resource("test.ketch.dev", "v1", "Race", "races")

    spec: RaceSpec = RaceSpec()
    status: RaceStatus = RaceStatus()


class RaceAdmission(Admission[Race]):
    kind = Race

    def complete(self, obj: Race, old: Race | None, view: View) -> Race:
        return obj if obj.spec.laps else msgspec.structs.replace(obj, spec=msgspec.structs.replace(obj.spec, laps=3))

    def check(self, obj: Race, old: Race | None, view: View) -> Iterable[Cause]:
        if obj.spec.laps > 10:
            yield invalid("spec.laps", obj.spec.laps, "must be at most 10")
        if obj.spec.track and view.get(ConfigMap, obj.metadata.namespace, obj.spec.track) is None:
            yield invalid("spec.track", obj.spec.track, "there is no such track")
        if old is not None and old.spec.track != obj.spec.track:
            yield immutable("spec.track", obj.spec.track)

    def warn(self, obj: Race, old: Race | None, view: View) -> Iterable[str]:
        if obj.spec.laps > 5:
            yield f"spec.laps: {obj.spec.laps} laps take until after {view.now:%Y}"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with APIServer(tmp_path / "kube.db", tmp_path / "pki", admissions=[RaceAdmission()]) as server:
        connected = RESTClient(server.transport())
        await connected.create(definition_of(Race))
        yield connected
        await connected.close()


def a_race(name: str = "one", **spec: object) -> Race:
    return Race(metadata=ObjectMeta(name=name, namespace="default"), spec=msgspec.structs.replace(RaceSpec(), **spec))


async def test_what_was_left_open_is_completed_and_stored(client: Client):
    assert (await client.create(a_race())).spec.laps == 3
    assert (await client.get(Race, "one", "default")).spec.laps == 3


async def test_a_wrong_object_is_refused_with_its_fields(client: Client):
    with pytest.raises(Invalid) as caught:
        await client.create(a_race(laps=11, track="nowhere"))
    assert {cause.field for cause in caught.value.details.causes} == {"spec.laps", "spec.track"}
    assert (await client.list(Race, "default")).items == ()


async def test_other_objects_are_seen(client: Client):
    await client.create(ConfigMap(metadata=ObjectMeta(name="oval", namespace="default")))
    assert (await client.create(a_race(track="oval"))).spec.track == "oval"


async def test_changes_are_checked_against_what_was(client: Client):
    await client.create(a_race())
    with pytest.raises(Invalid, match="at most 10"):
        await client.apply(a_race(laps=12), manager="test")
    await client.create(ConfigMap(metadata=ObjectMeta(name="oval", namespace="default")))
    with pytest.raises(Invalid, match="immutable"):
        await client.apply(a_race(laps=3, track="oval"), manager="test")


async def test_a_status_is_written_without_asking(client: Client):
    made = await client.create(a_race())
    changed = msgspec.structs.replace(made, status=RaceStatus(lap=2))
    await client.apply_status(changed, manager="test")
    found = await client.get(Race, "one", "default")
    assert (found.status.lap, found.spec.laps) == (2, 3)


@pytest.mark.parametrize(("laps", "told"), [(6, ["spec.laps: 6 laps take until after 2026"]), (5, []), (11, [])])
def test_what_may_be_stored_is_warned_of_once(laps: int, told: list[str]):
    strategy, race = AdmittedStrategy(RaceAdmission()), a_race(laps=laps).to_json()
    context = Context(UserInfo("user"), datetime(2026, 1, 1, tzinfo=UTC), lambda *_: None, lambda *_: [])
    for _ in range(2):  # a write that lost against another is decided again
        strategy.validate(race, None, context)
    assert context.warnings == told
