"""Runs inside a step's container, handed to its Python as text, for what the SDK's generated shell line would do.

It does two things more: words too long for a command line are read from files, and artifacts that the component left
elsewhere are brought to where they are kept. Stands alone: the container has the SDK and any Python that it supports.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

PREFIXES = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


def main() -> None:
    """Read the plan, run the component, keep what it made."""
    plan: Any = json.loads(sys.argv[1])
    words = sys.argv[2:]
    for index, path in plan["files"].items():
        words[int(index)] = Path(path).read_bytes().decode()
    if plan["source"]:
        program = Path(tempfile.mkdtemp(), "ephemeral_component.py")
        program.write_bytes(words[0].encode())
        words = ["--component_module_path", str(program), *words[1:]]
        os.environ["_KFP_RUNTIME"] = "true"
    sys.argv = [plan["module"], *words]
    runpy.run_module(plan["module"], run_name="__main__", alter_sys=True)
    if Path(plan["output"]).exists():
        keep_all(Path(plan["output"]))


def keep_all(output: Path) -> None:
    """Bring every artifact that is outside the task's directory into it, and say so in the output document."""
    document: Any = json.loads(output.read_text())
    for name, listed in document.get("artifacts", {}).items():
        for number, artifact in enumerate(listed.get("artifacts", [])):
            keep(artifact, output.parent, f"{name}-{number}" if number else name)
    output.write_text(json.dumps(document))


def keep(artifact: dict[str, Any], place: Path, name: str) -> None:
    """Copy the data of one artifact below ``place`` if it is not there; nothing happens when there is no data.

    An artifact whose address is somewhere else gets the one where its data is kept.
    """
    uri = artifact.get("uri", "")
    path = Path(artifact.get("custom_path") or artifact.get("customPath") or local_path(uri))
    if is_below(path, place) or not path.exists():
        return
    target = Path(local_path(uri))
    if not is_below(target, place):
        target = place / name
        artifact["uri"] = remote_uri(str(target))
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    artifact.pop("custom_path", None)
    artifact.pop("customPath", None)


def local_path(uri: str) -> str:
    """The path at which the SDK has an artifact's data."""
    for scheme, prefix in PREFIXES.items():
        if uri.startswith(scheme):
            return prefix + uri[len(scheme) :]
    return uri


def remote_uri(path: str) -> str:
    """What ``local_path`` makes ``path`` of."""
    for scheme, prefix in PREFIXES.items():
        if path.startswith(prefix):
            return scheme + path[len(prefix) :]
    return path


def is_below(path: Path, directory: Path) -> bool:
    """Whether ``path`` is inside ``directory``."""
    return Path(os.path.normpath(directory)) in Path(os.path.normpath(path)).parents


if __name__ == "__main__":
    main()
