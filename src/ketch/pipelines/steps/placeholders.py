"""Placeholders in constants, commands, arguments and environment: found once, replaced once.

A placeholder is a whole ``{{$...}}`` token that begins with a word of KFP's. A user's own text that looks alike is left
as it is, like what replaces a placeholder: that is never searched again. Inside ``{{$}}`` everything is JSON by
construction, hence escaped.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from ketch.pipelines.values import Artifact, to_json, to_text

_TOKEN = re.compile(r"\{\{\$(?P<body>(?:\.[^{}]*?)?)\}\}")
_STEP = re.compile(r"\.([A-Za-z_]+)|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_OURS = re.compile(r"$|\.(inputs|outputs|outputMetadataUri|pipeline_\w+|workspace_path)\b")
_OF_CONTAINERS = re.compile(r"$|\.(outputs|outputMetadataUri)\b")
_STRUCTURES = ('{"Concat":', '{"IfPresent":')

Quote = tuple[Callable[[str], str], Callable[[str], str]]
"""How the specification's own text and the values put into it are quoted."""

_AS_IS: Quote = (str, str)


class PlaceholderError(ValueError):
    """A placeholder names something that does not exist, or a structure is malformed."""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the ``{{$.pipeline_...}}`` placeholders stand for."""

    pipeline_job_name: str = ""
    pipeline_job_resource_name: str = ""
    pipeline_job_uuid: str = ""
    pipeline_task_name: str = ""
    pipeline_task_uuid: str = ""
    pipeline_job_create_time_utc: str = ""
    pipeline_job_schedule_time_utc: str = ""
    pipeline_root: str = ""
    workspace_path: str = "/kfp-workspace"


def _address(artifact: Artifact) -> str:
    return artifact.uri


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a container's texts may refer to; ``executor_input`` is None where ``{{$}}`` and
    the outputs have no meaning yet: they stay as they are."""

    names: Names
    parameters: Mapping[str, Any] = {}
    inputs: Mapping[str, tuple[Artifact, ...]] = {}
    outputs: Mapping[str, Artifact] = {}
    output_files: Mapping[str, str] = {}
    output_file: str = ""
    executor_input: Mapping[str, Any] | None = None
    artifact_path: Callable[[Artifact], str] = _address

    def present(self, name: str) -> bool:
        """Whether an input of this name was given."""
        return self.parameters.get(name) is not None or bool(self.inputs.get(name))


def expand(value: Any, scope: Scope) -> Any:
    """``value`` with all placeholders in its strings replaced, at every depth."""
    if isinstance(value, str):
        return expand_text(value, scope)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {expand_text(key, scope): expand(item, scope) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [expand(item, scope) for item in cast("list[Any]", value)]
    return value


def expand_text(text: str, scope: Scope, quote: Quote | None = None) -> str:
    """``text`` with its placeholders replaced, both by the rules of ``quote``. Raises PlaceholderError."""
    literal, data = quote or _AS_IS
    if "{{$" not in text:
        return literal(text)
    parts: list[str] = []
    position = 0
    for found in _TOKEN.finditer(text):
        if not _OURS.match(found["body"]) or (scope.executor_input is None and _OF_CONTAINERS.match(found["body"])):
            continue
        parts += [literal(text[position : found.start()]), data(_replacement(found["body"], scope))]
        position = found.end()
    return "".join([*parts, literal(text[position:])])


def expand_command(words: Sequence[str], scope: Scope, quote: Quote | None = None) -> tuple[str, ...]:
    """A command line: structures are resolved (one may become several words, or none), then placeholders."""
    result: list[str] = []
    for word in words:
        resolved = _resolve_structure(_structure(word), scope)
        result += [expand_text(part, scope, quote) for part in (resolved if isinstance(resolved, list) else [resolved])]
    return tuple(result)


def _structure(word: str) -> Any:
    if not word.startswith(_STRUCTURES):
        return word
    try:
        return json.loads(word)
    except ValueError:
        return word  # a user's own text that only begins alike


def _resolve_structure(node: Any, scope: Scope) -> str | list[str]:
    """One word, or the words that a chosen branch stands for."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        words: list[str] = []
        for item in cast("list[Any]", node):
            resolved = _resolve_structure(item, scope)
            words += resolved if isinstance(resolved, list) else [resolved]
        return words
    structure = cast("dict[str, Any]", node) if isinstance(node, dict) else {}
    if "Concat" in structure:
        parts = (_resolve_structure(part, scope) for part in structure["Concat"])
        return "".join("".join(part) if isinstance(part, list) else part for part in parts)
    branch = structure.get("IfPresent")
    if not isinstance(branch, dict):
        raise PlaceholderError(f"{json.dumps(node)[:200]} is neither a Concat nor an IfPresent")
    choice = cast("dict[str, Any]", branch)
    chosen = choice.get("Then" if scope.present(str(choice.get("InputName"))) else "Else")
    return [] if chosen is None else _resolve_structure(chosen, scope)


def _replacement(body: str, scope: Scope) -> str:
    if not body:
        return to_json(scope.executor_input)
    steps = [next(part for part in found.groups() if part is not None) for found in _STEP.finditer(body)]
    if "".join(found[0] for found in _STEP.finditer(body)) != body or not steps:
        raise _unknown(body)
    if steps in (["outputs", "output_file"], ["outputMetadataUri"]):
        return scope.output_file
    if len(steps) == 1 and steps[0] in Names.__struct_fields__:
        return str(getattr(scope.names, steps[0]))
    match steps:
        case ["inputs", "parameters", name]:
            return to_text(scope.parameters.get(name))
        case ["inputs", "artifacts", name]:
            return to_json([msgspec.to_builtins(artifact) for artifact in scope.inputs.get(name, ())])
        case ["inputs", "artifacts", name, *rest]:
            artifacts = scope.inputs.get(name)
            return _of_artifact(body, artifacts[0], rest, scope) if artifacts else ""
        case ["outputs", "parameters", name, "output_file"] if name in scope.output_files:
            return scope.output_files[name]
        case ["outputs", "artifacts", name, *rest] if name in scope.outputs:
            return _of_artifact(body, scope.outputs[name], rest, scope)
        case _:
            raise _unknown(body)


def _of_artifact(body: str, artifact: Artifact, steps: list[str], scope: Scope) -> str:
    match steps:
        case ["uri"]:
            return artifact.uri
        case ["path"]:
            return scope.artifact_path(artifact)
        case ["name"]:
            return artifact.name
        case ["metadata"]:
            return to_json(artifact.metadata)
        case ["metadata", key]:
            return to_text(artifact.metadata.get(key))
        case _:
            raise _unknown(body)


def _unknown(body: str) -> PlaceholderError:
    return PlaceholderError(f"placeholder {{{{${body}}}}} names nothing that this task has")
