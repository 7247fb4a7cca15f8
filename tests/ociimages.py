"""Images made by hand: layers as archives, images as OCI layouts, and what ``docker save`` writes."""

import gzip
import hashlib
import io
import json
import platform
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
OCI = "application/vnd.oci.image"
MTIME = 1_700_000_000


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Entry:
    """A member of a layer; ``kind`` is one of tarfile's types."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0


def directory(name: str, mode: int = 0o755) -> Entry:
    return Entry(name, mode=mode, kind=tarfile.DIRTYPE)


def symlink(name: str, says: str) -> Entry:
    return Entry(name, kind=tarfile.SYMTYPE, link=says)


def hardlink(name: str, target: str) -> Entry:
    return Entry(name, kind=tarfile.LNKTYPE, link=target)


def layer(*entries: Entry) -> bytes:
    """The archive, uncompressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for each in entries:
            member = tarfile.TarInfo(each.name)
            member.type, member.mode, member.linkname, member.mtime = each.kind, each.mode, each.link, MTIME
            member.uid = each.uid
            member.size = len(each.content)
            archive.addfile(member, io.BytesIO(each.content))
    return buffer.getvalue()


def plain(data: bytes) -> bytes:
    return data


COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    f"{OCI}.layer.v1.tar": plain,
    f"{OCI}.layer.v1.tar+gzip": lambda data: gzip.compress(data, 1, mtime=0),
    f"{OCI}.layer.v1.tar+zstd": zstd.compress,
}
GZIP = f"{OCI}.layer.v1.tar+gzip"


@dataclass
class BuiltImage:
    """An image as a registry keeps it: blobs by digest, and its manifest."""

    layers: Sequence[bytes]
    process: Mapping[str, Any] = field(default_factory=dict[str, Any])
    media_type: str = GZIP
    architecture: str = ARCHITECTURE
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        configuration = {
            "architecture": self.architecture,
            "os": "linux",
            "config": dict(self.process),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in self.layers]},
        }
        self.config = json.dumps(configuration).encode()
        self.compressed = [COMPRESSIONS[self.media_type](each) for each in self.layers]
        document = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self._kept(f"{OCI}.config.v1+json", self.config),
            "layers": [self._kept(self.media_type, each) for each in self.compressed],
        }
        self.manifest = json.dumps(document).encode()
        self.descriptor = self._kept(f"{OCI}.manifest.v1+json", self.manifest)

    def _kept(self, media_type: str, data: bytes) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return self.descriptor["digest"]

    @property
    def diff_ids(self) -> Sequence[str]:
        return [digest_of(each) for each in self.layers]

    def write_layout(self, folder: Path, name: str = "") -> Path:
        """As an OCI layout."""
        return write_layout(folder, {name: self})

    def write_saved(self, path: Path, name: str) -> Path:
        """As ``docker save`` does."""
        config = f"{digest_of(self.config).removeprefix('sha256:')}.json"
        names = [f"{number}/layer.tar" for number, _ in enumerate(self.layers)]
        manifest = [{"Config": config, "RepoTags": [name], "Layers": names}]
        files = [Entry("manifest.json", json.dumps(manifest).encode()), Entry(config, self.config)]
        files += [Entry(place, data) for place, data in zip(names, self.layers, strict=True)]
        path.write_bytes(layer(*files))
        return path


def write_layout(folder: Path, images: Mapping[str, BuiltImage]) -> Path:
    """Several images, by name, as one OCI layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    tops = []
    for name, image in images.items():
        annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        tops.append({**image.descriptor, **annotations})
        for digest, data in image.blobs.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": tops}))
    return folder


def as_archive(folder: Path, path: Path, compress: Callable[[bytes], bytes] = plain) -> Path:
    """The layout as one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                archive.add(each, f"./{each.relative_to(folder)}")
    path.write_bytes(compress(buffer.getvalue()))
    return path
