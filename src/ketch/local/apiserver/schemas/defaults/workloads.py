"""Defaults of apps/v1."""

from typing import Any

from ketch.local.apiserver.schemas.defaults.core import dicts, persistent_volume_claim, pod_spec

Obj = dict[str, Any]
REVISIONS = 10
PROGRESS_SECONDS = 600
A_QUARTER = "25%"


def _template(spec: Obj) -> None:
    for template in dicts([spec.get("template")]):
        pod_spec(template.setdefault("spec", {}))


def deployment(obj: Obj) -> None:
    """A Deployment."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", A_QUARTER)
        rolling.setdefault("maxSurge", A_QUARTER)
    spec.setdefault("revisionHistoryLimit", REVISIONS)
    spec.setdefault("progressDeadlineSeconds", PROGRESS_SECONDS)
    _template(spec)


def replica_set(obj: Obj) -> None:
    """A ReplicaSet or ReplicationController."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def stateful_set(obj: Obj) -> None:
    """A StatefulSet."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("revisionHistoryLimit", REVISIONS)
    for claim in dicts(spec.get("volumeClaimTemplates")):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        persistent_volume_claim(claim)
        claim.setdefault("status", {"phase": "Pending"})
    _template(spec)


def daemon_set(obj: Obj) -> None:
    """A DaemonSet."""
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", REVISIONS)
    _template(spec)
