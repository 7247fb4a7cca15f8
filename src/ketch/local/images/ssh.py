"""``ssh`` and ``sshd`` as containers here have them: ``python ssh.py ssh HOST COMMAND``, ``python ssh.py sshd -De``.

They run under the image's own interpreter, with the standard library alone. OpenSSH's server needs rights that these
containers have not; and all pods are on one machine, so what matters is who may enter, not who might listen. Both ends
prove that they hold the private key that the job's Secret mounts into every one of its pods, and then send frames: a
letter, a length, the bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

PORT = 2222
"""Where the images of MPI jobs have their sshd, and where their ssh looks for it."""

PRIVATE_KEY, AUTHORIZED = "id_rsa", "authorized_keys"
GREETING = b"SSH-ketch-1\r\n"
NONCE, PROOF = 32, 32
AT_ONCE = 1 << 16
REFUSED = 255
"""ssh's exit code when it is not the command's."""

KEEPALIVE_SECONDS = 15
LINGER_SECONDS = 5.0
"""How long a command's output may go on once it has ended itself."""

NAME_SECONDS = 60
"""How long a host that has no address yet is waited for: its pod is being made."""

ATTEMPTS = 10
"""How often, a second apart, a host is asked where nobody listens: its sshd is just starting."""

CALLER_SECONDS = 10
"""How long the name of a new pod may take until others know it."""

NAME, COMMAND, INPUT, NO_MORE_INPUT, OUTPUT, ERRORS, CODE = b"N", b"C", b"I", b"E", b"O", b"X", b"R"

WITH_VALUE = frozenset("bcDEeFIiJLlmOopQRSwWB")
SERVER_WITH_VALUE = frozenset("CcEfghoup")


class Refusal(Exception):
    """It cannot be done; the message is a sentence."""


class Ended(Exception):
    """The other side has gone."""


# keys and frames ---------------------------------------------------------------------------------------------------


def mounted(wanted: str, table: str = "/proc/self/mountinfo") -> list[Path]:
    """Mount points whose folder has a file of that name."""
    try:
        lines = Path(table).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    places = [Path(line.split()[4].replace("\\040", " ")) for line in lines if len(line.split()) > 4]
    return [place for place in places if (place / wanted).is_file()]


def secret_of(chosen: str | None = None) -> bytes:
    """What both ends must know: the digest of the private key. Raises Refusal."""
    if chosen:
        folders = [Path(chosen).expanduser().parent]
    else:
        home = Path(os.environ.get("HOME") or "/") / ".ssh"
        folders = [home, *mounted(AUTHORIZED)]
    for folder in folders:
        path = Path(chosen).expanduser() if chosen else folder / PRIVATE_KEY
        try:
            return hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            continue
    raise Refusal(f"no key: neither {folders[0]} nor a mounted Secret has a file {PRIVATE_KEY}")


def proof(secret: bytes, who: bytes, ours: bytes, theirs: bytes) -> bytes:
    """That its sender knows the secret, for these two nonces alone."""
    return hmac.new(secret, who + ours + theirs, hashlib.sha256).digest()


def read(connection: socket.socket, count: int) -> bytes:
    """So many bytes. Raises Ended."""
    parts: list[bytes] = []
    while count:
        try:
            part = connection.recv(min(count, AT_ONCE))
        except OSError as error:
            raise Ended from error
        if not part:
            raise Ended
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def send(connection: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """One frame. Raises Ended."""
    try:
        connection.sendall(kind + struct.pack("!I", len(payload)) + payload)
    except OSError as error:
        raise Ended from error


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """One frame: its letter and its bytes. Raises Ended."""
    kind, length = struct.unpack("!cI", read(connection, 5))
    return kind, read(connection, length)


def keep_alive(connection: socket.socket) -> None:
    """Hear of it when the other side's pod is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS)


# sshd --------------------------------------------------------------------------------------------------------------


class Session:
    """One command for one client."""

    def __init__(self, connection: socket.socket, secret: bytes) -> None:
        self.connection = connection
        self.secret = secret
        self.lock = threading.Lock()
        self.over = False

    def run(self) -> None:
        """From the greeting to the exit code."""
        with self.connection:
            try:
                if not self.admit():
                    return
                kind, command = receive(self.connection)
                if kind == NAME:
                    await_name(command.decode())
                    kind, command = receive(self.connection)
                if kind == COMMAND:
                    self.execute(command.decode("utf-8", "surrogateescape"))
            except Ended:
                return

    def admit(self) -> bool:
        """Whether the client knows the secret; it learns that this server does."""
        ours = os.urandom(NONCE)
        self.connection.sendall(GREETING + ours)
        theirs = read(self.connection, NONCE)
        known = hmac.compare_digest(read(self.connection, PROOF), proof(self.secret, b"client", ours, theirs))
        if known:
            self.connection.sendall(proof(self.secret, b"server", theirs, ours))
        else:
            say("sshd", "refused a client that does not have the job's key")
        return known

    def execute(self, command: str) -> None:
        """Run it, in this container's environment, and say how it ended."""
        shell = os.environ.get("SHELL") or "/bin/sh"
        home = os.environ.get("HOME") or "/"
        process = subprocess.Popen(
            [shell, "-c", command] if command else [shell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home if Path(home).is_dir() else "/",
            start_new_session=True,
        )
        pumps = [
            threading.Thread(target=self.pump, args=(stream, kind), daemon=True)
            for stream, kind in ((process.stdout, OUTPUT), (process.stderr, ERRORS))
        ]
        threading.Thread(target=self.listen, args=(process.pid, process.stdin), daemon=True).start()
        for each in pumps:
            each.start()
        code = process.wait()
        self.over = True
        for each in pumps:
            each.join(LINGER_SECONDS)
        self.tell(CODE, struct.pack("!i", code if code >= 0 else 128 - code))

    def pump(self, stream: IO[bytes], kind: bytes) -> None:
        """Output as it comes."""
        while True:
            part = os.read(stream.fileno(), AT_ONCE)
            if not part:
                return
            try:
                self.tell(kind, part)
            except Ended:
                return

    def tell(self, kind: bytes, payload: bytes) -> None:
        """A frame at a time, whoever has one."""
        with self.lock:
            send(self.connection, kind, payload)

    def listen(self, leader: int, stdin: IO[bytes]) -> None:
        """Input as it comes; a client that goes takes its command along."""
        try:
            while True:
                kind, payload = receive(self.connection)
                if kind == NO_MORE_INPUT:
                    stdin.close()
                elif kind == INPUT:
                    feed(stdin, payload)
        except Ended:
            if not self.over:
                hang_up(leader)


def await_name(caller: str) -> None:
    """What is started here calls back by that name: it must be known."""
    patience = time.monotonic() + CALLER_SECONDS
    while caller and time.monotonic() < patience:
        try:
            socket.getaddrinfo(caller, None)
        except socket.gaierror:
            time.sleep(0.1)
        else:
            return


def feed(stdin: IO[bytes], payload: bytes) -> None:
    """Input for a command that may not want any more."""
    try:
        stdin.write(payload)
        stdin.flush()
    except (BrokenPipeError, ValueError):
        return


def hang_up(leader: int) -> None:
    """End a session's processes, but for those that have left it."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        try:
            os.killpg(leader, number)
        except ProcessLookupError:
            return


def options_of(words: Sequence[str], with_value: Container[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Options as (letter, value) in order, and the words after them."""
    found: list[tuple[str, str]] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)[1:]
        if word == "-":
            break
        while word:
            letter, word = word[0], word[1:]
            if letter in with_value:
                value = word or (rest.pop(0) if rest else "")
                found.append((letter, value))
                break
            found.append((letter, ""))
    return found, rest


def setting(text: str) -> tuple[str, str]:
    """An option as configuration files and ``-o`` spell it: ``Name value`` or ``Name=value``."""
    name, _, value = text.strip().replace("=", " ", 1).partition(" ")
    return name.lower(), value.strip().strip('"')


def server_settings(options: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What files and options say, names in small letters; what is said first counts."""
    settings: dict[str, str] = {}
    given = [setting(value) for letter, value in options if letter == "o"]
    given += [("port", value) for letter, value in options if letter == "p"]
    given += [("hostkey", value) for letter, value in options if letter == "h"]
    for letter, value in options:
        if letter == "f" and Path(value).is_file():
            lines = Path(value).read_text(encoding="utf-8").splitlines()
            given += [setting(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for name, value in given:
        settings.setdefault(name, value)
    return settings


def serve(words: Sequence[str]) -> int:
    """``sshd``: lets those in who hold the job's key. Ends with SIGTERM."""
    options, _ = options_of(words, SERVER_WITH_VALUE)
    letters = {letter for letter, _ in options}
    settings = server_settings(options)
    key = settings.get("hostkey")
    secret = secret_of(key if key and Path(key).is_file() else None)
    if letters & {"t", "T"}:
        return 0
    port = int(settings.get("port", PORT))
    with socket.create_server(("", port), backlog=128) as listener:
        if not letters & {"D", "d"} and os.fork():
            return 0
        say("sshd", f"Server listening on 0.0.0.0 port {port}.")
        while True:
            connection, peer = listener.accept()
            keep_alive(connection)
            say("sshd", f"Connection from {peer[0]} port {peer[1]}")
            threading.Thread(target=Session(connection, secret).run, daemon=True).start()


# ssh ---------------------------------------------------------------------------------------------------------------


class Request:
    """What a command line of ssh asks for."""

    def __init__(self, words: Sequence[str]) -> None:
        options, rest = options_of(words, WITH_VALUE)
        self.host = rest.pop(0).rpartition("@")[2] if rest else ""
        more, rest = options_of(rest, WITH_VALUE)
        self.command = " ".join(rest)
        options += more
        settings = dict(reversed([setting(value) for letter, value in options if letter == "o"]))
        named = dict(reversed(options))
        letters = {letter for letter, _ in options}
        self.version = "V" in letters
        self.no_input = "n" in letters or "f" in letters
        self.behind = "f" in letters
        self.port = int(named.get("p") or settings.get("port") or PORT)
        self.attempts = int(settings.get("connectionattempts") or ATTEMPTS)
        self.timeout = float(settings.get("connecttimeout") or 0) or None
        self.key = named.get("i") or settings.get("identityfile")


def connected(request: Request) -> socket.socket:
    """A connection; a pod that is just being made has its time to come. Raises Refusal."""
    tried, patience = 0, time.monotonic() + NAME_SECONDS
    while True:
        try:
            return socket.create_connection((request.host, request.port), request.timeout)
        except socket.gaierror as error:
            if time.monotonic() > patience:
                raise Refusal(f"Could not resolve hostname {request.host}: {error.strerror}") from error
        except OSError as error:
            tried += 1
            if tried >= request.attempts:
                why = error.strerror or str(error)
                raise Refusal(f"connect to host {request.host} port {request.port}: {why}") from error
        time.sleep(1)


def is_own(host: str) -> bool:
    """Whether it is this pod's name, alone or with its domain."""
    return host.partition(".")[0] == socket.gethostname().partition(".")[0]


def own_name(host: str) -> str:
    """This pod's name, in the domain in which ``host`` has its own."""
    domain = "" if host.replace(".", "").isdigit() else host.partition(".")[2]
    return f"{socket.gethostname()}.{domain}" if domain else ""


def enter(connection: socket.socket, request: Request) -> None:
    """Prove who this is, and see that it is the job's server. Raises Refusal, Ended."""
    secret = secret_of(request.key)
    if read(connection, len(GREETING)) != GREETING:
        raise Refusal(f"{request.host} port {request.port} is no sshd of this platform")
    theirs, ours = read(connection, NONCE), os.urandom(NONCE)
    connection.sendall(ours + proof(secret, b"client", theirs, ours))
    try:
        answer = read(connection, PROOF)
    except Ended as error:
        raise Refusal(f"{request.host}: Permission denied (publickey).") from error
    if not hmac.compare_digest(answer, proof(secret, b"server", ours, theirs)):
        raise Refusal(f"{request.host}: Host key verification failed.")


def relay(connection: socket.socket, *, no_input: bool) -> int:
    """Input there, output here, until the command has ended: its exit code. Raises Ended."""
    if no_input:
        send(connection, NO_MORE_INPUT)
    else:
        threading.Thread(target=forward, args=(connection,), daemon=True).start()
    while True:
        kind, payload = receive(connection)
        if kind == CODE:
            return int(struct.unpack("!i", payload)[0])
        write(1 if kind == OUTPUT else 2, payload)


def forward(connection: socket.socket) -> None:
    """Input to the command, up to its end."""
    try:
        while True:
            part = os.read(0, AT_ONCE)
            send(connection, INPUT if part else NO_MORE_INPUT, part)
            if not part:
                return
    except (Ended, OSError):
        return


def write(descriptor: int, payload: bytes) -> None:
    """All of it."""
    while payload:
        payload = payload[os.write(descriptor, payload) :]


def ask(words: Sequence[str]) -> int:
    """``ssh``: runs a command there; its exit code, 255 when that cannot be."""
    request = Request(words)
    if request.version:
        say("ssh", "the platform's own, for pods that share a key")
        return 0
    if not request.host:
        raise Refusal("usage: ssh [-p port] [-i key] [-o option=value] host [command]")
    if is_own(request.host) and request.command:
        # A launcher that is one of its hosts has no sshd, and MPI may not know its name as soon as it is asked.
        os.execl("/bin/sh", "sh", "-c", request.command)  # noqa: S606  # it is a shell
    with connected(request) as connection:
        connection.settimeout(None)
        keep_alive(connection)
        try:
            enter(connection, request)
            send(connection, NAME, own_name(request.host).encode())
            send(connection, COMMAND, request.command.encode("utf-8", "surrogateescape"))
            if request.behind and os.fork():
                os._exit(0)
            return relay(connection, no_input=request.no_input)
        except Ended as error:
            raise Refusal(f"Connection to {request.host} closed by remote host.") from error


def say(who: str, text: object) -> None:
    """A line for whoever reads the container's log."""
    sys.stderr.write(f"{who}: {text}\n")
    sys.stderr.flush()


def main() -> None:
    """As the first word says."""
    who, words = sys.argv[1], sys.argv[2:]
    try:
        sys.exit(serve(words) if who == "sshd" else ask(words))
    except (Refusal, ValueError) as refusal:
        say(who, refusal)
        sys.exit(1 if who == "sshd" else REFUSED)
    except OSError as error:
        say(who, error.strerror or error)
        sys.exit(1 if who == "sshd" else REFUSED)


if __name__ == "__main__":
    main()
