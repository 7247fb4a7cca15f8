"""``kubectl exec POD -- COMMAND``: all that Open MPI's and Intel MPI's launchers ask of it.

It speaks Kubernetes' own protocol (``v5.channel.k8s.io`` over a WebSocket) with the pod's service account, so any
cluster understands it.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255
CONTINUED, TEXT, BINARY, CLOSING, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
SWITCHED = 101
AT_ONCE = 1 << 16
SHORT, LONG = 126, 127


class Refusal(Exception):
    """It cannot be done; the message is a sentence."""


class Cluster:
    """The API server, as a pod with a service account reaches it."""

    def __init__(self, account: str = ACCOUNT) -> None:
        folder = Path(account)
        try:
            self.host, self.port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
            self.namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
            self._token = folder / "token"
            self._context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        except (KeyError, OSError) as error:
            raise Refusal(f"this pod has no service account to speak for it: {error}") from error

    def ask(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPConnection:
        """A connection that has sent GET. Raises Refusal."""
        token = self._token.read_text(encoding="utf-8").strip()
        connection = http.client.HTTPSConnection(self.host, self.port, context=self._context)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}", **(headers or {})})
        except OSError as error:
            raise Refusal(f"the API server does not answer: {error}") from error
        return connection

    def get(self, path: str) -> Any:
        """The answer as JSON, None when there is no such object. Raises Refusal."""
        connection = self.ask(path)
        try:
            response = connection.getresponse()
            body = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refusal(f"the API server does not answer: {error}") from error
        finally:
            connection.close()
        if response.status == http.client.NOT_FOUND:
            return None
        if response.status != http.client.OK:
            raise Refusal(str(body.get("message", response.reason)))
        return body

    def open(self, path: str) -> WebSocket:
        """A WebSocket. Raises Refusal."""
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": PROTOCOL,
        }
        connection = self.ask(path, headers)
        channel = connection.sock
        try:
            response = connection.getresponse()
            if response.status != SWITCHED:
                raise Refusal(_complaint(response.read(), response.reason))
            return WebSocket(connection, channel, response)
        except (OSError, http.client.HTTPException) as error:
            raise Refusal(f"the API server does not answer: {error}") from error


def _complaint(body: bytes, reason: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or reason


class WebSocket:
    """The client's end: messages of a channel's number and bytes."""

    def __init__(self, connection: http.client.HTTPConnection, channel: socket.socket, response: Any) -> None:
        self._connection, self._socket, self._response = connection, channel, response
        self._file = response.fp  # it may have read further than the answer's head
        self._lock = threading.Lock()

    def send(self, channel: int, data: bytes) -> None:
        """A message. Raises OSError."""
        self._frame(BINARY, bytes((channel,)) + data)

    def _frame(self, kind: int, payload: bytes) -> None:
        """As clients must, masked."""
        length = len(payload)
        head = bytes((0x80 | kind,))
        if length < SHORT:
            head += bytes((0x80 | length,))
        elif length < 1 << 16:
            head += struct.pack("!BH", 0x80 | SHORT, length)
        else:
            head += struct.pack("!BQ", 0x80 | LONG, length)
        mask = os.urandom(4)
        whole = int.from_bytes(payload, "little") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "little")
        with self._lock:
            self._socket.sendall(head + mask + whole.to_bytes(length, "little"))

    def receive(self) -> tuple[int, bytes] | None:
        """The next message and its channel; None when the server has gone. Raises OSError."""
        message = b""
        while True:
            head = self._file.read(2)
            if len(head) < 2:
                return None
            kind, length = head[0] & 0x0F, head[1] & 0x7F
            if length == SHORT:
                length = struct.unpack("!H", self._file.read(2))[0]
            elif length == LONG:
                length = struct.unpack("!Q", self._file.read(8))[0]
            payload: bytes = self._file.read(length)
            if kind == CLOSING or len(payload) < length:
                return None
            if kind == PING:
                self._frame(PONG, payload)
            elif kind in (CONTINUED, TEXT, BINARY):
                message += payload
                if head[0] & 0x80 and message:
                    return message[0], message[1:]

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.close()


class Command:
    """A command line: ``exec [-i] [-n NAMESPACE] [-c CONTAINER] POD -- COMMAND...``."""

    def __init__(self, words: Sequence[str]) -> None:
        rest = list(words)
        self.pod, self.container, self.namespace, self.stdin = "", "", "", False
        if not rest or rest.pop(0) != "exec":
            raise Refusal('this kubectl, which the platform gives to MPI launchers, knows "exec" alone')
        while rest and rest[0] != "--":
            word = rest.pop(0)
            name, given, value = word.partition("=")
            if word in ("-i", "--stdin"):
                self.stdin = True
            elif name in ("-c", "--container", "-n", "--namespace"):
                value = value if given else (rest.pop(0) if rest else "")
                setattr(self, "container" if name in ("-c", "--container") else "namespace", value)
            elif word.startswith("-"):
                raise Refusal(f"unknown flag: {word}")
            elif self.pod:
                rest.insert(0, word)
                break
            else:
                self.pod = word.rpartition("/")[2]
        self.argv = rest[1:] if rest and rest[0] == "--" else rest
        if not self.pod:
            raise Refusal("pod, type/name or --filename must be specified")
        if not self.argv:
            raise Refusal("you must specify at least one command for the container")

    def path(self, namespace: str) -> str:
        """Where the API runs it."""
        query = [("command", word) for word in self.argv] + [("stdout", "true"), ("stderr", "true")]
        if self.stdin:
            query.append(("stdin", "true"))
        if self.container:
            query.append(("container", self.container))
        place = f"{quote(self.namespace or namespace)}/pods/{quote(self.pod)}"
        return f"/api/v1/namespaces/{place}/exec?{urlencode(query)}"


def run(command: Command, cluster: Cluster) -> int:
    """Its exit code. Raises Refusal."""
    channel = cluster.open(command.path(cluster.namespace))
    if command.stdin:
        threading.Thread(target=_forward, args=(channel,), daemon=True).start()
    try:
        while True:
            message = channel.receive()
            if message is None:
                raise Refusal(f"the connection to pod {command.pod} broke off")
            number, data = message
            if number in (STDOUT, STDERR):
                _write(number, data)
            elif number == STATUS:
                return _code(json.loads(data))
    except (OSError, ValueError) as error:
        raise Refusal(f"the connection to pod {command.pod} broke off: {error}") from error
    finally:
        channel.close()


def _forward(channel: WebSocket) -> None:
    while True:
        part = os.read(0, AT_ONCE)
        if not part:
            channel.send(CLOSE, bytes((STDIN,)))
            return
        channel.send(STDIN, part)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _code(status: Any) -> int:
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise Refusal(str(status.get("message", "the command failed")))


def main() -> None:
    """As kubectl: the command's exit code; 1 when there is none."""
    try:
        sys.exit(run(Command(sys.argv[1:]), Cluster()))
    except Refusal as refusal:
        sys.stderr.write(f"error: {refusal}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
