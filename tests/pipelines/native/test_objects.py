"""Pipelines given as objects are in the catalogue, as long as they are there."""

from tests.pipelines.native.conftest import Stage
from tests.playing import NAMESPACE

from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.core import Namespace
from ketch.pipelines.native.reconcilers import AGAIN_SECONDS
from ketch.pipelines.native.rows import origin_of
from ketch.pipelines.native.types import PipelineObject, PipelineVersionObject
from ketch.pipelines.records.catalog import Label

READY, WAITING = ("True", "InCatalogue"), "False"


async def test_a_pipeline_and_its_version_appear_with_their_uids(stage: Stage):
    pipeline = await stage.pipeline(display_name="Hello", description="says it", tags={"team": "a"})
    version = await stage.version(code_source_url="https://example.com/source", tags={"stage": "dev"})
    (row,) = await stage.pipelines()
    assert (row.id, row.name, row.display_name, row.description) == (
        pipeline.metadata.uid,
        "hello",
        "Hello",
        "says it",
    )
    assert (row.tags, row.created_at) == ({"team": "a"}, pipeline.metadata.creation_timestamp)
    (found,) = await stage.versions(pipeline)
    assert (found.id, found.name, found.display_name) == (version.metadata.uid, "hello-v1", "hello-v1")
    assert (found.code_source_url, found.tags) == ("https://example.com/source", {"stage": "dev"})
    assert found.pipeline_spec["pipelineInfo"] == {"name": "saying"}
    assert await stage.told(pipeline) == await stage.told(version) == READY


async def test_a_second_pass_writes_nothing(stage: Stage):
    await stage.pipeline()
    await stage.version()
    await stage.world.settle()
    assert await stage.world.settles("native-pipelines", ObjectKey(NAMESPACE, "hello"))
    assert await stage.world.settles("native-pipeline-versions", ObjectKey(NAMESPACE, "hello-v1"))


async def test_a_version_waits_for_its_pipeline(stage: Stage):
    version = await stage.version()
    assert await stage.told(version) == (WAITING, "PipelineNotFound")
    pipeline = await stage.pipeline()
    assert await stage.told(version) == READY
    assert len(await stage.versions(pipeline)) == 1


async def test_an_edit_is_followed(stage: Stage):
    await stage.pipeline()
    version = await stage.version()
    await stage.world.edit(PipelineObject, "hello", {"spec": {"displayName": "New", "tags": {"a": "b"}}})
    await stage.world.edit(PipelineVersionObject, "hello-v1", {"spec": {"description": "better"}})
    (row,) = await stage.pipelines()
    assert (row.display_name, row.tags) == ("New", {"a": "b"})
    assert (await stage.catalogue.version(version.metadata.uid)).description == "better"


async def test_a_deleted_version_goes(stage: Stage):
    pipeline = await stage.pipeline()
    await stage.version()
    await stage.version("hello-v2")
    await stage.world.delete(PipelineVersionObject, "hello-v1")
    assert [row.name for row in await stage.versions(pipeline)] == ["hello-v2"]


async def test_a_deleted_pipeline_takes_its_versions_along(stage: Stage):
    pipeline = await stage.pipeline()
    await stage.version()
    await stage.world.settle()
    await stage.world.delete(PipelineObject, "hello")
    assert await stage.pipelines() == []
    assert await stage.versions(pipeline) == []
    await stage.until_gone(PipelineVersionObject, "hello-v1")


async def test_a_pipeline_made_again_is_another_one(stage: Stage):
    old = await stage.pipeline()
    await stage.version()
    await stage.world.settle()
    await stage.world.delete(PipelineObject, "hello")
    new = await stage.pipeline()
    (row,) = await stage.pipelines()
    assert row.id == new.metadata.uid != old.metadata.uid
    assert await stage.versions(new) == []
    await stage.until_gone(PipelineVersionObject, "hello-v1")
    again = await stage.version()
    assert [row.id for row in await stage.versions(new)] == [again.metadata.uid]


async def test_a_row_that_was_lost_or_changed_is_mended(stage: Stage):
    pipeline = await stage.pipeline(display_name="Hello")
    await stage.world.settle()
    async with stage.database.transaction() as session:
        row = await session.get(type((await stage.pipelines())[0]), pipeline.metadata.uid)
        assert row is not None
        row.display_name = "Tampered"
    stage.world.manager._controllers["native-pipelines"].enqueue(pipeline.key)
    assert [row.display_name for row in await stage.pipelines()] == ["Hello"]


async def test_names_are_shared_with_the_pipelines_of_the_database(stage: Stage):
    uploaded = await stage.catalogue.create(Label("hello"))
    pipeline = await stage.pipeline()
    version = await stage.version()
    assert await stage.told(pipeline) == (WAITING, "NameTaken")
    assert await stage.told(version) == (WAITING, "PipelineNotReady")
    assert [row.id for row in await stage.pipelines()] == [uploaded.id]
    await stage.catalogue.delete(uploaded.id, cascade=True)
    await stage.world.pass_time(AGAIN_SECONDS + 1)
    assert await stage.told(pipeline) == await stage.told(version) == READY
    assert [row.id for row in await stage.pipelines()] == [pipeline.metadata.uid]


async def test_of_two_namespaces_the_first_has_the_name(stage: Stage):
    await stage.world.client.create(Namespace(metadata=ObjectMeta(name="other")))
    first = await stage.pipeline()
    await stage.world.settle()
    second = await stage.pipeline(namespace="other")
    assert await stage.told(second) == (WAITING, "NameTaken")
    assert [row.origin for row in await stage.pipelines()] == [origin_of(first.key)]


async def test_two_objects_cannot_be_the_same_version(stage: Stage):
    pipeline = await stage.pipeline()
    await stage.version("a", version_name="one")
    await stage.world.settle()
    second = await stage.version("b", version_name="one")
    assert await stage.told(second) == (WAITING, "NameTaken")
    assert [row.origin for row in await stage.versions(pipeline)] == [f"{NAMESPACE}/a"]


async def test_a_specification_by_address_is_fetched_once(stage: Stage):
    pipeline = await stage.pipeline()
    version = await stage.version(pipeline_spec_uri=stage.package.as_uri())
    assert await stage.told(version) == READY
    stage.package.unlink()
    await stage.world.edit(PipelineVersionObject, "hello-v1", {"spec": {"description": "better"}})
    (row,) = await stage.versions(pipeline)
    assert (row.package_url, row.description) == (stage.package.as_uri(), "better")
    assert row.pipeline_spec["pipelineInfo"] == {"name": "saying"}


async def test_an_address_that_gives_nothing_is_told_and_tried_again(stage: Stage):
    await stage.pipeline()
    content = stage.package.read_bytes()
    stage.package.unlink()
    version = await stage.version(pipeline_spec_uri=stage.package.as_uri())
    assert await stage.told(version) == (WAITING, "InvalidPipelineSpec")
    stage.package.write_bytes(content)
    await stage.world.pass_time(AGAIN_SECONDS + 1)
    assert await stage.told(version) == READY
