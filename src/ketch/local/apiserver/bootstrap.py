"""The objects that every cluster begins with."""

from collections.abc import Iterator
from typing import Any

from ketch.local.apiserver.auth.bootstrap import bootstrap_objects as access_objects

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "kubeflow")
API_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
PRIORITIES = (
    ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster"),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their node"),
)


def _service(namespace: str, name: str, address: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports},
    }


def initial_objects() -> Iterator[dict[str, Any]]:
    """Bodies to apply at every start, in an order that can be applied."""
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    yield from access_objects()
    for name, value, description in PRIORITIES:
        yield {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": description,
        }
    yield _service(
        "default", "kubernetes", API_ADDRESS, [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}]
    )
    ports = [{"name": name, "port": 53, "protocol": kind} for name, kind in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    yield _service("kube-system", "kube-dns", DNS_ADDRESS, ports)
