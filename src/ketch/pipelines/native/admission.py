"""What may be stored as a Pipeline or a PipelineVersion: refused at the door, where its author reads why."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ketch.kube.admission import Admission, View
from ketch.kube.causes import immutable, invalid, required
from ketch.kube.errors import Cause
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.native.rows import inline_specification, version_name
from ketch.pipelines.native.types import PipelineObject, PipelineVersionObject, PipelineVersionObjectSpec
from ketch.pipelines.records.catalog import MAX_PIPELINE_NAME, MAX_VERSION_NAME, check_tags

_FIXED: Mapping[str, Callable[[PipelineVersionObjectSpec], Any]] = {
    "pipelineName": lambda spec: spec.pipeline_name,
    "versionName": lambda spec: spec.version_name,
    "pipelineSpec": lambda spec: spec.pipeline_spec,
    "platformSpec": lambda spec: spec.platform_spec,
    "pipelineSpecURI": lambda spec: spec.pipeline_spec_uri,
}
"""What a version is; names for people, descriptions and tags may change."""


class PipelineAdmission(Admission[PipelineObject]):
    """Checks pipelines."""

    kind = PipelineObject

    def check(self, obj: PipelineObject, old: PipelineObject | None, view: View) -> Iterable[Cause]:  # noqa: ARG002
        """Names and tags within the catalogue's limits."""
        yield from _too_long("metadata.name", obj.metadata.name, MAX_PIPELINE_NAME)
        yield from _too_long("spec.displayName", obj.spec.display_name, MAX_PIPELINE_NAME)
        yield from _tags(obj.spec.tags)


class PipelineVersionAdmission(Admission[PipelineVersionObject]):
    """Checks versions. The pipeline may come later: manifests are applied in any order."""

    kind = PipelineVersionObject

    def check(
        self,
        obj: PipelineVersionObject,
        old: PipelineVersionObject | None,
        view: View,  # noqa: ARG002  # nothing else is looked at
    ) -> Iterable[Cause]:
        """A specification that could run, which stays what it is."""
        spec = obj.spec
        if not spec.pipeline_name:
            yield required("spec.pipelineName", "the Pipeline that this is a version of")
        yield from _too_long("spec.versionName", version_name(obj), MAX_VERSION_NAME)
        yield from _too_long("spec.displayName", spec.display_name, MAX_VERSION_NAME)
        yield from _tags(spec.tags)
        if old is not None:
            for name, value in _FIXED.items():
                if value(spec) != value(old.spec):
                    yield immutable(f"spec.{name}", value(spec))
            return
        yield from _source(obj)


def _source(obj: PipelineVersionObject) -> Iterable[Cause]:
    spec = obj.spec
    if spec.pipeline_spec_uri:
        if spec.pipeline_spec or spec.platform_spec:
            yield invalid("spec.pipelineSpecURI", spec.pipeline_spec_uri, "excludes pipelineSpec and platformSpec")
        return
    if not spec.pipeline_spec:
        yield required("spec.pipelineSpec", "the compiled pipeline, or pipelineSpecURI instead of it")
        return
    try:
        inline_specification(obj)
    except InvalidInput as error:
        yield Cause("FieldValueInvalid", f"Invalid value: {error.message}", "spec.pipelineSpec")


def _too_long(path: str, text: str, limit: int) -> Iterable[Cause]:
    if len(text) > limit:
        yield invalid(path, text, f"must have at most {limit} characters")


def _tags(tags: Mapping[str, str]) -> Iterable[Cause]:
    try:
        check_tags(tags)
    except InvalidInput as error:
        yield invalid("spec.tags", dict(tags), error.message.removeprefix("tags: "))
