"""``python3 -m ketch.training.initializers dataset|model``: fetch what STORAGE_URI names, to /workspace/<which>."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from ketch.training.initializers.sources import SourceFailed, bring

WORKSPACE: Final = Path("/workspace")
KINDS: Final = ("dataset", "model")
_LAST_WORDS: Final = Path("/dev/termination-log")


def leave(code: int, sentence: str) -> None:
    """End at once: threads of the stores' client may still run, and abort an interpreter that takes itself apart."""
    print(sentence, file=sys.stderr if code else sys.stdout, flush=True)
    if code and _LAST_WORDS.exists():
        _LAST_WORDS.write_text(sentence)
    os._exit(code)


def main() -> None:
    """Bring it, and say how much came."""
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in KINDS:
        sys.exit(__doc__)
    target, uri = WORKSPACE / kind, os.environ.get("STORAGE_URI", "")
    try:
        count = asyncio.run(bring(uri, target, kind, os.environ))
    except SourceFailed as failure:
        leave(1, str(failure))
    else:
        leave(0, f"{count} files of {uri} are in {target}")


if __name__ == "__main__":
    main()
