"""The HTTP front: what it takes, what it refuses, and in which words."""

import asyncio
import base64
import io
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ketch.kube.transport import Request
from ketch.local.apiserver.http import guard
from ketch.local.apiserver.http.accept import PARTIAL, TABLE, negotiate
from ketch.local.apiserver.store import collection

MAPS = "/api/v1/namespaces/default/configmaps"
TABLES = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def context(served: Any, *, certificate: bool = True) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(served.pki / "ca.crt"))
    if certificate:
        made.load_cert_chain(served.pki / "admin.crt", served.pki / "admin.key")
    return made


class Web:
    """Requests by path, with and without the administrator's certificate."""

    def __init__(self, served: Any) -> None:
        self._server = served.server
        # One connector for each identity: kept connections belong to a certificate.
        self._sessions = {
            known: aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context(served, certificate=known)))
            for known in (True, False)
        }

    async def __call__(
        self, method: str, path: str, body: Any = None, *, known: bool = True, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        data = body if isinstance(body, bytes | io.BytesIO) or body is None else json.dumps(body).encode()
        named = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        url = self._server + path
        async with self._sessions[known].request(method, url, data=data, headers=named) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(raw) if raw and is_json else raw.decode(), response.headers

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()


@pytest.fixture
async def web(served: Any) -> AsyncIterator[Web]:
    client = Web(served)
    yield client
    await client.close()


async def raw(served: Any, data: bytes) -> bytes:
    """What the server says to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context(served))
    writer.write(data)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_round(web: Web) -> None:
    code, made, headers = await web("POST", MAPS, {"metadata": {"name": "a"}, "data": {"x": "é"}})
    assert (code, made["data"]) == (201, {"x": "é"})
    assert headers["content-type"] == "application/json"
    assert (await web("GET", f"{MAPS}/a"))[:2] == (200, made)
    code, listed, _ = await web("GET", MAPS)
    assert (listed["kind"], listed["items"]) == ("ConfigMapList", [made])
    code, done, _ = await web("DELETE", f"{MAPS}/a")
    assert (code, done["status"]) == (200, "Success")
    code, missing, _ = await web("GET", f"{MAPS}/a")
    assert (code, missing["reason"], missing["details"]) == (404, "NotFound", {"name": "a", "kind": "configmaps"})


async def test_the_unix_socket_serves_the_same(served: Any) -> None:
    path, secured = str(served.unix_socket), context(served)
    reader, writer = await asyncio.open_unix_connection(path, ssl=secured, server_hostname="localhost")
    writer.write(b"GET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert b'"major":"1"' in await reader.read()
    writer.close()
    assert served.unix_socket.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("body", "content_type", "code", "message"),
    [
        pytest.param(b"{", "application/json", 400, "no JSON", id="broken JSON"),
        pytest.param(b"a: [", "application/yaml", 400, "no YAML", id="broken YAML"),
        pytest.param(b'{"a": NaN}', "application/json", 400, "no JSON", id="no number"),
        pytest.param(b"a: %d" % (1 << 64), "application/yaml", 400, "none of 64 bits", id="a number too large"),
        pytest.param(b'a: "\\ud800"', "application/yaml", 400, "no ", id="half a surrogate pair"),
        pytest.param(b"{}", "text/html", 415, "unknown format", id="media type"),
        pytest.param(b"", "application/json", 400, "must be a ConfigMap object", id="nothing"),
        pytest.param(b"[" * 100_000, "application/json", 400, "no JSON", id="deep JSON"),
        pytest.param(b"[" * 900 + b"]" * 900, "application/json", 400, "must be a ConfigMap", id="a deep list"),
        pytest.param(
            b"k8s\x00\xff\xff", "application/vnd.kubernetes.protobuf", 400, "no Kubernetes protobuf", id="protobuf"
        ),
        pytest.param(
            b"a: &a [x,x]\nb: &b [*a,*a]\n", "application/yaml", 422, "name or generateName", id="few aliases"
        ),
    ],
)
async def test_bodies_that_say_nothing(web: Web, body: bytes, content_type: str, code: int, message: str) -> None:
    got, status, _ = await web("POST", MAPS, body, content_type=content_type)
    assert (got, status["kind"], status["status"], status["code"]) == (code, "Status", "Failure", code)
    assert message in status["message"]


async def test_alias_bombs_and_giants_are_refused(web: Web) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    code, status, _ = await web("POST", MAPS, "\n".join(lines).encode(), content_type="application/yaml")
    assert (code, status["message"]) == (400, "the body of the request holds too many values")
    code, status, _ = await web("POST", MAPS, io.BytesIO(b"x" * (4 << 20)))
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")


async def test_yaml_bodies(web: Web) -> None:
    text = b"metadata:\n  name: y\ndata:\n  when: 2020-01-01\n  1: 'one'\n"
    code, made, _ = await web("POST", MAPS, text, content_type="application/yaml")
    assert (code, made["data"]) == (201, {"when": "2020-01-01", "1": "one"})
    path = f"{MAPS}/z?fieldManager=me"
    code, made, _ = await web("PATCH", path, b"data: {a: b}", content_type="application/apply-patch+yaml")
    assert (code, made["data"]) == (201, {"a": "b"})
    code, text, _ = await web("GET", f"{MAPS}/z", accept="application/yaml")
    assert "apiVersion: v1" in text


async def test_warnings_and_the_managers_name(web: Web) -> None:
    body = {"metadata": {"name": "a"}, "data": {"x": "1"}, "bogus": 1}
    _, made, headers = await web("POST", MAPS, body, user_agent="trainer/1.2 (linux)")
    assert headers["warning"] == '299 - "unknown field \\"bogus\\""'
    assert made["metadata"]["managedFields"][0]["manager"] == "trainer"


@pytest.mark.parametrize(
    ("header", "shape"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/json", ""),
        (TABLES, TABLE),
        ("application/vnd.kubernetes.protobuf,application/json", ""),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", PARTIAL),
        ("application/json;as=Table;g=meta.k8s.io;v=v9,application/json", ""),
    ],
)
def test_accept(header: str, shape: str) -> None:
    form = negotiate(header)
    assert form is not None
    assert form.shape == shape


async def test_forms(web: Web) -> None:
    await web("POST", MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    _, shown, _ = await web("GET", MAPS, accept=TABLES)
    names = [column["name"] for column in shown["columnDefinitions"]]
    assert (shown["kind"], names) == ("Table", ["Name", "Data", "Age"])
    assert shown["rows"][0]["cells"][:2] == ["a", 1]
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    _, shown, _ = await web("GET", f"{MAPS}?includeObject=Object", accept=TABLES)
    assert shown["rows"][0]["object"]["data"] == {"x": "1"}
    metadata_only = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    _, shown, _ = await web("GET", MAPS, accept=metadata_only)
    assert (shown["kind"], "data" in shown["items"][0]) == ("PartialObjectMetadataList", False)
    code, status, _ = await web("GET", MAPS, accept="text/html")
    assert (code, status["reason"]) == (406, "NotAcceptable")


async def test_discovery_is_aggregated_for_who_asks(web: Web) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    for path in ("/api", "/apis"):
        _, document, headers = await web("GET", path, accept=accept)
        assert document["kind"] == "APIGroupDiscoveryList"
        assert "as=APIGroupDiscoveryList" in headers["content-type"]
    _, document, headers = await web("GET", "/apis/apps/v1", accept=accept)
    assert (document["kind"], headers["content-type"]) == ("APIResourceList", "application/json")
    _, document, _ = await web("GET", "/apis")
    assert document["kind"] == "APIGroupList"


async def test_paths_that_are_not_there(web: Web) -> None:
    for path in (
        "/frob",
        "/api/v2",
        "/apis/frob/v1/x",
        "/openapi/v3/apis/none/v1",
        "/api/v1/namespaces/default/x/y/z/w",
    ):
        code, status, _ = await web("GET", path)
        assert (code, status["reason"]) == (404, "NotFound")
    assert (await web("GET", "/healthz"))[:2] == (200, "ok")
    code, text, _ = await web("GET", "/metrics")
    assert code == 200
    assert 'apiserver_request_total{verb="GET",code="404"} 5' in text


async def test_watching(web: Web, served: Any) -> None:
    connector = aiohttp.TCPConnector(ssl=context(served))
    url = f"{served.server}{MAPS}?watch=true&timeoutSeconds=20"
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        await web("POST", MAPS, {"metadata": {"name": "a"}})
        event = json.loads(await response.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
        await web("DELETE", f"{MAPS}/a")
        assert json.loads(await response.content.readline())["type"] == "DELETED"
        await served.api.close()
        assert await response.content.read() == b""


async def test_a_watch_that_is_too_old_is_an_error_event(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "HISTORY", 1)
    for name in "abc":
        await web("POST", MAPS, {"metadata": {"name": name}})
    path = f"{MAPS}?watch=true&resourceVersion=1"
    code, text, _ = await web("GET", path)
    event = text if isinstance(text, dict) else json.loads(text)
    assert code == 200
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


# who asks -------------------------------------------------------------------------------------------------------


async def test_credentials(web: Web) -> None:
    code, status, _ = await web("GET", MAPS, known=False)
    assert (code, 'User "system:anonymous" cannot list' in status["message"]) == (403, True)
    code, status, headers = await web("GET", MAPS, known=False, authorization="Bearer x.y.z")
    assert (code, status["reason"], headers["www-authenticate"]) == (401, "Unauthorized", "Bearer")
    basic = base64.b64encode(b"admin:admin").decode()
    assert (await web("GET", MAPS, known=False, authorization=f"Basic {basic}"))[0] == 401
    assert (await web("GET", "/version", known=False))[0] == 200


async def test_tokens_over_http(web: Web) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await web("POST", accounts, {"metadata": {"name": "runner"}})
    _, answer, _ = await web("POST", f"{accounts}/runner/token", {"spec": {}})
    bearer = f"Bearer {answer['status']['token']}"
    me = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    code, who, _ = await web("POST", me, {}, known=False, authorization=bearer)
    assert (code, who["status"]["userInfo"]["username"]) == (201, "system:serviceaccount:default:runner")
    assert (await web("GET", MAPS, known=False, authorization=bearer))[0] == 403


async def test_impersonation_is_for_those_who_may(web: Web) -> None:
    me = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    _, who, _ = await web("POST", me, {}, impersonate_user="ann", impersonate_group="team")
    assert who["status"]["userInfo"] == {"username": "ann", "groups": ["team", "system:authenticated"]}
    assert (await web("GET", MAPS, impersonate_user="ann"))[0] == 403
    code, status, _ = await web("GET", MAPS, known=False, impersonate_user="kubernetes-admin")
    assert (code, "cannot impersonate" in status["message"]) == (403, True)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({"origin": "https://evil.example"}, 403, id="foreign origin"),
        pytest.param({"origin": "null"}, 403, id="sandboxed page"),
        pytest.param({"origin": "http://localhost.evil.example"}, 403, id="origin that looks local"),
        pytest.param({"origin": "http://localhost:8080"}, 200, id="local origin"),
        pytest.param({"sec_fetch_site": "cross-site"}, 403, id="cross-site request"),
        pytest.param({"host": "evil.example"}, 403, id="foreign host"),
        pytest.param({"host": "127.0.0.1.evil.example:6443"}, 403, id="rebound host"),
        pytest.param({"host": "kubernetes.default.svc"}, 200, id="name within the cluster"),
        pytest.param({"host": "10.96.0.1:443"}, 200, id="cluster address"),
        pytest.param({"host": "[::1]:6443"}, 200, id="IPv6"),
        pytest.param({"host": "LOCALHOST:1"}, 200, id="upper case"),
    ],
)
async def test_pages_of_other_origins_cannot_use_the_port(web: Web, headers: dict[str, str], code: int) -> None:
    assert (await web("GET", "/version", **headers))[0] == code


def test_a_host_is_demanded() -> None:
    with pytest.raises(Exception, match="missing required Host"):
        guard.check({})


# the wire -------------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order(served: Any) -> None:
    one = b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n"
    two = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
    answer = await raw(served, one * 8 + two + b"connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 9
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x00\x01\x02\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n", id="broken header"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", id="giant header"),
        pytest.param(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n", id="bad length"),
    ],
)
async def test_what_is_no_request_is_told_so_and_closed(served: Any, data: bytes) -> None:
    answer = await raw(served, data)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert b'"kind":"Status"' in answer


async def test_another_protocol_that_nobody_serves_is_not_begun(served: Any) -> None:
    answer = await raw(
        served, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello"
    )
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer
    assert answer.endswith(b"\r\n\r\nok")


async def test_head_continue_and_chunks(served: Any, web: Web) -> None:
    assert (await web("HEAD", "/version"))[:2] == (200, "")
    start = b"POST " + MAPS.encode() + b" HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\nconnection: close\r\n"
    body = b'{"metadata":{"name":"c"}}'
    chunks = (
        b"transfer-encoding: chunked\r\n\r\n5\r\n"
        + body[:5]
        + b"\r\n%x\r\n" % len(body[5:])
        + body[5:]
        + b"\r\n0\r\n\r\n"
    )
    answer = await raw(served, start + chunks)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created")


async def test_a_client_that_leaves_frees_its_watch(served: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context(served))
    writer.write(b"GET " + MAPS.encode() + b"?watch=true HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await reader.readline()
    text = (await metrics(served)).splitlines()
    assert "apiserver_watchers 1" in text
    writer.transport.abort()
    async with asyncio.timeout(10):
        while "apiserver_watchers 0" not in (await metrics(served)).splitlines():  # noqa: ASYNC110  # the world is asked
            await asyncio.sleep(0)  # noqa: TID251  # until the server has seen it


async def metrics(served: Any) -> str:
    return await served.api.transport().request(Request("GET", "/metrics"))


async def test_a_reader_that_stops_reading_does_not_fill_the_memory(served: Any, web: Web) -> None:
    """The server stops writing to it: what waits is bounded by the store's own limit."""
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context(served), limit=1024)
    writer.write(b"GET " + MAPS.encode() + b"?watch=true HTTP/1.1\r\nhost: localhost\r\n\r\n")
    big = {"metadata": {"name": "big"}, "data": {"x": "y" * 200_000}}
    await web("POST", MAPS, big)
    for index in range(40):
        big["data"]["n"] = str(index)
        assert (await web("PUT", f"{MAPS}/big", big))[0] == 200
    writer.transport.abort()


async def test_kubeconfigs_are_private_and_complete(served: Any, tmp_path: Path) -> None:
    assert served.kubeconfig.stat().st_mode & 0o777 == 0o600
    content = json.loads(served.kubeconfig.read_text())
    assert content["clusters"][0]["cluster"]["server"] == served.server
    served.api.write_node_kubeconfig(tmp_path / "node", served.server, "n1")
    user = json.loads((tmp_path / "node").read_text())["users"][0]
    assert user["name"] == "system:node:n1"
