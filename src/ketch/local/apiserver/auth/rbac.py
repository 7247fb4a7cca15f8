"""RBAC: what Roles and their bindings in the store permit.

Bindings are indexed by subject and roles read when asked, so that a question costs as much as the asker's own
bindings, however many there are of others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ketch.kube.codec import decode
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import matcher
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.identity import MASTERS, UserInfo
from ketch.local.apiserver.store.records import Change, StoreKey
from ketch.local.apiserver.store.store import Store

GROUP = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"{GROUP}/roles", f"{GROUP}/clusterroles"
BINDINGS, CLUSTER_BINDINGS = f"{GROUP}/rolebindings", f"{GROUP}/clusterrolebindings"
Rule = Mapping[str, Any]


class Attributes(NamedTuple):
    """What is asked: a verb on a resource, or on a path that is none (then ``resource`` is empty)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Binding(NamedTuple):
    """A binding, as far as it matters; ``namespace`` is empty for cluster-wide ones."""

    namespace: str
    role_kind: str
    role_name: str


def subject_keys(binding: Mapping[str, Any]) -> Iterator[str]:
    """User and group names, prefixed by their kind, that a binding names."""
    namespace = binding["metadata"].get("namespace", "")
    for subject in binding.get("subjects") or NO_ITEMS:
        if subject.get("kind") == "ServiceAccount":
            yield f"User:system:serviceaccount:{subject.get('namespace') or namespace}:{subject.get('name')}"
        else:
            yield f"{subject.get('kind')}:{subject.get('name')}"


def rule_allows(rule: Rule, asked: Attributes) -> bool:
    """Whether one PolicyRule permits what is asked."""
    verbs = rule.get("verbs") or NO_ITEMS
    if "*" not in verbs and asked.verb not in verbs:
        return False
    if not asked.resource:
        return any(
            path in ("*", asked.path) or (path.endswith("*") and asked.path.startswith(path[:-1]))
            for path in rule.get("nonResourceURLs") or NO_ITEMS
        )
    groups, resources = rule.get("apiGroups") or NO_ITEMS, rule.get("resources") or NO_ITEMS
    if "*" not in groups and asked.group not in groups:
        return False
    wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    if not ("*" in resources or wanted in resources or (asked.subresource and f"*/{asked.subresource}" in resources)):
        return False
    names = rule.get("resourceNames") or NO_ITEMS
    return not names or asked.name in names


class Authorizer:
    """Answers from the store, current with every committed write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_subject: dict[str, dict[StoreKey, Binding]] = {}
        for storage in (BINDINGS, CLUSTER_BINDINGS):
            for record in store.list(storage):
                self._add(record.key, record.value)
            store.observe(storage, self._changed)

    def _add(self, key: StoreKey, value: Mapping[str, Any]) -> None:
        role = value["roleRef"]
        binding = Binding(key.namespace, role["kind"], role["name"])
        for subject in subject_keys(value):
            self._by_subject.setdefault(subject, {})[key] = binding

    def _changed(self, change: Change) -> None:
        key = change.record.key
        if change.previous is not None:
            for subject in subject_keys(change.previous.value):
                self._by_subject.get(subject, {}).pop(key, None)
        if not change.deleted:
            self._add(key, change.record.value)

    def rules(self, user: UserInfo, namespace: str) -> Iterator[Rule]:
        """The rules that hold for ``user`` in ``namespace`` (cluster-wide ones only when it is empty)."""
        for _, _, binding in self._bindings(user, namespace):
            yield from self.role_rules(binding) or NO_ITEMS

    def _bindings(self, user: UserInfo, namespace: str) -> Iterator[tuple[str, StoreKey, Binding]]:
        for subject in (f"User:{user.name}", *(f"Group:{group}" for group in user.groups)):
            for key, binding in tuple(self._by_subject.get(subject, {}).items()):
                if binding.namespace in ("", namespace):
                    yield subject, key, binding

    def role_rules(self, binding: Binding) -> list[Rule] | None:
        """What the role of a binding grants; None when there is no such role."""
        if binding.role_kind == "ClusterRole":
            record = self._store.get(StoreKey(CLUSTER_ROLES, "", binding.role_name))
        else:
            record = self._store.get(StoreKey(ROLES, binding.namespace, binding.role_name))
        if record is None:
            return None
        if not record.value.get("aggregationRule"):
            return record.value.get("rules") or []
        return [*(record.value.get("rules") or NO_ITEMS), *self.aggregated(record.value)]

    def aggregated(self, role: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[Rule]:
        """What an aggregating ClusterRole gathers from others, and through them, each rule once."""
        names = (*above, role["metadata"]["name"])
        found: list[Rule] = []
        for selector in (role.get("aggregationRule") or NOTHING).get("clusterRoleSelectors") or NO_ITEMS:
            matches = _matcher(selector)
            for record in self._store.list(CLUSTER_ROLES):
                other = record.value
                if record.key.name in names or not matches(other["metadata"].get("labels") or NOTHING):
                    continue
                rules = other.get("rules") or NO_ITEMS
                if other.get("aggregationRule"):
                    rules = self.aggregated(other, names)
                found += [rule for rule in rules if rule not in found]
        return found

    def allows(self, user: UserInfo, asked: Attributes) -> bool:
        """Whether ``user`` may do what is asked."""
        if MASTERS in user.groups:
            return True
        return any(rule_allows(rule, asked) for rule in self.rules(user, asked.namespace))

    def why(self, user: UserInfo, asked: Attributes) -> str:
        """What permits it, in words; empty when nothing does."""
        for subject, key, binding in self._bindings(user, asked.namespace):
            if any(rule_allows(rule, asked) for rule in self.role_rules(binding) or NO_ITEMS):
                kind = "RoleBinding" if binding.namespace else "ClusterRoleBinding"
                name = f"{binding.namespace}/{key.name}" if binding.namespace else key.name
                who, _, named = subject.partition(":")
                role = f'{binding.role_kind} "{binding.role_name}"'
                return f'RBAC: allowed by {kind} "{name}" of {role} to {who} "{named}"'
        return ""


def _matcher(selector: Mapping[str, Any]) -> Callable[[Mapping[str, str]], bool]:
    labels = selector.get("matchLabels") or NOTHING
    if not selector.get("matchExpressions"):
        wanted = labels.items()
        return lambda given: wanted <= given.items()
    return matcher(decode(LabelSelector, selector))
