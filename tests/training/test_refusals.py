"""Each rule that a training object must keep, held against the real API server: the Status that users get."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.playing import World, a_world
from tests.training.refusals import REFUSALS, Refusal

from ketch.kube.errors import Invalid
from ketch.kube.transport import JSON_TYPE, MERGE_PATCH, Request
from ketch.training.setup import admissions, setup

PATHS = {"TFJob": "tfjobs", "JobSet": "jobsets", "TrainJob": "trainjobs", "TrainingRuntime": "trainingruntimes"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, setup, admissions=admissions()) as made:
        yield made


def path_of(refusal: Refusal) -> str:
    kind = refusal.wrong["kind"]
    return f"/apis/{refusal.wrong['apiVersion']}/namespaces/default/{PATHS.get(kind, kind.lower() + 's')}"


async def refused(world: World, refusal: Refusal) -> Invalid:
    path, verb, body, kind = path_of(refusal), "POST", refusal.wrong, JSON_TYPE
    if refusal.change:
        await world.client.request("POST", path, body=refusal.wrong)
        path, verb, body, kind = f"{path}/{refusal.wrong['metadata']['name']}", "PATCH", refusal.change, MERGE_PATCH
    with pytest.raises(Invalid) as caught:
        await world.client._transport.request(Request(verb, path, {}, body, kind))
    return caught.value


@pytest.mark.parametrize("kind", sorted({each.wrong["kind"] for each in REFUSALS}))
async def test_what_is_wrong_is_refused_by_its_field(world: World, kind: str):
    for refusal in (each for each in REFUSALS if each.wrong["kind"] == kind):
        causes = (await refused(world, refusal)).details.causes
        said = [(each.reason, each.field) for each in causes]
        assert said == [(each.reason, each.field) for each in refusal.causes], f"{refusal}: {causes}"
        for told, wanted in zip(causes, refusal.causes, strict=True):
            assert wanted.words in told.message, str(refusal)
        if refusal.change:
            await world.client.request("DELETE", f"{path_of(refusal)}/{refusal.wrong['metadata']['name']}")
            await world.settle()
