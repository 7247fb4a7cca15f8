# ruff: noqa: PTH123  # as an attacker would
"""What a hostile process exhausts from inside its container; runs there, with the standard library alone.

Prints one JSON object: how much of each thing it got before it was refused.
"""

import contextlib
import json
import os
import threading
import time

MANY_FILES, MANY_DESCRIPTORS, MANY_THREADS = 5000, 20_000, 20_000


def processes() -> int:
    """A fork bomb of threads: each takes a number as a process does, and less of this machine."""
    threading.stack_size(1 << 16)
    stop, begun = threading.Event(), 0
    with contextlib.suppress(RuntimeError):
        while begun < MANY_THREADS:
            threading.Thread(target=stop.wait, daemon=True).start()
            begun += 1
    time.sleep(1)  # others must live with that
    stop.set()
    return begun


def descriptors() -> int:
    opened = []
    with contextlib.suppress(OSError):
        while len(opened) < MANY_DESCRIPTORS:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    for number in opened:
        os.close(number)
    return len(opened)


def files() -> int:
    made = 0
    with contextlib.suppress(OSError):
        for made in range(MANY_FILES):
            open(f"/tmp/flood-{made}", "w").close()
    return made


gained = {each.__name__: each() for each in (descriptors, files, processes)}
print(json.dumps({"bombs": gained}), flush=True)
