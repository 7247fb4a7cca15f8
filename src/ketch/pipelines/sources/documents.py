"""The documents of a YAML or JSON text as plain JSON values.

A text is walked by its events before anything is built: the C library builds by recursion, and nesting without end
would end the process. Texts that take long are read by a process of their own, ``python -m`` this module.
"""

import asyncio
import resource
import sys
from collections.abc import Sequence
from typing import Any, Final

import orjson
import yaml

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.structs import plain

MAX_DEPTH: Final = 100
MAX_DOCUMENTS: Final = 10
_INLINE: Final = 128 * 1024  # bytes of YAML that are read within a few hundredths of a second
_SECONDS: Final = 60
_MEMORY: Final = 4 * 1024**3
_REFUSED: Final = 3  # the reading process's exit code when the text is at fault: its output says why


def documents(content: bytes) -> list[Any]:
    """The text's documents, without empty ones. Raises InvalidInput."""
    try:
        return [plain(orjson.loads(content))]
    except orjson.JSONDecodeError:
        pass  # most are YAML
    try:
        _check(content)
        found = [document for document in yaml.load_all(content, _Loader) if document is not None]
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError, OverflowError) as error:
        raise InvalidInput(f"the pipeline is not valid YAML: {error}") from error
    return [plain(document) for document in found]


async def documents_of(content: bytes) -> list[Any]:
    """As ``documents``, without holding the caller's loop up. Raises InvalidInput."""
    if len(content) <= _INLINE:
        return documents(content)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(2 * _SECONDS):
            answer, _ = await process.communicate(content)
    except TimeoutError as error:
        raise InvalidInput("the pipeline file takes too long to read") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == _REFUSED:
        raise InvalidInput(answer.decode())
    if process.returncode != 0:
        raise InvalidInput("the pipeline file is too large to read")
    return orjson.loads(answer)


def _check(content: bytes) -> None:
    """Raises InvalidInput for texts that only harm."""
    depth = count = 0
    for event in yaml.parse(content, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            count += 1
        if depth > MAX_DEPTH:
            raise InvalidInput("the document is nested too deeply or is too large")
        if count > MAX_DOCUMENTS:
            raise InvalidInput("the pipeline file holds too many documents")


class _Loader(yaml.CSafeLoader):
    """YAML as JSON knows it: a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML looks it up on the class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def main(arguments: Sequence[str] = ()) -> int:  # noqa: ARG001  # it takes none
    """Read a text from the standard input and write its documents as JSON."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        sys.stdout.buffer.write(orjson.dumps(documents(sys.stdin.buffer.read())))
    except InvalidInput as error:
        sys.stdout.write(error.message)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
