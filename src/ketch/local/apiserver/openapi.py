"""OpenAPI v3: one document per group version, for ``kubectl explain``, validation and dynamic clients."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ketch.kube.errors import NotFound
from ketch.local.apiserver.discovery import VERSION
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.schemas.definitions import OBJECT_META, documents, kinds
from ketch.local.apiserver.schemas.nodes import REFERENCE_PREFIX

COMPONENTS = "#/components/schemas/"
KIND = "x-kubernetes-group-version-kind"
OF_EVERY_KIND = "io.k8s.api.core.v1.ConfigMap"
"""Where the words on fields that every kind has are taken from."""

V2: Mapping[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
    "paths": {},
    "definitions": {},
}
"""OpenAPI v2 names no kinds: kubectl asks it about those that v3 does not know, and must get an answer."""

V2_ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Its name in answers, as the other is no media type to strict readers."""


def _v2_protobuf() -> bytes:
    """``V2`` as gnostic's ``Document``: swagger = 1, info = 2 {title = 1, version = 2}, paths = 8."""

    def part(number: int, content: bytes) -> bytes:
        return bytes((number << 3 | 2, len(content))) + content

    info = part(1, V2["info"]["title"].encode()) + part(2, V2["info"]["version"].encode())
    return part(1, V2["swagger"].encode()) + part(2, info) + part(8, b"")


V2_PROTOBUF = _v2_protobuf()
ACTIONS = {
    "get": ("get", "get"),
    "put": ("put", "update"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "post": ("post", "create"),
}


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


def _component_name(resource: ServedResource) -> str:
    if not resource.custom:
        return kinds()[resource.group, resource.version, resource.kind]
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _custom_component(resource: ServedResource) -> dict[str, Any]:
    schema = dict(resource.schema.node.schema)
    common = documents()[OF_EVERY_KIND]["properties"]
    properties = {**schema["properties"], "apiVersion": common["apiVersion"], "kind": common["kind"]}
    properties["metadata"] = _moved(common["metadata"])
    identity = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {**schema, "properties": properties, KIND: [identity]}


def _paths(resource: ServedResource, component: str) -> dict[str, Any]:
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection, identity = (
        f"{root}{scope}/{resource.plural}",
        {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
    )
    reference = {"$ref": COMPONENTS + component}
    content = {"application/json": {"schema": reference}}
    query = [
        {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
        for name, kind in (
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        )
    ]

    def operation(method: str) -> dict[str, Any]:
        result: dict[str, Any] = {
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": ACTIONS[method][0],
            KIND: identity,
        }
        if method in ("put", "patch", "post"):
            kinds_taken = (
                ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
                if method == "patch"
                else ["application/json"]
            )
            result["requestBody"] = {"content": {kind: {"schema": reference} for kind in kinds_taken}}
            result["parameters"] = query
        return result

    one = {method: operation(method) for method in ("get", "put", "patch", "delete")}
    return {
        collection: {"get": {**operation("get"), "x-kubernetes-action": "list"}, "post": operation("post")},
        f"{collection}/{{name}}": one,
    }


class OpenAPI:
    """The documents of a registry; made on demand, kept until the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
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
        return {"paths": paths}

    def document(self, path: str) -> bytes:
        """The document of a group version, as JSON. Raises NotFound."""
        self._fresh()
        if path not in self._made:
            self._made[path] = orjson.dumps(self._make(path))
        return self._made[path]

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
        waiting = [OBJECT_META]
        for resource in self._registry.resources_of(group, version):
            name = _component_name(resource)
            paths |= _paths(resource, name)
            if resource.custom:
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
