"""What only the HTTP transport has: identities, TLS, torn connections."""

import asyncio
import json
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from ketch.kube.codec import format_time
from ketch.kube.config import ConfigError, ExecPlugin, load_config
from ketch.kube.errors import APIError, TransportError, Unauthorized, Unavailable
from ketch.kube.http import HTTPTransport
from ketch.kube.rest import RESTClient
from ketch.kube.testing import VirtualClock
from ketch.kube.transport import Request
from ketch.kube.types.core import Namespace, ServiceAccount

VERSION = Request("GET", "/version")


@pytest.fixture
def config(served):
    return load_config(served.kubeconfig)


@pytest.fixture
async def token(client):
    """A token of a service account."""
    account = ServiceAccount.resource.path("default", "robot")
    await client.request("POST", account.rpartition("/")[0], body={"metadata": {"name": "robot"}})
    return (await client.create_subresource(ServiceAccount, "robot", "default", "token", {"spec": {}}))["status"][
        "token"
    ]


@pytest.fixture
async def open_transport():
    opened = []

    def begin(config, **options):
        opened.append(HTTPTransport(config, **options))
        return opened[-1]

    yield begin
    for each in opened:
        await each.close()


def anonymous(config, **identity):
    return replace(config, client_certificate="", client_key="", **identity)


async def who(transport):
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await transport.request(Request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, body))
    return answer["status"]["userInfo"]["username"]


ROBOT = "system:serviceaccount:default:robot"


async def test_a_client_certificate(config, open_transport):
    assert await who(open_transport(config)) == "kubernetes-admin"


async def test_a_token(config, token, open_transport):
    assert await who(open_transport(anonymous(config, token=token))) == ROBOT


async def test_a_wrong_token(config, open_transport):
    with pytest.raises(Unauthorized):
        await who(open_transport(anonymous(config, token="wrong")))


async def test_a_token_file_is_read_again_when_refused(config, token, open_transport, tmp_path):
    file = tmp_path / "token"
    file.write_text("old")
    transport = open_transport(anonymous(config, token_file=file))
    with pytest.raises(Unauthorized):
        await who(transport)
    file.write_text(f"{token}\n")
    assert await who(transport) == ROBOT
    file.write_text("refused from now on")
    assert await who(transport) == ROBOT  # not read at every call


async def test_a_token_file_that_is_not_there(config, open_transport, tmp_path):
    with pytest.raises(TransportError, match="cannot read the token"):
        await who(open_transport(anonymous(config, token_file=tmp_path / "absent")))


def plugin(tmp_path, status, code=0):
    """An exec plugin that answers ``status`` and counts its runs."""
    script = tmp_path / "plugin.py"
    answer = json.dumps({"status": status})
    script.write_text(
        f"import os, sys\nwith open({str(tmp_path / 'runs')!r}, 'a') as runs:\n"
        "    runs.write(os.environ['KUBERNETES_EXEC_INFO'] + '\\n')\n"
        f"sys.stderr.write('please log in')\nprint({answer!r})\nsys.exit({code})\n"
    )
    return ExecPlugin("client.authentication.k8s.io/v1", sys.executable, ("-S", str(script)), provide_cluster_info=True)


async def test_a_plugins_token_is_kept_until_it_expires(config, token, open_transport, tmp_path):
    clock = VirtualClock()
    expires = format_time(clock.now() + timedelta(minutes=10))
    chosen = plugin(tmp_path, {"token": token, "expirationTimestamp": expires})
    transport = open_transport(anonymous(config, exec=chosen), clock=clock)
    assert await asyncio.gather(who(transport), who(transport)) == [ROBOT, ROBOT]
    runs = (tmp_path / "runs").read_text().splitlines()
    assert len(runs) == 1
    assert json.loads(runs[0])["spec"]["cluster"]["server"] == config.server
    await clock.advance(600)
    await who(transport)
    assert len((tmp_path / "runs").read_text().splitlines()) == 2


async def test_a_plugins_certificate(config, open_transport, tmp_path):
    status = {"clientCertificateData": config.client_certificate, "clientKeyData": config.client_key}
    transport = open_transport(anonymous(config, exec=plugin(tmp_path, status)))
    assert await who(transport) == "kubernetes-admin"


async def test_a_plugin_that_fails_is_quoted(config, open_transport, tmp_path):
    with pytest.raises(TransportError, match="failed with 3: please log in"):
        await who(open_transport(anonymous(config, exec=plugin(tmp_path, {}, code=3))))


async def test_a_plugin_that_is_not_there(config, open_transport):
    absent = ExecPlugin("client.authentication.k8s.io/v1", "/absent", install_hint="get it from the shop")
    with pytest.raises(TransportError, match="get it from the shop"):
        await who(open_transport(anonymous(config, exec=absent)))
    with pytest.raises(ConfigError, match="v0"):
        open_transport(anonymous(config, exec=ExecPlugin("v0", "x")))


async def test_a_server_of_another_authority_is_refused(config, open_transport):
    with pytest.raises(TransportError, match=r"(?i)certificate"):
        await open_transport(replace(config, authority="")).request(VERSION)
    assert await open_transport(replace(config, authority="", insecure=True)).request(VERSION)


async def test_the_servers_name_may_be_given(config, open_transport):
    assert await open_transport(replace(config, server_name="kubernetes.default")).request(VERSION)
    with pytest.raises(TransportError, match=r"(?i)certificate|hostname"):
        await open_transport(replace(config, server_name="elsewhere.example.com")).request(VERSION)


async def test_the_certificate_counts_on_a_unix_socket_too(config, served, open_transport):
    inside = replace(config, unix_socket=served.unix_socket)
    assert await who(open_transport(inside)) == "kubernetes-admin"
    with pytest.raises(TransportError, match=r"(?i)certificate|hostname"):
        await open_transport(replace(inside, server_name="elsewhere.example.com")).request(VERSION)


async def test_certificates_that_are_none(config, open_transport):
    with pytest.raises(ConfigError, match="cannot be used"):
        await open_transport(replace(config, client_key="nonsense")).request(VERSION)


async def test_nobody_there(config, served, open_transport, tmp_path):
    with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
        await open_transport(replace(config, server="https://127.0.0.1:1")).request(VERSION)
    with pytest.raises(TransportError):
        await open_transport(replace(config, unix_socket=tmp_path / "absent")).request(VERSION)


async def answering(answer):
    """A server that says the same bytes to everybody, and its address."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_torn_watch(config, open_transport):
    line = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n{"type":"MOD'
    server, address = await answering(HEAD + b"%x\r\n%s\r\n" % (len(line), line))
    async with server:
        client = RESTClient(open_transport(anonymous(replace(config, server=address))))
        async with client.watch(Namespace, resource_version="1") as events:
            assert (await anext(events)).object.metadata.name == "a"
            with pytest.raises(TransportError):
                await anext(events)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", TransportError),
        (b"nonsense", TransportError),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}", TransportError),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{", TransportError),
        (b"HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbusy", Unavailable),
        (b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>", APIError),
    ],
    ids=["nothing", "no HTTP", "torn", "no JSON", "a proxy's 503", "a proxy's 502"],
)
async def test_answers_of_no_api_server(config, open_transport, answer, error):
    server, address = await answering(answer)
    async with server:
        with pytest.raises(error):
            await open_transport(anonymous(replace(config, server=address))).request(VERSION)


async def test_a_cancelled_call_frees_its_connection(config, open_transport):
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = open_transport(anonymous(replace(config, server=address)))
        calling = asyncio.create_task(transport.request(VERSION))
        await arrived.wait()
        calling.cancel()
        async with asyncio.timeout(10):
            await gone.wait()


async def test_a_path_behind_a_prefix(config, open_transport):
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/k8s/clusters/c-1"
        transport = open_transport(anonymous(replace(config, server=address)))
        await transport.request(Request("GET", "/api/v1/namespaces/a b", {"labelSelector": "a in (b,c),d=e+f"}))
    line = asked[0].split(b"\r\n")[0]
    assert line.startswith(b"GET /k8s/clusters/c-1/api/v1/namespaces/a%20b?labelSelector=")
    assert b"e%2Bf" in line
