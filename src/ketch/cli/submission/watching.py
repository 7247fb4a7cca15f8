"""``ketch run --watch``: tell when a pipeline's file, or a module beside it, was changed."""

import os
import time
from pathlib import Path

LOOK_AGAIN_AFTER = 0.25


class Watch:
    """The file and, for Python, the modules in its folder, as they were when they were last looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether anything was written since; a file that is just being replaced is not a change yet."""
        now = self._look()
        return now != self._seen and str(self._path) in now

    def renew(self) -> None:
        """What stands there now is what was looked at."""
        self._seen = self._look()

    def wait(self) -> None:
        """Until something changes."""
        while not self.changed():
            time.sleep(LOOK_AGAIN_AFTER)

    def _look(self) -> dict[str, tuple[int, int]]:
        paths = {self._path}
        if self._path.suffix == ".py":
            paths |= set(self._path.parent.glob("*.py"))
        found: dict[str, tuple[int, int]] = {}
        for path in paths:
            try:
                status = os.stat(path)  # noqa: PTH116  # of a glob's path, which may be gone again
            except OSError:
                continue
            found[str(path)] = status.st_mtime_ns, status.st_size
        return found
