"""The packages that a lightweight component's generated command installs, read from the command itself.

The command stays as it is; who prepares the environment beforehand makes its pip line find everything in place.
"""

import shlex
from collections.abc import Sequence
from typing import Final

import msgspec

_ENDS: Final = frozenset({"&&", "||", ";", "|", "&"})
_INDEX_OPTIONS: Final = ("--index-url", "-i", "--extra-index-url")
_VALUE_OPTIONS: Final = (
    *_INDEX_OPTIONS,
    "--trusted-host",
    "-c",
    "--constraint",
    "-t",
    "--target",
    "-f",
    "--find-links",
)
_FOREIGN: Final = frozenset({"-r", "--requirement", "-e", "--editable"})


class Packages(msgspec.Struct, frozen=True):
    """Requirements in the order given, and the indexes to look them up in (the first is the main one).

    ``alone`` are those of the requirements that are installed without their dependencies.
    """

    requirements: tuple[str, ...] = ()
    index_urls: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


def packages_of(command: Sequence[str]) -> Packages:
    """What the command's ``python3 -m pip install`` lines ask for; nothing when it has none or is not understood."""
    requirements: dict[str, None] = {}
    indexes: dict[str, None] = {}
    alone: list[str] = []
    for word in command:
        if "-m pip install" not in word:
            continue
        for line in _install_lines(word):
            found = _read_line(line, indexes)
            requirements |= dict.fromkeys(found)
            alone += found if "--no-deps" in line else ()
    return Packages(tuple(requirements), tuple(indexes), tuple(alone))


def _install_lines(script: str) -> list[list[str]]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars="&;|")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        tokens = list(lexer)
    except ValueError:
        return []  # not a shell text
    lines: list[list[str]] = []
    current: list[str] | None = None
    for position, token in enumerate(tokens):
        if token in _ENDS:
            current = None
        elif tokens[position - 3 : position] == ["-m", "pip", "install"]:
            current = [token]
            lines.append(current)
        elif current is not None:
            current.append(token)
    return lines


def _read_line(line: list[str], indexes: dict[str, None]) -> list[str]:
    """The requirements of one line; its indexes are added to ``indexes``."""
    requirements: list[str] = []
    words = iter(line)
    for word in words:
        option, equals, value = word.partition("=")
        if word in _VALUE_OPTIONS:
            value = next(words, "")
            if word in _INDEX_OPTIONS and value:
                indexes[value] = None
        elif word in _FOREIGN:
            next(words, "")
        elif word.startswith("-"):
            if equals and option in _INDEX_OPTIONS:
                indexes[value] = None
        else:
            requirements.append(word)
    return requirements
