"""What is refused at the door."""

from typing import Any

import pytest
from tests.pipelines.native.conftest import Stage

from ketch.kube.errors import Invalid
from ketch.pipelines.native.types import PipelineVersionObject


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"pipeline": ""}, "spec.pipelineName: Required value"),
        ({"pipeline_spec": {}}, "spec.pipelineSpec: Required value"),
        ({"pipeline_spec": {"schemaVersion": "2.1.0"}}, "spec.pipelineSpec: Invalid value: invalid pipeline spec"),
        ({"pipeline_spec_uri": "https://example.com/p", "platform_spec": {"platforms": {}}}, "excludes pipelineSpec"),
        ({"tags": {"a.b": "c"}}, "spec.tags"),
        ({"display_name": "n" * 128}, "spec.displayName"),
    ],
)
async def test_versions_that_could_not_run(stage: Stage, spec: dict[str, Any], message: str):
    with pytest.raises(Invalid, match=message):
        await stage.version(**spec)


async def test_pipelines_beyond_the_limits(stage: Stage):
    with pytest.raises(Invalid, match=r"metadata\.name"):
        await stage.pipeline("n" * 129)
    with pytest.raises(Invalid, match=r"spec\.tags"):
        await stage.pipeline(tags={str(number): "x" for number in range(21)})


@pytest.mark.parametrize(
    "change",
    [{"pipelineName": "other"}, {"versionName": "other"}, {"pipelineSpec": {"root": {"a": 1}}}, {"pipelineSpec": None}],
)
async def test_what_a_version_runs_never_changes(stage: Stage, change: dict[str, Any]):
    await stage.version()
    with pytest.raises(Invalid, match="field is immutable"):
        await stage.world.edit(PipelineVersionObject, "hello-v1", {"spec": change})
