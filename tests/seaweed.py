"""SeaweedFS as the S3 store of tests: one process on loopback ports of its own."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from ketch.kube.clock import SYSTEM_CLOCK

ACCESS_KEY, SECRET_KEY = "test-access", "test-secret"
PATIENCE = 30.0
GRPC_OFFSET = 10_000
"""Each of its ports has a second one so far above."""


@dataclass
class Seaweed:
    """A store, running once it was started."""

    folder: Path
    ports: tuple[int, int, int, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where its S3 is."""
        return f"http://127.0.0.1:{self.ports[3]}"

    def start(self) -> None:
        """Until it answers."""
        master, volume, filer, s3 = self.ports
        program = Path(sys.executable).parent / "weed"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program, "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *(f"-master.port={master}", f"-volume.port={volume}", "-volume.max=50"),
                    *("-master.volumeSizeLimitMB=64", "-filer", f"-filer.port={filer}"),
                    *("-s3", f"-s3.port={s3}", f"-s3.config={self.folder / 's3.json'}"),
                    *("-s3.port.iceberg=0", "-s3.port.lance=0"),
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE
        while not self._answers():
            assert SYSTEM_CLOCK.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            Event().wait(0.05)

    def _answers(self) -> bool:
        """Whether an object can be written (the volumes come last); the bucket is there from then on."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[2]}/buckets/artifacts/alive", data=b"x", method="PUT"
        )
        try:
            with urllib.request.urlopen(request, timeout=2), urllib.request.urlopen(self.endpoint, timeout=2):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 403  # S3 answers, though not to strangers
        except OSError:
            return False

    def stop(self) -> None:
        """At once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _free_ports() -> tuple[int, int, int, int]:
    """Ports whose second ones are free too."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < 4:
            first = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = first.getsockname()[1]
            port = port - GRPC_OFFSET if port > 55_000 else port
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port + GRPC_OFFSET)))
                if port != first.getsockname()[1]:
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            found.append(port)
    return (found[0], found[1], found[2], found[3])


@contextmanager
def running_seaweed(folder: Path) -> Generator[Seaweed]:
    """A store of its own in ``folder``."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": actions,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    store = Seaweed(folder, _free_ports())
    store.start()
    try:
        yield store
    finally:
        store.stop()
