"""The store: imports of every form, layers shared, nothing half, names that move, and what may be removed."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.ociimages import COMPRESSIONS, BuiltImage, Entry, as_archive, digest_of, layer, plain, symlink, write_layout
from tests.waiting import eventually

from ketch.local.images.oci.archives import import_images
from ketch.local.images.oci.collection import InUse, NoSuchImage, prune, removable, remove
from ketch.local.images.oci.errors import ArchiveInvalid, DigestMismatch, LayerInvalid, OCIError, StoreBusy
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.store import MOST_LAYERS, Store

BELOW = layer(Entry("shared", b"below"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def image(text: bytes = b"one", **settings: Any) -> BuiltImage:
    return BuiltImage([BELOW, layer(Entry("file", text))], **settings)


def named(store: Store, text: str) -> Any:
    return store.find(ImageName.parse(text))


def layers(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "layers").iterdir())


@pytest.mark.parametrize("media_type", COMPRESSIONS)
@pytest.mark.parametrize("form", ["folder", "archive", "gzip", "zstd", "stream"])
def test_layouts(store: Store, tmp_path: Path, media_type: str, form: str):
    folder = image(media_type=media_type).write_layout(tmp_path / "layout", "registry.example/a/b:1")
    source: Any = folder
    if form != "folder":
        compress = next((each for name, each in COMPRESSIONS.items() if name.endswith(form)), plain)
        source = as_archive(folder, tmp_path / "layout.tar", compress)
    if form == "stream":
        source = _Pipe(source.read_bytes())
    [added] = import_images(store, source)
    assert added.name == "registry.example/a/b:1"
    assert store.tree(added).read("/file") == "one"
    assert store.tree(added).read("/shared") == "below"
    assert list((store.root / "work").iterdir()) == []


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_what_docker_save_writes(store: Store, tmp_path: Path):
    saved = image().write_saved(tmp_path / "saved.tar", "thing")
    assert import_images(store, saved)[0].name == "docker.io/library/thing:latest"
    (tmp_path / "saved.tar.gz").write_bytes(gzip.compress(saved.read_bytes()))
    other = import_images(store, tmp_path / "saved.tar.gz", [ImageName.parse("other:2"), ImageName.parse("third")])
    assert [each.name for each in other] == ["docker.io/library/other:2", "docker.io/library/third:latest"]
    assert len(layers(store)) == 2
    # Older ones have a layer twice, the second time as a link.
    built = image()
    first, second = (f"{name}/layer.tar" for name in "ab")
    manifest = [{"Config": "config.json", "RepoTags": ["old:1"], "Layers": [first, second]}]
    config = json.loads(built.config)
    config["rootfs"]["diff_ids"] = [digest_of(BELOW)] * 2
    entries = [Entry("manifest.json", json.dumps(manifest).encode()), Entry("config.json", json.dumps(config).encode())]
    (tmp_path / "old.tar").write_bytes(layer(*entries, Entry(first, BELOW), symlink(second, "../a/layer.tar")))
    assert store.tree(import_images(store, tmp_path / "old.tar")[0]).read("/shared") == "below"


def test_several_images_share_what_they_have_in_common(store: Store, tmp_path: Path):
    folder = write_layout(tmp_path / "layout", {"a.example/one:1": image(b"1"), "a.example/two:1": image(b"2")})
    assert {each.name for each in import_images(store, folder)} == {"a.example/one:1", "a.example/two:1"}
    assert len(layers(store)) == 3
    with pytest.raises(ArchiveInvalid, match="cannot all be named"):
        import_images(store, folder, [ImageName.parse("x")])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "neither an OCI layout"),
        ({"manifest.json": b"[]"}, "lists no image"),
        ({"manifest.json": b"{}"}, "not what 'docker save' writes"),
        ({"manifest.json": b'[{"Config": "c", "Layers": []}]'}, 'lacks "c"'),
        ({"oci-layout": b"{}", "index.json": b"{"}, "is not a manifest"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests": []}'}, "lists no image"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests": [{"digest": "sha256:../../x"}]}'}, "is not a digest"),
        ({"oci-layout": b"{}", "index.json": b'{"schemaVersion": 1, "fsLayers": []}'}, "first schema"),
    ],
)
def test_what_is_no_image_is_refused(store: Store, tmp_path: Path, files: dict[str, bytes], said: str):
    (tmp_path / "x.tar").write_bytes(layer(*(Entry(name, data) for name, data in files.items())))
    with pytest.raises(ArchiveInvalid, match=said):
        import_images(store, tmp_path / "x.tar")
    assert store.images() == {}


def test_content_that_is_not_what_its_digest_says(store: Store, tmp_path: Path):
    built = image()
    folder = built.write_layout(tmp_path / "layout", "a.example/b:1")
    blob = folder / "blobs" / "sha256" / digest_of(built.compressed[1]).removeprefix("sha256:")
    blob.write_bytes(gzip.compress(layer(Entry("file", b"two"))))
    with pytest.raises(DigestMismatch, match="a layer is not what its image says"):
        import_images(store, folder)
    blob.write_bytes(built.compressed[1][:-20])
    with pytest.raises(LayerInvalid):
        import_images(store, folder)
    (folder / "blobs" / "sha256" / digest_of(built.config).removeprefix("sha256:")).write_bytes(b"{}")
    with pytest.raises(DigestMismatch):
        import_images(store, folder)
    assert store.images() == {}
    assert list((store.root / "work").iterdir()) == []


def test_images_of_other_machines_and_without_a_name(store: Store, tmp_path: Path):
    with pytest.raises(ArchiveInvalid, match="is made for linux/s390x, this machine is linux/"):
        import_images(store, image(architecture="s390x").write_layout(tmp_path / "other", "a.example/b:1"))
    with pytest.raises(ArchiveInvalid, match="no name: give it one with --name"):
        import_images(store, image().write_layout(tmp_path / "nameless"))
    assert import_images(store, tmp_path / "nameless", [ImageName.parse("a.example/b:1")])


def test_of_many_layers_the_lowest_are_one(store: Store, tmp_path: Path):
    many = [layer(Entry(f"file-{number}", b"%d" % number), Entry("top", b"%d" % number)) for number in range(30)]
    [added] = import_images(store, BuiltImage(many).write_layout(tmp_path / "layout", "a.example/many:1"))
    assert len(added.stack) == MOST_LAYERS
    assert len(store.stack(added)) == MOST_LAYERS + 1
    tree = store.tree(added)
    assert [tree.read(f"/file-{number}") for number in (0, 11, 29)] == ["0", "11", "29"]
    assert tree.read("/top") == "29"


def test_a_name_that_moves_leaves_what_containers_use(store: Store, tmp_path: Path):
    [first] = import_images(store, image(b"1").write_layout(tmp_path / "1", "a.example/b:1"))
    [second] = import_images(store, image(b"2").write_layout(tmp_path / "2", "a.example/b:1"))
    assert named(store, "a.example/b:1") == second
    nameless = first.nameless()
    assert store.images().keys() == {second.name, nameless.name}
    assert nameless.id == first.id
    assert removable(store, {first.id}, named=False) == []
    assert removable(store, set(), named=False) == [nameless]
    gone, size = prune(store, removable(store, set(), named=False))
    assert (gone, size) == ([nameless], 1)
    assert len(layers(store)) == 2
    assert store.whole(second)


def test_what_containers_use_is_not_removed(store: Store, tmp_path: Path):
    name = ImageName.parse("a.example/b:1")
    [added] = import_images(store, image().write_layout(tmp_path / "1", str(name)))
    with pytest.raises(InUse, match="used by 2 containers: delete their pods first"):
        remove(store, name, {added.id: 2})
    remove(store, name, {added.id: 2}, force=True)
    assert store.find(name) is None
    assert len(layers(store)) == 2, "it stays without a name"
    prune(store, removable(store, {added.id}, named=True))
    assert len(layers(store)) == 2
    prune(store, removable(store, set(), named=True))
    assert layers(store) == []
    assert list((store.root / "configs").iterdir()) == []
    with pytest.raises(NoSuchImage):
        remove(store, name, {})


def test_nothing_is_removed_while_somebody_adds(store: Store):
    with store.adding(), pytest.raises(StoreBusy, match="try again"), store.removing(patience=0):
        pass


def test_a_damaged_index_is_told_of(store: Store, tmp_path: Path):
    import_images(store, image().write_layout(tmp_path / "1", "a.example/b:1"))
    (store.root / "index.json").write_text("{")
    with pytest.raises(OCIError, match="is damaged"):
        Store(store.root).images()


IMPORT = """
import sys
from pathlib import Path
from ketch.local.images.oci.archives import import_images
from ketch.local.images.oci.store import Store
import_images(Store(Path(sys.argv[1])), Path(sys.argv[2]))
"""


async def test_killed_in_the_middle_nothing_is_half(store: Store, tmp_path: Path):
    """At whichever byte of the archive: what is there is whole, and the next import clears away the rest."""
    files = [Entry(f"f{number}", os.urandom(5000)) for number in range(200)]
    built = BuiltImage([BELOW, layer(*files)], media_type=next(iter(COMPRESSIONS)))
    folder = built.write_layout(tmp_path / "layout", "a.example/b:1")
    # The layer comes through a pipe, which stops.
    blob = folder / "blobs" / "sha256" / built.diff_ids[1].removeprefix("sha256:")
    data = blob.read_bytes()
    for part in (300_000, 700_000, len(data) - 100):
        blob.unlink()
        os.mkfifo(blob)
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", IMPORT, str(store.root), str(folder)]
        )
        with blob.open("wb") as pipe:
            pipe.write(data[:part])
            pipe.flush()
            try:
                await eventually(lambda: list((store.root / "work").glob("*/fs/f*")), "the beginning of a layer")
            finally:
                process.kill()
                process.wait()
        assert store.images() == {}
        assert [path.name for path in (store.root / "layers").iterdir() if not (path / "layer.json").exists()] == []
        assert not store.has_layer(built.diff_ids[1])
        blob.unlink()
        blob.write_bytes(data)
    assert list((store.root / "work").iterdir()) != []
    [added] = import_images(store, folder)
    assert store.whole(added)
    assert list((store.root / "work").iterdir()) == []


def test_a_full_disk_is_told_of(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ketch.local.images.oci.unpacking.KEPT_FREE", 1 << 62)
    with pytest.raises(OCIError, match="the disk is full"):
        import_images(store, image(b"x" * 10).write_layout(tmp_path / "1", "a.example/b:1"))
    assert store.images() == {}


def test_archives_that_lead_out_are_refused(store: Store, tmp_path: Path):
    (tmp_path / "secret").write_text("{}")
    manifest = [{"Config": "../secret", "RepoTags": ["x"], "Layers": []}]
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArchiveInvalid, match="outside"):
        import_images(store, folder)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder / "manifest.json", "manifest.json")
    (tmp_path / "saved.tar").write_bytes(buffer.getvalue())
    with pytest.raises(ArchiveInvalid, match="lacks"):
        import_images(store, tmp_path / "saved.tar")
