"""Services' addresses in the kernel: which rules stand for which table, and the difference between two tables.

One map leads from (address, protocol, port) to a chain of the Service's own, which sends each new connection to a
random endpoint. A pod that reaches itself would see its own address as the sender: those connections come from the
gateway instead. A Service without endpoints is not in the map; the kernel refuses its address by itself.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2s

from ketch.local.network.addresses import GATEWAY
from ketch.local.network.flows import delete_flows
from ketch.local.network.netlink import Message, Netlink, size_of
from ketch.local.network.nftables import (
    Header,
    Hook,
    Kind,
    Register,
    SetFlag,
    batch,
    delete_chain,
    delete_rules,
    delete_table,
    element,
    elements,
    load_address,
    load_payload,
    load_protocol,
    load_random,
    look_up,
    new_base_chain,
    new_chain,
    new_rule,
    new_set,
    new_table,
    translate_destination,
    translate_source,
)
from ketch.local.network.wire import Protocol, ServiceEntry

TABLE, SERVICES, HAIRPIN = "ketch", "services", "hairpin"
_SERVICES_NUMBER, _HAIRPIN_NUMBER, _FIRST_NUMBER = 1, 2, 3
_BEFORE_ROUTING, _AFTER_ROUTING = -100, 100
_NUMBERS: Mapping[Protocol, int] = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}
_SOURCE_ADDRESS, _DESTINATION_ADDRESS, _DESTINATION_PORT = 12, 16, 2

Key = tuple[str, Protocol, int]
Endpoints = tuple[tuple[str, int], ...]
Table = Mapping[Key, Endpoints]


def table_of(entries: Iterable[ServiceEntry]) -> Table:
    """The table by key, without Services that have no endpoints; endpoints in one order, each once."""
    return {
        (entry.cluster_ip, entry.protocol, entry.port): tuple(sorted(set(entry.endpoints)))
        for entry in entries
        if entry.endpoints
    }


def _key(key: Key) -> bytes:
    address, protocol, port = key
    return socket.inet_aton(address) + struct.pack(">BxxxHxx", _NUMBERS[protocol], port)


def _chain(key: Key) -> str:
    return "service-" + blake2s("/".join(map(str, key)).encode(), digest_size=10).hexdigest()


def _pair(address: str) -> bytes:
    return socket.inet_aton(address) * 2


def _addresses(table: Table) -> set[str]:
    return {address for endpoints in table.values() for address, _ in endpoints}


def _differing(old: Table, new: Table) -> Sequence[Key]:
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def frame() -> Sequence[Message]:
    """The table anew, with no Service in it."""
    dispatch = (
        load_payload(Register.WORD0, Header.NETWORK, _DESTINATION_ADDRESS, 4),
        load_protocol(Register.WORD1),
        load_payload(Register.WORD2, Header.TRANSPORT, _DESTINATION_PORT, 2),
        look_up(SERVICES, _SERVICES_NUMBER, Register.WORD0, Register.VERDICT),
    )
    to_itself = (
        load_payload(Register.WIDE, Header.NETWORK, _SOURCE_ADDRESS, 8),
        look_up(HAIRPIN, _HAIRPIN_NUMBER, Register.WIDE),
        load_address(Register.WIDE, GATEWAY),
        translate_source(Register.WIDE),
    )
    return (
        new_table(TABLE),
        delete_table(TABLE),
        new_table(TABLE),
        new_set(TABLE, SERVICES, _SERVICES_NUMBER, key=12, value=0),
        new_set(TABLE, HAIRPIN, _HAIRPIN_NUMBER, key=8),
        new_base_chain(TABLE, "prerouting", Hook.PREROUTING, _BEFORE_ROUTING),
        new_base_chain(TABLE, "output", Hook.OUTPUT, _BEFORE_ROUTING),
        new_base_chain(TABLE, "postrouting", Hook.POSTROUTING, _AFTER_ROUTING),
        new_rule(TABLE, "prerouting", dispatch),
        new_rule(TABLE, "output", dispatch),
        new_rule(TABLE, "postrouting", to_itself),
    )


def _choose(key: Key, endpoints: Endpoints, number: int) -> Sequence[Message]:
    choices = [
        element(struct.pack("=I", index), value=socket.inet_aton(address) + struct.pack(">Hxx", port))
        for index, (address, port) in enumerate(endpoints)
    ]
    name = "__map%d"
    flags = SetFlag.ANONYMOUS | SetFlag.CONSTANT
    return (
        new_set(TABLE, name, number, key=4, value=8, flags=flags),
        *elements(Kind.NEW_ELEMENT, TABLE, name, number, choices),
        new_rule(
            TABLE,
            _chain(key),
            (
                load_random(Register.WIDE, len(endpoints)),
                look_up(name, number, Register.WIDE, Register.WIDE),
                translate_destination(Register.WORD0, Register.WORD1),
            ),
        ),
    )


def difference(old: Table, new: Table) -> Sequence[Message]:
    """What turns the rules for ``old`` into those for ``new``; empty when nothing changes."""
    gone = [key for key in old if key not in new]
    added = [key for key in new if key not in old]
    changed = [key for key in new if key in old and new[key] != old[key]]
    before, after = _addresses(old), _addresses(new)
    unmapped = [element(_key(key), jump=_chain(key)) for key in gone]
    mapped = [element(_key(key), jump=_chain(key)) for key in added]
    messages: list[Message] = [new_chain(TABLE, _chain(key)) for key in added]
    messages += [delete_rules(TABLE, _chain(key)) for key in changed]
    for number, key in enumerate([*added, *changed], _FIRST_NUMBER):
        messages += _choose(key, new[key], number)
    messages += elements(Kind.DELETE_ELEMENT, TABLE, SERVICES, _SERVICES_NUMBER, unmapped)
    messages += [delete_chain(TABLE, _chain(key)) for key in gone]
    messages += elements(Kind.NEW_ELEMENT, TABLE, SERVICES, _SERVICES_NUMBER, mapped)
    for kind, addresses in ((Kind.DELETE_ELEMENT, before - after), (Kind.NEW_ELEMENT, after - before)):
        pairs = [element(_pair(address)) for address in sorted(addresses)]
        messages += elements(kind, TABLE, HAIRPIN, _HAIRPIN_NUMBER, pairs)
    return messages


class KernelServices:
    """The kernel's table of Services, through a netlink socket of the cluster's namespace."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._table: Table | None = None

    def set(self, entries: Iterable[ServiceEntry]) -> None:
        """Make the table so. Open connections go on where they are. Raises OSError.

        The first call replaces what an earlier process left, later ones send differences: in one transaction, or in
        several where the kernel takes no packet of that size.
        """
        new = table_of(entries)
        if self._table is None:
            messages = (*frame(), *difference({}, new))
            if size_of(messages) <= self._netlink.room:
                self._send(messages, new)
                return
            self._send(frame(), {})
        self._reach(self._table or {}, new)

    def remove(self) -> None:
        """Leave no Service in the kernel."""
        self._table = None
        with contextlib.suppress(OSError):
            self._netlink.send(batch([new_table(TABLE), delete_table(TABLE)]))

    def _reach(self, old: Table, new: Table) -> None:
        messages = difference(old, new)
        if size_of(messages) <= self._netlink.room:
            self._send(messages, new)
            return
        keys = _differing(old, new)
        if len(keys) == 1:
            raise OSError(errno.EMSGSIZE, f"too many endpoints behind {keys[0][0]}:{keys[0][2]} for this kernel")
        first = set(keys[: len(keys) // 2])
        kept = {key: endpoints for key, endpoints in old.items() if key not in first}
        halfway = kept | {key: endpoints for key, endpoints in new.items() if key in first}
        self._reach(old, halfway)
        self._reach(halfway, new)

    def _send(self, messages: Sequence[Message], reached: Table) -> None:
        if messages:
            before, self._table = self._table or {}, None  # unknown, should the kernel refuse
            self._netlink.send(batch(messages))
            for address, protocol, port in _differing(before, reached):
                if protocol == "UDP":
                    self._forget_flows(address, port)
        self._table = reached

    def _forget_flows(self, address: str, port: int) -> None:
        """Datagrams that a client goes on sending are translated anew, not to where they went before."""
        with contextlib.suppress(OSError):  # an older kernel: they are forgotten after a while
            self._netlink.send([delete_flows(socket.IPPROTO_UDP, address, port)])
