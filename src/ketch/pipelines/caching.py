"""When a task's outputs may be taken from an earlier execution: the same step on the same inputs in the same pipeline.

Inputs count by value, input artifacts by identity: a step that runs again makes new artifacts, so that what follows it
runs again too. As upstream, environment and resources do not count, and placeholders count as they are written.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.ir.spec import PipelineSpec
from ketch.pipelines.steps.documents import schema_title
from ketch.pipelines.steps.layout import is_stored
from ketch.pipelines.steps.taskconfig import config_input
from ketch.pipelines.values import Artifact, Values, plain

_WITHOUT_DATA: Final = frozenset(
    {"system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics"}
)
"""Artifacts that are all metadata: they have no file that could be missing."""

_encode = msgspec.json.Encoder(order="sorted").encode


def cache_key(spec: PipelineSpec, node: Node, namespace: str, claims: Sequence[str] = ()) -> str:
    """The key under which the task's outputs are found again; empty when caching is off for it.

    ``claims`` are the names of the PersistentVolumeClaims that the task mounts: other data is another input. So are
    environment and resources where the task is told of them (TaskConfig).
    """
    task, container = node.spec, spec.executor(node.component).container
    if task is None or container is None or not task.caching_options.enable_cache:
        return ""
    scope = [namespace, spec.pipeline_info.name]
    if task.caching_options.cache_key:
        return _digest([*scope, task.component_ref.name, task.caching_options.cache_key])
    definitions = node.component.output_definitions
    told = [container.env, container.resources] if config_input(node.component) else []
    fingerprint: Mapping[str, Any] = {
        "parameters": plain(node.inputs.parameters),
        "artifacts": {key: [each.id for each in several] for key, several in node.inputs.artifacts.items()},
        "outputs": {
            "parameters": {name: each.parameter_type.value for name, each in definitions.parameters.items()},
            "artifacts": {name: schema_title(each.artifact_type) for name, each in definitions.artifacts.items()},
        },
        "container": [container.image, container.command, container.args],
        **({"claims": claims} if claims else {}),
        **({"config": told} if told else {}),
    }
    return _digest([*scope, fingerprint])


def needed_data(outputs: Values) -> Iterable[Artifact]:
    """The artifacts whose data must still be there for the outputs to be worth anything."""
    for several in outputs.artifacts.values():
        for artifact in several:
            if artifact.type not in _WITHOUT_DATA and is_stored(artifact.uri):
                yield artifact


def _digest(parts: Any) -> str:
    return hashlib.sha256(_encode(parts)).hexdigest()
