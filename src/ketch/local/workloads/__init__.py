"""The cluster's own controllers: what kube-controller-manager does on a cluster.

Law: clients of the API alone, one file per controller: its law, constants, pure functions, reconciler, ``setup``.
A controller that needs more has a room. Helpers that several share (``pods``, ``claiming``, ``batches``, ``revisions``,
``digests``, ``reporting``) know no controller. A reconciler gets a key, reads caches, writes the difference; where
nothing is to do, it writes nothing.
"""

from ketch.local.workloads.controllers import setup

__all__ = ["setup"]
