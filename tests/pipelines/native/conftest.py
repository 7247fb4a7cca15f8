"""A cluster whose pipelines are objects, and the catalogue beside it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl
from tests.playing import NAMESPACE, World, a_world

from ketch.kube.conditions import find
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectMeta
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.metadata.database import Database
from ketch.pipelines.native.catalogue import NativeCatalogue
from ketch.pipelines.native.setup import admissions, setup
from ketch.pipelines.native.types import (
    READY,
    PipelineObject,
    PipelineObjectSpec,
    PipelineVersionObject,
    PipelineVersionObjectSpec,
)
from ketch.pipelines.records.listing import ListQuery
from ketch.pipelines.records.tables import Pipeline, PipelineVersion
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.sources.rules import Rules


@dsl.component(base_image="python:3.11")
def say(text: str) -> str:
    return text


@dsl.pipeline(name="saying")
def saying(text: str = "nothing"):
    say(text=text)


@dataclass
class Stage:
    """The cluster, the catalogue, and a compiled pipeline."""

    world: World
    database: Database
    catalogue: NativeCatalogue
    package: Path

    @property
    def compiled(self) -> Mapping[str, Any]:
        return yaml.safe_load(self.package.read_text())

    async def pipeline(self, name: str = "hello", namespace: str = NAMESPACE, **spec: Any) -> PipelineObject:
        meta = ObjectMeta(name=name, namespace=namespace)
        return await self.world.client.create(PipelineObject(metadata=meta, spec=PipelineObjectSpec(**spec)))

    async def version(self, name: str = "hello-v1", pipeline: str = "hello", **spec: Any) -> PipelineVersionObject:
        if "pipeline_spec_uri" not in spec:
            spec.setdefault("pipeline_spec", self.compiled)
        obj = PipelineVersionObject(
            metadata=ObjectMeta(name=name, namespace=NAMESPACE),
            spec=PipelineVersionObjectSpec(pipeline_name=pipeline, **spec),
        )
        return await self.world.client.create(obj)

    async def pipelines(self) -> list[Pipeline]:
        await self.world.settle()
        return list((await self.catalogue.list(ListQuery(200, "name"))).rows)

    async def versions(self, pipeline: PipelineObject) -> list[PipelineVersion]:
        await self.world.settle()
        return list((await self.catalogue.list_versions(pipeline.metadata.uid, ListQuery(200, "name"))).rows)

    async def until_gone(self, kind: type[PipelineObject | PipelineVersionObject], name: str) -> None:
        async def gone() -> bool:
            return await self.world.get(kind, name) is None

        await self.world.until(gone)

    async def told(self, obj: PipelineObject | PipelineVersionObject) -> tuple[str, str]:
        """Status and reason of its condition."""
        await self.world.settle()
        now = await self.world.client.get(type(obj), obj.metadata.name, obj.metadata.namespace)
        condition = find(now.status.conditions, READY)
        return (condition.status, condition.reason) if condition else ("", "")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    package = tmp_path / "packages" / "saying.yaml"
    package.parent.mkdir()
    compiler.Compiler().compile(saying, str(package))
    packages = PackageFetcher(Rules(roots=(package.parent,)))

    async def native(manager: Manager) -> None:
        await setup(manager, database, packages)

    def collector(manager: Manager) -> None:
        monitor = Monitor(manager)
        garbage.setup(manager, monitor)
        manager.add(monitor.run)

    async with a_world(tmp_path, native, collector, admissions=admissions()) as world:
        yield Stage(world, database, NativeCatalogue(database, world.clock, world.client), package)
    await database.close()
