"""Containers as sandboxed processes: what starts them, watches them, and outlives everyone who asked for them.

Law: knows processes, namespaces, mounts and log files; knows no Kubernetes object and no image. Modules that run in
the zygote and its keepers (``main``, ``keeper``, ``bubblewrap``, ``connecting``, ``execution``, ``interactive``,
``layering``, ``logs``, ``memory``, ``mounting``, ``namespaces``, ``nursery``, ``records``, ``sweeping``,
``templates``, ``warm``, ``wire``) import a handful of standard modules and nothing else, because each container carries
them in its keeper.
``template`` runs under containers' interpreters. ``client``, ``container`` and ``ending`` are for the node agent,
``attached`` is for whoever holds streams of a container, ``trial`` for people who want to know what is missing.
"""
