"""Defaults of the smaller groups."""

from typing import Any

from ketch.local.apiserver.schemas.defaults.core import dicts, fill

Obj = dict[str, Any]
RBAC_GROUP = "rbac.authorization.k8s.io"


def binding(obj: Obj) -> None:
    """A RoleBinding or ClusterRoleBinding."""
    for role in dicts([obj.get("roleRef")]):
        role["apiGroup"] = role.get("apiGroup") or RBAC_GROUP
    for subject in dicts(obj.get("subjects")):
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = RBAC_GROUP


def storage_class(obj: Obj) -> None:
    """A StorageClass."""
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def priority_class(obj: Obj) -> None:
    """A PriorityClass."""
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def network_policy(obj: Obj) -> None:
    """A NetworkPolicy."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def autoscaler(obj: Obj) -> None:
    """A HorizontalPodAutoscaler."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    spec.setdefault(
        "metrics",
        [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ],
    )


def endpoint_slice(obj: Obj) -> None:
    """An EndpointSlice."""
    for port in dicts(obj.get("ports")):
        fill(port, name="", protocol="TCP")


def custom_resource_definition(obj: Obj) -> None:
    """A CustomResourceDefinition: names that follow from others, and no conversion."""
    spec = obj.setdefault("spec", {})
    for names in dicts([spec.get("names")]):
        kind = names.get("kind")
        if isinstance(kind, str):
            names["singular"] = names.get("singular") or kind.lower()
            names["listKind"] = names.get("listKind") or f"{kind}List"
    spec.setdefault("conversion", {"strategy": "None"})
