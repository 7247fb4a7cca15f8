"""Nobody gives rights that they do not have: what a role grants, beside what its giver holds. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ketch.local.apiserver.absent import NO_ITEMS

Rule = Mapping[str, Any]
ANY = "*"


class Right(NamedTuple):
    """One right: a verb on one resource (perhaps of one name), or on one path."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f'{{NonResourceURLs:["{self.path}"], Verbs:["{self.verb}"]}}'
        named = f', ResourceNames:["{self.name}"]' if self.name else ""
        return f'{{APIGroups:["{self.group}"], Resources:["{self.resource}"]{named}, Verbs:["{self.verb}"]}}'


def rights_of(rules: Sequence[Rule]) -> Iterator[Right]:
    """The single rights of rules."""
    for rule in rules:
        for verb in rule.get("verbs") or NO_ITEMS:
            for path in rule.get("nonResourceURLs") or NO_ITEMS:
                yield Right(verb, path=path)
            for group in rule.get("apiGroups") or NO_ITEMS:
                for resource in rule.get("resources") or NO_ITEMS:
                    for name in rule.get("resourceNames") or ("",):
                        yield Right(verb, group, resource, name)


def missing(wanted: Sequence[Rule], held: Sequence[Rule]) -> list[Right]:
    """The rights of ``wanted`` that ``held`` does not cover."""
    found: dict[Right, None] = {}
    for right in rights_of(wanted):
        if right not in found and not any(_covers(rule, right) for rule in held):
            found[right] = None
    return list(found)


def _covers(rule: Rule, right: Right) -> bool:
    verbs = rule.get("verbs") or NO_ITEMS
    if ANY not in verbs and right.verb not in verbs:
        return False
    if right.path:
        return any(_covers_path(path, right.path) for path in rule.get("nonResourceURLs") or NO_ITEMS)
    groups, names = rule.get("apiGroups") or NO_ITEMS, rule.get("resourceNames") or NO_ITEMS
    if ANY not in groups and right.group not in groups:
        return False
    below = right.resource.partition("/")[2]
    resources = rule.get("resources") or NO_ITEMS
    if not ({ANY, right.resource, *((f"*/{below}",) if below else ())} & set(resources)):
        return False
    return not names or right.name in names


def _covers_path(held: str, wanted: str) -> bool:
    return held in (ANY, wanted) or (held.endswith("*") and wanted.startswith(held[:-1]))
