"""All controllers together."""

from ketch.kube.manager import Manager
from ketch.local.workloads import accounts, budgets, deployments, endpoints, podgroups, replicasets
from ketch.local.workloads.autoscaling import reconciler as autoscaling
from ketch.local.workloads.collection import events, garbage, namespaces
from ketch.local.workloads.collection.monitor import Monitor
from ketch.local.workloads.cronjobs import reconciler as cronjobs
from ketch.local.workloads.daemonsets import reconciler as daemonsets
from ketch.local.workloads.jobs import expiry
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.local.workloads.nodes import eviction, podgc
from ketch.local.workloads.nodes import reconciler as nodes
from ketch.local.workloads.statefulsets import reconciler as statefulsets
from ketch.local.workloads.storage import claims, ephemeral, volumes


def setup(manager: Manager, certificate: str = "") -> None:
    """Run all controllers. ``certificate`` (PEM) is what pods shall trust as the API server's authority."""
    for each in (
        replicasets,
        deployments,
        statefulsets,
        daemonsets,
        jobs,
        expiry,
        cronjobs,
        endpoints,
        budgets,
        podgroups,
    ):
        each.setup(manager)
    for each in (claims, volumes, ephemeral, nodes, eviction, podgc, events):
        each.setup(manager)
    autoscaling.setup(manager)
    accounts.setup(manager, certificate)
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    namespaces.setup(manager, monitor)
    manager.add(monitor.run)
