"""``python3 -m ketch.pipelines.transfer fetch URI...`` and ``... deliver ROOT [FETCHED...]``: see ``program``."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ketch.pipelines.transfer.program import Carrier, TransferFailed, read_table, wait_for_end

_LAST_WORDS: Final = "/dev/termination-log"
_LONGEST: Final = 1000

log = logging.getLogger(__name__)


async def _run(command: str, uris: Sequence[str]) -> None:
    carrier = Carrier(read_table(os.environ), os.environ)
    if command == "fetch":
        _tell(await carrier.fetch(uris))
        return
    carrier.prepare(uris[0])
    await wait_for_end()
    await carrier.deliver(uris[0], uris[1:])


def _tell(missed: Sequence[str]) -> None:
    """In the log, and as the container's last words: should the step fail, they say why."""
    for sentence in missed:
        log.warning("%s", sentence)
    if missed:
        with contextlib.suppress(OSError):
            Path(_LAST_WORDS).write_text("; ".join(missed)[:_LONGEST])


def main() -> None:
    """Carry, as the arguments say. The last words on standard error tell what went wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    command, *uris = sys.argv[1:] or [""]
    if command not in ("fetch", "deliver") or not uris:
        sys.exit(__doc__)
    try:
        asyncio.run(_run(command, uris))
    except TransferFailed as error:
        sys.exit(str(error))


def leave(code: int) -> None:
    """End at once: threads of the stores' client may still run, and abort an interpreter that takes itself apart."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)  # noqa: T201  # the container's last words
        leave(1)
    leave(0)
