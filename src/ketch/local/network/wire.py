"""What client and daemon say to each other: one JSON line each way per connection, descriptors beside the answer."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Mode = Literal["isolated", "host"]
Protocol = Literal["TCP", "UDP"]
TransportProtocol = Literal["TCP", "UDP", "SCTP"]
Direction = Literal["ingress", "egress"]
SOCKET_NAME = "network.sock"


class NetworkInfo(msgspec.Struct, frozen=True):
    """How pods are connected on this machine.

    ``mode`` "isolated": each pod has its own namespace and address. "host": they share the machine's network, and
    ``reason`` says what is missing. ``proxy_url`` is the pods' way outside (None when they need none).
    """

    mode: Mode
    pod_cidr: str
    service_cidr: str
    dns_address: str
    proxy_url: str | None
    reason: str = ""


class Attachment(msgspec.Struct, frozen=True):
    """A pod's place in the network. The receiver owns ``netns_fd`` and closes it; None means the host's network."""

    ip: str
    netns_fd: int | None = None


class ServiceEntry(msgspec.Struct, frozen=True):
    """One address and port of a Service, and the pods' addresses and ports that stand behind it."""

    cluster_ip: str
    port: int
    protocol: Protocol
    endpoints: tuple[tuple[str, int], ...] = ()


class PortRange(msgspec.Struct, frozen=True):
    """Ports of one protocol, both ends included; without ends, all of them."""

    protocol: TransportProtocol
    first: int = 0
    last: int = 65535


class Block(msgspec.Struct, frozen=True):
    """A network in CIDR notation, but for some within it."""

    cidr: str
    exceptions: tuple[str, ...] = ()


class Opening(msgspec.Struct, frozen=True):
    """Who is let through: pods' ``addresses`` or ``blocks`` (anyone where ``anyone``), on ``ports`` (none: on all)."""

    anyone: bool = False
    addresses: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    ports: tuple[PortRange, ...] = ()


class PolicyEntry(msgspec.Struct, frozen=True):
    """Closes one direction of some pods, but for its openings; several for a pod add up."""

    direction: Direction
    pods: tuple[str, ...]
    openings: tuple[Opening, ...] = ()


class InfoRequest(msgspec.Struct, frozen=True, tag="info"):
    """Ask for NetworkInfo."""


class UserNamespaceRequest(msgspec.Struct, frozen=True, tag="userNamespace"):
    """Ask for the user namespace that owns the pods' namespaces."""


class AttachRequest(msgspec.Struct, frozen=True, tag="attach"):
    """Ask for the pod's Attachment; ``domain`` is where the names are that it writes without their endings."""

    pod: str
    domain: str = ""


class DetachRequest(msgspec.Struct, frozen=True, tag="detach"):
    """Give the pod's Attachment back; ``unchanged``: nobody has set anything in its namespace."""

    pod: str
    unchanged: bool = False


class AttachmentsRequest(msgspec.Struct, frozen=True, tag="attachments"):
    """Ask who is attached."""


class ServicesRequest(msgspec.Struct, frozen=True, tag="services"):
    """Set the table of Services."""

    entries: tuple[ServiceEntry, ...]


class NamesRequest(msgspec.Struct, frozen=True, tag="names"):
    """Set the table of names."""

    names: Mapping[str, tuple[str, ...]]


class PoliciesRequest(msgspec.Struct, frozen=True, tag="policies"):
    """Set the table of policies."""

    entries: tuple[PolicyEntry, ...]


class ConnectRequest(msgspec.Struct, frozen=True, tag="connect"):
    """Ask for a connected socket."""

    ip: str
    port: int
    timeout: float


Request = (
    InfoRequest
    | UserNamespaceRequest
    | AttachRequest
    | DetachRequest
    | AttachmentsRequest
    | ServicesRequest
    | NamesRequest
    | PoliciesRequest
    | ConnectRequest
)


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The daemon's answer: an error, or what the request asks for. ``errno`` comes with a failed connection."""

    error: str = ""
    errno: int = 0
    info: NetworkInfo | None = None
    ip: str = ""
    attachments: Mapping[str, str] = {}
