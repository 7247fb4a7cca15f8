"""Patterns that users write: RE2's language, as Go reads it, in linear time whatever the text."""

from functools import lru_cache
from typing import Any


class PatternError(ValueError):
    """The text is no pattern; the message says why."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """A pattern of RE2. Raises PatternError."""
    import re2  # noqa: PLC0415  # deferred: 20 ms, for the first rule with a pattern

    library: Any = re2
    options = library.Options()
    options.log_errors = False
    try:
        return library.compile(pattern, options)
    except library.error as error:
        reason = error.args[0] if error.args else ""
        raise PatternError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
