"""The REST API's writes on pipelines that are objects."""

import pytest
from tests.pipelines.native.conftest import Stage

from ketch.pipelines.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from ketch.pipelines.native.types import PipelineObject, PipelineVersionObject
from ketch.pipelines.records.catalog import Label, Source
from ketch.pipelines.specifications import from_wire


async def test_a_change_is_one_of_the_object(stage: Stage):
    pipeline = await stage.pipeline(tags={"old": "1", "kept": "2"})
    version = await stage.version()
    await stage.world.settle()
    row = await stage.catalogue.update(pipeline.metadata.uid, "New", {"kept": "3"})
    assert (row.display_name, row.tags) == ("New", {"kept": "3"})
    await stage.catalogue.update_version(version.metadata.uid, "", {"a": "b"})
    obj = await stage.world.get(PipelineObject, "hello")
    assert obj is not None
    assert (obj.spec.display_name, obj.spec.tags) == ("New", {"kept": "3"})
    assert [row.tags for row in await stage.versions(pipeline)] == [{"a": "b"}]


async def test_a_version_is_added_as_an_object(stage: Stage):
    pipeline = await stage.pipeline()
    await stage.world.settle()
    source = Source(from_wire(stage.compiled))
    made = await stage.catalogue.create_version(pipeline.metadata.uid, Label("second", description="x"), source)
    obj = await stage.world.get(PipelineVersionObject, "second")
    assert obj is not None
    assert (obj.metadata.uid, obj.spec.pipeline_name, obj.spec.description) == (made.id, "hello", "x")
    assert [row.id for row in await stage.versions(pipeline)] == [made.id]
    with pytest.raises(AlreadyExists, match="second"):
        await stage.catalogue.create_version(pipeline.metadata.uid, Label("second"), source)
    with pytest.raises(InvalidInput, match="cannot name a Kubernetes object"):
        await stage.catalogue.create_version(pipeline.metadata.uid, Label("My Version"), source)


async def test_a_deletion_is_one_of_the_object(stage: Stage):
    pipeline = await stage.pipeline()
    version = await stage.version()
    await stage.world.settle()
    with pytest.raises(FailedPrecondition, match="1 version"):
        await stage.catalogue.delete(pipeline.metadata.uid, cascade=False)
    await stage.catalogue.delete_version(version.metadata.uid)
    assert await stage.world.get(PipelineVersionObject, "hello-v1") is None
    await stage.catalogue.delete(pipeline.metadata.uid, cascade=False)
    with pytest.raises(NotFound):
        await stage.catalogue.get(pipeline.metadata.uid)
    assert await stage.pipelines() == []
    assert await stage.world.all(PipelineObject) == []


async def test_a_deletion_takes_versions_along(stage: Stage):
    pipeline = await stage.pipeline()
    await stage.version()
    await stage.world.settle()
    await stage.catalogue.delete(pipeline.metadata.uid, cascade=True)
    await stage.until_gone(PipelineVersionObject, "hello-v1")


async def test_pipelines_of_the_database_are_as_before(stage: Stage):
    source = Source(from_wire(stage.compiled))
    pipeline, version = await stage.catalogue.create_with_version(Label("mine"), Label("My Version"), source)
    await stage.catalogue.create_version(pipeline.id, Label("Second Version"), source)
    assert (await stage.catalogue.update(pipeline.id, "Mine", None)).display_name == "Mine"
    await stage.catalogue.update_version(version.id, "Other", None)
    await stage.catalogue.delete_version(version.id)
    await stage.catalogue.delete(pipeline.id, cascade=True)
    assert await stage.world.all(PipelineObject) == []
