"""What the zygote is asked, and the answer: length-prefixed JSON on a stream, descriptors beside the first bytes.

A connection carries one request. "start" and "template": one answer; a nursery's init closes the connection when the
container has ended, a keeper at once. "exec": one answer when the program runs, one when it has ended; closing the
connection earlier ends the program.
"""

import array
import json
import socket

TYPE_CHECKING = False  # the real one costs the import of typing, in every container's keeper
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, NotRequired, TypedDict

    class MountRequest(TypedDict):
        """``spec.Mount`` as JSON."""

        kind: str
        target: str
        source: str
        mode: int | None
        size: int | None
        lower: NotRequired[list[str]]
        copied: NotRequired[bool]
        beneath: NotRequired[str]
        make: NotRequired[bool]

    class WarmRequest(TypedDict):
        """``spec.WarmStart`` as JSON, as far as the container's init needs it."""

        program: str
        module: str
        arguments: list[str]
        env: dict[str, str]
        text: str | None
        text_name: str
        text_at: int
        below_shell: bool

    class RehearsalRequest(TypedDict):
        """``spec.Rehearsal`` as JSON."""

        module: str
        text: str
        arguments: list[str]

    class TemplateRequest(TypedDict):
        """A warm interpreter to start, whose nursery serves at ``socket``; answered when it is ready."""

        operation: Literal["template"]
        descriptors: list[str]
        socket: str
        log: str
        argv: list[str]
        env: dict[str, str]
        mounts: list[MountRequest]
        imports: list[str]
        extras: list[str]
        furniture: list[MountRequest]
        idle: int
        rehearsal: RehearsalRequest | None

    class EndRequest(TypedDict):
        """To a nursery: the warm interpreter may end; nothing is answered."""

        operation: Literal["end"]
        descriptors: list[str]

    class StartRequest(TypedDict):
        """``spec.ContainerSpec`` as JSON. ``descriptors`` names those sent along: "network".

        With ``warm`` it goes to a nursery, and ``mounts`` lacks what is made there ahead.
        """

        operation: Literal["start"]
        descriptors: list[str]
        directory: str
        argv: list[str]
        env: dict[str, str]
        log: str
        cwd: str
        mounts: list[MountRequest]
        hostname: str
        user: int | None
        group: int | None
        memory_bytes: int | None
        cpu_millis: int | None
        stdin: bool
        stdin_once: bool
        tty: bool
        processes_of: str | None
        read_only: list[str]
        sysctls: dict[str, str]
        warm: WarmRequest | None
        extra: dict[str, str]

    class ExecRequest(TypedDict):
        """A command for a running container. ``descriptors`` names those sent along: "stdin", "stdout", "stderr".

        With ``terminal`` its stdin is one, and becomes the one that controls it; where no descriptors are sent, it is a
        new one of the container's, whose other end comes with the answer. ``env`` is added to the container's.
        """

        operation: Literal["exec"]
        descriptors: list[str]
        directory: str
        argv: list[str]
        terminal: NotRequired[bool]
        env: NotRequired[dict[str, str]]

    class ConnectRequest(TypedDict):
        """A port of a container to connect to; the connection comes with the answer."""

        operation: Literal["connect"]
        descriptors: list[str]
        directory: str
        port: int

    class Answer(TypedDict):
        """``error`` names a class of ``errors`` and ``message`` is its sentence, else the rest says how it went."""

        error: NotRequired[str]
        message: NotRequired[str]
        exit_code: NotRequired[int]
        keeper_pid: NotRequired[int]
        pid: NotRequired[int]
        started_at: NotRequired[int]
        warm: NotRequired[bool]
        code: NotRequired[int]


HEADER = 4
MOST_DESCRIPTORS = 4
LONGEST = 1 << 26


class Closed(Exception):
    """The other side closed the connection before it said all."""


def encode(message: "Mapping[str, Any]") -> bytes:
    """The bytes of a message without its length."""
    return json.dumps(message, separators=(",", ":")).encode("utf-8", "surrogateescape")


def prefix(payload: bytes) -> bytes:
    """The bytes that come before ``payload``."""
    return len(payload).to_bytes(HEADER, "big")


def send(connection: socket.socket, message: "Answer", descriptors: "Sequence[int]" = ()) -> None:
    """Send a message whole, waiting as long as it takes."""
    payload = encode(message)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([prefix(payload)], rights)
    connection.sendall(payload)


def receive(connection: socket.socket) -> "tuple[Any, list[int]]":
    """The next message and the descriptors that came with it. Raises Closed."""
    space = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
    head, control, _, _ = connection.recvmsg(HEADER, space, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            descriptors.extend(numbers)
    length = int.from_bytes(head + _exactly(connection, HEADER - len(head)), "big")
    if length > LONGEST:
        raise Closed
    return json.loads(_exactly(connection, length).decode("utf-8", "surrogateescape")), descriptors


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0:
        part = connection.recv(length)
        if not part:
            raise Closed
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
