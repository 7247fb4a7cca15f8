"""What an image name means on this machine: a file system, an environment, a command.

Law: knows names, interpreters, requirements and uv; knows no Kubernetes object, and starts no container. ``front`` is
the ``pip`` that stands inside environments: it runs under their interpreter and imports nothing of this package.
"""
