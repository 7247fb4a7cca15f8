"""The rows of objects, whatever their events were like."""

import asyncio

from tests.pipelines.native.conftest import Stage

from ketch.pipelines.native.rows import pipeline_row, version_row
from ketch.pipelines.native.store import NativeStore
from ketch.pipelines.specifications import from_wire


async def test_an_object_made_again_unseen_replaces_the_old_rows(stage: Stage):
    store, specification = NativeStore(stage.database), from_wire(stage.compiled)
    pipeline, version = await stage.pipeline(), await stage.version()
    await stage.world.settle()
    again = pipeline_row(pipeline)
    again.id = "another"
    await store.keep_pipeline(again)
    assert [row.id for row in (await stage.pipelines())] == ["another"]
    assert await store.version(version.metadata.uid) is None
    for identity in ("one", "two"):
        row = version_row(version, pipeline, specification)
        row.id, row.pipeline_id = identity, "another"
        await store.keep_version(row)
    assert await store.version("one") is None
    assert await store.version("two") is not None


async def test_what_is_so_already_is_not_written(stage: Stage):
    store, specification = NativeStore(stage.database), from_wire(stage.compiled)
    pipeline, version = await stage.pipeline(), await stage.version()
    await stage.world.settle()
    async with stage.database.transaction(), asyncio.timeout(10):  # whoever wanted to write would wait for us
        await store.keep_pipeline(pipeline_row(pipeline))
        await store.keep_version(version_row(version, pipeline, specification))
        await store.forget_pipeline("default/nobody")
        await store.forget_version("default/nobody")
