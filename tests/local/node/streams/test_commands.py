"""Commands in running containers, through the node's own socket."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.local.node.conftest import NAMESPACE, Node
from tests.local.node.streams.clients import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT, V4, connected, refusal
from tests.waiting import eventually

EXEC = f"/exec/{NAMESPACE}/p/main"
MEGABYTES = 24


@pytest.fixture
async def pod(node: Node) -> AsyncIterator[Node]:
    """A pod ``p`` that runs."""
    await node.create("p", {"sh": "sleep 600", "env": [{"name": "COLOUR", "value": "red"}], "workingDir": "/tmp"})
    await node.phase("p", "Running")
    yield node
    await node.delete("p", 0)
    await node.gone("p")


def processes(word: str) -> list[int]:
    """Those whose command line has ``word``."""
    found: list[int] = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                line = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line:
                found.append(int(path.name))
    return found


async def test_a_command_is_as_the_container_is(pod: Node):
    script = "echo out; echo err >&2; echo $COLOUR in $PWD; hostname; exit 3"
    async with connected(pod.data, EXEC, command=["sh", "-c", script]) as client:
        assert await client.code() == 3
    assert client.seen[STDOUT] == b"out\nred in /tmp\np\n"
    assert client.seen[STDERR] == b"err\n"
    assert client.frames[0] == bytes((STDOUT,))


async def test_only_streams_that_were_asked_for_come(pod: Node):
    async with connected(pod.data, EXEC, command=["sh", "-c", "cat; echo out; echo err >&2"], stdout="false") as client:
        assert await client.code() == 0
    assert set(client.seen) == {STDERR, ERROR}
    assert client.seen[STDERR] == b"err\n"


async def test_many_bytes_go_through_without_loss(pod: Node):
    data = os.urandom(1 << 20)
    async with connected(pod.data, EXEC, command="cat", stdin="true") as client:

        async def send() -> None:
            for _ in range(MEGABYTES):
                await client.send(STDIN, data)
            await client.send(CLOSE, bytes((STDIN,)))

        sending = asyncio.create_task(send())
        assert await client.code() == 0
        await sending
    assert client.seen[STDOUT] == data * MEGABYTES


async def test_the_end_of_input_can_be_told(pod: Node):
    async with connected(pod.data, EXEC, command=["wc", "-c"], stdin="true") as client:
        await client.send(STDIN, "12345")
        await client.send(CLOSE, bytes((STDIN,)))
        assert await client.code() == 0
    assert client.seen[STDOUT] == b"5\n"


async def test_a_terminal_has_a_name_a_size_and_jobs(pod: Node):
    async with connected(pod.data, EXEC, command=["bash", "--norc", "-i"], stdin="true", tty="true") as client:
        await client.send(RESIZE, '{"Width":111,"Height":33}')
        await client.send(STDIN, "stty size; tty; echo $TERM\n")
        await client.expect(STDOUT, "33 111")
        await client.expect(STDOUT, "/dev/pts/0")
        await client.expect(STDOUT, "xterm")
        await client.send(RESIZE, '{"Width":80}')
        await client.send(RESIZE, '{"Width":80,"Height":25}')
        await client.send(STDIN, "stty size; sh -c 'echo ru''ns; exec sleep 600'\n")
        await client.expect(STDOUT, "25 80")
        await client.expect(STDOUT, "runs")
        await client.send(STDIN, "\x03")
        await client.send(STDIN, "exit 9\n")
        assert await client.code() == 9
    assert STDERR not in client.seen


@pytest.mark.parametrize(("argv", "code"), [("nonesuch", 127), ("/none/such", 127), ("/etc/passwd", 126)])
async def test_a_command_that_is_none(pod: Node, argv: str, code: int):
    async with connected(pod.data, EXEC, command=argv) as client:
        assert await client.code() == code
    assert f'exec: "{argv}"' in client.seen[STDERR].decode()


async def test_a_command_that_a_signal_ends(pod: Node):
    async with connected(pod.data, EXEC, command=["sh", "-c", "kill -9 $$"]) as client:
        assert await client.code() == 137


async def test_what_a_command_leaves_behind_does_not_hold_its_client(pod: Node):
    async with connected(pod.data, EXEC, command=["sh", "-c", "setsid sleep 612 & echo done"]) as client:
        assert await client.code() == 0
    assert client.seen[STDOUT] == b"done\n"
    assert processes("612")


async def test_messages_as_text(pod: Node):
    for protocol, status in (("v4.base64.channel.k8s.io", True), ("base64.channel.k8s.io", False)):
        async with connected(
            pod.data, EXEC, [protocol], command=["sh", "-c", "read x; echo $x; exit 2"], stdin=1
        ) as client:
            await client.socket.send_str("0!no base64!")
            await client.socket.send_str("0" + base64.b64encode(b"hello\n").decode())
            while await client.read():
                continue
            texts = {key - ord("0"): base64.b64decode(value) for key, value in client.seen.items()}
            assert texts[STDOUT] == b"hello\n"
            assert texts[ERROR].startswith(b'{"metadata"') is status
            assert b"exit status 2" in texts[ERROR]


async def test_a_client_that_goes_leaves_its_command_what_it_sent(pod: Node):
    script = "echo noise; cat > /tmp/kept; echo end >> /tmp/kept"
    async with connected(pod.data, EXEC, [V4], command=["sh", "-c", script], stdin="true") as client:
        await client.send(STDIN, "sent\n")

    async def kept() -> bool:
        async with connected(pod.data, EXEC, command=["cat", "/tmp/kept"]) as client:
            return await client.code() == 0 and client.seen[STDOUT] == b"sent\nend\n"

    await eventually(kept)


@pytest.mark.parametrize("tty", [False, True])
async def test_nothing_is_left_of_a_command_whose_client_is_gone(pod: Node, tty: bool):
    assert pod.agent is not None
    pod.agent._server._streams._commands._grace = 0.2
    script = "trap '' HUP TERM; set -m; sleep 613 & echo here; sleep 613"
    async with connected(pod.data, EXEC, command=["bash", "-c", script], stdin="true", tty=str(tty).lower()) as client:
        await client.expect(STDOUT, "here")
        await eventually(lambda: len(processes("613")) >= 2)
    await eventually(lambda: not processes("613"))


async def test_a_client_that_goes_while_its_command_reads_nothing(pod: Node):
    assert pod.agent is not None
    pod.agent._server._streams._commands._grace = 0.2
    async with connected(pod.data, EXEC, command=["sleep", "614"], stdin="true") as client:
        await client.send(STDIN, bytes(1 << 18))
        await eventually(lambda: processes("614"))
    await eventually(lambda: not processes("614"))


async def test_what_cannot_be_run(pod: Node):
    assert await refusal(pod.data, EXEC) == (400, "you must specify at least one command for the container")
    assert await refusal(pod.data, EXEC, command="true", stdin="2") == (400, 'query parameter stdin: "2" is no boolean')
    code, message = await refusal(pod.data, EXEC, command="true", stdout="false", stderr="false")
    assert (code, message) == (400, "you must specify at least 1 of stdin, stdout, stderr")
    assert (await refusal(pod.data, EXEC.replace("main", "other"), command="true"))[0] == 400
    assert (await refusal(pod.data, EXEC.replace("/p/", "/q/"), command="true"))[0] == 404
    await pod.create("over", {"sh": "exit 0"})
    await pod.phase("over", "Succeeded")
    code, message = await refusal(pod.data, EXEC.replace("/p/", "/over/"), command="true")
    assert (code, message) == (404, 'container not found ("main"): it has ended')


async def test_a_protocol_that_nobody_speaks(pod: Node):
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with connected(pod.data, EXEC, ["v9.channel.k8s.io"], command="true"):
            pass


async def test_a_container_that_ends_takes_its_commands_along(node: Node):
    await node.create("q", {"sh": "sleep 600"})
    await node.phase("q", "Running")
    async with connected(node.data, EXEC.replace("/p/", "/q/"), command=["sleep", "615"]) as client:
        await eventually(lambda: processes("615"))
        await node.delete("q", 0)
        assert await client.code() == 137
    await node.gone("q")
