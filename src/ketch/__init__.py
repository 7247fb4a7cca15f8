"""Ketch: Kubeflow's APIs on one machine in a second, and on Kubernetes with the same controllers.

Law: this root holds nothing but its name and version, and no module imports it. Rooms are imported by their own
names (``ketch.kube``, ``ketch.pipelines``, ...); which may know which is held by the import contracts in CI.
"""

__version__ = "0.1.0"
