"""Label and field selectors: parsed once, matched often.

Grammar as in the API's ``labelSelector`` and ``fieldSelector`` parameters: ``a=b``, ``a==b``, ``a!=b``, ``a in (b,c)``,
``a notin (b,c)``, ``a``, ``!a``, joined by commas; numbers by ``a>1`` and ``a<1``. Fields know ``=``, ``==``, ``!=``.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from ketch.kube.meta import LabelSelector

Labels = Mapping[str, str]

_SET = re.compile(r"^(?P<key>[^\s!=<>,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)$")
_COMPARE = re.compile(r"^(?P<key>[^\s!=<>,()]+)\s*(?P<operator>==|!=|=|>|<)\s*(?P<value>[^\s,()=!<>]*)$")
_EXISTS = re.compile(r"^(?P<negated>!\s*)?(?P<key>[^\s!=<>,()]+)$")
_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")


class SelectorError(ValueError):
    """The text is no selector; the message says which part."""


class Requirement(NamedTuple):
    """One term. Operators: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """Whether ``labels`` meet this term; NotIn also holds where the key is missing."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        try:
            left, right = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "Gt" else left < right

    def __str__(self) -> str:
        match self.operator:
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case "Gt" | "Lt":
                return f"{self.key}{'>' if self.operator == 'Gt' else '<'}{next(iter(self.values))}"
            case _ if len(self.values) == 1:
                return f"{self.key}{'=' if self.operator == 'In' else '!='}{next(iter(self.values))}"
            case _:
                word = "in" if self.operator == "In" else "notin"
                return f"{self.key} {word} ({','.join(sorted(self.values))})"


class Selector(NamedTuple):
    """All terms must hold; no terms select everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether ``labels`` are selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()


def _split(text: str) -> list[str]:
    """Terms between commas outside of parentheses."""
    terms, depth, begin = list[str](), 0, 0
    for index, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth == 0:
            terms.append(text[begin:index].strip())
            begin = index + 1
    terms.append(text[begin:].strip())
    return terms


def _requirement(term: str) -> Requirement:
    if found := _SET.match(term):
        values = frozenset(value.strip() for value in found["values"].split(","))
        requirement = Requirement(found["key"], "In" if found["operator"] == "in" else "NotIn", values)
    elif found := _COMPARE.match(term):
        operator = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}[found["operator"]]
        requirement = Requirement(found["key"], operator, frozenset({found["value"]}))
    elif found := _EXISTS.match(term):
        requirement = Requirement(found["key"], "DoesNotExist" if found["negated"] else "Exists")
    else:
        raise SelectorError(f"unable to parse requirement: {term!r}")
    if not _KEY.match(requirement.key):
        raise SelectorError(f"unable to parse requirement: {requirement.key!r} is no label key")
    return requirement


@lru_cache(maxsize=512)
def parse_labels(text: str) -> Selector:
    """The label selector that ``text`` means. Raises SelectorError."""
    if not text.strip():
        return EVERYTHING
    return Selector(tuple(_requirement(term) for term in _split(text)))


@lru_cache(maxsize=512)
def parse_fields(text: str) -> tuple[Requirement, ...]:
    """The field selector's terms. Raises SelectorError."""
    requirements: list[Requirement] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        key, operator, value = term.partition("!=")
        if not operator:
            key, operator, value = term.partition("=")
            value = value.removeprefix("=")
            if not operator:
                raise SelectorError(f"invalid field selector: {term!r}; can't understand '{term}'")
            requirements.append(Requirement(key.strip(), "In", frozenset({value.strip()})))
        else:
            requirements.append(Requirement(key.strip(), "NotIn", frozenset({value.strip()})))
    return tuple(requirements)


def from_label_selector(selector: LabelSelector | None) -> Selector | None:
    """A metav1.LabelSelector as a Selector; None selects nothing, an empty one everything."""
    if selector is None:
        return None
    equal = (Requirement(key, "In", frozenset({value})) for key, value in sorted(selector.match_labels.items()))
    terms = (Requirement(item.key, item.operator, frozenset(item.values)) for item in selector.match_expressions)
    return Selector((*equal, *terms))


def matcher(selector: LabelSelector | None) -> Callable[[Labels], bool]:
    """A predicate for a metav1.LabelSelector; None matches nothing."""
    parsed = from_label_selector(selector)
    return parsed.matches if parsed is not None else _nothing


def _nothing(_labels: Labels) -> bool:
    return False
