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
EDITED = {
    "": [
        *("configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/eviction", "podtemplates"),
        *("replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts", "services"),
    ],
    "apps": [
        *("daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets"),
        "statefulsets/scale",
    ],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "coordination.k8s.io": ["leases"],
    "events.k8s.io": ["events"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}
"""What editors of a namespace write, and viewers read."""

SEEN = {
    "": [
        *("bindings", "limitranges", "namespaces", "namespaces/status", "persistentvolumeclaims/status", "pods/log"),
        *("pods/status", "replicationcontrollers/status", "resourcequotas", "resourcequotas/status", "services/status"),
    ],
    "apps": [
        *("controllerrevisions", "daemonsets/status", "deployments/status", "replicasets/status"),
        "statefulsets/status",
    ],
    "autoscaling": ["horizontalpodautoscalers/status"],
    "batch": ["cronjobs/status", "jobs/status"],
    "discovery.k8s.io": ["endpointslices"],
    "metrics.k8s.io": ["pods"],
    "networking.k8s.io": ["ingresses/status"],
    "policy": ["poddisruptionbudgets/status"],
}
"""What both only read: above all the budgets of the namespace."""

SECRETS = ["secrets", "serviceaccounts/token"]
CONNECTIONS = ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"]
"""What viewers do not even read: with these they could act as somebody else."""
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
    writes = [_rule([group], resources, WRITE) for group, resources in EDITED.items()]
    reads = [_rule([group], [*EDITED.get(group, ()), *SEEN.get(group, ())], READ) for group in {**EDITED, **SEEN}]
    hidden = _rule([""], [*SECRETS, *CONNECTIONS], READ)
    rbac = _rule([GROUP], ["roles", "rolebindings"], [*READ, *WRITE])
    review = _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"])
    edited = [*writes, _rule([""], [*SECRETS, *CONNECTIONS], WRITE), hidden, *reads]
    yield _role("system:aggregate-to-admin", rbac, review, labels=[AGGREGATE.format("admin")])
    edit, view = AGGREGATE.format("edit"), AGGREGATE.format("view")
    yield _role("system:aggregate-to-edit", *edited, labels=[edit])
    yield _role("system:aggregate-to-view", *reads, labels=[view])


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
    yield _rule([""], ["configmaps", "secrets", "services", "endpoints"], READ)
    yield from _delegator_rules()
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
    for name, contained in (("admin", ()), ("edit", ("admin",)), ("view", ("edit",))):
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
