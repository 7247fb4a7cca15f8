"""The node's images: told of, and removed when there is too little room."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.ociimages import BuiltImage, Entry, layer

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.images.image import IMAGE_ID
from ketch.local.images.mappings import write_mapping
from ketch.local.images.oci.archives import import_images
from ketch.local.images.oci.store import Store
from ketch.local.node.imagekeeper import LEAST_AGE, ImageKeeper, Thresholds, thresholds_of
from ketch.local.sandbox.records import write_record


class Here:
    """Three images, in the order in which they were wanted; the second is used by a container."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.store = Store(data / "images")
        self.reports = self.changes = 0
        self.full = 90.0
        for number in range(3):
            built = BuiltImage([layer(Entry("file", b"%d" % number * (1000 * (number + 1))))])
            [added] = import_images(self.store, built.write_layout(data / f"layout{number}", f"a.example/{number}:1"))
            moment = (SYSTEM_CLOCK.now() - timedelta(seconds=LEAST_AGE + 100 - number)).timestamp()
            os.utime(self.store.root / "used" / added.config, (moment, moment))
            if number == 1:
                record = data / "pods" / "uid" / "containers" / "main" / "0"
                record.mkdir(parents=True)
                write_record(str(record / "spec.json"), {"extra": {IMAGE_ID: added.id}})

    def keeper(self, monkeypatch: pytest.MonkeyPatch, steps: list[float]) -> ImageKeeper:
        keeper = ImageKeeper(SYSTEM_CLOCK, self.store, self.data, self.report, self.changed, Thresholds(85, 80))
        monkeypatch.setattr(keeper, "_percent", lambda: steps.pop(0) if len(steps) > 1 else steps[0])
        return keeper

    async def report(self) -> None:
        self.reports += 1

    def changed(self) -> None:
        self.changes += 1

    def names(self) -> list[str]:
        return sorted(each.removeprefix("a.example/") for each in self.store.images())


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


async def test_the_largest_are_told_first_and_changes_are_reported(here: Here, monkeypatch: pytest.MonkeyPatch):
    keeper = here.keeper(monkeypatch, [10.0])
    told = keeper.told()
    assert [each.size_bytes for each in told] == [3000, 2000, 1000]
    assert told[0].names[1] == "a.example/2:1"
    assert told[0].names[0].startswith("a.example/2@sha256:")
    await keeper.look()
    assert here.reports == 0
    with here.store.removing() as images:
        del images["a.example/0:1"]
    await keeper.look()
    await keeper.look()
    assert (here.reports, here.changes) == (1, 1)
    write_mapping(here.data, "team/*", {"system": True})
    await keeper.look()
    await keeper.look()
    assert (here.reports, here.changes) == (1, 2)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([84.0], ["0:1", "1:1", "2:1"]),
        ([90.0, 79.0], ["1:1", "2:1"]),
        ([90.0, 84.0, 79.0], ["1:1"]),
        ([90.0], ["1:1"]),
    ],
)
async def test_images_go_until_there_is_room(here: Here, monkeypatch: Any, steps: list[float], left: list[str]):
    await here.keeper(monkeypatch, steps).look()
    assert here.names() == left


async def test_what_was_just_wanted_stays_and_so_does_everything_while_somebody_pulls(here: Here, monkeypatch: Any):
    keeper = here.keeper(monkeypatch, [99.0])
    with here.store.adding():
        await keeper.look()
    assert len(here.names()) == 3
    here.store.touch(here.store.images()["a.example/0:1"])
    await keeper.look()
    assert here.names() == ["0:1", "1:1"]


def test_thresholds():
    assert thresholds_of({}) == Thresholds(85, 80)
    assert thresholds_of({"KETCH_IMAGE_GC_HIGH": "70", "KETCH_IMAGE_GC_LOW": "60.5"}) == Thresholds(70, 60.5)
    for high, low in (("x", "1"), ("50", "60"), ("101", "10"), ("50", "0")):
        assert thresholds_of({"KETCH_IMAGE_GC_HIGH": high, "KETCH_IMAGE_GC_LOW": low}) == Thresholds()
