"""The Python process that a lightweight component's generated command comes to, read from the command itself. Pure.

The command stays as it is; who can start such a process more quickly finds here which one it is. It is read exactly:
where a word differs from what the SDK generates, nothing is said, and the command runs as it stands.
"""

import re
import shlex
from collections.abc import Sequence
from typing import Final

import msgspec

from ketch.pipelines.steps.step import MAIN

PROCESS_ANNOTATION: Final = "environment.ketch.dev/process"

_INSTALL: Final = re.compile(
    r"""
    \s*if[ ]!\ \[\ -x\ "\$\(command\ -v\ pip\)"\ \];\ then\n
    \s*python3\ -m\ ensurepip\ \|\|\ python3\ -m\ ensurepip\ --user\ \|\|\ apt-get\ install\ python3-pip\n
    \s*fi\n
    \s*PIP_DISABLE_PIP_VERSION_CHECK=1[ ](?P<lines>[^\n]+)[ ]&&[ ]"\$0"[ ]"\$@"\s*
    """,
    re.VERBOSE,
)
_RUN: Final = re.compile(
    r"""
    \s*program_path=\$\(mktemp\ -d\)\s*\n
    \s*printf\ "%s"\ "\$0"\ >\ "\$program_path/(?P<name>[\w.]+)"[ ]*\n
    \s*(?P<env>(?:_KFP_RUNTIME=true\ )?)(?P<program>python3)\ -m\ (?P<module>[\w.]+)(?:[ ]|\\\n)+
    (?P<option>--component_module_path)(?:[ ]|\\\n)+
    "\$program_path/(?P=name)"(?:[ ]|\\\n)+
    "\$@"\s*
    """,
    re.VERBOSE,
)
_PIP: Final = ("python3", "-m", "pip", "install")
_FLAGS: Final = frozenset({"--quiet", "--no-warn-script-location", "--no-deps"})
_VALUED: Final = frozenset({"--index-url", "--extra-index-url", "--trusted-host"})
_SHELL_READS: Final = frozenset("$`\\")
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9]")


class Process(msgspec.Struct, frozen=True, rename="kebab", omit_defaults=True):
    """``PROGRAM -m MODULE`` with words of the ``container``'s command and args, counted together, from ``first`` on.

    Word ``text`` is written to a file ``text_name`` in a new directory, and ``option`` with its path comes first.
    """

    container: str
    program: str
    module: str
    first: int
    text: int
    text_name: str
    option: str
    env: dict[str, str] = {}


def process_of(command: Sequence[str], container: str = MAIN) -> Process | None:
    """What the command, with its args, comes to once its packages are there; None when it is not one of the SDK's."""
    outer = 0
    if len(command) > 3 and tuple(command[:2]) == ("sh", "-c") and _only_installs(command[2]):
        outer = 3
    if len(command) < outer + 4 or tuple(command[outer : outer + 2]) != ("sh", "-ec"):
        return None
    found = _RUN.fullmatch(command[outer + 2])
    if found is None:
        return None
    return Process(
        container=container,
        program=found["program"],
        module=found["module"],
        first=outer + 4,
        text=outer + 3,
        text_name=found["name"],
        option=found["option"],
        env={"_KFP_RUNTIME": "true"} if found["env"] else {},
    )


def _only_installs(script: str) -> bool:
    """Whether the script installs packages with plain lines of pip, then becomes its arguments."""
    found = _INSTALL.fullmatch(script)
    if found is None or not _SHELL_READS.isdisjoint(found["lines"]):
        return False
    lexer = shlex.shlex(found["lines"], posix=True, punctuation_chars="&;|<>()")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        return False
    lines: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            lines.append([])
        else:
            lines[-1].append(word)
    return all(map(_plain, lines))


def _plain(line: Sequence[str]) -> bool:
    """Whether the words are pip's, asked for nothing but packages by name."""
    if tuple(line[: len(_PIP)]) != _PIP:
        return False
    words = iter(line[len(_PIP) :])
    for word in words:
        if word in _VALUED:
            next(words, "")
        elif word not in _FLAGS and _REQUIREMENT.match(word) is None:
            return False
    return True
