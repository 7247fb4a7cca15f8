"""The images of one data directory: an index of names, configurations, and layers, each unpacked once for all.

::

    images/index.json          names, what they mean; replaced in one step
           layers/KEY/fs       a layer, named by the digest of its uncompressed content; never changed once it is there
           configs/DIGEST      configurations
           cover/fs            over every image: the places that the sandbox furnishes, whatever the image has there
           used/DIGEST         when an image was last wanted
           work, downloads     what is not whole yet
           lock                shared by who adds, exclusive for who removes what nothing names

A layer gets its name when it is whole and on disk; an image is in the index when all its layers are there.
"""

import base64
import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.images.oci.errors import FULL, DigestMismatch, NoSpace, OCIError, StoreBusy
from ketch.local.images.oci.manifests import Configuration, digest_of, parse_configuration
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.tree import Tree
from ketch.local.sandbox.layering import link_together
from ketch.local.sandbox.namespaces import sync_file_system
from ketch.local.sandbox.records import remove_tree

MOST_LAYERS = 20
"""Layers of one overlay: the kernel takes no more text than one page to name them. Of more, the lowest are merged."""

KEY_BYTES = 20
FORMAT = 1
PATIENCE = 30.0
"""Seconds for which somebody else may work in the store."""

PAUSE = 0.05
LOCK_SUFFIX = ".lock"
KEPT_SECONDS = 86400.0
"""How long a download that broke off may be gone on with."""

COVER_FOLDERS = ("proc", "dev", "sys/devices/system", "etc")
COVER_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")
PULLED, IMPORTED, PULLED_BY_DIGEST = "pulled", "imported", "pulled by digest"


class StoredImage(msgspec.Struct, frozen=True, rename="camel"):
    """What a name means. ``layers`` from the lowest, ``stack`` from the highest, as keys."""

    name: str
    config: str
    digests: tuple[str, ...]
    """Of the manifest, and of the index that named it, as a registry knows the image; of imported ones maybe none."""

    layers: tuple[str, ...]
    stack: tuple[str, ...]
    size: int
    origin: str
    added_at: str

    @property
    def id(self) -> str:
        """The image's identity: the digest by which its registry knows it, else that of its configuration."""
        return str(ImageName.parse(self.name).at(self.digests[0])) if self.digests else self.config

    def nameless(self) -> "StoredImage":
        """The image under no name but its digest."""
        name = ImageName.parse(self.name).at(self.digests[0] if self.digests else self.config)
        return msgspec.structs.replace(self, name=str(name))

    @property
    def is_nameless(self) -> bool:
        """Whether its name is its digest, by which nobody asked for it."""
        return self.origin != PULLED_BY_DIGEST and ImageName.parse(self.name).digest != ""


class _Index(msgspec.Struct, frozen=True):
    format: int = FORMAT
    images: Sequence[StoredImage] = ()


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of an unpacked layer."""

    digest: str
    size: int
    entries: int


def layer_key(digest: str) -> str:
    """The short name of a layer's folder: paths of many layers must fit into one mount."""
    raw = bytes.fromhex(digest.partition(":")[2])[:KEY_BYTES]
    return base64.b32encode(raw).decode().lower()


class Store:
    """Read at any time by anyone; changed by ``adding`` and ``removing`` alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index_path = root / "index.json"
        self._seen: tuple[int, int] | None = None
        self._images: Mapping[str, StoredImage] = {}
        self._configurations: dict[str, Configuration] = {}

    # --- what is there ---

    def images(self) -> Mapping[str, StoredImage]:
        """All images by name, as they are now."""
        try:
            found = self._index_path.stat()
        except FileNotFoundError:
            self._seen, self._images = None, {}
            return self._images
        version = (found.st_ino, found.st_mtime_ns)
        if version != self._seen:
            self._images = {each.name: each for each in self._read().images}
            self._seen = version
        return self._images

    def find(self, name: ImageName) -> StoredImage | None:
        """The image of that name; a digest is found whatever tag it came by."""
        images = self.images()
        if not name.digest:
            return images.get(str(name))
        for each in images.values():
            if name.digest in each.digests and ImageName.parse(each.name).place == name.place:
                return each
        return None

    def configuration(self, image: StoredImage) -> Configuration:
        """What the image says of itself. Raises OCIError."""
        if (known := self._configurations.get(image.config)) is None:
            try:
                data = self._config_path(image.config).read_bytes()
            except OSError as error:
                raise OCIError(
                    f"the configuration of {image.name} is gone: remove the image and get it anew"
                ) from error
            known = self._configurations[image.config] = parse_configuration(data, f"the configuration of {image.name}")
        return known

    def stack(self, image: StoredImage) -> Sequence[Path]:
        """The folders to lay over each other, the highest first."""
        return [self.root / "cover" / "fs", *(self._layer(key) / "fs" for key in image.stack)]

    def whole(self, image: StoredImage) -> bool:
        """Whether everything of it is still there."""
        return all(path.is_dir() for path in self.stack(image))

    def tree(self, image: StoredImage) -> Tree:
        """Its file system, to be looked at."""
        return Tree([str(path) for path in self.stack(image)])

    def has_layer(self, digest: str) -> bool:
        """Whether a layer is there."""
        return self._layer(layer_key(digest)).is_dir()

    def layers_size(self) -> int:
        """Bytes of all layers."""
        try:
            return sum(self.layer_size(path.name) for path in (self.root / "layers").iterdir())
        except FileNotFoundError:
            return 0

    def layer_size(self, key: str) -> int:
        """Bytes of a layer's files."""
        try:
            return msgspec.json.decode((self._layer(key) / "layer.json").read_bytes(), type=_Layer).size
        except (OSError, msgspec.DecodeError):
            return 0

    def touch(self, image: StoredImage) -> None:
        """Remember that the image was wanted now."""
        with contextlib.suppress(OSError):
            (self.root / "used" / image.config).touch()

    def last_used(self, image: StoredImage) -> float:
        """When the image was last wanted, as a file's time; 0 when that is not known."""
        try:
            return (self.root / "used" / image.config).stat().st_mtime
        except OSError:
            return 0.0

    # --- adding ---

    @contextlib.contextmanager
    def adding(self) -> Generator[None]:
        """While layers come that nothing names yet; what was left unfinished by others is removed first."""
        self._prepare()
        with (self.root / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._sweep()
            except BlockingIOError:
                pass  # others are adding: what is unfinished is theirs
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                yield
            except OSError as error:
                if error.errno in FULL:
                    raise NoSpace(f"the disk is full: there is no room for images in {self.root}") from error
                raise

    def add_layer(self, source: BinaryIO, digest: str) -> None:
        """Unpack a layer, compressed or not, unless it is there. Raises DigestMismatch, LayerInvalid, NoSpace."""
        if self.has_layer(digest):
            return
        # The node agent, which only looks images up, need not carry what unpacks them.
        from ketch.local.images.oci.compression import Content  # noqa: PLC0415
        from ketch.local.images.oci.unpacking import Unpacker  # noqa: PLC0415

        with self._folder() as folder:
            content = Content(source, digest.partition(":")[0])
            unpacker = Unpacker(str(folder / "fs"))
            unpacker.unpack(content)  # pyright: ignore[reportArgumentType]  # it reads, nothing else is asked of it
            content.drain()
            if content.digest != digest:
                raise DigestMismatch(
                    f"a layer is not what its image says: it has {content.digest} in place of {digest}"
                )
            self._put(folder, digest, layer_key(digest), unpacker.bytes, unpacker.entries)

    def add(
        self, names: Sequence[ImageName], config: bytes, digests: Sequence[str], *, origin: str
    ) -> Sequence[StoredImage]:
        """Have ``names`` mean an image whose layers are there."""
        configuration = parse_configuration(config, "the configuration")
        layers = configuration.rootfs.diff_ids
        digest = digest_of(config)
        path = self._config_path(digest)
        if not path.exists():
            partial = Path(tempfile.mkstemp(dir=self.root / "work")[1])
            partial.write_bytes(config)
            partial.replace(path)
        stack = self._stacked(layers)
        size = sum(self.layer_size(layer_key(each)) for each in dict.fromkeys(layers))
        now = SYSTEM_CLOCK.now().isoformat(timespec="seconds")
        added = [
            StoredImage(str(name), digest, tuple(digests), tuple(layers), tuple(stack), size, origin, now)
            for name in names
        ]
        self._sync()
        with self._changing() as images:
            for each in added:
                before = images.get(each.name)
                if before is not None and before.id != each.id:
                    images.setdefault(before.nameless().name, before.nameless())  # containers may use it
                if before is None or msgspec.structs.replace(before, added_at=now) != each:
                    images[each.name] = each
        for each in added:
            self.touch(each)
        return [self.images()[each.name] for each in added]

    def download_path(self, digest: str) -> Path:
        """Where a blob is kept until it is whole and unpacked."""
        return self.root / "downloads" / digest.replace(":", "-")

    def scratch_file(self) -> BinaryIO:
        """A file without a name for as long as it is open."""
        return tempfile.TemporaryFile(dir=self.root / "work")

    def _stacked(self, layers: Sequence[str]) -> Sequence[str]:
        """The keys of what is to be laid over each other, the highest first."""
        if len(layers) <= MOST_LAYERS:
            return [layer_key(each) for each in reversed(layers)]
        below, above = layers[: -MOST_LAYERS + 1], layers[-MOST_LAYERS + 1 :]
        digest = digest_of("\n".join(below).encode())
        key = f"m{layer_key(digest)}"
        if not self._layer(key).is_dir():
            with self._folder() as folder:
                link_together([str(self._layer(layer_key(each)) / "fs") for each in below], str(folder / "fs"))
                self._put(folder, digest, key, 0, 0)
        return [*(layer_key(each) for each in reversed(above)), key]

    @contextlib.contextmanager
    def _folder(self) -> Generator[Path]:
        """A folder with an empty ``fs``, removed unless it was put elsewhere."""
        folder = Path(tempfile.mkdtemp(dir=self.root / "work"))
        try:
            (folder / "fs").mkdir()
            yield folder
        finally:
            if folder.exists():
                remove_tree(str(folder))

    def _put(self, folder: Path, digest: str, key: str, size: int, entries: int) -> None:
        (folder / "layer.json").write_bytes(msgspec.json.encode(_Layer(digest, size, entries)))
        self._sync()
        try:
            folder.rename(self._layer(key))
        except OSError:
            if not self._layer(key).is_dir():  # else somebody was quicker
                raise

    # --- removing ---

    @contextlib.contextmanager
    def removing(self, patience: float = PATIENCE) -> Generator[dict[str, StoredImage]]:
        """The index, to be changed; then what nothing names any more is removed. Raises StoreBusy."""
        self._prepare()
        deadline = SYSTEM_CLOCK.monotonic() + patience
        with (self.root / "lock").open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if SYSTEM_CLOCK.monotonic() >= deadline:
                        raise StoreBusy("images are being imported or pulled: try again when that is done") from None
                    threading.Event().wait(PAUSE)
            with self._changing() as images:
                yield images
            self._sweep()
            self._drop_unnamed()

    def _drop_unnamed(self) -> None:
        images = self.images().values()
        keys = {layer_key(digest) for each in images for digest in each.layers} | {
            key for each in images for key in each.stack
        }
        configs = {each.config for each in images}
        for path in (self.root / "layers").iterdir():
            if path.name not in keys:
                gone = Path(tempfile.mkdtemp(dir=self.root / "work")) / "layer"
                path.rename(gone)  # whoever is killed in the middle of it leaves no half a layer
                remove_tree(str(gone.parent))
        self._drop_downloads()
        for folder in ("configs", "used"):
            for path in (self.root / folder).iterdir():
                if path.name not in configs:
                    path.unlink(missing_ok=True)

    def _drop_downloads(self) -> None:
        """Remove what nobody has gone on with for long; who calls has the lock for himself."""
        oldest = SYSTEM_CLOCK.now().timestamp() - KEPT_SECONDS
        folder = self.root / "downloads"
        for path in folder.iterdir():
            blob = path.with_suffix("") if path.suffix == LOCK_SUFFIX else path
            if not blob.exists() or blob.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what nobody works on any more; who calls has the lock for himself."""
        for path in (self.root / "work").iterdir():
            if path.is_dir() and not path.is_symlink():
                remove_tree(str(path))
            else:
                path.unlink(missing_ok=True)

    # --- files ---

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("layers", "configs", "used", "work", "downloads"):
            (self.root / name).mkdir(exist_ok=True, mode=0o700)
        cover = self.root / "cover"
        if cover.is_dir():
            return
        folder = Path(tempfile.mkdtemp(dir=self.root))
        for name in COVER_FOLDERS:
            (folder / "fs" / name).mkdir(parents=True, exist_ok=True)
        for name in COVER_FILES:
            (folder / "fs" / name).touch()
        for path in (folder / "fs").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (folder / "fs").chmod(0o755)
        try:
            folder.rename(cover)
        except OSError:
            shutil.rmtree(folder)  # somebody was quicker
            if not cover.is_dir():
                raise

    @contextlib.contextmanager
    def _changing(self) -> Generator[dict[str, StoredImage]]:
        with (self.root / "index.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = {each.name: each for each in self._read().images}
            images = dict(before)
            yield images
            if images == before:
                return
            partial = self.root / "index.json.new"
            with partial.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(_Index(images=tuple(images.values())))))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._index_path)

    def _read(self) -> _Index:
        try:
            found = msgspec.json.decode(self._index_path.read_bytes(), type=_Index)
        except FileNotFoundError:
            return _Index()
        except msgspec.DecodeError as error:
            raise OCIError(f"{self._index_path} is damaged ({error}): remove it, and get the images anew") from error
        if found.format != FORMAT:
            raise OCIError(f"{self._index_path} was written by another version of Ketch: import the images anew")
        return found

    def _sync(self) -> None:
        descriptor = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            sync_file_system(descriptor)
        finally:
            os.close(descriptor)

    def _layer(self, key: str) -> Path:
        return self.root / "layers" / key

    def _config_path(self, digest: str) -> Path:
        return self.root / "configs" / digest
