"""From an object to its row in the catalogue. Pure."""

from datetime import datetime

from ketch.kube.meta import KubeObject, ObjectKey, ObjectMeta
from ketch.pipelines.native.types import PipelineObject, PipelineVersionObject
from ketch.pipelines.records.tables import Pipeline, PipelineVersion
from ketch.pipelines.specifications import Specification, from_wire, wrapped
from ketch.pipelines.structs import plain


def origin_of(key: ObjectKey) -> str:
    """What marks the row of an object."""
    return f"{key.namespace}/{key.name}"


def key_of(origin: str) -> ObjectKey:
    """The object that a row's mark names."""
    namespace, _, name = origin.partition("/")
    return ObjectKey(namespace, name)


def version_name(obj: PipelineVersionObject) -> str:
    """What a version is called in the catalogue."""
    return obj.spec.version_name or obj.metadata.name


def inline_specification(obj: PipelineVersionObject) -> Specification:
    """The specification that the object itself holds. Raises InvalidInput."""
    return from_wire(wrapped(plain(dict(obj.spec.pipeline_spec)), plain(dict(obj.spec.platform_spec))))


def pipeline_row(obj: PipelineObject) -> Pipeline:
    """The row of a pipeline."""
    return Pipeline(
        id=obj.metadata.uid,
        namespace="",
        name=obj.metadata.name,
        display_name=obj.spec.display_name or obj.metadata.name,
        description=obj.spec.description,
        tags=dict(obj.spec.tags),
        created_at=_created(obj.metadata),
        origin=origin_of(obj.key),
    )


def version_row(obj: PipelineVersionObject, pipeline: PipelineObject, specification: Specification) -> PipelineVersion:
    """The row of a version."""
    return PipelineVersion(
        id=obj.metadata.uid,
        pipeline_id=pipeline.metadata.uid,
        name=version_name(obj),
        display_name=obj.spec.display_name or version_name(obj),
        description=obj.spec.description,
        code_source_url=obj.spec.code_source_url,
        package_url=obj.spec.pipeline_spec_uri,
        pipeline_spec=specification.pipeline,
        platform_spec=specification.platform,
        tags=dict(obj.spec.tags),
        created_at=_created(obj.metadata),
        origin=origin_of(obj.key),
    )


def is_going(obj: KubeObject) -> bool:
    """Whether the object is being deleted."""
    return obj.metadata.deletion_timestamp is not None


def _created(metadata: ObjectMeta) -> datetime:
    assert metadata.creation_timestamp is not None  # every stored object has one
    return metadata.creation_timestamp
