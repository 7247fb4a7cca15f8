"""Versioned objects in memory, durable in SQLite, watchable.

Laws: one revision counts all writes and never goes back; a write is answered, read and watched only once it is on
disk; writers see the newest state, also what is not yet on disk, so two cannot both win; every watcher sees each
change after its start exactly once and in order, or is told that it cannot (Expired). Knows keys, JSON and where labels
stand, nothing else of Kubernetes' meaning.
"""
