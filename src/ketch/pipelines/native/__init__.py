"""Pipelines as Kubernetes objects: Pipeline and PipelineVersion of pipelines.kubeflow.org/v2beta1.

Law: for what is an object, the object is the truth and its row in the catalogue is derived: same id as the object's
uid, written by the reconcilers here, marked by ``origin``. Whoever changes such a pipeline through the REST API changes
the object. Both kinds of pipelines are always there side by side; names are shared, first come, first served.
"""
