"""coordination.k8s.io/v1: Lease."""

from typing import ClassVar

from ketch.kube.codec import KubeStruct, MicroTime
from ketch.kube.meta import KubeObject, Resource


class LeaseSpec(KubeStruct, frozen=True, kw_only=True):
    """Who holds it, since when, and for how long after the last renewal."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: MicroTime | None = None
    renew_time: MicroTime | None = None
    lease_transitions: int | None = None


class Lease(KubeObject, frozen=True, kw_only=True):
    """A sign of life, or a lock that lapses."""

    resource: ClassVar = Resource("coordination.k8s.io", "v1", "Lease", "leases")

    spec: LeaseSpec = LeaseSpec()
