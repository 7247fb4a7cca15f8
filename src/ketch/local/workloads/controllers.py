"""All controllers together."""

from ketch.kube.manager import Manager
from ketch.local.workloads import accounts, deployments, endpoints, expiry, jobs, replicasets


def setup(manager: Manager, certificate: str = "") -> None:
    """Run all controllers. ``certificate`` (PEM) is what pods shall trust as the API server's authority."""
    for each in (replicasets, deployments, jobs, expiry, endpoints):
        each.setup(manager)
    accounts.setup(manager, certificate)
