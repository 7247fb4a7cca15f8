"""All controllers together."""

from ketch.kube.manager import Manager
from ketch.local.workloads import (
    accounts,
    claims,
    deployments,
    endpoints,
    ephemeral,
    events,
    eviction,
    expiry,
    garbage,
    jobs,
    namespaces,
    nodes,
    podgc,
    replicasets,
    volumes,
)
from ketch.local.workloads.monitor import Monitor


def setup(manager: Manager, certificate: str = "") -> None:
    """Run all controllers. ``certificate`` (PEM) is what pods shall trust as the API server's authority."""
    for each in (replicasets, deployments, jobs, expiry, endpoints):
        each.setup(manager)
    for each in (claims, volumes, ephemeral, nodes, eviction, podgc, events):
        each.setup(manager)
    accounts.setup(manager, certificate)
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    namespaces.setup(manager, monitor)
    manager.add(monitor.run)
