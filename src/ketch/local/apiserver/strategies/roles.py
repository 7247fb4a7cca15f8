"""Roles and their bindings: who may write which."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.errors import Cause, Forbidden, NotFound, StatusDetails
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.escalation import missing
from ketch.local.apiserver.auth.identity import MASTERS
from ketch.local.apiserver.auth.rbac import GROUP, Attributes, Authorizer, Binding
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy

EVERYTHING = (
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
)
"""What who aggregates roles may come to grant."""


class _Guarded(Strategy, ABC):
    """Writes that give rights are for those who hold them."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Nobody gives what they do not hold."""
        self._guard(obj, NOTHING, context)

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """As for a new object, where what it gives changes."""
        self._guard(obj, old, context)

    @abstractmethod
    def _guard(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Look at what the write gives beyond ``old``. Raises Forbidden, NotFound."""

    def _check(self, obj: Obj, rules: Sequence[Mapping[str, Any]], context: Context, namespace: str) -> None:
        """Raises Forbidden where the user does not hold what ``rules`` grant."""
        user = context.user
        lacking = missing(rules, list(self._authorizer.rules(user, namespace)))
        if not lacking:
            return
        plural, name = f"{obj['kind'].lower()}s", obj["metadata"].get("name", "")
        groups = " ".join(f'"{group}"' for group in user.groups)
        why = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
        details = StatusDetails(name=name, group=GROUP, kind=plural)
        raise Forbidden(f'{plural}.{GROUP} "{name}" is forbidden: {why}' + "\n".join(map(str, lacking)), details)


class RoleStrategy(_Guarded):
    """Roles and ClusterRoles."""

    def _guard(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        user, namespace = context.user, obj["metadata"].get("namespace", "")
        if MASTERS in user.groups:
            return
        aggregates = obj.get("aggregationRule") != old.get("aggregationRule")
        if obj.get("rules") == old.get("rules") and not aggregates:
            return
        plural = f"{obj['kind'].lower()}s"
        name = obj["metadata"].get("name", "")
        if self._authorizer.allows(user, Attributes("escalate", GROUP, plural, "", namespace, name)):
            return
        granted = EVERYTHING if aggregates else obj.get("rules") or NO_ITEMS
        self._check(obj, granted, context, namespace)

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Each rule says on what."""
        causes: list[Cause] = []
        for index, rule in enumerate(obj.get("rules") or NO_ITEMS):
            path = f"rules[{index}]"
            if not rule.get("verbs"):
                causes.append(required(f"{path}.verbs", "verbs must contain at least one value"))
            if rule.get("nonResourceURLs"):
                if obj["kind"] == "Role":
                    message = "namespaced rules cannot apply to non-resource URLs"
                    causes.append(invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], message))
                if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
                    message = "rules cannot apply to both regular resources and non-resource URLs"
                    causes.append(invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], message))
                continue
            causes += [
                required(f"{path}.{name}", f"resource rules must supply at least one of {name}")
                for name in ("apiGroups", "resources")
                if not rule.get(name)
            ]
        return causes


class RoleReferenceStrategy(_Guarded):
    """RoleBindings point at one role for good."""

    def _guard(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        user, namespace = context.user, obj["metadata"].get("namespace", "")
        if MASTERS in user.groups or obj.get("subjects") == old.get("subjects"):
            return
        role = obj.get("roleRef") or NOTHING
        kind, name = str(role.get("kind", "")), str(role.get("name", ""))
        plural = f"{kind.lower()}s"
        if self._authorizer.allows(user, Attributes("bind", GROUP, plural, "", namespace, name)):
            return
        rules = self._authorizer.role_rules(Binding(namespace, kind, name))
        if rules is None:
            details = StatusDetails(name=name, group=GROUP, kind=plural)
            raise NotFound(f'{plural}.{GROUP} "{name}" not found', details)
        self._check(obj, rules, context, namespace)

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """roleRef names a role and stays; subjects are somebody."""
        causes: list[Cause] = []
        kinds = ["ClusterRole", "Role"] if obj["kind"] == "RoleBinding" else ["ClusterRole"]
        role = obj.get("roleRef") or NOTHING
        if role.get("kind") not in kinds:
            causes.append(unsupported("roleRef.kind", role.get("kind"), kinds))
        if not role.get("name"):
            causes.append(required("roleRef.name"))
        if old is not None and role != old.get("roleRef"):
            causes.append(invalid("roleRef", role, "cannot change roleRef"))
        for index, subject in enumerate(obj.get("subjects") or NO_ITEMS):
            kind, path = subject.get("kind"), f"subjects[{index}]"
            if kind not in ("Group", "ServiceAccount", "User"):
                causes.append(unsupported(f"{path}.kind", kind, ["Group", "ServiceAccount", "User"]))
            if not subject.get("name"):
                causes.append(required(f"{path}.name"))
            if kind == "ServiceAccount" and not subject.get("namespace") and obj["kind"] != "RoleBinding":
                causes.append(required(f"{path}.namespace"))
        return causes
