"""Where a task's outputs are: as URIs, as paths that the step sees, as keys of the object store.

``<root>/<pipeline>/<run id>/<task>/<salt>/<output>``; the salt is the task's id with its attempt, so that iterations
and attempts never share a place. The SDK maps bucket URIs to local paths by fixed prefixes, and takes the task's root
from the output file's directory; everything a step leaves behind therefore lies in that one directory.
"""

import posixpath
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ketch.metadata.objects import KeyOutside, key_of
from ketch.metadata.stores.table import split
from ketch.pipelines.values import Artifact

WORKSPACE_PATH: Final = "/kfp-workspace"
WORKSPACE_FLAG: Final = "_kfp_workspace"
"""The metadata by which the SDK knows that an artifact's data is in the workspace."""

OUTPUT_FILE: Final = "executor_output.json"

_PREFIXES: Final[Mapping[str, str]] = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}
_MODEL_IMAGE: Final = "oci://"


class TaskPlace(msgspec.Struct, frozen=True):
    """The directory of one attempt of a task."""

    uri: str

    @property
    def path(self) -> str:
        """As the step sees it."""
        return data_path(self.uri)

    @property
    def key(self) -> str | None:
        """As the object store knows it; None when the root is in no bucket that it holds."""
        return object_key(self.uri)

    @property
    def output_file(self) -> str:
        """Where the SDK's executor writes its output document, as the step sees it."""
        return f"{self.path}/{OUTPUT_FILE}"

    def artifact_uri(self, name: str) -> str:
        """The URI of an output artifact."""
        return f"{self.uri}/{name}"

    @property
    def arguments_uri(self) -> str:
        """Where words of the step's command are that are too long for it: beside the directory, not in it."""
        return f"{self.uri}-arguments"

    def parameter_file(self, name: str) -> str:
        """Where the step may write an output parameter as text."""
        return f"{self.path}/{name}"


def place_of(root: str, pipeline: str, run_id: str, task: tuple[str, str], attempt: int) -> TaskPlace:
    """The directory of an attempt of ``task`` (name, id); the root's query string is no part of any place."""
    name, identity = task
    salt = f"{identity}-{attempt}" if attempt else identity
    return TaskPlace("/".join([root.partition("?")[0].rstrip("/"), pipeline, run_id, name, salt]))


def is_stored(uri: str) -> bool:
    """Whether the URI names a place in some object store, here or elsewhere."""
    try:
        split(uri)
    except KeyOutside:
        return False
    return True


def object_key(uri: str) -> str | None:
    """The object store's key of a URI; None when it names no place there."""
    try:
        return key_of(uri)
    except KeyOutside:
        return None


def local_path(uri: str) -> str:
    """The path at which the SDK expects an artifact's data; a URI it maps nowhere stays as it is."""
    for scheme, prefix in _PREFIXES.items():
        if uri.startswith(scheme):
            return prefix + uri[len(scheme) :]
    if uri.startswith(_MODEL_IMAGE):
        return f"/oci/{uri[len(_MODEL_IMAGE) :].replace('/', '_')}"
    return uri


def is_unmapped(uri: str) -> bool:
    """Whether the SDK knows no place for data of that scheme (http, file, az, ...) but the one in the workspace."""
    return "://" in uri and not uri.startswith((*_PREFIXES, _MODEL_IMAGE))


def data_path(uri: str) -> str:
    """Where a step finds, or leaves, the data of ``uri``."""
    path = local_path(uri if is_unmapped(uri) else uri.partition("?")[0])
    return posixpath.normpath(f"{WORKSPACE_PATH}/.artifacts/{path}") if is_unmapped(uri) else path


def in_workspace(metadata: Mapping[str, Any]) -> bool:
    """Whether the data of an artifact with this metadata is in the workspace."""
    return metadata.get(WORKSPACE_FLAG) is True


def artifact_path(artifact: Artifact) -> str:
    """The path at which the SDK expects the data of ``artifact``."""
    if is_unmapped(artifact.uri) or not in_workspace(artifact.metadata):
        return data_path(artifact.uri)
    return f"{WORKSPACE_PATH}/.artifacts/{local_path(artifact.uri).lstrip('/')}"


def remote_uri(path: str) -> str | None:
    """The URI that a path the step sees stands for; None when it is not below one of the SDK's prefixes."""
    normal = posixpath.normpath(path)
    for scheme, prefix in _PREFIXES.items():
        if normal.startswith(prefix):
            return scheme + normal[len(prefix) :]
    scheme, separator, rest = normal.removeprefix(f"{WORKSPACE_PATH}/.artifacts/").partition(":/")
    return f"{scheme}://{rest}" if separator and normal.startswith(f"{WORKSPACE_PATH}/.artifacts/{scheme}:") else None
