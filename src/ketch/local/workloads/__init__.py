"""The cluster's own controllers: what kube-controller-manager does on a cluster.

Law: clients of the API alone, one file per controller: its law, constants, pure functions, reconciler, ``setup``.
Helpers that several share (``pods``, ``claiming``, ``expectations``, ``batches``) know no controller. A reconciler
gets a key, reads caches, writes the difference; a pass that finds nothing to do writes nothing.
"""

from ketch.local.workloads.controllers import setup

__all__ = ["setup"]
