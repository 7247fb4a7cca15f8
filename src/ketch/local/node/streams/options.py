"""What a client asks of a command or of a container's streams: the query of exec and attach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ketch.kube.errors import BadRequest

_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T", ""})
_FALSE = frozenset({"0", "false", "False", "FALSE", "f", "F"})


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """PodExecOptions and PodAttachOptions, but for the container. With ``tty`` there is no stderr of its own."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool
    command: tuple[str, ...] = ()


def parse_options(query: Mapping[str, str], command: Sequence[str] = ()) -> StreamOptions:
    """The options of a request. Raises BadRequest, which names the parameter."""

    def flag(name: str, default: bool) -> bool:
        text = query.get(name)
        if text is None:
            return default
        if text not in _TRUE and text not in _FALSE:
            raise BadRequest(f'query parameter {name}: "{text}" is no boolean')
        return text in _TRUE

    tty = flag("tty", False)
    stdin, stdout, stderr = flag("stdin", False), flag("stdout", True), flag("stderr", True) and not tty
    if not (stdin or stdout or stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return StreamOptions(stdin, stdout, stderr, tty, tuple(command))
