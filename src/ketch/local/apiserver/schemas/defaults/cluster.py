"""Defaults of the smaller groups."""

from typing import Any

Obj = dict[str, Any]
RBAC_GROUP = "rbac.authorization.k8s.io"


def binding(obj: Obj) -> None:
    """A RoleBinding or ClusterRoleBinding."""
    role = obj.get("roleRef")
    if isinstance(role, dict) and not role.get("apiGroup"):  # pyright: ignore[reportUnknownMemberType]
        role["apiGroup"] = RBAC_GROUP
    for subject in obj.get("subjects") or ():
        if isinstance(subject, dict) and not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):  # pyright: ignore[reportUnknownMemberType]
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
    for port in obj.get("ports") or ():
        if isinstance(port, dict):
            port.setdefault("name", "")  # pyright: ignore[reportUnknownMemberType]
            port.setdefault("protocol", "TCP")  # pyright: ignore[reportUnknownMemberType]


def custom_resource_definition(obj: Obj) -> None:
    """A CustomResourceDefinition: names that follow from others, and no conversion."""
    spec = obj.setdefault("spec", {})
    names = spec.get("names")
    if isinstance(names, dict) and isinstance(names.get("kind"), str):  # pyright: ignore[reportUnknownMemberType]
        kind = str(names["kind"])  # pyright: ignore[reportUnknownArgumentType]
        if not names.get("singular"):  # pyright: ignore[reportUnknownMemberType]
            names["singular"] = kind.lower()
        if not names.get("listKind"):  # pyright: ignore[reportUnknownMemberType]
            names["listKind"] = f"{kind}List"
    spec.setdefault("conversion", {"strategy": "None"})
