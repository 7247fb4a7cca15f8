"""What every program of the platform does: it logs to stderr, and tells its supervisor that it is ready.

``python -m`` this module, with another's name and its arguments, runs that. The keeper zygote carries this module in
memory: it imports next to nothing.
"""

import gc
import os
import sys

WARM = "KETCH_WARM"
"""Environment variable: ``0`` has every container start cold."""

UNUSABLE = 78
"""Exit code of a program that cannot start before somebody has changed something: sysexits(3)'s EX_CONFIG."""

COLLECT_AFTER = (100_000, 50, 1000)
TURN_SECONDS = 0.0005
READY_FD = "KETCH_READY_FD"
"""Environment variable that names the descriptor to which a process writes one line when it is ready."""


def announce_ready() -> None:
    """Tell the supervisor, if there is one, that this process is ready. Harmless when called twice."""
    number = os.environ.pop(READY_FD, None)
    if number is None:
        return
    try:
        os.write(int(number), b"ready\n")
        os.close(int(number))
    except OSError:
        return  # the supervisor is gone, and with it whoever wanted to know


def log_to_stderr() -> None:
    """Write what is told at level INFO and above to stderr, which the supervisor appends to the program's log."""
    import logging  # noqa: PLC0415  # not for the zygote, see above

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else it tells of each request


def collect_rarely() -> None:
    """Let the garbage collector pass over what lives now, and look at the rest seldom.

    A program here holds many objects for long, and few that make cycles: at Python's own thresholds collections
    doubled the time of writes, and took a tenth of a second each where there are thousands of objects.
    """
    gc.set_threshold(*COLLECT_AFTER)
    gc.freeze()


def begin(module: str) -> None:
    """Become the program that is ``module``; no garbage is looked for while it is imported: a fifth of the time."""
    import importlib  # noqa: PLC0415  # not for the zygote, see above

    gc.disable()
    program = importlib.import_module(module)
    gc.freeze()
    gc.enable()
    program.main()


def take_short_turns() -> None:
    """Let threads wait for each other less long than Python has them wait (5 ms).

    What a thread does here is write a few rows or files; the loop that waits for it would go on computing meanwhile.
    """
    sys.setswitchinterval(TURN_SECONDS)


if __name__ == "__main__":
    del sys.argv[0]
    begin(sys.argv[0])
