"""Admissions on a cluster whose API server is not ours: the same declarations, asked through webhooks.

Law: what is decided stands in ``kube.admission`` alone; here it is only asked and told in ``admission.k8s.io/v1``.
Where nobody registers webhooks, ``guarding`` has the controllers decide before they act.
"""
