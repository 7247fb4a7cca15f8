"""The kernel's memory of connections (conntrack), as messages: only forgetting is needed."""

import socket
import struct

from ketch.local.network.netlink import ACK, Message, attribute, nested

_SUBSYSTEM, _DELETE = 1 << 8, 2
_TUPLE_ORIGINAL, _FILTER = 1, 25
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL = 1, 2
_DESTINATION_ADDRESS, _PROTOCOL_NUMBER, _DESTINATION_PORT = 2, 1, 3
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_DESTINATION_ADDRESS, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 1, 1 << 3, 1 << 5


def delete_flows(protocol: int, address: str, port: int) -> Message:
    """Forget every flow that was begun towards this address and port."""
    head = struct.pack(">BBH", socket.AF_INET, 0, 0)
    addresses = nested(_TUPLE_ADDRESSES, (attribute(_DESTINATION_ADDRESS, socket.inet_aton(address)),))
    transport = nested(
        _TUPLE_PROTOCOL,
        (attribute(_PROTOCOL_NUMBER, bytes((protocol,))), attribute(_DESTINATION_PORT, struct.pack(">H", port))),
    )
    compared = struct.pack("=I", _BY_DESTINATION_ADDRESS | _BY_PROTOCOL | _BY_DESTINATION_PORT)
    chosen = nested(_FILTER, (attribute(_FILTER_ORIGINAL, compared), attribute(_FILTER_REPLY, bytes(4))))
    return Message(_SUBSYSTEM | _DELETE, ACK, head + nested(_TUPLE_ORIGINAL, (addresses, transport)) + chosen)
