"""The roles and bindings that every cluster has, as far as something here uses them."""

from collections.abc import Iterator, Sequence
from typing import Any

from ketch.local.apiserver.auth.identity import AUTHENTICATED, NODES, UNAUTHENTICATED

GROUP = "rbac.authorization.k8s.io"
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
EVERYTHING = ["*"]
PUBLIC_PATHS = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
DISCOVERY_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *PUBLIC_PATHS]
ISSUER_PATHS = ["/.well-known/openid-configuration", "/openid/v1/jwks"]
NAMESPACED_GROUPS = [
    "",
    "apps",
    "autoscaling",
    "batch",
    "discovery.k8s.io",
    "events.k8s.io",
    "metrics.k8s.io",
    "networking.k8s.io",
    "policy",
    "coordination.k8s.io",
]
BOOTSTRAPPING = "kubernetes.io/bootstrapping"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-{}"


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> dict[str, Any]:
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def _paths(paths: Sequence[str]) -> dict[str, Any]:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


def _role(name: str, *rules: dict[str, Any], labels: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {BOOTSTRAPPING: "rbac-defaults", **dict.fromkeys(labels, "true")}},
        "rules": list(rules),
    }


def _aggregate(name: str, part_of: Sequence[str]) -> dict[str, Any]:
    """A role that grows with whatever is labelled for it, and counts for greater ones itself."""
    role = _role(name, labels=[AGGREGATE.format(other) for other in part_of])
    del role["rules"]  # they are what is aggregated
    role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {AGGREGATE.format(name): "true"}}]}
    return role


def _user_roles() -> Iterator[dict[str, Any]]:
    """What admin, edit and view begin with."""
    every = _rule(NAMESPACED_GROUPS, EVERYTHING, [*READ, *WRITE])
    rbac = _rule([GROUP], ["roles", "rolebindings"], [*READ, *WRITE])
    review = _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"])
    yield _role("system:aggregate-to-admin", every, rbac, review, labels=[AGGREGATE.format("admin")])
    yield _role("system:aggregate-to-edit", every, labels=[AGGREGATE.format("edit")])
    readable = ["configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/log", "services"]
    readable += ["serviceaccounts", "namespaces", "limitranges", "resourcequotas", "replicationcontrollers"]
    yield _role(
        "system:aggregate-to-view",
        _rule([""], readable, READ),
        _rule(NAMESPACED_GROUPS[1:], EVERYTHING, READ),
        labels=[AGGREGATE.format("view")],
    )


def _binding(role: str, *subjects: tuple[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role, "labels": {BOOTSTRAPPING: "rbac-defaults"}},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": kind, "name": name} for kind, name in subjects],
    }


def _delegator_rules() -> Iterator[dict[str, Any]]:
    yield _rule(["authentication.k8s.io"], ["tokenreviews"], ["create"])
    yield _rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"])


def _node_rules() -> Iterator[dict[str, Any]]:
    yield _rule([""], ["nodes"], ["create", *READ, "patch", "update"])
    yield _rule([""], ["nodes/status", "pods/status"], ["patch", "update", "get"])
    yield _rule([""], ["pods"], [*READ, "delete"])
    yield _rule([""], ["configmaps", "secrets", "services", "endpoints", "serviceaccounts"], READ)
    yield _rule([""], ["persistentvolumes", "persistentvolumeclaims", "namespaces"], READ)
    yield _rule([""], ["persistentvolumes"], ["patch", "update"])
    yield _rule([""], ["serviceaccounts/token"], ["create"])
    yield _rule(["", "events.k8s.io"], ["events"], ["create", "get", "patch", "update"])
    yield _rule(["discovery.k8s.io"], ["endpointslices"], READ)
    yield _rule(["networking.k8s.io"], ["networkpolicies"], READ)
    yield _rule(["coordination.k8s.io"], ["leases"], ["create", "get", "patch", "update"])


def bootstrap_objects() -> Iterator[dict[str, Any]]:
    """ClusterRoles and ClusterRoleBindings, as bodies to create."""
    every = {"apiGroups": EVERYTHING, "resources": EVERYTHING, "verbs": EVERYTHING}
    yield _role("cluster-admin", every, {"nonResourceURLs": EVERYTHING, "verbs": EVERYTHING})
    yield from _user_roles()
    for name, contained in (("admin", ()), ("edit", ("admin",)), ("view", ("edit", "admin"))):
        yield _aggregate(name, contained)
    yield _role("system:node", *_node_rules())
    yield _role("system:discovery", _paths(DISCOVERY_PATHS))
    yield _role("system:service-account-issuer-discovery", _paths(ISSUER_PATHS))
    yield _role("system:auth-delegator", *_delegator_rules())
    yield _role("system:public-info-viewer", _paths(PUBLIC_PATHS))
    yield _role(
        "system:basic-user",
        _rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
        _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    )
    yield _binding("cluster-admin", ("Group", "system:masters"))
    yield _binding("system:node", ("Group", NODES))
    yield _binding("system:discovery", ("Group", AUTHENTICATED))
    yield _binding("system:service-account-issuer-discovery", ("Group", "system:serviceaccounts"))
    yield _binding("system:basic-user", ("Group", AUTHENTICATED))
    yield _binding("system:public-info-viewer", ("Group", AUTHENTICATED), ("Group", UNAUTHENTICATED))
