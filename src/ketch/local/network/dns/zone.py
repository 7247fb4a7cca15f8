"""The table of the cluster's names. Pure."""

import random
from collections.abc import Mapping, Sequence

from ketch.local.network.addresses import CLUSTER_DOMAIN
from ketch.local.network.dns.message import Answer, Code, QueryType

REVERSE_DOMAIN = "in-addr.arpa"
_REVERSE_OF_OURS = ("244.10.in-addr.arpa", "96.10.in-addr.arpa")
_SERVICES, _PODS = f".svc.{CLUSTER_DOMAIN}", f".pod.{CLUSTER_DOMAIN}"
_LONGEST_CHAIN = 8
"""Aliases of aliases that are followed."""
_ADDRESS_TYPES = (QueryType.A, QueryType.ANY)


def _reverse(address: str) -> str:
    return ".".join((*reversed(address.split(".")), REVERSE_DOMAIN))


def _below(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


def _is_alias(values: Sequence[str]) -> bool:
    """Whether a name stands for another one: that is no address."""
    return len(values) == 1 and not values[0].replace(".", "").isdecimal()


class Zone:
    """Names of the cluster's domain with their addresses, and the way back from addresses to names.

    A name may have another name in place of addresses: an ExternalName Service's.
    """

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        given = {name.lower(): values for name, values in names.items()}
        self._aliases = {name: values[0].lower().rstrip(".") for name, values in given.items() if _is_alias(values)}
        self._names = {name: () if name in self._aliases else values for name, values in given.items()}
        self._parents: set[str] = {CLUSTER_DOMAIN}
        self._reverse: dict[str, str] = {}
        self._namespaces: dict[str, str] = {}
        for name, addresses in self._names.items():
            parent = name.partition(".")[2]
            while parent and parent not in self._parents:
                self._parents.add(parent)
                parent = parent.partition(".")[2]
            if name.endswith(_PODS):
                for address in addresses:
                    self._namespaces[address] = name.removesuffix(_PODS).rpartition(".")[2]
            for address in addresses:
                # The name with the most labels says most: a pod's own, rather than its Service's.
                known = self._reverse.get(_reverse(address), "")
                if (name.count("."), name) > (known.count("."), known):
                    self._reverse[_reverse(address)] = name

    def meant(self, name: str) -> str:
        """The name that ``name`` stands for: itself, unless it is an alias."""
        for _ in range(_LONGEST_CHAIN):
            name = self._aliases.get(name, name)
        return name

    def answer(self, name: str, kind: int) -> Answer | None:
        """What the cluster knows of ``name``; None when it is none of its business."""
        if any(_below(name, domain) for domain in _REVERSE_OF_OURS):
            return self._backwards(name, kind)
        if not _below(name, CLUSTER_DOMAIN):
            return None
        addresses = self._names.get(name)
        if addresses is None:
            return Answer(Code.OK if name in self._parents else Code.NAME_ERROR)
        if kind not in _ADDRESS_TYPES:
            return Answer(Code.OK)
        return Answer(Code.OK, random.sample(addresses, len(addresses)))

    def find(self, host: str, asker: str, domain: str = "") -> Sequence[str]:
        """The addresses of a name that the pod at ``asker`` may have written without some of its ending.

        ``domain`` is the pod's namespace where it is known before the names tell it.
        """
        name = self.meant(host.lower().rstrip("."))
        namespace = domain or self._namespaces.get(asker)
        own = (f".{namespace}{_SERVICES}",) if namespace else ()
        for ending in ("", *own, _SERVICES, f".{CLUSTER_DOMAIN}"):
            if addresses := self._names.get(self.meant(name + ending)):
                return addresses
        return ()

    def _backwards(self, name: str, kind: int) -> Answer:
        found = self._reverse.get(name)
        if found is None:
            return Answer(Code.NAME_ERROR)
        return Answer(Code.OK, (found,) if kind in (QueryType.PTR, QueryType.ANY) else ())
