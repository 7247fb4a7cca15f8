"""Where pods may connect to: anywhere but to this machine, its neighbours on the link, and the cluster's own names."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from ketch.local.network.addresses import CLUSTER_DOMAIN, POD_NETWORK, SERVICE_NETWORK

HOST_ALIAS = "host.ketch.internal"
"""This machine, in the addresses of package indexes that it serves to itself."""

Places = frozenset[tuple[str, int]]
"""Hosts with ports."""

_ANY_PORT = 9
_OURS = "belongs to the cluster: exclude it with no_proxy"
_MACHINES = "is an address of this machine, which pods do not reach"


class Refused(Exception):
    """Pods may not connect there; the message says why."""


def _is_own(address: str, family: socket.AddressFamily) -> bool:
    """Whether this machine has the address: packets for it would come from itself."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, _ANY_PORT))
        except OSError:
            return False
        return probe.getsockname()[0] == address


def refusal(text: str) -> str:
    """Why pods may not connect to the address; empty when they may."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return refusal(str(embedded))
    elif address in POD_NETWORK or address in SERVICE_NETWORK:
        return _OURS
    if address.is_loopback or address.is_unspecified:
        return _MACHINES
    if address.is_link_local or address.is_multicast or address.is_reserved:
        return "is not an address that leads outside"
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return _MACHINES if _is_own(str(address), family) else ""


def check_name(host: str) -> None:
    """Raise Refused when the name alone says enough."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        raise Refused(f"{host} {_MACHINES}")
    if name == CLUSTER_DOMAIN or name.endswith(f".{CLUSTER_DOMAIN}"):
        raise Refused(f"{host} {_OURS}")


async def reachable_addresses(host: str, port: int, declared: Places = frozenset()) -> Sequence[str]:
    """The addresses of ``host``, every one of them allowed. Raises Refused, and OSError when there is none.

    Places that are ``declared`` are allowed wherever they are; HOST_ALIAS is this machine in them.
    """
    if (host, port) in declared:
        return ("127.0.0.1",) if host == HOST_ALIAS else (host,)
    check_name(host)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(item[4][0]) for item in found))
    for address in addresses:
        if why := refusal(address):
            raise Refused(f"{host} ({address}) {why}")
    return addresses
