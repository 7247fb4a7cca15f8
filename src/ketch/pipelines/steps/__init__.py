"""A task as a pod: the command line, documents, volumes and settings of one step, and what its pod's status means.

Law: pure. From a ``Step`` (a container task that is ready to run) follows its pod, the same each time, under names that
derive from the task; nothing here talks to a cluster, a database or a store.
"""
