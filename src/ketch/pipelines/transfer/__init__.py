"""Artifacts in remote stores: how they are configured, and how a step's data gets to its pod and from it.

Law: the user's container is never wrapped. An init container fetches what the step reads before it starts, a sidecar
uploads what it left when it has ended, and only these two know credentials. What is in no configured store stays in
the store that is here and is mounted, without a copy. ``program`` is what the two containers run: it knows no object
of Kubernetes and nothing of runs.
"""
