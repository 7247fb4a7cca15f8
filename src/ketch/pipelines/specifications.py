"""Specifications as users hand them in: YAML or JSON text, archives, wrapped with platform settings or bare.

A specification is checked once, here, before anything is stored; afterwards it is trusted.
"""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
import yaml

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.ir.spec import PipelineSpec
from ketch.pipelines.structs import plain

MAX_SIZE: Final = 32 * 1024 * 1024
_PREFERRED: Final = "pipeline.yaml"
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


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


def from_file(content: bytes) -> Specification:
    """The specification in an uploaded file: YAML, JSON, or one of them in a zip or tar.gz. Raises InvalidInput."""
    return from_text(_unpacked(content))


def from_text(content: bytes) -> Specification:
    """The specification in YAML or JSON text. Raises InvalidInput."""
    try:
        documents = [document for document in yaml.load_all(content, _Loader) if document is not None]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidInput(f"the pipeline is not valid YAML: {error}") from error
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise InvalidInput(
            "the pipeline file holds no specification: expected a YAML object, as the compiler writes it"
        )
    mappings: list[dict[str, Any]] = [plain(document) for document in documents]
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
        return Specification(pipeline, platform or None, read(pipeline))
    except SpecError as error:
        raise InvalidInput(f"invalid pipeline spec: {error}") from error


def _unpacked(content: bytes) -> bytes:
    try:
        if content.startswith(_GZIP):
            return _from_tar(content)
        if content.startswith(_ZIP):
            return _from_zip(content)
    except _DAMAGED as error:
        raise InvalidInput(f"the archive cannot be read: {error}") from error
    return content


def _from_tar(content: bytes) -> bytes:
    first: bytes | None = None
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            if not member.isfile():
                continue
            preferred = member.name.rpartition("/")[2] == _PREFERRED
            if (first is None or preferred) and (file := archive.extractfile(member)) is not None:
                first = _limited(file.read(MAX_SIZE + 1))
            if preferred:
                break
    return _found(first)


def _from_zip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        names.sort(key=lambda name: name.rpartition("/")[2] != _PREFERRED)
        if not names:
            return _found(None)
        with archive.open(names[0]) as file:
            return _limited(file.read(MAX_SIZE + 1))


def _limited(content: bytes) -> bytes:
    if len(content) > MAX_SIZE:
        raise InvalidInput(f"the file in the archive is larger than {MAX_SIZE // 2**20} MiB")
    return content


def _found(content: bytes | None) -> bytes:
    if content is None:
        raise InvalidInput("the archive holds no file; expected pipeline.yaml")
    return content


class _Loader(yaml.CSafeLoader):
    """YAML as JSON knows it: a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML looks it up on the class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
