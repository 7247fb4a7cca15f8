"""Which writes a webhook or a policy is about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.codec import decode
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import matcher
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.asked import Asked
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.strategies.base import Lookup

ANY = "*"
EXEMPT = frozenset(
    f"admissionregistration.k8s.io/{plural}"
    for plural in (
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    )
)
"""Kinds that nobody registered may be asked about: else a wrong registration could not be mended."""


def covers(rule: Mapping[str, Any], operation: str, resource: ServedResource, subresource: str) -> bool:
    """Whether one rule is about an operation on a resource."""
    operations = rule.get("operations") or NO_ITEMS
    if ANY not in operations and operation not in operations:
        return False
    scope = rule.get("scope") or ANY
    if scope not in (ANY, "Namespaced" if resource.namespaced else "Cluster"):
        return False
    groups, versions = rule.get("apiGroups") or NO_ITEMS, rule.get("apiVersions") or NO_ITEMS
    if not ({ANY, resource.group} & set(groups) and {ANY, resource.version} & set(versions)):
        return False
    return any(_names(text, resource.plural, subresource) for text in rule.get("resources") or NO_ITEMS)


def _names(text: str, plural: str, subresource: str) -> bool:
    name, _, below = text.partition("/")
    return name in (ANY, plural) and below in ((ANY, subresource) if below == ANY else (subresource,))


def version_for(
    asked: Asked, rules: Sequence[Mapping[str, Any]], resources: Iterable[ServedResource], *, equivalent: bool
) -> ServedResource | None:
    """The version of the kind in which ``rules`` are about the write; None when they are not.

    ``equivalent``: rules about another version of the same kind count too.
    """
    if any(covers(rule, asked.operation, asked.resource, asked.subresource) for rule in rules):
        return asked.resource
    if equivalent:
        for other in resources:
            same = other.storage == asked.resource.storage and other is not asked.resource
            if same and any(covers(rule, asked.operation, other, asked.subresource) for rule in rules):
                return other
    return None


def selects(selector: Mapping[str, Any] | None, labels: Iterable[Mapping[str, str]]) -> bool:
    """Whether a label selector takes any of the label sets; an empty one takes all."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return True
    matches = matcher(decode(LabelSelector, selector))
    return any(map(matches, labels))


def _namespace_labels(asked: Asked, lookup: Lookup) -> Iterator[Mapping[str, str]]:
    if asked.resource.storage == "/namespaces":
        yield from asked.labels()
    elif found := lookup("/namespaces", "", asked.namespace):
        yield found["metadata"].get("labels") or NOTHING


def in_scope(asked: Asked, holder: Mapping[str, Any], lookup: Lookup) -> bool:
    """Whether ``namespaceSelector`` and ``objectSelector`` of a registration take the write."""
    selector = holder.get("namespaceSelector")
    about_namespace = asked.namespace or asked.resource.storage == "/namespaces"
    if about_namespace and not selects(selector, _namespace_labels(asked, lookup)):
        return False
    return selects(holder.get("objectSelector"), asked.labels())
