"""Debian's docker-registry on a loopback port, and images pushed to it."""

import json
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx
from tests.debian import debian_program
from tests.ociimages import BuiltImage, digest_of

from ketch.kube.clock import SYSTEM_CLOCK

PATIENCE = 30.0
USER, PASSWORD = "alice", "open sesame"
ALICE = f"{USER}:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"
"""The user's line as ``htpasswd -B`` writes it."""


@dataclass
class RunningRegistry:
    """A registry: its name in images' names, and who may push to it."""

    host: str
    log: Path
    auth: tuple[str, str] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def push(self, repository: str, tag: str, image: BuiltImage, index: Mapping[str, object] | None = None) -> str:
        """Put the image there, with an index over it if one is given; the digest that the tag means."""
        with httpx.Client(base_url=f"{self.url}/v2/{repository}", auth=self.auth, timeout=PATIENCE) as client:
            for digest, data in image.blobs.items():
                if digest == image.digest:
                    continue
                place = client.post("/blobs/uploads/").raise_for_status().headers["Location"]
                client.put(place, params={**httpx.URL(place).params, "digest": digest}, content=data).raise_for_status()
            media = json.loads(image.manifest)["mediaType"]
            reference = tag if index is None else image.digest
            self._put(client, reference, image.manifest, media)
            if index is None:
                return image.digest
            document = json.dumps(index).encode()
            self._put(client, tag, document, str(index["mediaType"]))
            return digest_of(document)

    @staticmethod
    def _put(client: httpx.Client, reference: str, document: bytes, media: str) -> None:
        client.put(f"/manifests/{reference}", content=document, headers={"Content-Type": media}).raise_for_status()

    def asked(self) -> str:
        """Its log, in which every request has a line."""
        return self.log.read_text(errors="replace")


@contextmanager
def running_registry(folder: Path, *, private: bool = False) -> Iterator[RunningRegistry]:
    """A registry that keeps its images below ``folder``; a private one knows ``USER`` alone."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    lines = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '{host}', secret: {secrets.token_hex(8)}}}",
        "log: {level: info, accesslog: {disabled: false}}",
    ]
    if private:
        (folder / "users").write_text(f"{ALICE}\n")
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {folder / 'users'}}}}}")
    (folder / "config.yml").write_text("\n".join(lines))
    program = debian_program("docker-registry", "usr/bin/docker-registry")
    log = folder / "log"
    with log.open("ab") as file:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=file, stderr=file)
    try:
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE
        while not _answers(host):
            assert process.poll() is None, log.read_text()[-2000:]
            assert SYSTEM_CLOCK.monotonic() < deadline, log.read_text()[-2000:]
            Event().wait(0.05)
        yield RunningRegistry(host, log, (USER, PASSWORD) if private else None)
    finally:
        process.kill()
        process.wait()


def _answers(host: str) -> bool:
    try:
        return httpx.get(f"http://{host}/v2/").status_code in (200, 401)
    except httpx.TransportError:
        return False
