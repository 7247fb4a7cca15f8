"""Services' addresses, as pods see them."""

import asyncio

import pytest

from ketch.local.network.client import ServiceEntry

ADDRESS = "10.96.3.4"

ASK_OFTEN = """
import socket
for _ in range({times}):
    with socket.create_connection(("{host}", {port}), timeout=5) as connection:
        print(connection.makefile().read())
"""

UDP_SERVE = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 5000))
print("up", flush=True)
while True:
    data, peer = server.recvfrom(100)
    server.sendto(b"{name} " + data, peer)
"""

UDP_ASK = """
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.connect(("{host}", 500))
client.send(b"hello")
print(client.recv(100).decode())
"""

UDP_GO_ON_ASKING = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.connect(("{host}", 500))
for _ in sys.stdin:
    try:
        client.send(b"hello")
        print(client.recv(100).decode(), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


def entry(*endpoints: tuple[str, int], address: str = ADDRESS, port: int = 80) -> ServiceEntry:
    return ServiceEntry(address, port, "TCP", endpoints)


async def test_connections_go_to_all_endpoints_and_come_from_the_caller(isolated, pod):
    one, two, caller = [await pod(name) for name in ("one", "two", "caller")]
    one.serve(8080)
    two.serve(8081)
    await isolated.client.set_services([entry((one.ip, 8080), (two.ip, 8081))])
    answers = caller.run(ASK_OFTEN.format(times=40, host=ADDRESS, port=80)).splitlines()
    assert set(answers) == {f"one {caller.ip}", f"two {caller.ip}"}


async def test_a_pod_reaches_itself_through_its_service(isolated, pod):
    server = await pod("server")
    server.serve(8080)
    await isolated.client.set_services([entry((server.ip, 8080))])
    assert server.ask(ADDRESS, 80) == "server 10.244.0.1"


async def test_the_cluster_itself_reaches_services(isolated, pod):
    server = await pod("server")
    server.serve(8080)
    await isolated.client.set_services([entry((server.ip, 8080))])
    with await isolated.client.connect(ADDRESS, 80) as connection:
        assert (await asyncio.get_running_loop().sock_recv(connection, 100)).startswith(b"server ")


async def test_a_service_without_endpoints_is_refused_at_once(isolated, pod):
    caller = await pod("caller")
    await isolated.client.set_services([entry()])
    assert caller.ask(ADDRESS, 80) == "ConnectionRefusedError"


async def test_tables_follow_one_another(isolated, pod):
    one, two, caller = [await pod(name) for name in ("one", "two", "caller")]
    one.serve(8080)
    two.serve(8080)
    client, other = isolated.client, "10.96.3.5"
    await client.set_services([entry((one.ip, 8080))])
    assert caller.ask(ADDRESS, 80) == f"one {caller.ip}"
    await client.set_services([entry((two.ip, 8080)), entry((one.ip, 8080), address=other)])
    assert caller.ask(ADDRESS, 80) == f"two {caller.ip}"
    assert caller.ask(other, 80) == f"one {caller.ip}"
    await client.set_services([entry((one.ip, 8080), address=other, port=81)])
    assert caller.ask(ADDRESS, 80) == "ConnectionRefusedError"
    assert caller.ask(other, 80) == "ConnectionRefusedError"
    assert caller.ask(other, 81) == f"one {caller.ip}"
    await client.set_services([])
    assert caller.ask(other, 81) == "ConnectionRefusedError"


async def test_datagrams_are_translated_too(isolated, pod):
    server, caller = await pod("server"), await pod("caller")
    assert server.start(UDP_SERVE.format(name="server")).stdout.readline() == "up\n"
    await isolated.client.set_services([ServiceEntry(ADDRESS, 500, "UDP", ((server.ip, 5000),))])
    assert caller.run(UDP_ASK.format(host=ADDRESS)) == "server hello"


async def test_datagrams_of_one_sender_follow_the_table(isolated, pod):
    one, two, caller = [await pod(name) for name in ("one", "two", "caller")]
    for server in (one, two):
        assert server.start(UDP_SERVE.format(name=server.name)).stdout.readline() == "up\n"
    asking = caller.start(UDP_GO_ON_ASKING.format(host=ADDRESS))

    async def answer(*endpoints: tuple[str, int]) -> str:
        await isolated.client.set_services([ServiceEntry(ADDRESS, 500, "UDP", endpoints)])
        asking.stdin.write("\n")
        asking.stdin.flush()
        return asking.stdout.readline().strip()

    assert await answer() == "ConnectionRefusedError"
    assert await answer((one.ip, 5000)) == "one hello"
    assert await answer((two.ip, 5000)) == "two hello"
    assert await answer() == "ConnectionRefusedError"


async def test_large_tables_are_taken(isolated, pod):
    server = await pod("server")
    server.serve(8080)
    many = [
        entry((server.ip, 8080), ("10.244.9.9", 1), address=f"10.96.9.{number}", port=80) for number in range(1, 250)
    ]
    await isolated.client.set_services([*many, entry((server.ip, 8080))])
    assert server.ask(ADDRESS, 80) == "server 10.244.0.1"
    await isolated.client.set_services([entry((server.ip, 8080))])
    assert server.ask("10.96.9.1", 80) == "ConnectionRefusedError"


API = """
import socket
print(socket.create_connection(("10.96.0.1", 443), timeout=5).makefile().readline().strip())
"""


@pytest.mark.parametrize("answering", [True, False], ids=["the API answers", "the API is down"])
async def test_the_api_is_relayed(isolated, pod, answering):
    caller = await pod("caller")
    process = None

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"the API\n")
        await writer.drain()
        writer.close()

    if not answering:
        assert caller.ask("10.96.0.1", 443) == "ConnectionResetError"
        return
    server = await asyncio.start_unix_server(greet, isolated.directory / "run" / "api.sock")
    (isolated.directory / "run" / "api.sock").chmod(0o666)
    async with server:
        process = caller.start(API)
        assert await asyncio.to_thread(process.stdout.readline) == "the API\n"
