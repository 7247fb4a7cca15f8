"""The kinds, as ``kfp.compiler.Compiler().compile(..., kubernetes_manifest_format=True)`` writes them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec

from ketch.kube.codec import KubeStruct
from ketch.kube.definitions import AGE, definition_of
from ketch.kube.meta import Condition, KubeObject, Resource
from ketch.kube.types.apiextensions import CustomResourceColumn, CustomResourceDefinition

GROUP: Final = "pipelines.kubeflow.org"
VERSION: Final = "v2beta1"
READY: Final = "Ready"
"""The condition that tells whether the object is visible and can be run."""

_NOTHING: Mapping[str, Any] = {}
_NO_TAGS: Mapping[str, str] = {}

Text = Annotated[str, msgspec.Meta(description="What it is for.")]
DisplayName = Annotated[str, msgspec.Meta(description="What people call it; its name unless given.")]
Tags = Annotated[Mapping[str, str], msgspec.Meta(description="Up to 20 labels for people; no dots in keys.")]


class CatalogueStatus(KubeStruct, frozen=True, kw_only=True):
    """Whether it is visible."""

    conditions: tuple[Condition, ...] = ()


class PipelineObjectSpec(KubeStruct, frozen=True, kw_only=True):
    """How the pipeline is called and described."""

    display_name: DisplayName = ""
    description: Text = ""
    tags: Tags = _NO_TAGS


class PipelineObject(KubeObject, frozen=True, kw_only=True):
    """A named pipeline; its versions hold the specifications."""

    resource: ClassVar = Resource(GROUP, VERSION, "Pipeline", "pipelines")

    spec: PipelineObjectSpec = PipelineObjectSpec()
    status: CatalogueStatus = CatalogueStatus()


class PipelineVersionObjectSpec(KubeStruct, frozen=True, kw_only=True):
    """Which pipeline it is a version of, and what runs: pipelineSpec or pipelineSpecURI. What runs never changes."""

    pipeline_name: Annotated[str, msgspec.Meta(description="The Pipeline in the same namespace.")] = ""
    version_name: Annotated[str, msgspec.Meta(description="What it is called; the object's name unless given.")] = ""
    display_name: DisplayName = ""
    description: Text = ""
    code_source_url: Annotated[str, msgspec.Meta(description="Where its source is.")] = msgspec.field(
        default="", name="codeSourceURL"
    )
    pipeline_spec: Annotated[Mapping[str, Any], msgspec.Meta(description="The compiled pipeline.")] = _NOTHING
    platform_spec: Annotated[
        Mapping[str, Any], msgspec.Meta(description="What concerns Kubernetes: the compiler's second document.")
    ] = _NOTHING
    pipeline_spec_uri: Annotated[
        str, msgspec.Meta(description="Where the compiled pipeline is, instead of pipelineSpec; fetched once.")
    ] = msgspec.field(default="", name="pipelineSpecURI")
    tags: Tags = _NO_TAGS


class PipelineVersionObject(KubeObject, frozen=True, kw_only=True):
    """One specification of a pipeline."""

    resource: ClassVar = Resource(GROUP, VERSION, "PipelineVersion", "pipelineversions")

    spec: PipelineVersionObjectSpec = PipelineVersionObjectSpec()
    status: CatalogueStatus = CatalogueStatus()


def definitions() -> Sequence[CustomResourceDefinition]:
    """The definitions of both kinds."""
    ready = CustomResourceColumn(
        name="Ready", type="string", json_path=f'.status.conditions[?(@.type=="{READY}")].status'
    )
    reason = CustomResourceColumn(
        name="Reason", type="string", json_path=f'.status.conditions[?(@.type=="{READY}")].reason'
    )
    pipeline = CustomResourceColumn(name="Pipeline", type="string", json_path=".spec.pipelineName")
    return (
        definition_of(PipelineObject, columns=(ready, reason, AGE)),
        definition_of(PipelineVersionObject, columns=(pipeline, ready, reason, AGE)),
    )
