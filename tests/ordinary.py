"""Run a command as an ordinary user where the tests run as root.

The interpreter, the environment and the checkout may stand below folders that only root may enter: the command gets a
mount namespace of its own, in which exactly those three are reachable and the rest of such folders is not there.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

USER = GROUP = 54321
HOLD = "/tmp/ketch-tests-hold"
"""An empty folder, the same for every run; what is held there is seen in the run's own mount namespace alone."""

CHECKOUT = Path(__file__).parents[1]


def closed_folder(path: Path) -> Path | None:
    """The topmost folder on the way to ``path`` that others may not enter."""
    for folder in reversed([path, *path.parents]):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _exposing(paths: Sequence[Path]) -> str:
    """Shell text that makes ``paths`` reachable: each is held, its closed folder covered, then put back in place."""
    closed = {path: folder for path in paths if (folder := closed_folder(path)) is not None}
    lines = ["set -e", "mount --make-rprivate /", f"hold={HOLD}", "mkdir -p $hold", "mount -t tmpfs tmpfs $hold"]
    for number, path in enumerate(closed):
        lines += [f"mkdir $hold/{number}", f"mount --bind {shlex.quote(str(path))} $hold/{number}"]
    for folder in sorted(set(closed.values())):
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}")
    for number, path in enumerate(closed):
        lines += [f"mkdir -p {shlex.quote(str(path))}", f"mount --bind $hold/{number} {shlex.quote(str(path))}"]
    return "\n".join(lines)


def as_ordinary_user(command: Sequence[str], home: Path) -> list[str]:
    """``command`` as an ordinary user whose home is ``home`` (made over to them); as it is when we are no root."""
    if os.geteuid():
        return list(command)
    os.chown(home, USER, GROUP)
    home.chmod(0o700)
    paths = [Path(sys.base_prefix), Path(sys.prefix), CHECKOUT]
    user = f"setpriv --reuid={USER} --regid={GROUP} --clear-groups --bounding-set=-all --no-new-privs"
    environment = f"env HOME={shlex.quote(str(home))} USER=ordinary XDG_CACHE_HOME={shlex.quote(str(home))}/.cache"
    script = f"{_exposing(paths)}\nexec {user} {environment} {shlex.join(command)}"
    return ["unshare", "--mount", "sh", "-c", script]
