"""Indexes, manifests and configurations, as Docker and OCI write them. Pure."""

import hashlib
import platform
from collections.abc import Mapping, Sequence

import msgspec

from ketch.local.images.oci.errors import ArchiveInvalid, DigestMismatch, PlatformMissing
from ketch.local.images.oci.references import is_digest

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MANIFEST_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
LONGEST_DOCUMENT = 8 << 20
"""Bytes of a manifest or a configuration; longer ones nobody writes in good faith."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Platform(msgspec.Struct, frozen=True):
    """What an image is made for."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Content by its digest."""

    digest: str
    media_type: str = ""
    size: int = 0
    annotations: Mapping[str, str] | None = None
    platform: Platform | None = None

    def __post_init__(self) -> None:
        if not is_digest(self.digest):
            raise ValueError(f'"{self.digest}" is not a digest')


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """One image: its configuration and its layers, the lowest first. Of an index: ``manifests``."""

    media_type: str = ""
    config: Descriptor | None = None
    layers: Sequence[Descriptor] = ()
    manifests: Sequence[Descriptor] | None = None


class Process(msgspec.Struct, frozen=True, rename="pascal"):
    """What an image's configuration says of the process that it is for."""

    user: str = ""
    env: Sequence[str] | None = None
    entrypoint: Sequence[str] | None = None
    cmd: Sequence[str] | None = None
    working_dir: str = ""
    stop_signal: str = ""


class Layering(msgspec.Struct, frozen=True):
    """The digests of the layers' content, uncompressed; the lowest first."""

    diff_ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        for digest in self.diff_ids:
            if not is_digest(digest):
                raise ValueError(f'"{digest}" is not a digest')


class Configuration(msgspec.Struct, frozen=True):
    """An image's configuration."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    created: str | None = None
    config: Process | None = None
    rootfs: Layering = Layering()

    @property
    def platform(self) -> Platform:
        """What the image is made for."""
        return Platform(self.os, self.architecture, self.variant)

    @property
    def process(self) -> Process:
        """What it says of its process."""
        return self.config or Process()


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of content."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def verified(data: bytes, digest: str, what: str) -> bytes:
    """The content, if it is what its digest says. Raises DigestMismatch."""
    if (found := digest_of(data, digest.partition(":")[0])) != digest:
        raise DigestMismatch(f"{what} is not what its digest says: it has {found} in place of {digest}")
    return data


def parse_manifest(data: bytes, what: str) -> Manifest:
    """An index or a manifest. Raises ArchiveInvalid."""
    if len(data) > LONGEST_DOCUMENT:
        raise ArchiveInvalid(f"{what} is longer than {LONGEST_DOCUMENT >> 20} MiB")
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ArchiveInvalid(f"{what} is not a manifest: {error}") from error
    if found.manifests is None and found.config is None:
        raise ArchiveInvalid(
            f"{what} is of a kind that is not supported: neither an index nor a manifest with a configuration "
            "(images of Docker's first schema must be pushed anew)"
        )
    return found


def parse_configuration(data: bytes, what: str) -> Configuration:
    """An image's configuration. Raises ArchiveInvalid."""
    if len(data) > LONGEST_DOCUMENT:
        raise ArchiveInvalid(f"{what} is longer than {LONGEST_DOCUMENT >> 20} MiB")
    try:
        return msgspec.json.decode(data, type=Configuration)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ArchiveInvalid(f"{what} is not the configuration of an image: {error}") from error


def own_platform() -> Platform:
    """What this machine runs."""
    machine = platform.machine()
    return Platform("linux", ARCHITECTURES.get(machine, machine))


def choose(manifests: Sequence[Descriptor], wanted: Platform, what: str) -> Descriptor:
    """The manifest for a platform; of several variants the first. Raises PlatformMissing."""
    for each in manifests:
        if each.platform is None or matches(each.platform, wanted):
            return each
    offered = ", ".join(dict.fromkeys(str(each.platform) for each in manifests)) or "none"
    raise PlatformMissing(f"no image for {wanted} in {what}: it has {offered}")


def matches(offered: Platform, wanted: Platform) -> bool:
    """Whether what is made for one runs on the other; what does not say what it is made for is taken at that."""
    return (not offered.os or offered.os == wanted.os) and (
        not offered.architecture or offered.architecture == wanted.architecture
    )
