"""Kubeflow Pipelines: REST API v2beta1, runs, the engine that drives them.

Law: the API validates and writes rows, the reconciler drives runs; they meet in ``records`` alone. The
engine and everything that reads the IR are pure. Pods are reached through ``ketch.kube`` only, artifacts and lineage
through ``ketch.metadata``; nothing here knows which substrate it runs on.
"""
