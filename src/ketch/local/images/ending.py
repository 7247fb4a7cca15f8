"""In environments with PyTorch: lets gloo's threads come to rest before the interpreter ends.

Copied into them, and imported by each of their interpreters when it starts, so it imports nothing that is not loaded
already. A thread of gloo (torch 2.13) that is through with its work still gives a Python object back; an interpreter
that ends meanwhile ends that thread inside a destructor, which aborts the process after all its work is done.
"""

import atexit
import os
import sys
import time

THREAD = "pt_gloo_runloop"
TASKS = "/proc/self/task"
LONGEST = 2.0
"""Seconds after which a thread that is still busy is left to itself."""

LOOK = 0.005
LOOKS = 2
"""So often in a row all must be found at rest."""


def at_rest() -> list[bool]:
    """Of each of gloo's threads."""
    found: list[bool] = []
    for task in os.listdir(TASKS):  # noqa: PTH208  # pathlib is not loaded yet
        try:
            with open(f"{TASKS}/{task}/stat") as file:  # noqa: PTH123  # as above
                name, _, rest = file.read().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has ended
        if name == THREAD:
            found.append(rest.split()[0] == "S")
    return found


def settle() -> None:
    """Wait for them. That leaves them the interpreter's lock: one that waited for it is at rest no longer."""
    if "torch.distributed" not in sys.modules:
        return
    quiet, deadline = 0, time.monotonic() + LONGEST
    while quiet < LOOKS and time.monotonic() < deadline:
        found = at_rest()
        if not found:
            return
        quiet = quiet + 1 if all(found) else 0
        time.sleep(LOOK)


atexit.register(settle)  # the first to be registered is the last to be called
