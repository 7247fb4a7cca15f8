"""Google Cloud Storage and Azure Blob Storage: what is asked of them where, with whose name on it."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ketch.metadata.objects import AccessDenied
from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.table import Connection, Kind, Place

KEY = base64.b64encode(b"azure key").decode()
GOOGLE = {"client_email": "robot@example", "private_key": "", "private_key_id": "", "disable_oauth": True}
EMPTY_LIST = {
    "gcs": "<ListBucketResult></ListBucketResult>",
    "azure": "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>",
}


@dataclass
class Cloud:
    """Keeps objects by their paths; answers 403 to who is not ``allowed``."""

    kind: str
    url: str = ""
    allowed: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        who = request.headers.get("Authorization", "")
        self.asked.append((request.method, request.path, who))
        if self.allowed not in who:
            return web.Response(status=403, text="no")
        if "list-type" in request.query or request.query.get("comp") == "list":
            return web.Response(text=EMPTY_LIST[self.kind], content_type="application/xml")
        headers = {"ETag": '"1"', "Last-Modified": "Tue, 24 Nov 2026 12:00:00 GMT"}
        if request.method == "PUT":
            self.objects[request.path] = await request.read()
            return web.Response(status=201, headers=headers)
        if request.path not in self.objects:
            return web.Response(status=404)
        if request.method == "DELETE":
            del self.objects[request.path]
            return web.Response(status=202)
        return web.Response(body=self.objects[request.path], headers=headers)


@pytest.fixture(params=["gcs", "azure"])
async def cloud(request: pytest.FixtureRequest) -> AsyncIterator[Cloud]:
    made = Cloud(request.param)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.answer)
    server = TestServer(application)
    await server.start_server()
    made.url = f"http://127.0.0.1:{server.port}"
    yield made
    await server.close()


def store_of(cloud: Cloud) -> RemoteObjectStore:
    gcs = cloud.kind == "gcs"
    connection = Connection(kind=Kind(cloud.kind), endpoint=cloud.url, account="" if gcs else "team")
    credentials = {"token": json.dumps(GOOGLE)} if gcs else {"account_key": KEY}
    return RemoteObjectStore((Place(scheme="gs" if gcs else "az", connection=connection, credentials=credentials),))


async def test_objects_are_asked_for_by_bucket_and_key(cloud: Cloud):
    store = store_of(cloud)
    uri = f"{'gs' if cloud.kind == 'gcs' else 'az'}://bucket/a b/x"
    await store.write(uri, b"1")
    assert await store.read(uri) == b"1"
    assert await store.exists(uri)
    if cloud.kind == "gcs":
        await store.remove(uri)
    cloud.objects.clear()  # Azure's way to remove is a batch, which is beyond this cloud
    assert not await store.exists(uri)
    assert {path for method, path, _ in cloud.asked if method == "PUT"} == {"/bucket/a b/x"}
    if cloud.kind == "azure":
        assert all(who.startswith("SharedKey team:") for _, _, who in cloud.asked)


async def test_who_may_not_is_told(cloud: Cloud):
    cloud.allowed = "somebody else"
    uri = f"{'gs' if cloud.kind == 'gcs' else 'az'}://bucket/x"
    with pytest.raises(AccessDenied, match=uri):
        await store_of(cloud).read(uri)
