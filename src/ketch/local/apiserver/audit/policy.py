"""audit.k8s.io/v1 Policy: the first rule that fits decides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.requests import Target

NONE, METADATA, REQUEST, RESPONSE = LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class PolicyError(Exception):
    """The policy cannot be used; the message names the file, the rule and what to do."""


class Policy:
    """What a policy file says."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._rules: Sequence[Mapping[str, Any]] = document.get("rules") or NO_ITEMS
        self._omitted = frozenset(document.get("omitStages") or NO_ITEMS)
        self._without_managers = bool(document.get("omitManagedFields"))

    def decide(self, user: UserInfo, verb: str, path: str, target: Target | None) -> "Decision":
        """How closely a call is looked at."""
        for rule in self._rules:
            if _fits(rule, user, verb, path, target):
                omitted = self._omitted | set(rule.get("omitStages") or NO_ITEMS)
                return Decision(rule["level"], omitted, rule.get("omitManagedFields", self._without_managers))
        return Decision(NONE, self._omitted, self._without_managers)


class Decision:
    """``level`` and what is left out."""

    __slots__ = ("level", "omitted", "without_managers")

    def __init__(self, level: str, omitted: frozenset[str], without_managers: bool) -> None:
        self.level = level
        self.omitted = omitted
        self.without_managers = without_managers


def _fits(rule: Mapping[str, Any], user: UserInfo, verb: str, path: str, target: Target | None) -> bool:
    if rule.get("users") and user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(user.groups):
        return False
    if rule.get("verbs") and verb not in rule["verbs"]:
        return False
    resources, paths = rule.get("resources"), rule.get("nonResourceURLs")
    if target is None:
        if resources or rule.get("namespaces"):
            return False
        return not paths or any(_covers(each, path) for each in paths)
    if paths:
        return False
    if rule.get("namespaces") and target.namespace not in rule["namespaces"]:
        return False
    return not resources or any(_about(each, target) for each in resources)


def _covers(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _about(selected: Mapping[str, Any], target: Target) -> bool:
    if selected.get("group", "") != target.group:
        return False
    names = selected.get("resourceNames")
    if names and target.name not in names:
        return False
    full = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    wanted = selected.get("resources") or ("*",)
    return any(
        each in ("*", full) or each == f"*/{target.subresource}" or (each.endswith("/*") and each[:-2] == target.plural)
        for each in wanted
    )


def read_policy(path: Path) -> Policy:
    """The policy in a YAML or JSON file. Raises PolicyError."""
    import yaml  # noqa: PLC0415  # deferred: 25 ms, only where there is a policy

    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"{path} cannot be read as an audit policy: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or cast("Mapping[str, Any]", document).get("kind") != "Policy":
        raise PolicyError(f"{path} is no audit policy: it must be of kind Policy, apiVersion audit.k8s.io/v1")
    found = cast("Mapping[str, Any]", document)
    rules = found.get("rules")
    if not isinstance(rules, list) or not rules:
        raise PolicyError(f"{path}: rules: an audit policy needs at least one rule")
    for index, rule in enumerate(cast("list[Any]", rules)):
        level = (cast("Mapping[str, Any]", rule) if isinstance(rule, dict) else NOTHING).get("level")
        if level not in LEVELS:
            raise PolicyError(f"{path}: rules[{index}].level: {level!r} is none of {', '.join(LEVELS)}")
    return Policy(found)
