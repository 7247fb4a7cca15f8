"""The data directory: every path that processes of one platform share, declared once."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_LIMIT = 107
"""Bytes that a Unix socket's path may have on Linux (sun_path less its terminator)."""

LONGEST_SOCKET = "run/network.sock"
FOLDERS = ("run", "logs", "pki", "objects", "volumes", "pods", "environments")
BROUGHT_ALONG = ("images", "images.json", "registries.json", "audit-policy.yaml", "lost+found")
"""What may be there before the first platform: images and what they mean, what is audited, a file system's mark."""

MOST_NAMED = 3
LEAST_ROOM = 4 << 20
"""Bytes that a platform needs to begin."""


class DirectoryError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


def default_data_directory() -> Path:
    """``$KETCH_HOME``, else ``$XDG_DATA_HOME/ketch``, else ``~/.local/share/ketch``."""
    if home := os.environ.get("KETCH_HOME"):
        return Path(home)
    share = os.environ.get("XDG_DATA_HOME")
    return Path(share) / "ketch" if share else Path.home() / ".local" / "share" / "ketch"


@dataclass(frozen=True)
class DataDirectory:
    """Paths below one root; only its owner may enter it."""

    root: Path

    @property
    def audit_policy(self) -> Path:
        """What of the calls to the Kubernetes API is written down; nothing where there is no such file."""
        return self.root / "audit-policy.yaml"

    @property
    def kube_database(self) -> Path:
        """The API server's durable log."""
        return self.root / "kube.db"

    @property
    def platform_database(self) -> Path:
        """Runs, tasks, artifacts, metrics."""
        return self.root / "platform.db"

    @property
    def objects(self) -> Path:
        """The local artifact store: ``objects/<bucket>/<key>``."""
        return self.root / "objects"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def node_kubeconfig(self) -> Path:
        """The node agent's kubeconfig."""
        return self.pki / "node.kubeconfig"

    @property
    def run(self) -> Path:
        """Sockets and process records of the running platform."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One file per process of the platform."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held by the running supervisor, so that a directory serves one platform at a time."""
        return self.run / "lock"

    @property
    def state(self) -> Path:
        """What the supervisor says of itself, as JSON."""
        return self.run / "supervisor.json"

    @property
    def api_socket(self) -> Path:
        """The Kubernetes API (TLS) for those who live in another network namespace."""
        return self.run / "api.sock"

    def log(self, process: str) -> Path:
        """Where ``process`` writes its output."""
        return self.logs / f"{process}.log"

    def prepare(self) -> None:
        """Create what is missing, closed to others. Raises DirectoryError when that is not possible."""
        longest = len(os.fsencode(self.root / LONGEST_SOCKET))
        if longest > SOCKET_PATH_LIMIT:
            room = SOCKET_PATH_LIMIT - len(LONGEST_SOCKET) - 1
            raise DirectoryError(
                f"data directory {self.root} is too long a path for Unix sockets "
                f"(at most {room} bytes): choose a shorter one with --data-dir"
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            owner = self.root.stat().st_uid
            if owner != os.geteuid():
                raise DirectoryError(
                    f"data directory {self.root} belongs to user {owner}, you are user {os.geteuid()}: "
                    "choose another with --data-dir"
                )
            if strangers := self._strangers():
                raise DirectoryError(
                    f"data directory {self.root} holds other things ({', '.join(strangers)}) and would be closed to "
                    "others: choose an empty one with --data-dir"
                )
            self.root.chmod(0o700)
            for name in FOLDERS:
                (self.root / name).mkdir(exist_ok=True, mode=0o700)
            self._check_room()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from error
            raise DirectoryError(
                f"cannot use data directory {self.root}: {error.strerror}: choose another with --data-dir"
            ) from error

    def _check_room(self) -> None:
        disk = os.statvfs(self.root)
        if disk.f_bavail * disk.f_frsize < LEAST_ROOM or (disk.f_files and not disk.f_favail):
            raise self._full()

    def _full(self) -> DirectoryError:
        return DirectoryError(
            f"the disk is full: a platform on {self.root} needs at least {LEAST_ROOM >> 20} MiB to begin: "
            "make room on its file system, and start again"
        )

    def _strangers(self) -> list[str]:
        """What stands in a directory that no platform has used yet and is none of its business; the first few."""
        if self.lock.exists():
            return []
        ours = {*FOLDERS, *BROUGHT_ALONG}
        return sorted(path.name for path in self.root.iterdir() if path.name not in ours)[:MOST_NAMED]
