"""A step's command line as its container can start it. Pure.

The SDK's generated shell line stays as it is wherever it can. It cannot where a word is longer than the kernel takes
(the component's source, or its input), and it does not do where the component may leave an artifact outside its task's
directory, which is gone with the container: there ``stepmain`` runs in its place. A long word of a shell's own line is
read from its file by the shell. Long words are files in the object store, which the step reads as one more input.
"""

import importlib.resources
import json
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import msgspec

from ketch.pipelines.steps.layout import data_path
from ketch.pipelines.steps.placeholders import Quote, Scope, expand_command
from ketch.pipelines.steps.step import PodProblem, Step

LONGEST_WORD: Final = 128 * 1024 - 1
"""What Linux takes as one argument (MAX_ARG_STRLEN, with the byte that ends it)."""

LONGEST_LINE: Final = 1024 * 1024
"""What a command line may have in all: the kernel takes twice that, an API server little more in one object."""

EXECUTOR: Final = "kfp.dsl.executor_main"

_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
_SHELL_OPTION = re.compile(r"^-[a-z]*c$")
_PROGRAM: Final = "ephemeral_component.py"
_LEAVES_ELSEWHERE = re.compile(
    r"\bcustom_path\b|\bset_path\(|\.(?:uri|path)\s*=(?!=)|\buri\s*=(?!=)(?!\s*(?:dsl\.)?get_uri\b)"
)
_WITHOUT_FILES: Final = ("Metrics", "ClassificationMetrics", "SlicedClassificationMetrics")


class Command(msgspec.Struct, frozen=True):
    """What to start, and what must be in the object store before: content by URI, all below ``uri``."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    files: Mapping[str, bytes] = {}
    uri: str = ""


class _Line(msgspec.Struct, frozen=True):
    """A Python component's command: what comes before its process, the process' words, whether the first is source."""

    before: tuple[str, ...]
    words: tuple[str, ...]
    source: bool


def command_of(step: Step, scope: Scope, quote: Quote) -> Command:
    """The step's command with its placeholders resolved. Raises PodProblem and PlaceholderError."""
    command = expand_command(step.container.command, scope, quote)
    args = expand_command(step.container.args, scope, quote)
    line = _python_line((*command, *args))
    elsewhere = line is not None and _may_leave_elsewhere(step, line)
    if not elsewhere and not _long((*command, *args)):
        return Command(command, args)
    words = expand_command((*step.container.command, *step.container.args), scope)
    if line := _python_line(words):
        return _by_stepmain(step, line, quote)
    long = _long(words)
    return _by_shell(step, words, long, quote) if long else Command(command, args)


def _long(words: Sequence[str]) -> frozenset[int]:
    """The words that must be files: those too long, and the longest others while the line is."""
    sizes = [len(word.encode()) for word in words]
    long = {index for index, size in enumerate(sizes) if size > LONGEST_WORD}
    left = sum(size for index, size in enumerate(sizes) if index not in long)
    for index in sorted(range(len(sizes)), key=lambda each: -sizes[each]):
        if left <= LONGEST_LINE:
            break
        if index not in long:
            long.add(index)
            left -= sizes[index]
    return frozenset(long)


def _python_line(words: Sequence[str]) -> _Line | None:
    """The process of a component that the SDK generated; None when it is something else."""
    for start in range(min(len(words), 4)):
        rest = words[start:]
        if rest[:3] == ("python3", "-m", EXECUTOR):
            return _Line(tuple(words[:start]), tuple(rest[3:]), source=False)
        if len(rest) > 3 and rest[0] in _SHELLS and _PROGRAM in rest[2] and f"-m {EXECUTOR}" in rest[2]:
            return _Line(tuple(words[:start]), tuple(rest[3:]), source=True)
    return None


def _may_leave_elsewhere(step: Step, line: _Line) -> bool:
    """Whether the code says where its artifacts are; of code inside an image nobody knows."""
    outputs = step.component.output_definitions.artifacts.values()
    kinds = [each.artifact_type.schema_title.removeprefix("system.") for each in outputs]
    if all(kind in _WITHOUT_FILES for kind in kinds):
        return False
    return _LEAVES_ELSEWHERE.search(line.words[0]) is not None if line.source else True


def _by_stepmain(step: Step, line: _Line, quote: Quote) -> Command:
    words, files = _in_files(step, line.words, _long(line.words))
    _refuse_long(line.before)
    plan = {
        "module": EXECUTOR,
        "source": line.source,
        "output": step.place.output_file,
        "files": {str(index): path for index, (path, _) in files.items()},
    }
    _, data = quote
    command = (*line.before, "python3", "-c", _program(), json.dumps(plan))
    return _command(step, tuple(map(data, command)), tuple(map(data, words)), files)


def _by_shell(step: Step, words: Sequence[str], long: frozenset[int], quote: Quote) -> Command:
    """The shell's own parameters are set from files; what it starts with them would meet the same limit."""
    _, data = quote
    if len(words) < 3 or posixpath.basename(words[0]) not in _SHELLS or not _SHELL_OPTION.match(words[1]):
        _refuse_long(words)
        raise PodProblem(f"the command line has more than {LONGEST_LINE} bytes: {_ADVICE}")
    _refuse_long((*words[:2], *words[3:4]))
    rest, files = _in_files(step, words, long - {0, 1, 3})
    script = f". {shlex.quote(files[2][0])}" if 2 in files else words[2]
    if parameters := range(4, len(words)):
        reading = (
            f'"$(cat {shlex.quote(files[each][0])}; printf .)"' if each in files else f'"${{{each - 3}}}."'
            for each in parameters
        )
        script = f"set -- {' '.join(reading)}\n{_STRIP}\n{script}"
    if len(script.encode()) > LONGEST_WORD:
        whole = (_file(step, len(words)), script)
        script, files = f". {shlex.quote(whole[0])}", {**files, len(words): whole}
    command = (words[0], words[1], script, *words[3:4])
    return _command(step, tuple(map(data, command)), tuple(map(data, rest[4:])), files)


_STRIP: Final = 'for ketch_word do shift; set -- "$@" "${ketch_word%.}"; done; unset ketch_word'
"""Takes the dot off each parameter that kept the line ends before it."""

_ADVICE: Final = "pass large values as artifacts instead"


def _in_files(
    step: Step, words: Sequence[str], long: frozenset[int]
) -> tuple[list[str], Mapping[int, tuple[str, str]]]:
    """The words without the long ones, and those with the paths where the step finds them."""
    files = {index: (_file(step, index), words[index]) for index in sorted(long)}
    return ["" if index in files else word for index, word in enumerate(words)], files


def _file(step: Step, index: int) -> str:
    return f"{data_path(step.place.arguments_uri)}/{index}"


def _command(
    step: Step, command: tuple[str, ...], args: tuple[str, ...], files: Mapping[int, tuple[str, str]]
) -> Command:
    uri = step.place.arguments_uri if files else ""
    return Command(command, args, {f"{uri}/{index}": text.encode() for index, (_, text) in files.items()}, uri)


def _refuse_long(words: Sequence[str]) -> None:
    for index, word in enumerate(words):
        size = len(word.encode())
        if size > LONGEST_WORD:
            raise PodProblem(
                f"word {index + 1} of the command has {size} bytes, and Linux takes {LONGEST_WORD}: {_ADVICE}"
            )


@cache
def _program() -> str:
    return importlib.resources.files("ketch.pipelines.steps").joinpath("stepmain.py").read_text()
