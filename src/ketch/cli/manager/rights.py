"""What a manager's service account may do: no more than its controllers ask for. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ketch.cli.manager.options import CERTIFICATE_SECRET, NAME
from ketch.kube.types.apiextensions import CustomResourceDefinition

GROUP: Final = "rbac.authorization.k8s.io"
READ: Final = ("get", "list", "watch")
MAKE: Final = (*READ, "create", "patch", "update", "delete")

Rule = Mapping[str, Any]

_OWN: Final[Sequence[tuple[str, Sequence[str], Sequence[str]]]] = (
    ("", ("pods",), (*MAKE, "deletecollection")),
    ("", ("pods/log",), ("get",)),
    ("", ("configmaps", "services"), MAKE),
    ("", ("persistentvolumeclaims",), (*MAKE, "deletecollection")),
    ("", ("secrets",), ("get", "create", "patch", "delete")),
    ("", ("events",), ("create", "patch")),
    ("", ("serviceaccounts",), MAKE),
    ("", ("pods/exec",), ("get", "create")),
    (GROUP, ("roles", "rolebindings"), MAKE),
    ("batch", ("jobs",), MAKE),
    ("autoscaling", ("horizontalpodautoscalers",), MAKE),
    ("scheduling.x-k8s.io", ("podgroups",), ("get", "create", "patch", "delete")),
    ("metrics.k8s.io", ("pods",), ("get", "list")),
    ("authentication.k8s.io", ("tokenreviews",), ("create",)),
)
"""What of the cluster's own kinds controllers read and make, in any namespace.

MPIJobs have accounts whose roles let launchers enter their workers: nobody may give that away without having it.
"""


def rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Rule:
    """One rule."""
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs), **named}


def cluster_rules(definitions: Sequence[CustomResourceDefinition], namespaces: Sequence[str]) -> Sequence[Rule]:
    """In the whole cluster. ``namespaces`` are there already, and said to be wanted once more."""
    kinds: dict[str, list[str]] = {}
    for definition in definitions:
        assert definition.spec.names is not None
        kinds.setdefault(definition.spec.group, []).append(definition.spec.names.plural)
    registrations = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
    return (
        *(rule(group, resources, verbs) for group, resources, verbs in _OWN),
        *(
            each
            for group, plurals in kinds.items()
            for each in (
                rule(group, plurals, MAKE),
                rule(group, [f"{plural}/status" for plural in plurals], ("get", "patch", "update")),
                rule(group, [f"{plural}/finalizers" for plural in plurals], ("update",)),
            )
        ),
        rule("", ("namespaces",), ("get", "patch"), namespaces),
        rule("admissionregistration.k8s.io", registrations, ("create",)),
        rule("admissionregistration.k8s.io", registrations, ("get", "patch", "delete"), (NAME,)),
    )


def namespace_rules() -> Sequence[Rule]:
    """In the namespace of the manager itself."""
    return (
        rule("coordination.k8s.io", ("leases",), ("create",)),
        rule("coordination.k8s.io", ("leases",), ("get", "update"), (NAME,)),
        rule("", ("secrets",), ("create",)),
        rule("", ("secrets",), ("get", "update"), (CERTIFICATE_SECRET,)),
    )


def node_rules() -> Sequence[Rule]:
    """What ``ketch node`` reads beside what every cluster lets its nodes: it is the proxy of Services, and the network
    plugin, too."""
    return (
        rule("", ("services", "namespaces", "persistentvolumeclaims"), READ),
        rule("", ("persistentvolumes",), (*READ, "patch")),
        rule("discovery.k8s.io", ("endpointslices",), READ),
        rule("networking.k8s.io", ("networkpolicies",), READ),
    )
