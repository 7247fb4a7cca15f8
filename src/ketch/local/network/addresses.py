"""The addresses of the cluster, declared once, and the order in which pods get theirs."""

from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network

POD_NETWORK = IPv4Network("10.244.0.0/16")
SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
GATEWAY = "10.244.0.1"
API_ADDRESS, API_PORT = "10.96.0.1", 443
DNS_ADDRESS, DNS_PORT = "10.96.0.10", 53
PROXY_PORT = 3128
CLUSTER_DOMAIN = "cluster.local"
HOST_ADDRESS = "127.0.0.1"
"""What every pod's address is where pods share the host's network."""

FIRST_POD, LAST_POD = 2, POD_NETWORK.num_addresses - 2


class AddressesExhausted(Exception):
    """Every address of the pod network is taken."""


def pod_address(index: int) -> str:
    """The address with that place in the pod network."""
    return str(POD_NETWORK[index])


def pod_index(address: str) -> int:
    """The place of ``address`` in the pod network."""
    return int(IPv4Address(address)) - int(POD_NETWORK.network_address)


def next_index(cursor: int, taken: Container[int]) -> int:
    """The first free place after ``cursor``, going round: a freed address rests for as long as possible."""
    count = LAST_POD - FIRST_POD + 1
    for step in range(1, count + 1):
        index = FIRST_POD + (cursor - FIRST_POD + step) % count
        if index not in taken:
            return index
    raise AddressesExhausted(f"all {count} addresses of {POD_NETWORK} are taken by pods")
