"""The scheduler: finds each pod a node.

Law: a client of the API alone. Deciding is pure and from memory: ``needs`` reads what a pod asks for, ``state`` keeps
sums per node, ``ranks`` has those that are alike in order, ``filters`` and ``scores`` weigh them, ``decisions`` puts it
together, ``queue`` says whose turn it is, ``gangs`` hold pods that start together or not at all, ``turns`` let no gang
starve, ``preemption`` finds who makes room for a dearer pod.
Only ``scheduler`` reads and writes the cluster. A decision's cost grows neither with the number of placed pods nor with
that of nodes that are alike, and a pod that cannot be placed is tried again when something changed that may help, never
by polling.
"""

from ketch.local.scheduler.scheduler import setup

__all__ = ["setup"]
