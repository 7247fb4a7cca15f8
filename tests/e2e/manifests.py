"""Manifests as tests need them: short to say, complete enough to apply."""

from typing import Any

Manifest = dict[str, Any]


def container(*command: str, name: str = "main", image: str = "busybox", **fields: Any) -> Manifest:
    """A container that runs ``command``."""
    return {"name": name, "image": image, "command": list(command), **fields}


def shell(script: str, **fields: Any) -> Manifest:
    """A container that runs a shell script."""
    return container("sh", "-c", script, **fields)


def pod(name: str, *containers: Manifest, annotations: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """A pod; it runs once and ends at once when told to, unless ``spec`` says otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": annotations or {}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }


def deployment(name: str, replicas: int, *containers: Manifest) -> Manifest:
    """A Deployment of pods with the label ``app``."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 1},
            },
        },
    }


def service(name: str, port: int = 80, target: int | str = 8080) -> Manifest:
    """A Service in front of the pods with the label ``app``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "targetPort": target}]},
    }


def job(name: str, *containers: Manifest, **spec: Any) -> Manifest:
    """A Job."""
    template = {"spec": {"restartPolicy": "Never", "containers": list(containers)}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}}


def claim(name: str) -> Manifest:
    """A claim of a volume of the default class."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def config_map(name: str, **data: str) -> Manifest:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
