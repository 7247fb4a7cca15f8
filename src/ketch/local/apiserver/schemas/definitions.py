"""The extracted definitions, read once when first needed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson

from ketch.local.apiserver.schemas import extraction
from ketch.local.apiserver.schemas.nodes import Node

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def _read(file: str) -> Mapping[str, Any]:
    path = extraction.DATA / file
    if not path.exists():
        extraction.write()
    return orjson.loads(path.read_bytes())


@cache
def structures() -> Mapping[str, Any]:
    """Every definition without its prose. Raises DefinitionsMissing."""
    return _read(extraction.STRUCTURE)


@cache
def documents() -> Mapping[str, Any]:
    """Every definition with its prose. Raises DefinitionsMissing."""
    return _read(extraction.DOCUMENTS)


@cache
def node_of(name: str) -> Node:
    """The node of a definition, by full name. Raises KeyError."""
    return Node(structures()[name], node_of, builtin=True)


@cache
def kinds() -> Mapping[tuple[str, str, str], str]:
    """Full names of definitions by (group, version, kind)."""
    return {
        (entry["group"], entry["version"], entry["kind"]): name
        for name, schema in structures().items()
        for entry in schema.get("x-kubernetes-group-version-kind", ())
    }
