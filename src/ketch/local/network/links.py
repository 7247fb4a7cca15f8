"""What the cluster's network is made of, as messages to the kernel: pairs of interfaces, addresses, routes.

Each pod is joined to the cluster's namespace by its own pair of interfaces and by routes to single addresses. All
traffic between pods is therefore routed there, where translated addresses are translated back; two pods on one
bridge would answer each other past it. The neighbours' hardware addresses are known beforehand: nobody asks for them.
"""

import socket
import struct
from collections.abc import Sequence

from ketch.local.network.addresses import GATEWAY, SERVICE_NETWORK, pod_address
from ketch.local.network.netlink import ACK, CREATE, EXCLUSIVE, Message, attribute, nested, text

POD_INTERFACE = "eth0"
LOOPBACK_INDEX = 1
POD_INTERFACE_INDEX = 100
FIRST_CLUSTER_INDEX = 1000
"""Interfaces get fixed numbers, so that later messages can name what earlier ones of the same packet make."""

_NEWLINK, _NEWADDR, _NEWROUTE, _NEWNEIGH = 16, 20, 24, 28
_DELADDR, _DELROUTE, _DELNEIGH = 21, 25, 29
_UP = 0x1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_PERMANENT = 0x80
_MAIN_TABLE, _LOCAL_TABLE = 254, 255
_UNIVERSE, _LINK, _HOST = 0, 253, 254
_UNICAST, _LOCAL = 1, 2
_STATIC = 4
_NEW = ACK | CREATE | EXCLUSIVE
_CLUSTER_SIDE = b"\xee" * 6


def _link(index: int, flags: int = _UP) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _pod_side(index: int) -> bytes:
    return b"\x0a\x58" + socket.inet_aton(pod_address(index))


def _address(interface: int, address: str) -> Message:
    packed = socket.inet_aton(address)
    head = struct.pack("=BBBBI", socket.AF_INET, 32, 0, _UNIVERSE, interface)
    return Message(_NEWADDR, _NEW, head + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed))


def _route(head: tuple[int, int, int, int], attributes: Sequence[tuple[int, bytes]]) -> Message:
    length, table, scope, kind = head
    packed = struct.pack("=BBBBBBBBI", socket.AF_INET, length, 0, 0, table, _STATIC, scope, kind, 0)
    return Message(_NEWROUTE, _NEW, packed + b"".join(attribute(*item) for item in attributes))


def _neighbour(interface: int, address: str, hardware: bytes) -> Message:
    head = struct.pack("=BxxxiHBB", socket.AF_INET, interface, _NUD_PERMANENT, 0, 0)
    body = attribute(_NDA_DST, socket.inet_aton(address)) + attribute(_NDA_LLADDR, hardware)
    return Message(_NEWNEIGH, _NEW, head + body)


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


def cluster_messages() -> Sequence[Message]:
    """The cluster's namespace itself: the pods' gateway, and every Service's address as one of its own.

    An address that nothing translates and nobody listens on is so refused by the kernel, at once.
    """
    services = (
        (_RTA_DST, SERVICE_NETWORK.network_address.packed),
        (_RTA_OIF, _number(LOOPBACK_INDEX)),
        (_RTA_PREFSRC, socket.inet_aton(GATEWAY)),
    )
    return (
        Message(_NEWLINK, ACK, _link(LOOPBACK_INDEX)),
        _address(LOOPBACK_INDEX, GATEWAY),
        _route((SERVICE_NETWORK.prefixlen, _LOCAL_TABLE, _HOST, _LOCAL), services),
    )


def joining_messages(index: int, namespace: int) -> Sequence[Message]:
    """For the cluster's side: the pair of interfaces, one end of it in the pod's ``namespace``, and the way there."""
    interface = FIRST_CLUSTER_INDEX + index
    peer = (
        _link(POD_INTERFACE_INDEX, flags=0)
        + text(_IFLA_IFNAME, POD_INTERFACE)
        + attribute(_IFLA_ADDRESS, _pod_side(index))
        + attribute(_IFLA_NET_NS_FD, _number(namespace))
    )
    pair = (
        _link(interface)
        + text(_IFLA_IFNAME, f"pod{index}")
        + attribute(_IFLA_ADDRESS, _CLUSTER_SIDE)
        + nested(
            _IFLA_LINKINFO,
            (attribute(_INFO_KIND, b"veth"), nested(_INFO_DATA, (nested(_VETH_INFO_PEER, (peer,)),))),
        )
    )
    return (Message(_NEWLINK, _NEW, pair), *_way_to(pod_address(index), index))


def moving_messages(interface: int, before: int, after: int) -> Sequence[Message]:
    """For the cluster's side: the pod joined by the pair ``interface`` has another address than before."""
    return (
        *(
            Message(kind, ACK, each.body)
            for kind, each in zip((_DELROUTE, _DELNEIGH), _way_to(pod_address(before), interface), strict=True)
        ),
        *_way_to(pod_address(after), interface),
    )


def renaming_messages(before: int, after: int) -> Sequence[Message]:
    """For the pod's side: another address. The new one comes first: with the last one all routes would go."""
    old = _address(POD_INTERFACE_INDEX, pod_address(before))
    return _address(POD_INTERFACE_INDEX, pod_address(after)), Message(_DELADDR, ACK, old.body)


def _way_to(address: str, index: int) -> Sequence[Message]:
    """Where the cluster's side finds the address: behind the pair of interfaces ``index``."""
    interface = FIRST_CLUSTER_INDEX + index
    way = (
        (_RTA_DST, socket.inet_aton(address)),
        (_RTA_OIF, _number(interface)),
        (_RTA_PREFSRC, socket.inet_aton(GATEWAY)),
    )
    return _route((32, _MAIN_TABLE, _LINK, _UNICAST), way), _neighbour(interface, address, _pod_side(index))


def pod_messages(index: int) -> Sequence[Message]:
    """For the pod's side: its loopback, its address, and the gateway as the way to everything."""
    interface = (_RTA_OIF, _number(POD_INTERFACE_INDEX))
    gateway = socket.inet_aton(GATEWAY)
    return (
        Message(_NEWLINK, ACK, _link(LOOPBACK_INDEX)),
        Message(_NEWLINK, ACK, _link(POD_INTERFACE_INDEX)),
        _address(POD_INTERFACE_INDEX, pod_address(index)),
        _route((32, _MAIN_TABLE, _LINK, _UNICAST), ((_RTA_DST, gateway), interface)),
        _route((0, _MAIN_TABLE, _UNIVERSE, _UNICAST), ((_RTA_GATEWAY, gateway), interface)),
        _neighbour(POD_INTERFACE_INDEX, GATEWAY, _CLUSTER_SIDE),
    )
