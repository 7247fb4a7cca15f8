"""CustomResourceDefinitions derived from typed kinds: declared once, the schema follows.

Structs that a domain declares are whole: what they lack is pruned. Structs of built-in kinds (``ketch.kube.types``) are
declared only as far as controllers read them; inside a custom resource they keep what they do not know.

Constraints stand in annotations: ``Annotated[int, msgspec.Meta(ge=1, description="...")]``; ``ListMap("name")`` makes
a list merge by key. A docstring becomes the description that ``kubectl explain`` prints.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.types.apiextensions import (
    CustomResourceColumn,
    CustomResourceDefinition,
    CustomResourceDefinitionSpec,
    CustomResourceNames,
    CustomResourceValidation,
    CustomResourceVersion,
)

Schema = dict[str, Any]

_BUILT_IN: Final = "ketch.kube.types."
_KEEP: Final = "x-kubernetes-preserve-unknown-fields"
_SCALARS: Final[Mapping[Any, Schema]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    Any: {_KEEP: True},
}
_KEYWORDS: Final[Mapping[str, str]] = {
    "ge": "minimum",
    "le": "maximum",
    "pattern": "pattern",
    "description": "description",
}
"""Constraints of ``msgspec.Meta`` and their JSON Schema keywords; lengths depend on the type."""

AGE: Final = CustomResourceColumn(name="Age", type="date", json_path=".metadata.creationTimestamp")


class ListMap:
    """Marks a list whose items are found by these keys when it is merged."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys


@dataclass(frozen=True)
class Scale:
    """Where the scale subresource finds its numbers, as JSON paths."""

    spec_replicas: str
    status_replicas: str
    selector: str = ""


def definition_of(
    kind: type[KubeObject],
    *,
    columns: Sequence[CustomResourceColumn] = (AGE,),
    short_names: Sequence[str] = (),
    categories: Sequence[str] = (),
    scale: Scale | None = None,
) -> CustomResourceDefinition:
    """The definition of a custom kind; it has a status subresource if the kind has a ``status``."""
    resource = kind.resource
    subresources: Schema = {"status": {}} if "status" in {field.name for field in msgspec.structs.fields(kind)} else {}
    if scale is not None:
        paths = {"specReplicasPath": scale.spec_replicas, "statusReplicasPath": scale.status_replicas}
        subresources["scale"] = {**paths, **({"labelSelectorPath": scale.selector} if scale.selector else {})}
    version = CustomResourceVersion(
        name=resource.version,
        served=True,
        storage=True,
        schema=CustomResourceValidation(open_api_v3_schema=schema_of(kind)),
        subresources=subresources,
        additional_printer_columns=tuple(columns),
    )
    names = CustomResourceNames(
        plural=resource.plural,
        singular=resource.kind.lower(),
        kind=resource.kind,
        list_kind=f"{resource.kind}List",
        short_names=tuple(short_names),
        categories=tuple(categories),
    )
    return CustomResourceDefinition(
        metadata=ObjectMeta(name=f"{resource.plural}.{resource.group}"),
        spec=CustomResourceDefinitionSpec(
            group=resource.group,
            names=names,
            scope="Namespaced" if resource.namespaced else "Cluster",
            versions=(version,),
        ),
    )


def schema_of(kind: type[KubeObject]) -> Schema:
    """The structural schema of a kind, as OpenAPI v3 JSON. Raises TypeError for a field that has none."""
    schema = _struct(kind, ())
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **{name: item for name, item in schema["properties"].items() if name != "metadata"},
    }
    return {**schema, "properties": properties}


@cache
def _structs_below(kind: type[KubeStruct]) -> frozenset[type[KubeStruct]]:
    """The structs that a struct is made of, whatever stands between."""
    found: set[type[KubeStruct]] = set()
    waiting: list[Any] = list(_hints(kind).values())
    while waiting:
        part = waiting.pop()
        waiting += get_args(part)
        if isinstance(part, type) and issubclass(part, KubeStruct) and part not in found:
            found.add(part)
            waiting += _hints(part).values()
    return frozenset(found)


@cache
def _hints(kind: type[KubeStruct]) -> Mapping[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _struct(kind: type[KubeStruct], above: tuple[type[KubeStruct], ...]) -> Schema:
    """The schema within such structs; not to be changed, as others of the same kind have it too."""
    return _struct_within(kind, frozenset(above) & _structs_below(kind), bool(above))


@cache  # of the structs around it only those matter that it would hold again
def _struct_within(kind: type[KubeStruct], around: frozenset[type[KubeStruct]], inner: bool) -> Schema:
    above = (*around, kind)
    schema: Schema = {"type": "object"}
    if kind.__doc__:
        schema["description"] = " ".join(kind.__doc__.split())
    fields, hints = msgspec.structs.fields(kind), _hints(kind)
    properties: Schema = {}
    for field in fields:
        if field.name not in ("unknown_fields", "metadata") or (field.name == "metadata" and inner):
            properties[field.encode_name] = _field(hints[field.name], above)
    required = [field.encode_name for field in fields if field.required]
    schema["properties"] = properties
    if kind.__module__.startswith(_BUILT_IN):
        schema[_KEEP] = True
        return schema  # the embedded kind's own rules say what it requires
    if required:
        schema["required"] = required
    return schema


def _field(annotation: Any, above: tuple[type[KubeStruct], ...]) -> Schema:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _constrained(_field(arguments[0], above), annotation.__metadata__)
    if origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not NoneType]
        if set(inner) == {int, str}:
            return {"x-kubernetes-int-or-string": True}
        if len(inner) != 1:
            raise TypeError(f"no structural schema for {annotation}")
        return _field(inner[0], above)
    if annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _field(arguments[0], above)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        values = arguments[1]
        open_ended = {_KEEP: True} if values is Any else {"additionalProperties": _field(values, above)}
        return {"type": "object", **open_ended}
    if isinstance(annotation, type) and issubclass(annotation, KubeStruct):
        if annotation in above or annotation is ObjectMeta:
            return {"type": "object", _KEEP: True}  # a structural schema cannot refer to itself
        return _struct(annotation, above)
    raise TypeError(f"no structural schema for {annotation}")


def _constrained(schema: Schema, marks: Iterable[object]) -> Schema:
    schema = dict(schema)
    for mark in marks:
        if isinstance(mark, ListMap):
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(mark.keys)}
            items: Schema = schema["items"]
            required = list(dict.fromkeys((*items.get("required", ()), *mark.keys)))  # else nothing to find by
            schema["items"] = {**items, "required": required}
        elif mark == "quantity":
            schema = {"x-kubernetes-int-or-string": True}
        elif isinstance(mark, msgspec.Meta):
            schema |= {word: value for name, word in _KEYWORDS.items() if (value := getattr(mark, name)) is not None}
            unit = {"string": "Length", "array": "Items", "object": "Properties"}.get(schema.get("type", ""), "")
            for name, word in (("min_length", f"min{unit}"), ("max_length", f"max{unit}")):
                if (value := getattr(mark, name)) is not None:
                    schema[word] = value
            schema |= mark.extra_json_schema or {}
    return schema
