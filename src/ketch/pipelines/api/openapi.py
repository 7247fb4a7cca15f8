"""The OpenAPI description of what is served, made from the operations and the messages themselves."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ketch.pipelines.api.http import Declared, Operation, json_response
from ketch.pipelines.api.messages import Status
from ketch.pipelines.api.wire import Enum, Int64, Message

_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SCHEMAS: Final = "#/components/schemas/"
_UPLOAD_ERROR: Final = "UploadError"
_PLAIN: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int32"},
    float: {"type": "number", "format": "double"},
    Any: {},
}


def described(operations: Mapping[str, Iterable[Operation]], version: str) -> Mapping[str, Any]:
    """The whole document; ``operations`` are by the path that they are mounted at."""
    schemas: dict[str, Any] = {}
    _message(Status, schemas)
    schemas[_UPLOAD_ERROR] = {
        "type": "object",
        "properties": {"error_message": _PLAIN[str], "error_details": _PLAIN[str]},
    }
    paths: dict[str, dict[str, Any]] = {}
    for mount, mounted in operations.items():
        group = mount.rpartition("/")[2]
        for operation in mounted:
            item = paths.setdefault(mount + operation.path, {})
            item[operation.method.lower()] = _operation(operation, group, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kubeflow Pipelines API, as served by Ketch", "version": version},
        "servers": [{"url": "/"}, {"url": "/pipeline"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def served(document: Mapping[str, Any]) -> Operation:
    """The operation that answers the document."""

    async def handle(request: Request) -> Response:  # noqa: ARG001  # Starlette's signature
        return json_response(document)

    return Operation("GET", "/openapi.json", handle, Declared("OpenAPI_get"))


def _operation(operation: Operation, group: str, schemas: dict[str, Any]) -> Mapping[str, Any]:
    declared = operation.declared
    service = declared.operation_id.partition("_")[0]
    described: dict[str, Any] = {
        "operationId": f"{declared.operation_id}_{group}",
        "tags": [service],
        "parameters": _parameters(operation.path, declared, schemas),
        "responses": {
            "200": {"description": "Done.", "content": {declared.media: {"schema": _answer(declared, schemas)}}},
            "default": {
                "description": "Refused; the message says why.",
                "content": {
                    "application/json": {"schema": {"$ref": _SCHEMAS + (_UPLOAD_ERROR if declared.form else "Status")}}
                },
            },
        },
    }
    if declared.body is not None:
        content = {"application/json": {"schema": _message(declared.body, schemas)}}
        described["requestBody"] = {"required": True, "content": content}
    elif declared.form:
        file = {"type": "string", "format": "binary"}
        form = {"type": "object", "properties": {declared.form: file}, "required": [declared.form]}
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return described


def _parameters(path: str, declared: Declared, schemas: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": _PLAIN[str]} for name in _PATH_PARAMETER.findall(path)
    ]
    asked: list[Mapping[str, Any]] = []
    for query in declared.query:
        schema = _schema(query.kind, schemas)
        asked.append(
            {
                "name": query.name,
                "in": "query",
                "required": query.required,
                "schema": {"type": "array", "items": schema} if query.repeated else schema,
            }
            | ({"description": query.help} if query.help else {})
        )
    return [*named, *asked]


def _answer(declared: Declared, schemas: dict[str, Any]) -> Mapping[str, Any]:
    if declared.answer is not None:
        return _message(declared.answer, schemas)
    return _PLAIN[str] if declared.media.startswith("text/") else {"type": "object"}


def _message(kind: type[Message], schemas: dict[str, Any]) -> Mapping[str, Any]:
    """A reference to the message's schema, which is put among ``schemas`` with all that it holds."""
    name = kind.__name__.lstrip("_")
    if name not in schemas:
        schemas[name] = {}  # a message may hold itself
        hints = get_type_hints(kind, include_extras=True)
        schemas[name] = {
            "type": "object",
            "description": inspect.getdoc(kind) or "",
            "properties": {
                field.encode_name: _schema(hints[field.name], schemas) for field in msgspec.structs.fields(kind)
            },
            "additionalProperties": False,
        }
    return {"$ref": _SCHEMAS + name}


def _schema(annotation: Any, schemas: dict[str, Any]) -> Mapping[str, Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _marked(arguments[1])
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": _schema(arguments[1], schemas)}
        if issubclass(origin, Sequence):
            return {"type": "array", "items": _schema(arguments[0], schemas)}
    if arguments:  # an optional value
        return _schema(next(each for each in arguments if each is not NoneType), schemas)
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return _message(annotation, schemas)
    return _PLAIN[annotation]


def _marked(mark: Any) -> Mapping[str, Any]:
    if isinstance(mark, Enum):
        return {"type": "string", "enum": list(mark.names.values())}
    return {"type": "string", "format": "int64" if mark is Int64 else "date-time"}
