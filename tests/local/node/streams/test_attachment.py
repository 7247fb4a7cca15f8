"""Clients at the streams of running containers (attach)."""

import asyncio

import pytest
from tests.local.node.conftest import NAMESPACE, Node
from tests.local.node.streams.clients import CLOSE, RESIZE, STDERR, STDIN, STDOUT, V4, connected

ATTACH = f"/attach/{NAMESPACE}/p/main"
ASKS = "echo begin; while read x; do echo got $x; echo err $x >&2; done; echo over; exit 4"


async def start(node: Node, sh: str, **fields: object) -> None:
    await node.create("p", {"sh": sh, **fields})
    await node.phase("p", "Running")


async def test_input_that_ends_once_ends_for_the_container(node: Node):
    await start(node, ASKS, stdin=True, stdinOnce=True)
    async with connected(node.data, ATTACH, stdin="true") as client:
        await client.send(STDIN, "one\ntwo\n")
        await client.send(CLOSE, bytes((STDIN,)))
        assert await client.code() == 0
    assert client.seen[STDOUT].endswith(b"got one\ngot two\nover\n")
    assert client.seen[STDERR] == b"err one\nerr two\n"
    ended = await node.phase("p", "Failed")
    assert ended.status.container_statuses[0].state.terminated.exit_code == 4
    assert sorted((await node.logs("p")).split("\n"))[1:] == sorted(
        ["begin", "err one", "err two", "got one", "got two", "over"]
    )


async def test_clients_come_and_go_and_see_the_same(node: Node):
    await start(node, ASKS, stdin=True)
    async with connected(node.data, ATTACH, [V4], stdin="true") as first:
        await first.send(STDIN, "one\n")
        await first.expect(STDOUT, "got one")
        async with connected(node.data, ATTACH, [V4], stdin="true", stderr="false") as second:
            await second.send(STDIN, "two\n")
            await second.expect(STDOUT, "got two")
            await first.expect(STDOUT, "got two")
            assert STDERR not in second.seen
    async with connected(node.data, ATTACH, [V4], stdin="true") as third:
        await third.send(STDIN, "three\n")
        await third.expect(STDOUT, "got three")
        assert b"two" not in third.seen[STDOUT]


async def test_a_container_of_its_own_terminal(node: Node):
    await start(node, "echo $TERM; trap 'echo INT; exit 7' INT; while :; do sleep 0.05; done", stdin=True, tty=True)
    async with connected(node.data, ATTACH, stdin="true", tty="true") as client:
        await client.send(RESIZE, '{"Width":90,"Height":20}')
        async with connected(node.data, ATTACH.replace("attach", "exec"), command=["cat", "/proc/2/cmdline"]) as other:
            assert await other.code() == 0
        await client.send(STDIN, "\x03")
        assert await client.code() == 0
    assert client.seen[STDOUT].endswith(b"INT\r\n")
    ended = await node.phase("p", "Failed")
    assert ended.status.container_statuses[0].state.terminated.exit_code == 7
    assert "xterm" in await node.logs("p")


async def test_the_size_of_a_terminal_is_its_clients(node: Node):
    await start(node, "read x; stty size; tty", stdin=True, tty=True)
    async with connected(node.data, ATTACH, stdin="true", tty="true") as client:
        await client.send(RESIZE, '{"Width":90,"Height":20}')
        await client.send(STDIN, "\r")
        assert await client.code() == 0
    assert b"20 90\r\n/dev/console\r\n" in client.seen[STDOUT]


async def test_many_bytes_go_through_a_container_without_loss(node: Node):
    await start(node, "exec cat", stdin=True, stdinOnce=True)
    data = bytes(range(256)) * 4096
    async with connected(node.data, ATTACH, stdin="true") as client:

        async def send() -> None:
            for _ in range(8):
                await client.send(STDIN, data)
            await client.send(CLOSE, bytes((STDIN,)))

        sending = asyncio.create_task(send())
        assert await client.code() == 0
        await sending
    assert client.seen[STDOUT] == data * 8


async def test_what_a_container_without_input_writes_comes_line_by_line(node: Node):
    await start(node, "while ! test -e /tmp/go; do sleep 0.02; done; echo out; echo err >&2; printf rest")
    async with (
        connected(node.data, ATTACH) as both,
        connected(node.data, ATTACH, stderr="false", stdin="true") as one,
    ):
        for client in (both, one):
            assert await client.read()
        async with connected(node.data, ATTACH.replace("attach", "exec"), command=["touch", "/tmp/go"]) as other:
            assert await other.code() == 0
        assert [await both.code(), await one.code()] == [0, 0]
    assert (both.seen[STDOUT], both.seen[STDERR]) == (b"out\nrest\n", b"err\n")
    assert set(one.seen) == {STDOUT, 3}


@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_that_does_not_read_does_not_keep_the_container(node: Node, reads: bool):
    await start(node, "read x; head -c 4000000 /dev/zero; exit 5", stdin=True)
    async with connected(node.data, ATTACH, stdin="true") as client:
        await client.send(STDIN, "\n")
        if reads:
            assert await client.code() == 0
            assert len(client.seen[STDOUT]) == 4_000_000
            await node.phase("p", "Failed")
    ended = await node.phase("p", "Failed")
    assert ended.status.container_statuses[0].state.terminated.exit_code == 5
