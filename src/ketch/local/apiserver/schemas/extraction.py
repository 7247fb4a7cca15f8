"""Built-in kinds' definitions, extracted from PyPI's ``kubernetes-validate`` into two compact files.

``structure.json`` is what every start reads: types, required fields, list and merge keys, without a word of prose.
``documents.json`` keeps the descriptions for OpenAPI. Runs when Ketch is built (standard library only, so that the
build needs nothing else) and, in a source checkout, when the files are missing.
"""

import json
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

RELEASE = "v1.37.0"
PREFIX = "#/$defs/"
STRUCTURE = "structure.json"
DOCUMENTS = "documents.json"
DATA = Path(__file__).parent / "data"

GROUP_VERSIONS = (
    "core.v1",
    "apps.v1",
    "authentication.v1",
    "authorization.v1",
    "autoscaling.v1",
    "autoscaling.v2",
    "batch.v1",
    "coordination.v1",
    "discovery.v1",
    "events.v1",
    "networking.v1",
    "node.v1",
    "policy.v1",
    "rbac.v1",
    "scheduling.v1",
    "storage.v1",
    "admissionregistration.v1",
    "apiextensions.v1",
    "apiregistration.v1",
    "certificates.v1",
    "flowcontrol.v1",
)
ROOTS = ("io.k8s.api.", "io.k8s.apiext", "io.k8s.kube-aggregator.")
ALWAYS = (
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
)
STRINGS = ("io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString")


class DefinitionsMissing(Exception):
    """kubernetes-validate is not installed; the message says what to do."""


def definitions() -> Mapping[str, Any]:
    """Every definition of the release, by its full name. Raises DefinitionsMissing."""
    package = find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        raise DefinitionsMissing(
            "the built-in kinds' schemas are missing: install Ketch again (its build extracts them), "
            "or install kubernetes-validate==1.37.0 beside it"
        )
    path = Path(package.origin).parent / "kubernetes-json-schema" / f"{RELEASE}-local" / "_definitions.json"
    return json.loads(path.read_text(encoding="utf-8"))["$defs"]


def _wanted(name: str) -> bool:
    group_version = ".".join(name.split(".")[-3:-1])
    return name in ALWAYS or (name.startswith(ROOTS) and group_version in GROUP_VERSIONS)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            if name == "$ref" and isinstance(item, str):
                yield item.removeprefix(PREFIX)
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _references(item)


def _closure(every: Mapping[str, Any]) -> list[str]:
    """Served kinds and all that they refer to, in order of name."""
    found: set[str] = set()
    waiting = [
        name
        for name, item in every.items()
        if _wanted(name) and ("x-kubernetes-group-version-kind" in item or name in ALWAYS)
    ]
    while waiting:
        name = waiting.pop()
        if name not in found and name in every:
            found.add(name)
            waiting.extend(_references(every[name]))
    return sorted(found)


def _simplified(schema: Mapping[str, Any], *, documents: bool) -> dict[str, Any]:
    """One schema in OpenAPI v3's words; null stands for absent everywhere and is not said."""
    result: dict[str, Any] = {}
    for name, value in schema.items():
        match name:
            case "type":
                kinds = cast("list[str]", value) if isinstance(value, list) else [value]
                result["type"] = next(item for item in kinds if item != "null")
            case "properties":
                result[name] = {key: _simplified(item, documents=documents) for key, item in value.items()}
            case "items" | "additionalProperties" if isinstance(value, dict):
                result[name] = _simplified(cast("dict[str, Any]", value), documents=documents)
            case "enum":
                pass  # only ever apiVersion and kind, which the server checks itself
            case "description" if not documents:
                pass
            case "oneOf":
                pass
            case _:
                result[name] = value
    return result


def _definition(name: str, schema: Mapping[str, Any], *, documents: bool) -> dict[str, Any]:
    result = _simplified(schema, documents=documents)
    if name == STRINGS[0]:
        result |= {"type": "string", "format": "quantity"}
    elif name == STRINGS[1]:
        result |= {"type": "string", "format": "int-or-string"}
    return result


def write(directory: Path = DATA) -> None:
    """Extract both files into ``directory``. Raises DefinitionsMissing."""
    every = definitions()
    names = _closure(every)
    directory.mkdir(parents=True, exist_ok=True)
    for file, documents in ((STRUCTURE, False), (DOCUMENTS, True)):
        content = {name: _definition(name, every[name], documents=documents) for name in names}
        partial = directory / f"{file}.{os.getpid()}.partial"  # two processes may both begin
        partial.write_text(json.dumps(content, separators=(",", ":"), sort_keys=True), encoding="utf-8")
        partial.replace(directory / file)


if __name__ == "__main__":
    write()
