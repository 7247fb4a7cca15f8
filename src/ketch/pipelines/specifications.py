"""Specifications as users hand them in: YAML or JSON text, archives, wrapped with platform settings or bare.

A specification is checked once, here, before anything is stored; afterwards it is trusted.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.ir.spec import PipelineSpec
from ketch.pipelines.kubernetes.reading import read_platform
from ketch.pipelines.sources.archives import MAX_FILE, unpacked
from ketch.pipelines.sources.documents import documents_of


class Specification(msgspec.Struct, frozen=True):
    """A pipeline's two documents, checked: the IR and, if any, what concerns Kubernetes."""

    pipeline: Mapping[str, Any]
    platform: Mapping[str, Any] | None
    typed: PipelineSpec

    def wire(self) -> Mapping[str, Any]:
        """The form in which both travel as one."""
        return wrapped(self.pipeline, self.platform)


def wrapped(pipeline: Mapping[str, Any], platform: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The wire form of a specification: bare, or both documents under their names."""
    return pipeline if not platform else {"pipeline_spec": pipeline, "platform_spec": platform}


def from_wire(value: Mapping[str, Any]) -> Specification:
    """The specification in a message's ``pipeline_spec``. Raises InvalidInput."""
    if "pipeline_spec" not in value:
        return _checked(value, None)
    pipeline, platform = value["pipeline_spec"], value.get("platform_spec")
    if unknown := value.keys() - {"pipeline_spec", "platform_spec"}:
        raise InvalidInput(f"pipeline_spec: unknown field {min(unknown)!r} beside pipeline_spec and platform_spec")
    if not isinstance(pipeline, dict) or not isinstance(platform, dict | None):
        raise InvalidInput("pipeline_spec: pipeline_spec and platform_spec must be objects")
    return _checked(cast("dict[str, Any]", pipeline), cast("dict[str, Any] | None", platform))


async def from_file(content: bytes) -> Specification:
    """The specification in an uploaded file: YAML, JSON, or one of them in a zip or tar.gz. Raises InvalidInput."""
    text = await asyncio.to_thread(unpacked, content)
    if len(text) > MAX_FILE:
        raise InvalidInput(f"the pipeline file is larger than {MAX_FILE // 2**20} MiB")
    found = await documents_of(text)
    if not found or not all(isinstance(document, dict) for document in found):
        raise InvalidInput(
            "the pipeline file holds no specification: expected a YAML object, as the compiler writes it"
        )
    mappings: list[dict[str, Any]] = found
    platforms = [document for document in mappings if "platforms" in document]
    pipelines = [document for document in mappings if "platforms" not in document]
    if len(pipelines) != 1 or len(platforms) > 1:
        raise InvalidInput("the pipeline file must hold one specification and at most one document of platforms")
    if "pipeline_spec" in pipelines[0] and not platforms:
        return from_wire(pipelines[0])
    return _checked(pipelines[0], platforms[0] if platforms else None)


def _checked(pipeline: Mapping[str, Any], platform: Mapping[str, Any] | None) -> Specification:
    if pipeline.get("kind") == "Workflow":
        raise InvalidInput("this is an Argo workflow of KFP 1.x; compile the pipeline with kfp 2 and submit that")
    try:
        typed = read(pipeline)
        read_platform(platform, typed)
    except SpecError as error:
        raise InvalidInput(f"invalid pipeline spec: {error}") from error
    return Specification(pipeline, platform or None, typed)
