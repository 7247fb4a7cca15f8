"""Telling how far it is."""

from collections.abc import Callable

Progress = Callable[[str], None]
"""Is told a line now and then."""


def silent(text: str) -> None:
    """Tell nobody."""
