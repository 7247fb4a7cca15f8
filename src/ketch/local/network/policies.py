"""NetworkPolicies: which packets pods may exchange, as rules of the kernel and as a question that the proxy asks.

A pod is closed in a direction as soon as one entry names it; entries of one pod add up. What answers is let through.
Two chains see each packet that is forwarded, one for where it comes from and one for where it goes, so that being let
through by one says nothing to the other; what pods say to the cluster's own address (the API, the way outside) passes
the first alone. Names are open to every pod, and the way outside asks ``permits`` itself. What the cluster says to pods
(probes, kubectl port-forward) is never closed.
"""

import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from ketch.local.network.addresses import DNS_PORT, PROXY_PORT
from ketch.local.network.netlink import Message, Netlink
from ketch.local.network.nftables import (
    Comparison,
    Header,
    Hook,
    Kind,
    Register,
    SetFlag,
    accept,
    batch,
    compare,
    delete_table,
    drop,
    element,
    elements,
    jump,
    load_connection_state,
    load_payload,
    load_protocol,
    look_up,
    mask,
    new_base_chain,
    new_chain,
    new_rule,
    new_set,
    new_table,
)
from ketch.local.network.wire import Block, Direction, Opening, PolicyEntry, PortRange, TransportProtocol

TABLE = "ketch-policies"
EVERYWHERE = IPv4Network("0.0.0.0/0")
_SOURCE_ADDRESS, _DESTINATION_ADDRESS, _DESTINATION_PORT = 12, 16, 2
_CONFIRMED = struct.pack("=I", 2 | 4)
"""A connection that both sides have spoken on, and what belongs to one."""

_NUMBERS: Mapping[TransportProtocol, int] = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": 132}
_OWN: Mapping[Direction, int] = {"ingress": _DESTINATION_ADDRESS, "egress": _SOURCE_ADDRESS}
_OTHERS: Mapping[Direction, int] = {"ingress": _SOURCE_ADDRESS, "egress": _DESTINATION_ADDRESS}
_PRIORITIES: Mapping[Direction, int] = {"egress": 0, "ingress": 1}
_FIRST_NUMBER = 3
_SET_NUMBERS: Mapping[Direction, int] = {"egress": 1, "ingress": 2}


def permits(entries: Iterable[PolicyEntry], source: str, destination: str | None, port: int) -> bool:
    """Whether the pod at ``source`` may open a TCP connection to ``destination`` (None: a name somewhere outside)."""
    known = list(entries)
    leaving = [entry for entry in known if entry.direction == "egress" and source in entry.pods]
    if leaving and not any(_opens(each, destination, port) for entry in leaving for each in entry.openings):
        return False
    arriving = [entry for entry in known if entry.direction == "ingress" and destination in entry.pods]
    return not arriving or any(_opens(each, source, port) for entry in arriving for each in entry.openings)


def _opens(opening: Opening, other: str | None, port: int) -> bool:
    ports = opening.ports
    if ports and not any(each.protocol == "TCP" and each.first <= port <= each.last for each in ports):
        return False
    if opening.anyone:
        return True
    if other is None:  # where that is nobody knows: it is open to those to whom everything outside is
        return any(IPv4Network(block.cidr) == EVERYWHERE for block in opening.blocks)
    return other in opening.addresses or any(_within(IPv4Address(other), block) for block in opening.blocks)


def _within(address: IPv4Address, block: Block) -> bool:
    return address in IPv4Network(block.cidr) and not any(
        address in IPv4Network(exception) for exception in block.exceptions
    )


class _Rules:
    """The whole table as messages, with a number for each set in it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._next_number = _FIRST_NUMBER

    def addresses(self, offset: int, addresses: Sequence[str]) -> bytes:
        """Expressions that hold for packets from (or to) one of ``addresses``."""
        number, self._next_number = self._next_number, self._next_number + 1
        flags = SetFlag.ANONYMOUS | SetFlag.CONSTANT
        self.messages.append(new_set(TABLE, "__set%d", number, key=4, flags=flags))
        items = [element(socket.inet_aton(address)) for address in sorted(set(addresses))]
        self.messages += elements(Kind.NEW_ELEMENT, TABLE, "__set%d", number, items)
        return load_payload(Register.WIDE, Header.NETWORK, offset, 4) + look_up("__set%d", number, Register.WIDE)

    def add(self, chain: str, *expressions: bytes) -> None:
        """Append a rule to ``chain``."""
        self.messages.append(new_rule(TABLE, chain, expressions))


def _matching(offset: int, network: str, how: Comparison) -> bytes:
    parsed = IPv4Network(network)
    return (
        load_payload(Register.WIDE, Header.NETWORK, offset, 4)
        + mask(Register.WIDE, parsed.netmask.packed)
        + compare(Register.WIDE, how, parsed.network_address.packed)
    )


def _to_ports(ports: PortRange) -> bytes:
    load = load_payload(Register.WIDE, Header.TRANSPORT, _DESTINATION_PORT, 2)
    found = load_protocol(Register.WIDE) + compare(Register.WIDE, Comparison.EQUAL, bytes([_NUMBERS[ports.protocol]]))
    if (ports.first, ports.last) == (0, 65535):
        return found
    first, last = struct.pack(">H", ports.first), struct.pack(">H", ports.last)
    if first == last:
        return found + load + compare(Register.WIDE, Comparison.EQUAL, first)
    at_least = compare(Register.WIDE, Comparison.AT_LEAST, first)
    return found + load + at_least + compare(Register.WIDE, Comparison.AT_MOST, last)


def _open(rules: _Rules, chain: str, opening: Opening, offset: int) -> None:
    """Rules that let through what one opening opens."""

    def others() -> Iterable[bytes]:
        if opening.anyone:
            yield b""
            return
        if opening.addresses:
            yield rules.addresses(offset, opening.addresses)
        for block in opening.blocks:
            exceptions = (_matching(offset, each, Comparison.UNEQUAL) for each in block.exceptions)
            yield _matching(offset, block.cidr, Comparison.EQUAL) + b"".join(exceptions)

    for ports in map(_to_ports, opening.ports) if opening.ports else (b"",):
        for other in others():
            rules.add(chain, other, ports, accept())


def _close(rules: _Rules, direction: Direction, entries: Sequence[PolicyEntry]) -> None:
    """The map from pods to chains of one direction, each of which drops what no entry of the pod opens."""
    for number, entry in enumerate(entries):
        chain = f"{direction}-policy-{number}"
        rules.messages.append(new_chain(TABLE, chain))
        for opening in entry.openings:
            _open(rules, chain, opening, _OTHERS[direction])
    of_pods: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        for pod in entry.pods:
            of_pods.setdefault(pod, []).append(number)
    chains: dict[tuple[int, ...], str] = {}
    for numbers in map(tuple, of_pods.values()):
        if numbers not in chains:
            chains[numbers] = chain = f"{direction}-{len(chains)}"
            rules.messages.append(new_chain(TABLE, chain))
            for number in numbers:
                rules.add(chain, jump(f"{direction}-policy-{number}"))
            rules.add(chain, drop())
    items = [element(socket.inet_aton(pod), jump=chains[tuple(numbers)]) for pod, numbers in of_pods.items()]
    rules.messages += elements(Kind.NEW_ELEMENT, TABLE, direction, _SET_NUMBERS[direction], items)


def _chain(rules: _Rules, name: str, hook: Hook, direction: Direction, *open_ports: int) -> None:
    """A chain that asks the map of ``direction``, but for answers and for ``open_ports``."""
    rules.messages.append(new_base_chain(TABLE, name, hook, _PRIORITIES[direction], "filter"))
    state = load_connection_state(Register.WIDE) + mask(Register.WIDE, _CONFIRMED)
    rules.add(name, state, compare(Register.WIDE, Comparison.UNEQUAL, bytes(4)), accept())
    for port in open_ports:
        load = load_payload(Register.WIDE, Header.TRANSPORT, _DESTINATION_PORT, 2)
        rules.add(name, load, compare(Register.WIDE, Comparison.EQUAL, struct.pack(">H", port)), accept())
    rules.add(
        name,
        load_payload(Register.WIDE, Header.NETWORK, _OWN[direction], 4),
        look_up(direction, _SET_NUMBERS[direction], Register.WIDE, Register.VERDICT),
    )


def table(entries: Sequence[PolicyEntry]) -> Sequence[Message]:
    """The table anew; no table when there is nothing to close. Its size is that of the entries."""
    rules = _Rules()
    rules.messages += [new_table(TABLE), delete_table(TABLE)]
    if not entries:
        return rules.messages
    rules.messages.append(new_table(TABLE))
    for direction, number in _SET_NUMBERS.items():
        rules.messages.append(new_set(TABLE, direction, number, key=4, value=0))
    for direction in _SET_NUMBERS:
        _close(rules, direction, [entry for entry in entries if entry.direction == direction])
    _chain(rules, "leaving", Hook.FORWARD, "egress")
    _chain(rules, "arriving", Hook.FORWARD, "ingress")
    _chain(rules, "to-the-cluster", Hook.INPUT, "egress", DNS_PORT, PROXY_PORT)
    return rules.messages


class KernelPolicies:
    """The kernel's table of policies, through a netlink socket of the cluster's namespace."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def set(self, entries: Sequence[PolicyEntry]) -> None:
        """Make the table so, in one transaction: what stays closed is open at no moment. Raises OSError."""
        self._netlink.send(batch(table(entries)))
