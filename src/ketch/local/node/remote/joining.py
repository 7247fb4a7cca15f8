"""How a node joins a cluster: what it calls itself, and where it answers. Pure but for one look at the routes."""

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ketch.kube.types.core import Taint

DEFAULT_PORT = 10250
"""Where kubelets answer."""

API_PORTS = {"https": 443, "http": 80}
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_KEY = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?", re.ASCII)


class JoinError(ValueError):
    """A label, taint or address that cannot be used; the message says which and what is expected."""


@dataclass(frozen=True)
class Joining:
    """What a node of another API server adds to its Node object, and its door.

    ``client_authority`` is PEM: who signs the certificate by which the API server is known.
    """

    address: str
    listener: socket.socket
    certificate: Path
    key: Path
    client_authority: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    taints: Sequence[Taint] = ()

    @property
    def port(self) -> int:
        """Where the node answers."""
        return self.listener.getsockname()[1]


def parse_labels(words: Sequence[str]) -> dict[str, str]:
    """``key=value`` each. Raises JoinError."""
    labels: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise JoinError(f"label {word!r}: expected key=value, such as disk=ssd")
        labels[key] = value
    return labels


def parse_taints(words: Sequence[str]) -> tuple[Taint, ...]:
    """``key=value:effect`` or ``key:effect`` each. Raises JoinError."""
    taints: list[Taint] = []
    for word in words:
        rest, _, effect = word.rpartition(":")
        key, _, value = rest.partition("=")
        if effect not in _EFFECTS or not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise JoinError(f"taint {word!r}: expected key=value:effect with effect one of {', '.join(_EFFECTS)}")
        taints.append(Taint(key=key, value=value, effect=effect))
    return tuple(taints)


def api_place(server: str) -> tuple[str, int]:
    """Host and port of an API server's address. Raises JoinError."""
    parts = urlsplit(server)
    if not parts.hostname or parts.scheme not in API_PORTS:
        raise JoinError(f"server {server!r}: expected an address such as https://10.0.0.1:6443")
    return parts.hostname, parts.port or API_PORTS[parts.scheme]


def address_towards(server: str) -> str:
    """This machine's address on the way to an API server. Raises JoinError."""
    host, port = api_place(server)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as towards:
            towards.connect(place)  # sends nothing
            return towards.getsockname()[0]
    except OSError as error:
        raise JoinError(f"no way to {host}: {error.strerror or error}: give this machine's --address") from error
