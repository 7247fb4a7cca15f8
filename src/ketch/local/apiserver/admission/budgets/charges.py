"""What an object costs its namespace, and which pods a scope is about."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.limits import amounts, pod_amounts
from ketch.local.apiserver.strategies.pods import TERMINAL, quality_of_service

Charges = Mapping[str, Fraction]
NO_CHARGES: Charges = {}
ONE = Fraction(1)
NATIVE = frozenset({"cpu", "memory", "ephemeral-storage"})
LEGACY = frozenset({"configmaps", "secrets", "replicationcontrollers", "resourcequotas", "services"})
"""Kinds of the core group that may be counted by their bare name."""


def _pod(obj: Mapping[str, Any]) -> Iterator[tuple[str, Fraction]]:
    spec = obj["spec"]
    if (obj.get("status") or NOTHING).get("phase") in TERMINAL:
        return
    yield "pods", ONE
    for name, amount in pod_amounts(spec, "requests").items():
        yield f"requests.{name}", amount
        if name in NATIVE:
            yield name, amount
    for name, amount in pod_amounts(spec, "limits").items():
        if name in NATIVE:
            yield f"limits.{name}", amount


def _service(obj: Mapping[str, Any]) -> Iterator[tuple[str, Fraction]]:
    spec = obj["spec"]
    kind, ports = spec.get("type"), len(spec.get("ports") or NO_ITEMS)
    if kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)):
        yield "services.nodeports", Fraction(ports)
    if kind == "LoadBalancer":
        yield "services.loadbalancers", ONE


def _claim(obj: Mapping[str, Any]) -> Iterator[tuple[str, Fraction]]:
    spec = obj["spec"]
    yield "persistentvolumeclaims", ONE
    storage = amounts((spec.get("resources") or NOTHING).get("requests")).get("storage", Fraction())
    yield "requests.storage", storage
    if name := spec.get("storageClassName"):
        yield f"{name}.storageclass.storage.k8s.io/requests.storage", storage
        yield f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims", ONE


_CHARGED: Mapping[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, Fraction]]]] = {
    "/pods": _pod,
    "/services": _service,
    "/persistentvolumeclaims": _claim,
}


def charges(storage: str, obj: Mapping[str, Any]) -> Charges:
    """What an object costs, by the names that quotas use."""
    group, _, plural = storage.partition("/")
    counted = f"count/{plural}.{group}" if group else f"count/{plural}"
    found = dict(_CHARGED[storage](obj)) if storage in _CHARGED else {}
    if storage != "/pods" or "pods" in found:
        found[counted] = ONE
    if not group and plural in LEGACY:
        found[plural] = ONE
    return found


def in_scopes(quota: Mapping[str, Any], storage: str, obj: Mapping[str, Any]) -> bool:
    """Whether a quota is about an object: scopes only ever select pods."""
    spec = quota.get("spec") or NOTHING
    scopes: Sequence[str] = spec.get("scopes") or NO_ITEMS
    expressions = (spec.get("scopeSelector") or NOTHING).get("matchExpressions") or NO_ITEMS
    if not scopes and not expressions:
        return True
    if storage != "/pods":
        return False
    return all(_scoped(scope, "Exists", NO_ITEMS, obj) for scope in scopes) and all(
        _scoped(each["scopeName"], each.get("operator", "Exists"), each.get("values") or NO_ITEMS, obj)
        for each in expressions
    )


def _scoped(scope: str, operator: str, values: Sequence[str], pod: Mapping[str, Any]) -> bool:
    spec = pod["spec"]
    match scope:
        case "Terminating" | "NotTerminating":
            return (spec.get("activeDeadlineSeconds") is not None) == (scope == "Terminating")
        case "BestEffort" | "NotBestEffort":
            return (quality_of_service(spec) == "BestEffort") == (scope == "BestEffort")
        case "PriorityClass":
            name = spec.get("priorityClassName") or ""
            if operator in ("In", "NotIn"):
                return (name in values) == (operator == "In")
            return bool(name) == (operator == "Exists")
        case "CrossNamespacePodAffinity":
            return _reaches_out(spec) == (operator != "DoesNotExist")
        case _:
            return False


def _reaches_out(spec: Mapping[str, Any]) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or NOTHING).get(kind) or NOTHING
        terms = [
            *(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or NO_ITEMS),
            *(
                each.get("podAffinityTerm") or NOTHING
                for each in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or NO_ITEMS
            ),
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def unsaid(hard: Mapping[str, Fraction], pod: Mapping[str, Any]) -> Iterator[str]:
    """What containers must say because a quota limits it, such as ``limits.cpu for: main``."""
    spec = pod["spec"]
    containers = [*(spec.get("containers") or NO_ITEMS), *(spec.get("initContainers") or NO_ITEMS)]
    for limited in sorted(hard):
        kind, _, name = limited.rpartition(".") if limited.startswith(("requests.", "limits.")) else ("", "", limited)
        if name not in ("cpu", "memory"):
            continue
        section = kind or "requests"
        silent = [
            each["name"]
            for each in containers
            if name not in ((each.get("resources") or NOTHING).get(section) or NOTHING)
        ]
        if silent:
            yield f"{limited} for: {','.join(silent)}"
