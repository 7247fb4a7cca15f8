"""An importer that puts its data into the workspace: a step of our own, whose input is the artifact. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ketch.pipelines.engine.orders import Import
from ketch.pipelines.ir.spec import ComponentSpec, ContainerSpec
from ketch.pipelines.steps.layout import WORKSPACE_FLAG, WORKSPACE_PATH, artifact_path, data_path
from ketch.pipelines.values import Artifact, Values

IMAGE: Final = "python:3.11"
"""The SDK's own default: what runs components has it."""

_MOUNT: Final = "/ketch-workspace"
"""Not where tasks have the workspace: there may be the directory into which the data was fetched."""

_COPY: Final = """set -e
test -e "$1" || { echo "there is no data at $0" >&2; exit 1; }
test "$1" != "$2" || exit 0
mkdir -p "$(dirname "$2")"
rm -rf "$2.partial"
cp -R "$1" "$2.partial"
rm -rf "$2"
mv "$2.partial" "$2"
"""


def download(order: Import, claim: str) -> tuple[ContainerSpec, ComponentSpec, Values, Mapping[str, Any]]:
    """The step that copies what ``order`` imports to where the SDK looks for it in the workspace: its container,
    component, inputs and Kubernetes configuration."""
    artifact = Artifact(id="", name=order.key, type=order.type, uri=order.uri, metadata=order.metadata)
    there = artifact_path(msgspec.structs.replace(artifact, metadata={WORKSPACE_FLAG: True}))
    target = _MOUNT + there.removeprefix(WORKSPACE_PATH)
    container = ContainerSpec(
        image=IMAGE, command=("sh", "-c", _COPY), args=(order.uri, data_path(order.uri.partition("?")[0]), target)
    )
    config = {"pvcMount": [{"constant": claim, "mountPath": _MOUNT}]}
    return container, ComponentSpec(), Values({}, {order.key: (artifact,)}), config
