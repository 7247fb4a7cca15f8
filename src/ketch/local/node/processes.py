"""Which Python process a container is, where that is known: said by the pod, or plain in its command.

``environment.ketch.dev/process`` speaks for one container: its words, command and args counted together, come to
``PROGRAM -m MODULE``. A real cluster ignores it: there the command runs as it stands, and so it does here in a cold
start. ``environment.ketch.dev/warm: "false"`` asks for cold starts.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from ketch.local.node.environment import ConfigError
from ketch.local.node.packages import PREFIX

PROCESS, WARM = f"{PREFIX}process", f"{PREFIX}warm"
_PROGRAM = re.compile(r"python3?")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """``program -m module arguments`` with ``env`` added; ``sandbox.spec.WarmStart`` says what the rest means."""

    program: str
    module: str
    arguments: tuple[str, ...]
    env: Mapping[str, str] = {}
    text: str | None = None
    text_name: str = ""
    text_at: int = 0
    below_shell: bool = False


class _Annotation(msgspec.Struct, frozen=True, rename="kebab"):
    container: str
    program: str
    module: str
    first: int
    text: int
    text_name: str
    option: str
    env: dict[str, str] = {}


def wants_warm(annotations: Mapping[str, str]) -> bool:
    """Whether the pod leaves it to the node how its containers begin. Raises ConfigError."""
    text = annotations.get(WARM, "true").lower()
    if text not in ("true", "false"):
        raise ConfigError(f'annotation {WARM}: must be "true" or "false"')
    return text == "true"


def python_process(annotations: Mapping[str, str], container: str, argv: Sequence[str]) -> Process | None:
    """What the container with the command ``argv`` comes to; None where that is not known. Raises ConfigError."""
    if PROCESS in annotations:
        try:
            said = msgspec.json.decode(annotations[PROCESS], type=_Annotation)
        except msgspec.DecodeError as error:
            raise ConfigError(f"annotation {PROCESS}: {error}") from None
        if said.container == container:
            return _from_annotation(said, argv)
    if len(argv) > 2 and argv[1] == "-m" and _PROGRAM.fullmatch(argv[0]):
        return Process(program=argv[0], module=argv[2], arguments=tuple(argv[3:]))
    return None


def _from_annotation(said: _Annotation, argv: Sequence[str]) -> Process:
    if not (0 <= said.text < len(argv) and 0 <= said.first <= len(argv)):
        raise ConfigError(f"annotation {PROCESS}: container {said.container} has only {len(argv)} words")
    if not _PROGRAM.fullmatch(said.program) or "/" in said.text_name or not said.text_name:
        raise ConfigError(f"annotation {PROCESS}: program and text-name must be plain names of python and of a file")
    return Process(
        program=said.program,
        module=said.module,
        arguments=(said.option, "", *argv[said.first :]),
        env=said.env,
        text=argv[said.text],
        text_name=said.text_name,
        text_at=1,
        below_shell=True,
    )
