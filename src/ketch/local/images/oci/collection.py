"""Which images are used, and removing those that are not.

An image is used by every container that has records, also one that has ended: it may start again. What containers use
stays even when its name means something else by now.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ketch.local.images.image import IMAGE_ID
from ketch.local.images.oci.errors import OCIError
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.store import PATIENCE, Store, StoredImage
from ketch.local.sandbox.records import SPEC, read_record


class InUse(OCIError):
    """Containers use the image."""


class NoSuchImage(OCIError):
    """There is no image of that name."""


def users(data_dir: Path) -> Mapping[str, int]:
    """By image's identity, how many containers have been started of it and are not forgotten."""
    found: Counter[str] = Counter()
    for path in (data_dir / "pods").glob(f"*/containers/*/*/{SPEC}"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it goes at this moment
            found[read_record(str(path))["extra"][IMAGE_ID]] += 1
    return found


def remove(store: Store, name: ImageName, used: Mapping[str, int], *, force: bool = False) -> StoredImage:
    """Have the name mean nothing any more. Raises NoSuchImage, InUse unless ``force``d, StoreBusy.

    What is used stays without a name.
    """
    with store.removing() as images:
        found = store.find(name)
        if found is None:
            raise NoSuchImage(f'there is no image "{name}": see "ketch image ls"')
        count = used.get(found.id, 0)
        alone = all(each.id != found.id or each.name == found.name for each in images.values())
        if count and alone and not force:
            raise InUse(
                f'image "{name}" is used by {count} container{"s" if count > 1 else ""}: '
                "delete their pods first, or remove its name with --force"
            )
        del images[found.name]
        if count and alone:
            nameless = found.nameless()
            images[nameless.name] = nameless
    return found


def removable(store: Store, used: Collection[str], *, named: bool) -> Sequence[StoredImage]:
    """Images that no container uses, those first that were not wanted for longest. Without ``named``: nameless ones."""
    found = [each for each in store.images().values() if each.id not in used and (named or each.is_nameless)]
    return sorted(found, key=store.last_used)


def prune(
    store: Store,
    chosen: Sequence[StoredImage],
    *,
    enough: Callable[[], bool] = lambda: False,
    patience: float = PATIENCE,
) -> tuple[Sequence[StoredImage], int]:
    """Remove images, one after the other, until it is ``enough``; those that went, and bytes. Raises StoreBusy."""
    before = store.layers_size()
    gone: list[StoredImage] = []
    for each in (*chosen, None):  # without any, there still may be layers that nothing names
        if gone and enough():
            break
        with store.removing(patience) as images:
            if each is not None and images.pop(each.name, None) is not None:
                gone.append(each)
    return gone, max(0, before - store.layers_size())


def unused_environments(folder: Path, used: Collection[str]) -> Iterator[Path]:
    """Python environments that no container uses; for when no platform runs, else one may be about to."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False) and len(entry.name) == 64 and f"sha256:{entry.name}" not in used:
                yield Path(entry.path)
