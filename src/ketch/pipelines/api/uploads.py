"""Uploads of pipelines and versions: multipart forms, with an error form of their own."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from ketch.pipelines.api.http import MAX_BODY, Declared, Operation, Query, http_status, json_response, operation_id
from ketch.pipelines.api.messages import Pipeline, PipelineVersion
from ketch.pipelines.api.pipelines import pipeline_message, version_message
from ketch.pipelines.api.wire import Message, encode
from ketch.pipelines.errors import InvalidInput, RequestError
from ketch.pipelines.records.catalog import Label, PipelineStore, Source
from ketch.pipelines.specifications import from_file

FIELD: Final = "uploadfile"
_FORM_OVERHEAD: Final = 64 * 1024  # boundaries and part headers around a file of the largest size
_SUFFIXES = (".yaml", ".yml", ".json", ".zip", ".tar.gz", ".tgz")

_NAMES: Final = (
    Query("name", "The file's name unless told."),
    Query("display_name"),
    Query("description"),
    Query("tags", "A JSON object of texts."),
    Query("code_source_url"),
)

Handler = Callable[[Request, str, Source], Awaitable[Message]]


@dataclass(frozen=True)
class UploadService:
    """The two upload calls."""

    pipelines: PipelineStore

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        return (
            _route("/pipelines/upload", self._upload, Pipeline, (*_NAMES, Query("namespace"))),
            _route(
                "/pipelines/upload_version",
                self._upload_version,
                PipelineVersion,
                (*_NAMES, Query("pipelineid", "The pipeline that gets the version.", required=True)),
            ),
        )

    async def _upload(self, request: Request, filename: str, source: Source) -> Message:
        label = _label(request.query_params, filename)
        pipeline, _ = await self.pipelines.create_with_version(label, label, source)
        return pipeline_message(pipeline)

    async def _upload_version(self, request: Request, filename: str, source: Source) -> Message:
        pipeline_id = request.query_params.get("pipelineid", "")
        if not pipeline_id:
            raise InvalidInput("pipelineid: the query parameter is missing")
        label = _label(request.query_params, filename)
        return version_message(await self.pipelines.create_version(pipeline_id, label, source))


def _route(path: str, handler: Handler, answers: type[Message], query: tuple[Query, ...]) -> Operation:
    declared = Declared(operation_id(handler), query, answer=answers, form=FIELD)

    async def handle(request: Request) -> Response:
        try:
            filename, content = await _read_file(request)
            source = Source(await from_file(content), code_source_url=request.query_params.get("code_source_url", ""))
            answer = await handler(request, filename, source)
        except RequestError as error:
            body = {"error_message": error.message, "error_details": f"{type(error).__name__}: {error.message}"}
            return json_response(body, http_status(error))
        return Response(encode(answer), HTTPStatus.OK, media_type="application/json")

    return Operation("POST", path, handle, declared)


async def _read_file(request: Request) -> tuple[str, bytes]:
    """The uploaded file's name and content. Raises InvalidInput."""
    size = 0

    async def limited() -> AsyncGenerator[bytes]:
        nonlocal size
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY + _FORM_OVERHEAD:
                raise InvalidInput(f"the uploaded file is larger than {MAX_BODY // 2**20} MiB")
            yield part

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidInput(f"expected a multipart form with the file in the field {FIELD!r}")
    try:
        form = await MultiPartParser(request.headers, limited()).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise InvalidInput(f"the multipart form cannot be read: {error}") from error
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise InvalidInput(f"the form has no file in the field {FIELD!r}")
        return file.filename or "", await file.read()
    finally:
        await form.close()


def _label(query: Mapping[str, str], filename: str) -> Label:
    base = filename.rpartition("/")[2]
    name = next((base.removesuffix(suffix) for suffix in _SUFFIXES if base.endswith(suffix)), base)
    given = Label(
        query.get("name", ""), query.get("display_name", ""), query.get("description", ""), _tags(query.get("tags", ""))
    )
    return given if given.name or given.display_name else Label(name, "", given.description, given.tags)


def _tags(text: str) -> Mapping[str, str]:
    if not text:
        return {}
    try:
        tags = orjson.loads(text)
    except orjson.JSONDecodeError:
        tags = None
    if not isinstance(tags, dict):
        raise InvalidInput("tags: expected a JSON object of texts")
    entries = cast("dict[str, Any]", tags)
    if not all(isinstance(value, str) for value in entries.values()):
        raise InvalidInput("tags: expected a JSON object of texts")
    return entries
