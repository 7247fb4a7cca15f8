"""What expressions may call: one module per library, each a table of overloads.

Law: functions are pure, raise EvaluationError alone, and take time in proportion to what they are given.
"""

from collections.abc import Mapping, Sequence

from ketch.local.apiserver.cel.functions import collections, formats, kubernetes, patterns, standard, strings
from ketch.local.apiserver.cel.functions.overloads import Overload

__all__ = ["Overload", "library"]


def library(*tables: Sequence[Overload]) -> Mapping[tuple[str, bool], Sequence[Overload]]:
    """All functions by name and whether they are members, with ``tables`` besides."""
    modules = (standard, strings, patterns, collections, kubernetes, formats)
    found: dict[tuple[str, bool], list[Overload]] = {}
    for table in (*(module.OVERLOADS for module in modules), *tables):
        for overload in table:
            found.setdefault((overload.name, overload.member), []).append(overload)
    return found
