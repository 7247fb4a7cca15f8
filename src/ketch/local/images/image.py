"""What a container of an image starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ketch.local.images.environments import Content
from ketch.local.images.oci.tree import Tree
from ketch.local.sandbox.spec import Mount

IMAGE_ID = "image-id"
"""What a container's records call the digest of its image."""


@dataclass(frozen=True)
class Image:
    """What a container of this image starts from."""

    name: str
    digest: str
    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    argv: tuple[str, ...]
    """What a container runs that says nothing else; with an ``entrypoint``, the arguments of that."""

    working_dir: str = "/"
    notes: tuple[str, ...] = ()
    """What differs from the image's promise, each a sentence."""

    environment: Path | None = None
    content: Content | None = None
    """The Python environment in it, if there is one: where it is, and what it is made of."""

    entrypoint: tuple[str, ...] = ()
    root: Tree | None = None
    """The image's own file system, of an OCI image: it is all that its containers see of the machine."""

    user: str = ""
    """Who its process is, as ``user[:group]`` by name or number."""

    stop_signal: int | None = None
    size: int = 0
    """Bytes, of an OCI image."""
