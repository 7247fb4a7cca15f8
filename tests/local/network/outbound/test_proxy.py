"""The way outside, from a pod."""

import asyncio
import socket

import pytest

from ketch.local.network.outbound.proxy import BadRequest, Target, parse_target, rewrite_head

THROUGH = """
import socket
with socket.create_connection(("10.244.0.1", 3128), timeout=10) as connection:
    connection.sendall({request!r})
    data = b""
    while part := connection.recv(4096):
        data += part
        if b"hello" in data:
            break
print(data.decode())
"""


TUNNEL = """
import socket
with socket.create_connection(("10.244.0.1", 3128), timeout=10) as connection:
    connection.sendall({request!r})
    answer = connection.makefile("rb")
    print(answer.readline().split()[1].decode(), *answer.read().decode().split())
"""


def test_requests_are_read():
    assert parse_target(b"CONNECT index.example:443 HTTP/1.1") == Target("index.example", 443, b"")
    assert parse_target(b"CONNECT [2001:db8::1]:443 HTTP/1.1") == Target("2001:db8::1", 443, b"")
    assert parse_target(b"GET http://a.example/x?y=1 HTTP/1.1") == Target("a.example", 80, b"GET /x?y=1 HTTP/1.1")
    assert parse_target(b"GET http://a.example:81 HTTP/1.1") == Target("a.example", 81, b"GET / HTTP/1.1")


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"CONNECT index.example HTTP/1.1",
        b"CONNECT a:b HTTP/1.1",
        b"",
        b"\xff",
        b"GET ftp://a/ HTTP/1.1",
    ],
)
def test_other_requests_are_bad(line):
    with pytest.raises(BadRequest):
        parse_target(line)


def test_the_next_server_does_not_see_what_was_meant_for_the_proxy():
    head = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: x\r\nConnection: keep-alive\r\nAccept: */*"
    assert rewrite_head(b"GET / HTTP/1.1", head) == (
        b"GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\nAccept: */*\r\n\r\n"
    )


async def test_a_pod_does_not_reach_the_machine(isolated, pod):
    caller = await pod("caller")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        for place in (f"127.0.0.1:{port}", f"localhost:{port}", f"0.0.0.0:{port}", f"[::ffff:127.0.0.1]:{port}"):
            request = f"CONNECT {place} HTTP/1.1\r\n\r\n".encode()
            assert caller.run(THROUGH.format(request=request)).startswith("HTTP/1.1 403 "), place
            request = f"GET http://{place}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            assert caller.run(THROUGH.format(request=request)).startswith("HTTP/1.1 403 "), place
        assert caller.ask("127.0.0.1", port) == "ConnectionRefusedError"
        assert caller.ask("10.244.0.1", port) == "ConnectionRefusedError"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert caller.run(THROUGH.format(request=b"nonsense\r\n\r\n")).startswith("HTTP/1.1 400 ")
    assert caller.ask("93.184.216.34", 80) == "OSError"


async def test_the_clusters_own_is_reached_through_the_proxy_too(isolated, pod):
    server, caller = await pod("server"), await pod("caller")
    server.serve(8080)
    names = {
        "web.here.svc.cluster.local": (server.ip,),
        f"{caller.ip.replace('.', '-')}.here.pod.cluster.local": (caller.ip,),
    }
    await isolated.client.set_names(names)
    for place in ("web:8080", "web.here.svc:8080", f"{server.ip}:8080"):
        request = f"CONNECT {place} HTTP/1.1\r\n\r\n".encode()
        assert caller.run(TUNNEL.format(request=request)) == "200 server 10.244.0.1", place
    closed = f"CONNECT {server.ip}:8081 HTTP/1.1\r\n\r\n".encode()
    assert caller.run(THROUGH.format(request=closed)).startswith("HTTP/1.1 502 ")


@pytest.fixture
async def upstream():
    """A proxy on the host's loopback, which greets and remembers what it was asked."""
    heads: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield f"http://me:word@127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def test_the_hosts_own_proxy_is_used_wherever_it_stands(isolated, pod, upstream):
    url, heads = upstream
    isolated.kill()
    isolated.environment = {"http_proxy": url, "https_proxy": url}
    isolated.start()
    caller = await pod("caller")
    secure = THROUGH.format(request=b"CONNECT there.invalid:443 HTTP/1.1\r\n\r\n")
    assert "hello" in await asyncio.to_thread(caller.run, secure)
    plain = THROUGH.format(request=b"GET http://there.invalid/x HTTP/1.1\r\nHost: there.invalid\r\n\r\n")
    assert "hello" in await asyncio.to_thread(caller.run, plain)
    back = THROUGH.format(request=b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n")
    assert (await asyncio.to_thread(caller.run, back)).startswith("HTTP/1.1 403 ")
    assert heads[0].startswith(b"CONNECT there.invalid:443 HTTP/1.1\r\n")
    assert heads[1].startswith(b"GET http://there.invalid/x HTTP/1.1\r\n")
    assert all(b"Proxy-Authorization: Basic bWU6d29yZA==\r\n" in head for head in heads)
    assert len(heads) == 2


async def test_a_package_index_on_the_machine_is_reached_by_another_name(isolated, pod, upstream):
    port = upstream[0].rpartition(":")[2]
    isolated.kill()
    isolated.environment = {"PIP_INDEX_URL": f"http://localhost:{port}/simple"}
    isolated.start()
    caller = await pod("caller")
    named = f"GET http://host.ketch.internal:{port}/simple HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert "hello" in await asyncio.to_thread(caller.run, THROUGH.format(request=named))
    other = f"GET http://host.ketch.internal:{int(port) - 1}/ HTTP/1.1\r\n\r\n".encode()
    assert " 502 " in await asyncio.to_thread(caller.run, THROUGH.format(request=other))
    loopback = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n".encode()
    assert " 403 " in await asyncio.to_thread(caller.run, THROUGH.format(request=loopback))
    assert upstream[1][0].startswith(b"GET /simple HTTP/1.1\r\n")


async def test_a_service_of_the_machine_that_is_declared_is_reached_by_its_own_name(isolated, pod, upstream):
    port = upstream[0].rpartition(":")[2]
    isolated.kill()
    isolated.environment = {"KETCH_HOST_SERVICES": f"localhost:{port}"}
    isolated.start()
    caller = await pod("caller")
    for name in ("localhost", "127.0.0.1", "host.ketch.internal"):
        request = f"GET http://{name}:{port}/bucket HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
        assert "hello" in await asyncio.to_thread(caller.run, THROUGH.format(request=request))
    other = f"GET http://localhost:{int(port) - 1}/ HTTP/1.1\r\n\r\n".encode()
    assert " 403 " in await asyncio.to_thread(caller.run, THROUGH.format(request=other))
