"""Images by name: resolved, built when needed, cached by content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ketch.local.sandbox.spec import Mount


class ImageError(Exception):
    """The image cannot be had; the message is a sentence for the user."""


class ImageUnknown(ImageError):
    """Nothing on this machine says what the name means."""


class ImageBuildFailed(ImageError):
    """Its environment cannot be built; the message ends with uv's own words."""


@dataclass(frozen=True)
class Image:
    """What a container of this image starts from."""

    name: str
    digest: str
    mounts: tuple[Mount, ...]
    env: Mapping[str, str]
    argv: tuple[str, ...]
    working_dir: str = "/"
    notes: tuple[str, ...] = ()
    """What differs from the image's promise, each a sentence."""


class Images:
    """The images of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    async def resolve(self, image: str, packages: Sequence[str] = (), index_urls: Sequence[str] = ()) -> Image:
        """The image, its environment (with ``packages`` added) built if it is not there yet.

        Raises ImageUnknown, ImageBuildFailed.
        """
        raise NotImplementedError
