"""OpenAPI: a document per group version (v3), or one of all (v2), for ``kubectl explain`` and dynamic clients."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ketch.kube.errors import NotFound
from ketch.local.apiserver.documents.discovery import VERSION
from ketch.local.apiserver.documents.operations import COMPONENTS, DELETE_OPTIONS, KIND, STATUS, paths_of
from ketch.local.apiserver.extension.aggregator import Aggregator
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.schemas.definitions import OBJECT_META, documents, kinds
from ketch.local.apiserver.schemas.nodes import REFERENCE_PREFIX

LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
OF_EVERY_KIND = "io.k8s.api.core.v1.ConfigMap"
"""Where the words on fields that every kind has are taken from."""

EITHER: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
}
"""What v2 can say of one type alone."""

V2_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Its name in answers, as the other is no media type to strict readers."""


def _moved(value: Any) -> Any:
    """A definition with its references as components; siblings of a reference go into allOf, as v3 wants."""
    if isinstance(value, list):
        return [_moved(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    result = {name: _moved(item) for name, item in cast("dict[str, Any]", value).items()}
    reference = result.get("$ref")
    if isinstance(reference, str):
        target = {"$ref": COMPONENTS + reference.removeprefix(REFERENCE_PREFIX)}
        rest = {name: item for name, item in result.items() if name != "$ref"}
        return {"allOf": [target], "default": {}, **rest} if rest else target
    return result


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            if name == "$ref" and isinstance(item, str):
                yield item.removeprefix(COMPONENTS)
            else:
                yield from _names(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _names(item)


def _describes_itself(resource: ServedResource) -> bool:
    """Whether Kubernetes' own definitions do not have it."""
    return resource.custom or (resource.group, resource.version, resource.kind) not in kinds()


def _component_name(resource: ServedResource) -> str:
    if not _describes_itself(resource):
        return kinds()[resource.group, resource.version, resource.kind]
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _custom_component(resource: ServedResource) -> dict[str, Any]:
    schema = dict(resource.schema.node.schema)
    common = documents()[OF_EVERY_KIND]["properties"]
    properties = {**schema["properties"], "apiVersion": common["apiVersion"], "kind": common["kind"]}
    properties["metadata"] = _moved(common["metadata"])
    identity = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {**schema, "properties": properties, KIND: [identity]}


def _list_component(resource: ServedResource, name: str) -> tuple[str, dict[str, Any]]:
    """The name and the schema of a kind's list."""
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": COMPONENTS + LIST_META},
        "items": {"type": "array", "items": {"$ref": COMPONENTS + name}},
    }
    identity = {"group": resource.group, "version": resource.version, "kind": f"{resource.kind}List"}
    schema = {"type": "object", "required": ["items"], "properties": properties, KIND: [identity]}
    return f"{name}List", schema


class OpenAPI:
    """The documents of a registry; made on demand, kept until the registry changes."""

    def __init__(self, registry: Registry, others: Aggregator) -> None:
        self._registry = registry
        self._others = others
        self._made: dict[str, bytes] = {}
        self._generation = -1

    def _fresh(self) -> None:
        if self._generation != self._registry.generation:
            self._made.clear()
            self._generation = self._registry.generation

    def index(self) -> Mapping[str, Any]:
        """``/openapi/v3``: where each document is; the hash changes with what is served."""
        self._fresh()
        paths: dict[str, Any] = {}
        for group, versions in self._registry.groups().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                served = (
                    [
                        (item.plural, orjson.dumps(item.schema.node.schema))
                        for item in self._registry.resources_of(group, version)
                    ]
                    if any(item.custom for item in self._registry.resources_of(group, version))
                    else VERSION["gitVersion"]
                )
                digest = hashlib.sha256(repr(served).encode()).hexdigest().upper()
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        for remote in self._others.ranked():
            if remote.available and remote.described:
                path = f"apis/{remote.group}/{remote.version}"
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
        return {"paths": paths}

    def document(self, path: str) -> bytes:
        """The document of a group version, as JSON. Raises NotFound."""
        self._fresh()
        if path not in self._made:
            made = self._make(path)
            schemas = made["components"]["schemas"]
            schemas |= {name: {**schemas[name], **either} for name, either in EITHER.items() if name in schemas}
            for name in schemas.keys() & EITHER.keys():
                schemas[name].pop("type", None)
            self._made[path] = orjson.dumps(made)
        return self._made[path]

    def whole(self, *, protobuf: bool) -> bytes:
        """OpenAPI v2: everything in one document, as JSON or as gnostic's protobuf."""
        from ketch.local.apiserver.documents import openapi2  # noqa: PLC0415  # deferred: few clients ask for it

        self._fresh()
        key = f"v2 {protobuf}"
        if key not in self._made:
            paths: dict[str, Any] = {}
            components: dict[str, Any] = {}
            for group, versions in self._registry.groups().items():
                for version in versions:
                    one = self._make(f"apis/{group}/{version}" if group else f"api/{version}")
                    paths |= one["paths"]
                    components |= one["components"]["schemas"]
            made = openapi2.document(VERSION["gitVersion"], paths, components)
            self._made[key] = openapi2.protobuf(made) if protobuf else orjson.dumps(made)
        return self._made[key]

    def _make(self, path: str) -> dict[str, Any]:
        parts = path.split("/")
        group, version = (
            ("", parts[1])
            if parts[0] == "api" and len(parts) == 2
            else (parts[1], parts[2])
            if len(parts) == 3
            else ("", "")
        )
        if version not in self._registry.groups().get(group, ()):
            raise NotFound("the server could not find the requested resource")
        components: dict[str, Any] = {}
        paths: dict[str, Any] = {}
        waiting = [OBJECT_META, LIST_META, STATUS, DELETE_OPTIONS]
        for resource in self._registry.resources_of(group, version):
            name = _component_name(resource)
            listed, schema = _list_component(resource, name)
            if "list" in resource.verbs:
                components[listed] = schema
            paths |= paths_of(resource, name, listed)
            if _describes_itself(resource):
                components[name] = _custom_component(resource)
            else:
                waiting.append(name)
        every = documents()
        while waiting:
            name = waiting.pop()
            if name not in components:
                components[name] = _moved(every[name])
                waiting.extend(_names(components[name]))
        info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
        return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": components}}
