"""DaemonSets: the same pod on every node that it may run on.

Law: ``placement`` says which nodes those are, ``steps`` which pods to make and delete next; both are pure. The
scheduler binds the pods, each to the one node that its affinity names.
"""
