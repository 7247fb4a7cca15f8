"""The kubectl of MPI launchers: its command line, its end of the WebSocket over a real socket, its delivery."""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from ketch.training.delivery.__main__ import deliver, hosts, is_ready
from ketch.training.delivery.kubectl import (
    CLOSE,
    STATUS,
    STDERR,
    STDIN,
    STDOUT,
    Cluster,
    Command,
    Refusal,
    WebSocket,
    run,
)

BINARY, CLOSING, PING, PONG, CONTINUED = 0x2, 0x8, 0x9, 0xA, 0x0
SUCCESS = b'{"metadata":{},"status":"Success"}'
FAILURE = b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"17"}]}}'


def frame(kind: int, payload: bytes, *, final: bool = True) -> bytes:
    """As a server sends it: not masked."""
    head = bytes(((0x80 if final else 0) | kind,))
    if len(payload) < 126:
        return head + bytes((len(payload),)) + payload
    if len(payload) < 1 << 16:
        return head + struct.pack("!BH", 126, len(payload)) + payload
    return head + struct.pack("!BQ", 127, len(payload)) + payload


def received(connection: socket.socket) -> tuple[int, bytes]:
    """A client's frame, which must be masked."""
    file = connection.makefile("rb")
    head = file.read(2)
    assert head[1] & 0x80
    length = head[1] & 0x7F
    if length == 126:
        length = struct.unpack("!H", file.read(2))[0]
    elif length == 127:
        length = struct.unpack("!Q", file.read(8))[0]
    mask, payload = file.read(4), file.read(length)
    return head[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class Answer:
    """What http.client leaves of the handshake's answer."""

    def __init__(self, connection: socket.socket) -> None:
        self.fp = connection.makefile("rb")

    def close(self) -> None:
        self.fp.close()


class Pair:
    """A WebSocket, and the server's end of its connection."""

    def __init__(self) -> None:
        ours, self.server = socket.socketpair()
        self._ours = ours
        self.client = WebSocket(ours, ours, Answer(ours))  # type: ignore[arg-type]  # all it does is close it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.close()
        self._ours.close()


class PlayedCluster:
    """A cluster whose one WebSocket says what a test wants."""

    namespace = "team"

    def __init__(self, pair: Pair) -> None:
        self.pair, self.asked = pair, ""

    def open(self, path: str) -> WebSocket:
        self.asked = path
        return self.pair.client


def test_a_command_line_becomes_a_request():
    command = Command(["exec", "worker-0", "--", "/bin/sh", "-c", "echo a b"])
    assert command.path("team") == (
        "/api/v1/namespaces/team/pods/worker-0/exec?command=%2Fbin%2Fsh&command=-c&command=echo+a+b"
        "&stdout=true&stderr=true"
    )
    command = Command(["exec", "-i", "pod/worker-0", "--container", "main", "-n=other", "true"])
    assert (command.pod, command.container, command.namespace, command.stdin) == ("worker-0", "main", "other", True)
    assert command.argv == ["true"]
    assert command.path("team").startswith("/api/v1/namespaces/other/pods/worker-0/exec?command=true&")
    assert "container=main" in command.path("team")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get", "pods"], 'knows "exec" alone'),
        ([], 'knows "exec" alone'),
        (["exec", "--", "true"], "pod, type/name or --filename"),
        (["exec", "worker-0"], "at least one command"),
        (["exec", "-z", "worker-0", "true"], "unknown flag: -z"),
    ],
)
def test_what_it_does_not_know_is_said(words: list[str], message: str):
    with pytest.raises(Refusal, match=message):
        Command(words)


def test_a_pod_without_an_account_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Refusal, match="no service account"):
        Cluster(str(tmp_path))


@pytest.mark.parametrize("size", [0, 5, 125, 126, 70_000])
def test_messages_of_any_length_go_and_come(size: int):
    payload = os.urandom(size)
    with Pair() as pair:
        sent: list[tuple[int, bytes]] = []
        server = threading.Thread(target=lambda: sent.append(received(pair.server)))
        server.start()
        pair.client.send(STDIN, payload)
        server.join(timeout=20)
        assert sent == [(BINARY, bytes((STDIN,)) + payload)]
        threading.Thread(target=pair.server.sendall, args=(frame(BINARY, bytes((STDOUT,)) + payload),)).start()
        assert pair.client.receive() == (STDOUT, payload)


def test_fragments_are_one_message_and_pings_are_answered():
    with Pair() as pair:
        pair.server.sendall(
            frame(BINARY, b"\x01ab", final=False) + frame(PING, b"?") + frame(CONTINUED, b"cd") + frame(CLOSING, b"")
        )
        assert pair.client.receive() == (STDOUT, b"abcd")
        assert received(pair.server) == (PONG, b"?")
        assert pair.client.receive() is None


@pytest.mark.parametrize(("end", "code"), [(SUCCESS, 0), (FAILURE, 17)])
def test_a_command_s_output_and_code_are_its_own(end: bytes, code: int, capfd: pytest.CaptureFixture[str]):
    with Pair() as pair:
        for channel, data in ((STDOUT, b"out"), (STDERR, b"err"), (STATUS, end)):
            pair.server.sendall(frame(BINARY, bytes((channel,)) + data))
        cluster: Any = PlayedCluster(pair)
        assert run(Command(["exec", "worker-0", "true"]), cluster) == code
        assert "/namespaces/team/pods/worker-0/exec" in cluster.asked
    assert tuple(capfd.readouterr()) == ("out", "err")


@pytest.mark.parametrize(
    ("say", "message"),
    [
        (lambda server: server.sendall(frame(CLOSING, b"")), "broke off"),
        (lambda server: server.shutdown(socket.SHUT_RDWR), "broke off"),
        (
            lambda server: server.sendall(frame(BINARY, b'\x03{"status":"Failure","message":"no such container"}')),
            "no such container",
        ),
    ],
)
def test_a_connection_that_ends_early_is_told(say: Callable[[socket.socket], None], message: str):
    with Pair() as pair:
        say(pair.server)
        cluster: Any = PlayedCluster(pair)
        with pytest.raises(Refusal, match=message):
            run(Command(["exec", "worker-0", "true"]), cluster)


def test_input_is_handed_on_to_its_end(monkeypatch: pytest.MonkeyPatch):
    """The server's end comes after the client's input: its messages are read first."""
    reading, writing = os.pipe()
    os.write(writing, b"input")
    os.close(writing)
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        with Pair() as pair:
            file: list[tuple[int, bytes]] = []

            def serve() -> None:
                stream = pair.server.makefile("rb")
                while len(file) < 2:
                    head = stream.read(2)
                    mask, payload = stream.read(4), stream.read(head[1] & 0x7F)
                    file.append((head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))))
                pair.server.sendall(frame(BINARY, bytes((STATUS,)) + SUCCESS))

            server = threading.Thread(target=serve)
            server.start()
            cluster: Any = PlayedCluster(pair)
            assert run(Command(["exec", "-i", "worker-0", "cat"]), cluster) == 0
            server.join(timeout=20)
            assert file == [(BINARY, b"\x00input"), (BINARY, bytes((CLOSE, STDIN)))]
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)


def test_it_is_delivered_as_a_program(tmp_path: Path):
    deliver(tmp_path / "kube")
    done = subprocess.run([tmp_path / "kube" / "kubectl", "get", "pods"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this kubectl")


def test_the_workers_are_waited_for_and_the_launcher_is_not(tmp_path: Path):
    hostfile = tmp_path / "hostfile"
    hostfile.write_text("job-launcher slots=1\njob-worker-0 slots=1\n\njob-worker-1 slots=1\n")
    assert hosts(hostfile, "job-launcher") == ["job-worker-0", "job-worker-1"]
    assert not is_ready(None)
    assert not is_ready({"status": {}})
    assert not is_ready({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert is_ready({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
