"""Images from files: OCI layouts (a directory or its archive) and what ``docker save`` writes."""

import contextlib
import shutil
import tarfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from ketch.local.images.oci.compression import GZIP, ZSTD, Content
from ketch.local.images.oci.errors import ArchiveInvalid, OCIError
from ketch.local.images.oci.manifests import (
    LONGEST_DOCUMENT,
    Descriptor,
    Manifest,
    choose,
    matches,
    own_platform,
    parse_configuration,
    parse_manifest,
    verified,
)
from ketch.local.images.oci.progress import Progress, silent
from ketch.local.images.oci.references import ImageName, NameInvalid
from ketch.local.images.oci.store import IMPORTED, Store, StoredImage

LAYOUT, INDEX, DOCKER_MANIFEST = "oci-layout", "index.json", "manifest.json"
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
MOST_LINKS = 5


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """One image in ``manifest.json`` of ``docker save``."""

    config: str
    layers: Sequence[str]
    repo_tags: Sequence[str] | None = None


class _Files(Protocol):
    """The files of a layout or an archive."""

    def has(self, path: str) -> bool: ...

    def open(self, path: str) -> BinaryIO:
        """Raises ArchiveInvalid."""
        ...


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, path: str) -> bool:
        return (self._root / path).is_file()

    def open(self, path: str) -> BinaryIO:
        place = (self._root / path).resolve()
        if not place.is_relative_to(self._root.resolve()):
            raise ArchiveInvalid(f'"{path}" would be outside of the image\'s directory')
        try:
            return place.open("rb")
        except OSError as error:
            raise ArchiveInvalid(f'"{path}" cannot be read: {error.strerror}') from error


class _Archive:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {member.name.removeprefix("./").rstrip("/"): member for member in archive}

    def has(self, path: str) -> bool:
        return path in self._members

    def open(self, path: str) -> BinaryIO:
        for _ in range(MOST_LINKS):
            member = self._members.get(path)
            if member is None or not (member.isreg() or member.issym() or member.islnk()):
                raise ArchiveInvalid(f'the archive lacks "{path}"')
            if member.issym():  # older ones link to layers that they have twice
                path = _beside(path, member.linkname)
                continue
            file = self._archive.extractfile(member)
            assert file is not None
            return file  # pyright: ignore[reportReturnType]  # it reads and seeks
        raise ArchiveInvalid(f'"{path}" leads through too many links')


def _beside(path: str, target: str) -> str:
    parts = path.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def import_images(
    store: Store, source: Path | BinaryIO, names: Sequence[ImageName] = (), progress: Progress = silent
) -> Sequence[StoredImage]:
    """Every image in the source; ``names`` in place of its own names, where it has one image.

    Raises OCIError.
    """
    with store.adding(), _files(store, source) as files:
        if files.has(LAYOUT) or (files.has(INDEX) and not files.has(DOCKER_MANIFEST)):
            return _import_layout(store, files, names, progress)
        if files.has(DOCKER_MANIFEST):
            return _import_saved(store, files, names, progress)
    raise ArchiveInvalid(
        "neither an OCI layout (oci-layout and index.json) nor an archive of 'docker save' (manifest.json)"
    )


@contextlib.contextmanager
def _files(store: Store, source: Path | BinaryIO) -> Generator[_Files]:
    if isinstance(source, Path) and source.is_dir():
        yield _Folder(source)
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        except OSError as error:
            raise ArchiveInvalid(f'"{source}" cannot be read: {error.strerror}') from error
        seekable = stream.seekable()
        first = stream.read(len(ZSTD)) if seekable else b""
        if seekable:
            stream.seek(0)
        if not seekable or first.startswith((GZIP, ZSTD)):
            plain = stack.enter_context(store.scratch_file())
            shutil.copyfileobj(Content(stream), plain)
            plain.seek(0)
            stream = plain
        try:
            archive = stack.enter_context(tarfile.open(fileobj=stream, mode="r:"))
            files = _Archive(archive)
        except tarfile.TarError as error:
            raise ArchiveInvalid(f"not an archive of images: {error}") from error
        yield files


def _import_layout(
    store: Store, files: _Files, names: Sequence[ImageName], progress: Progress
) -> Sequence[StoredImage]:
    index = parse_manifest(_document(files, INDEX), INDEX)
    if not index.manifests:
        raise ArchiveInvalid(f"{INDEX} lists no image")
    saved = _saved(files) if files.has(DOCKER_MANIFEST) else ()
    if names and len(index.manifests) > 1 and any(each.platform is None for each in index.manifests):
        raise ArchiveInvalid(
            f"{len(index.manifests)} images cannot all be named {names[0]}: import them by their names"
        )
    found: list[StoredImage] = []
    tops = [choose(index.manifests, own_platform(), INDEX)] if names else _named_once(index.manifests)
    for top in tops:
        manifest, digests = _manifest(files, top)
        assert manifest.config is not None
        config = _blob(files, manifest.config)
        own = _names_in(top.annotations or {}) or [
            name
            for each in saved
            if each.config.rpartition("/")[2] == manifest.config.digest.rpartition(":")[2]
            for name in _parsed(each.repo_tags or ())
        ]
        layers = [_blob_path(each.digest) for each in manifest.layers]
        chosen = names or list(dict.fromkeys(own))
        found += _add(store, files, chosen, config, layers, digests, progress)
    return found


def _named_once(manifests: Sequence[Descriptor]) -> Sequence[Descriptor]:
    """Those for this machine; of an index that has one image for several platforms, that one alone."""
    own = [each for each in manifests if each.platform is None or matches(each.platform, own_platform())]
    return own or [choose(manifests, own_platform(), INDEX)]


def _import_saved(store: Store, files: _Files, names: Sequence[ImageName], progress: Progress) -> Sequence[StoredImage]:
    saved = _saved(files)
    if names and len(saved) > 1:
        raise ArchiveInvalid(f"{len(saved)} images cannot all be named {names[0]}: import them by their names")
    found: list[StoredImage] = []
    for each in saved:
        config = _document(files, each.config)
        expected = each.config.rpartition("/")[2].removesuffix(".json")
        if len(expected) == 64:
            verified(config, f"sha256:{expected}", f'the configuration "{each.config}"')
        chosen = names or _parsed(each.repo_tags or ())
        found += _add(store, files, chosen, config, each.layers, (), progress)
    return found


def _add(
    store: Store,
    files: _Files,
    names: Sequence[ImageName],
    config: bytes,
    layers: Sequence[str],
    digests: Sequence[str],
    progress: Progress,
) -> Sequence[StoredImage]:
    if not names:
        raise ArchiveInvalid("the image has no name: give it one with --name")
    configuration = parse_configuration(config, f"the configuration of {names[0]}")
    if not matches(configuration.platform, own_platform()):
        raise ArchiveInvalid(f"{names[0]} is made for {configuration.platform}, this machine is {own_platform()}")
    diff_ids = configuration.rootfs.diff_ids
    if len(diff_ids) != len(layers):
        raise ArchiveInvalid(f"{names[0]} has {len(layers)} layers, but its configuration names {len(diff_ids)}")
    for number, (path, digest) in enumerate(zip(layers, diff_ids, strict=True), 1):
        if not store.has_layer(digest):
            progress(f"{names[0]}: layer {number} of {len(layers)}")
            try:
                with files.open(path) as source:
                    store.add_layer(source, digest)
            except OCIError as error:
                raise type(error)(f"{names[0]}: {path}: {error}") from error
    return store.add(names, config, digests, origin=IMPORTED)


def _manifest(files: _Files, top: Descriptor) -> tuple[Manifest, Sequence[str]]:
    """The manifest for this machine, and the digests by which it is known: its index's first, then its own."""
    digests: list[str] = []
    for _ in range(MOST_LINKS):
        digests.append(top.digest)
        found = parse_manifest(_blob(files, top), top.digest)
        if found.manifests is None:
            return found, digests
        top = choose(found.manifests, own_platform(), top.digest)
    raise ArchiveInvalid(f"{top.digest}: indexes of indexes of indexes")


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/', 1)}"


def _blob(files: _Files, what: Descriptor) -> bytes:
    return verified(_document(files, _blob_path(what.digest)), what.digest, f'"{_blob_path(what.digest)}"')


def _document(files: _Files, path: str) -> bytes:
    with files.open(path) as file:
        return file.read(LONGEST_DOCUMENT + 1)


def _saved(files: _Files) -> Sequence[_Saved]:
    try:
        found = msgspec.json.decode(_document(files, DOCKER_MANIFEST), type=list[_Saved])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ArchiveInvalid(f"{DOCKER_MANIFEST} is not what 'docker save' writes: {error}") from error
    if not found:
        raise ArchiveInvalid(f"{DOCKER_MANIFEST} lists no image")
    return found


def _names_in(annotations: Mapping[str, str]) -> Sequence[ImageName]:
    """The name in the annotations, where it is a whole one: a bare tag names nothing."""
    for key in NAME_ANNOTATIONS:
        text = annotations.get(key, "")
        if "/" in text or ":" in text:
            return _parsed((text,))
    return ()


def _parsed(texts: Sequence[str]) -> list[ImageName]:
    try:
        return [ImageName.parse(text) for text in texts]
    except NameInvalid as error:
        raise ArchiveInvalid(f"the image has a name that is none: {error}") from error
