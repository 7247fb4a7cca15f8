"""The embedded platform as processes on one machine: its directory, its supervisor, its gateway, its health.

Law: knows files, sockets and processes; knows no Kubernetes object and no domain. Which program each process runs is
told from outside (``ketch.cli`` composes). Standard library only on the supervisor's path: it starts everything, so
what it imports everything waits for.
"""
