"""The embedded Kubernetes API server: an in-memory state machine with a durable log.

Law: objects are JSON dicts that nobody changes once stored. The store knows keys, revisions and bytes, nothing of
Kubernetes; schemas and patches are pure functions; handlers join them; the HTTP front and the in-process transport
are two doors to the same handlers. Controllers do not live here: they are clients.
"""
