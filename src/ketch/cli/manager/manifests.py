"""What installs Ketch's controllers on a cluster, as objects. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ketch.cli.manager.options import HEALTH_PORT, NAME, PORT, SECURE_PORT, WEBHOOK_SUFFIX
from ketch.cli.manager.rights import GROUP, Rule, cluster_rules, namespace_rules, node_rules
from ketch.kube.types.apiextensions import CustomResourceDefinition
from ketch.pipelines.creation import USER_NAMESPACE
from ketch.pipelines.native.types import definitions as pipelines_definitions
from ketch.training.definitions import definitions as training_definitions
from ketch.training.setup import SYSTEM_NAMESPACE

PIPELINES_SERVICE: Final = "ml-pipeline"
"""Where clients inside of clusters look for the pipelines' API."""

NODES: Final = "ketch-node"
NODE_GROUP: Final = "system:nodes"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  # within its pod
USER: Final = 65532
LABELS: Final = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "ketch"}
_RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Installation:
    """``database`` names a Secret with the key ``url``; without it, SQLite lies on a volume of ``storage``, for one
    replica."""

    image: str
    namespace: str = "kubeflow"
    replicas: int = 1
    database: str = ""
    storage: str = "10Gi"


def definitions() -> Sequence[CustomResourceDefinition]:
    """The kinds of all domains."""
    return (*pipelines_definitions(), *training_definitions())


def manifests(wanted: Installation) -> Iterator[Object]:
    """All objects, in an order in which they can be applied."""
    for name in dict.fromkeys((wanted.namespace, USER_NAMESPACE, SYSTEM_NAMESPACE)):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for definition in definitions():
        body = definition.to_json()
        yield {name: body[name] for name in ("apiVersion", "kind")} | body
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(wanted)}
    yield from _rights(wanted)
    if not wanted.database:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": wanted.storage}}}
        yield {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _metadata(wanted), "spec": claim}
    yield from _services(wanted)
    yield _deployment(wanted)


def _metadata(wanted: Installation, name: str = NAME) -> Object:
    return {"name": name, "namespace": wanted.namespace, "labels": LABELS}


def _rights(wanted: Installation) -> Iterator[Object]:
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": wanted.namespace}
    nodes = {"kind": "Group", "name": NODE_GROUP, "apiGroup": GROUP}
    namespaces = list(dict.fromkeys((USER_NAMESPACE, SYSTEM_NAMESPACE)))
    yield from _granted("", NAME, cluster_rules(definitions(), namespaces), account)
    yield from _granted(wanted.namespace, NAME, namespace_rules(), account)
    yield from _granted("", NODES, node_rules(), nodes)


def _granted(namespace: str, name: str, rules: Sequence[Rule], subject: Object) -> Iterator[Object]:
    """A role and its binding, in a namespace or, without one, in the cluster."""
    scope, kind = ({"namespace": namespace}, "Role") if namespace else ({}, "ClusterRole")
    metadata = {"name": name, **scope, "labels": LABELS}
    yield {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "rules": list(rules)}
    yield {
        "apiVersion": f"{GROUP}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
        "subjects": [subject],
    }


def _services(wanted: Installation) -> Iterator[Object]:
    api = {"name": "http", "port": PORT, "targetPort": "http"}
    secure = {"name": "https", "port": 443, "targetPort": "https"}

    def service(name: str, ports: Sequence[Object], **more: Any) -> Object:
        spec = {"selector": LABELS, "ports": list(ports), **more}
        return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(wanted, name), "spec": spec}

    yield service(NAME, (api, secure))
    yield service(PIPELINES_SERVICE, (api,))
    # Every replica answers webhooks, also one that does not lead, and must before it can lead.
    yield service(f"{NAME}{WEBHOOK_SUFFIX}", (secure,), publishNotReadyAddresses=True)


def _deployment(wanted: Installation) -> Object:
    command = [
        *("python3", "-m", "ketch.cli.main", "manager", "--bind", EVERYWHERE, "--namespace", wanted.namespace),
        *("--service", NAME, "--image", wanted.image, "--data-dir", "/data"),
    ]
    database = {"name": "KETCH_DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": wanted.database, "key": "url"}}}
    ports = (("http", PORT), ("https", SECURE_PORT), ("health", HEALTH_PORT))
    container: Object = {
        "name": "manager",
        "image": wanted.image,
        "command": command,
        "env": [database] if wanted.database else [],
        "ports": [{"name": name, "containerPort": port} for name, port in ports],
        "startupProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}, "periodSeconds": 2},
        "resources": _RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    data: Object = {"emptyDir": {}} if wanted.database else {"persistentVolumeClaim": {"claimName": NAME}}
    pod: Object = {
        "serviceAccountName": NAME,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", **data}, {"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(wanted),
        "spec": {
            "replicas": wanted.replicas,
            # A new replica is not ready until an old one gives up the Lease: they are not waited for.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }
