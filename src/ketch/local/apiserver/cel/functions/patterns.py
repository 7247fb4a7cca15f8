"""Texts and patterns."""

from collections.abc import Sequence
from typing import Any

from ketch.local.apiserver.cel.errors import EvaluationError
from ketch.local.apiserver.cel.functions.overloads import Overload, member
from ketch.local.apiserver.patterns import PatternError, compiled


def _pattern(text: str) -> Any:
    try:
        return compiled(text)
    except PatternError as error:
        raise EvaluationError(f"error parsing regexp: {error}") from None


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    return _pattern(pattern).search(text) is not None


def _find(text: str, pattern: str) -> str:
    found = _pattern(pattern).search(text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group(0) for match in _pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


OVERLOADS: Sequence[Overload] = (
    member("find", "string, string -> string", _find),
    member("findAll", "string, string -> strings", _find_all),
    member("findAll", "string, string, int -> strings", _find_all),
)
