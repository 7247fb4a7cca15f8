"""Tries whether this machine permits sandboxes: ``python -m ketch.local.sandbox.trial`` becomes one, and ends."""

import os
import subprocess
import sys

from ketch.local.sandbox.bubblewrap import ALWAYS
from ketch.local.sandbox.main import become_administrator, find_bubblewrap

SECONDS = 20.0


def sandbox_failure() -> str:
    """Why no container can be made here; empty when one can. Tried in a process of its own."""
    if not find_bubblewrap():
        return "there is no bubblewrap"
    argv = [sys.executable, "-m", "ketch.local.sandbox.trial"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "the trial did not end"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines() or [f"bubblewrap ended with exit code {done.returncode}"]
    return said[-1].removeprefix("bwrap: ")


def main() -> None:
    """Become a sandbox that does nothing, as a keeper would."""
    become_administrator("", with_network=False)
    bwrap = find_bubblewrap()
    os.execv(bwrap, (bwrap, "--ro-bind", "/", "/", *ALWAYS, "--", "/proc/self/exe", "--version"))  # noqa: S606


if __name__ == "__main__":
    main()
