"""The embedded cluster: an API server, a scheduler, workload controllers, a node and its network, on one machine.

Law: no domain (pipelines, training, ...) is known here, and no domain imports from here. Controllers and the node agent
reach the API server through ``ketch.kube`` alone, as they would a real one. ``processes`` and ``program`` are below
every room and import next to nothing.
"""
