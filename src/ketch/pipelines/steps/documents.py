"""The two documents that pass between Ketch and a step: ExecutorInput in, ExecutorOutput out (protojson, camelCase)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from ketch.pipelines.ir.spec import ArtifactType, ComponentSpec
from ketch.pipelines.steps.layout import WORKSPACE_FLAG, TaskPlace, is_unmapped, remote_uri
from ketch.pipelines.values import Artifact, ValueProblem, Values, check_output, parse_output, plain

SCHEMA_VERSION: Final = "0.0.1"
GENERIC: Final = "system.Artifact"


class OutputProblem(Exception):
    """The step ended well but did not leave what its component promises."""


class _ArtifactDocument(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    uri: str = ""
    metadata: Mapping[str, Any] = {}
    type: ArtifactType | None = None
    custom_path: str = msgspec.field(default="", name="custom_path")
    custom_path_camel: str = msgspec.field(default="", name="customPath")


class _ArtifactList(msgspec.Struct, frozen=True):
    artifacts: tuple[_ArtifactDocument, ...] = ()


class _OutputDocument(msgspec.Struct, frozen=True, rename="camel"):
    parameter_values: Mapping[str, Any] = {}
    artifacts: Mapping[str, _ArtifactList] = {}


def schema_title(kind: ArtifactType) -> str:
    """The type's title; a schema written out counts as a plain artifact."""
    return kind.schema_title or GENERIC


def planned_outputs(component: ComponentSpec, place: TaskPlace) -> Mapping[str, Artifact]:
    """The output artifacts as the step is told to make them."""
    return {
        name: Artifact(
            id="",
            name=name,
            type=schema_title(output.artifact_type),
            uri=place.artifact_uri(name),
            metadata=plain({**output.metadata}),
        )
        for name, output in component.output_definitions.artifacts.items()
    }


def executor_input(component: ComponentSpec, inputs: Values, place: TaskPlace) -> Mapping[str, Any]:
    """The ExecutorInput: what ``{{$}}`` stands for. Empty parts are left out, as protojson does."""
    given: dict[str, Any] = {}
    if inputs.parameters:
        given["parameterValues"] = plain(inputs.parameters)
    if inputs.artifacts:
        given["artifacts"] = {
            key: {"artifacts": [_artifact_json(artifact, artifact.id) for artifact in artifacts]}
            for key, artifacts in inputs.artifacts.items()
        }
    outputs: dict[str, Any] = {}
    if component.output_definitions.parameters:
        names = component.output_definitions.parameters
        outputs["parameters"] = {name: {"outputFile": place.parameter_file(name)} for name in names}
    artifacts = planned_outputs(component, place)
    if artifacts:
        outputs["artifacts"] = {
            name: {"artifacts": [_artifact_json(artifact, name)]} for name, artifact in artifacts.items()
        }
    return {"inputs": given, "outputs": {**outputs, "outputFile": place.output_file}}


def _artifact_json(artifact: Artifact, name: str) -> Mapping[str, Any]:
    # What the SDK has no place for, it finds where the workspace would have it.
    flag = {WORKSPACE_FLAG: True} if is_unmapped(artifact.uri) else {}
    return {
        "name": name,
        "type": {"schemaTitle": artifact.type, "schemaVersion": SCHEMA_VERSION},
        "uri": artifact.uri,
        "metadata": plain({**artifact.metadata, **flag}),
    }


class StepOutput:
    """What a step that ended well wrote: its output document, and what else has to be read."""

    def __init__(self, component: ComponentSpec, place: TaskPlace, document: bytes | None) -> None:
        self._component, self._place = component, place
        self._document = _decode(document) if document else _OutputDocument()

    @property
    def files(self) -> Sequence[str]:
        """The output parameters that must be in files of their own, by name."""
        names = self._component.output_definitions.parameters
        return [name for name in names if name not in self._document.parameter_values]

    def values(self, files: Mapping[str, bytes | None], new_id: Callable[[str, int], str]) -> Values:
        """The task's outputs; ``new_id`` gives the id of the artifact at a key and position. Raises OutputProblem."""
        given, definitions = self._document.parameter_values, self._component.output_definitions
        try:
            parameters = {
                name: check_output(given[name], output.parameter_type, name)
                if name in given
                else parse_output(_text(name, self._place, files.get(name)), output.parameter_type, name)
                for name, output in definitions.parameters.items()
            }
        except ValueProblem as error:
            raise OutputProblem(str(error)) from error
        artifacts: dict[str, tuple[Artifact, ...]] = {}
        for name, plan in planned_outputs(self._component, self._place).items():
            listed = self._document.artifacts.get(name, _ArtifactList()).artifacts
            written = listed or (_ArtifactDocument(uri=plan.uri),)
            artifacts[name] = tuple(
                _merge(self._place, plan, each, new_id(name, position)) for position, each in enumerate(written)
            )
        return Values(parameters, artifacts)


def _decode(document: bytes) -> _OutputDocument:
    """Python's json writes NaN and Infinity, which are no JSON: they become texts, as protobuf writes them."""
    try:
        return msgspec.json.decode(document, type=_OutputDocument)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return msgspec.convert(json.loads(document, parse_constant=str), _OutputDocument)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise OutputProblem(f"the step's output document cannot be read: {error}") from error


def _text(name: str, place: TaskPlace, content: bytes | None) -> str:
    if content is None:
        path = place.parameter_file(name)
        raise OutputProblem(f'failed to read output parameter "{name}": the step did not write {path}')
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise OutputProblem(f'output parameter "{name}" is not UTF-8 text') from error


def _merge(place: TaskPlace, plan: Artifact, written: _ArtifactDocument, artifact_id: str) -> Artifact:
    uri = remote_uri(written.uri) or written.uri or plan.uri
    custom = written.custom_path or written.custom_path_camel
    if custom:
        kept = remote_uri(custom)
        if kept is None or not kept.startswith(f"{place.uri}/"):
            raise OutputProblem(
                f'output artifact "{plan.name}" was written to {custom}, which is gone with the step; '
                f"write it below the artifact's own path"
            )
        uri = kept
    kind = schema_title(written.type) if written.type and written.type.schema_title else plan.type
    metadata = cast("Mapping[str, Any]", plain({**plan.metadata, **written.metadata}))
    if uri == plan.uri or is_unmapped(uri):  # copied from an input, or from what it was told
        metadata = {name: value for name, value in metadata.items() if name != WORKSPACE_FLAG}
    return Artifact(id=artifact_id, name=plan.name, type=kind, uri=uri, metadata=metadata)
