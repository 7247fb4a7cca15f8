"""Pods' places: addresses, reach, and what outlives the daemon."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.network.client import ServiceEntry


async def test_two_pods_listen_on_the_same_port_and_reach_each_other(pod):
    one, two = await pod("one"), await pod("two")
    one.serve(8080)
    two.serve(8080)
    assert two.ask(one.ip, 8080) == f"one {two.ip}"
    assert one.ask(two.ip, 8080) == f"two {one.ip}"
    assert one.ask("127.0.0.1", 8080) == "one 127.0.0.1"
    assert one.ask(one.ip, 8080) == f"one {one.ip}"


async def test_a_pods_place_is_its_own_until_it_is_detached(isolated):
    client = isolated.client
    first, again, other = [await client.attach(name) for name in ("one", "one", "two")]
    assert first.ip == again.ip
    assert os.fstat(first.netns_fd).st_ino == os.fstat(again.netns_fd).st_ino
    assert other.ip != first.ip
    assert await client.attachments() == {"one": first.ip, "two": other.ip}
    await client.detach("one")
    await client.detach("one")
    renewed = await client.attach("one")
    assert renewed.ip not in (first.ip, other.ip)
    for attachment in (first, again, other, renewed):
        os.close(attachment.netns_fd)


async def test_many_pods_at_once_get_different_addresses(isolated):
    attachments = await asyncio.gather(*(isolated.client.attach(f"pod-{number % 60}") for number in range(120)))
    for attachment in attachments:
        os.close(attachment.netns_fd)
    assert len({attachment.ip for attachment in attachments}) == 60


async def test_connections_are_handed_over(isolated, pod):
    server = await pod("server")
    server.serve(9000)
    loop = asyncio.get_running_loop()
    with await isolated.client.connect(server.ip, 9000) as connection:
        assert await loop.sock_recv(connection, 100) == b"server 10.244.0.1"
    with pytest.raises(ConnectionRefusedError, match="9001"):
        await isolated.client.connect(server.ip, 9001)


CONVERSE = """
import socket, sys
connection = socket.create_connection(("{host}", 7000), timeout=20)
for line in sys.stdin:
    connection.sendall(line.encode())
    print(connection.recv(100).decode().strip(), flush=True)
"""

ECHO = """
import socket
server = socket.create_server(("", 7000))
print("up", flush=True)
connection, _ = server.accept()
while data := connection.recv(100):
    connection.sendall(data)
"""


def say(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


async def test_a_killed_daemon_takes_nothing_with_it(isolated, pod):
    client = isolated.client
    server, caller = await pod("server"), await pod("caller")
    echo = server.start(ECHO)
    assert echo.stdout.readline() == "up\n"
    await client.set_services([ServiceEntry("10.96.7.7", port, "TCP", ((server.ip, port),)) for port in (7000, 7001)])
    conversation = caller.start(CONVERSE.format(host="10.96.7.7"))
    assert say(conversation, "before") == "before"
    before = await client.attachments()

    isolated.kill()
    assert say(conversation, "meanwhile") == "meanwhile"
    server.serve(7001)
    assert caller.ask("10.96.7.7", 7001) == f"server {caller.ip}"

    isolated.start()
    assert say(conversation, "after") == "after"
    assert await client.attachments() == before
    assert (await pod("server")).ip == server.ip
    assert caller.ask("10.96.7.7", 7001) == f"server {caller.ip}"
    lookup = await pod("lookup")
    assert lookup.ip not in before.values()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await SYSTEM_CLOCK.sleep(0.01)


async def test_a_killed_holder_is_replaced_with_all_it_kept(isolated, pod):
    record = isolated.directory / "run" / "network.json"
    server = await pod("server")
    kept = {"server": server.ip}
    for name in ("first", "second"):
        holder = json.loads(record.read_text())["holder"]["pid"]
        os.kill(holder, signal.SIGKILL)
        kept[name] = (await pod(name)).ip
        await until(lambda holder=holder: json.loads(record.read_text())["holder"]["pid"] != holder)
        assert await isolated.client.attachments() == kept
    isolated.kill()
    isolated.start()
    assert await isolated.client.attachments() == kept
    server.serve(8080)
    assert (await pod("first")).ask(server.ip, 8080) == f"server {kept['first']}"


async def test_an_ended_daemon_leaves_a_network_only_where_pods_live(isolated, pod):
    run = isolated.directory / "run"
    server = await pod("server")
    server.serve(8080)
    assert isolated.stop() == 0
    assert (run / "holder.sock").is_socket()
    isolated.start()
    assert await isolated.client.attachments() == {"server": server.ip}
    holder = json.loads((run / "network.json").read_text())["holder"]["pid"]
    await isolated.client.detach("server")
    ended = os.pidfd_open(holder)
    assert isolated.stop() == 0
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(ended, gone.set)
    async with asyncio.timeout(10):
        await gone.wait()
    loop.remove_reader(ended)
    os.close(ended)
    assert list(run.iterdir()) == []


async def test_the_socket_is_closed_to_others(isolated):
    mode = (Path(isolated.directory) / "run" / "network.sock").stat().st_mode
    assert mode & 0o777 == 0o600


async def successor(isolated, name: str, *, unchanged: bool = True) -> str:
    """The pod that gets the namespace of the pod that gives its own back; empty when no other does."""
    before, found = await isolated.client.attach(name), ""
    number = os.fstat(before.netns_fd).st_ino  # nobody else's while it is open
    await isolated.client.detach(name, unchanged=unchanged)
    for other in (f"{name}-{turn}" for turn in range(30)):
        attachment = await isolated.client.attach(other)
        same = os.fstat(attachment.netns_fd).st_ino == number
        os.close(attachment.netns_fd)
        if same:
            assert attachment.ip != before.ip
            found = other
            break
    os.close(before.netns_fd)
    return found


async def test_a_namespace_that_nobody_used_is_another_pods_with_a_new_address(isolated, pod):
    server, before = await pod("server"), await isolated.client.attach("unused")
    os.close(before.netns_fd)
    server.serve(8080)
    name = await successor(isolated, "unused")
    assert name
    isolated.kill()
    isolated.start()  # what a later daemon knows of it is enough
    found = await pod(name)
    found.serve(8081)
    assert found.ask(server.ip, 8080) == f"server {found.ip}"
    assert server.ask(found.ip, 8081) == f"{name} {server.ip}"
    assert server.ask(before.ip, 8081) != f"{name} {server.ip}"
    assert found.run(f"print('{before.ip}' in open('/proc/net/fib_trie').read())") == "False"
    assert await successor(isolated, name) == ""  # it was used meanwhile


async def test_a_namespace_that_is_given_back_unused_again_and_again_goes_on(isolated, pod):
    name = "unused"
    for _ in range(3):
        used = "used"
        while "used 0" not in used:  # the daemon's own socket there is gone a moment after it was closed
            used = (await pod(name)).run("print(open('/proc/net/sockstat').readline())")
        name = await successor(isolated, name)
        assert name
    found = await pod(name)
    found.serve(8080)
    assert (await pod("other")).ask(found.ip, 8080).startswith(name)


async def test_a_namespace_in_which_somebody_still_listens_ends(isolated, pod):
    (await pod("listener")).serve(8080)
    assert await successor(isolated, "listener") == ""


async def test_a_namespace_in_which_something_was_set_ends(isolated):
    assert await successor(isolated, "set", unchanged=False) == ""
