"""Layers as directories: what becomes of each kind of member, and that nothing leaves its place."""

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.ociimages import MTIME, Entry, directory, hardlink, layer, symlink

from ketch.local.images.oci.errors import LayerInvalid
from ketch.local.images.oci.tree import TooManyLinks, Tree
from ketch.local.images.oci.unpacking import Unpacker
from ketch.local.sandbox.layering import copy_together, is_opaque, is_whiteout, link_together


def unpacked(folder: Path, *entries: Entry) -> Path:
    folder.mkdir()
    Unpacker(str(folder)).unpack(io.BytesIO(layer(*entries)))
    return folder


def test_files_links_modes_and_times(tmp_path: Path):
    root = unpacked(
        tmp_path / "l",
        Entry("./a/file", b"text", 0o640),
        hardlink("a/hard", "./a/file"),
        symlink("a/soft", "../../../etc/passwd"),
        directory("closed", 0o555),
        Entry("closed/inside", b"x", 0o4755),
        Entry("pipe", kind=tarfile.FIFOTYPE),
        Entry("disk", kind=tarfile.BLKTYPE),
        Entry("sub/dir/without/entries", b""),
        Entry("ü\udcff", b"any bytes"),
    )
    found = (root / "a/file").stat()
    assert (root / "a/file").read_bytes() == b"text"
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_mtime == MTIME
    assert found.st_ino == (root / "a/hard").stat().st_ino
    assert (root / "a/soft").readlink() == Path("../../../etc/passwd")
    assert stat.S_IMODE((root / "closed").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "closed/inside").stat().st_mode) == 0o755, "no set-user-id"
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert not (root / "disk").exists()
    assert stat.S_IMODE((root / "sub/dir").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("../evil", b"x")],
        [Entry("a/../../evil", b"x")],
        [directory("../evil")],
        [symlink("a/../../evil", "/")],
        [hardlink("mine", "../outside")],
        [Entry("a/.wh...", b"")],
    ],
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, entries: list[Entry]):
    (tmp_path / "outside").write_text("secret")
    with pytest.raises(LayerInvalid):
        unpacked(tmp_path / "l", *entries)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l", "outside"]


@pytest.mark.parametrize("says", ["/", "/tmp", "..", "../../../..", "{outside}", "a/../../.."])
def test_links_lead_nowhere_but_into_the_layer(tmp_path: Path, says: str):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = says.format(outside=outside)
    root = unpacked(
        tmp_path / "l",
        symlink("link", target),
        Entry("link/evil", b"x"),
        directory("link/evil-folder"),
        Entry("link/.wh.hidden"),
        symlink("file", f"{outside}/evil"),
        Entry("file", b"replaced, not followed"),
    )
    assert list(outside.iterdir()) == []
    assert not Path("/evil").exists()
    assert not Path("/tmp/evil").exists()
    assert len(list(root.rglob("evil"))) == 1
    assert not (root / "file").is_symlink()
    (outside / "secret").write_text("secret")
    with pytest.raises(LayerInvalid, match="cannot be linked to"):
        unpacked(tmp_path / "m", symlink("link", str(outside)), hardlink("mine", "link/secret"))


def test_links_in_circles_are_refused(tmp_path: Path):
    with pytest.raises(LayerInvalid, match="too many links"):
        unpacked(tmp_path / "l", symlink("a", "b"), symlink("b", "a"), Entry("a/file", b""))


@pytest.mark.parametrize("data", [b"no archive at all" * 100, layer(Entry("a", b"x" * 2000))[:1500]])
def test_what_is_no_whole_archive_is_refused(tmp_path: Path, data: bytes):
    with pytest.raises(LayerInvalid):
        Unpacker(str(tmp_path)).unpack(io.BytesIO(data))


def test_later_members_count(tmp_path: Path):
    root = unpacked(
        tmp_path / "l",
        directory("thing"),
        Entry("thing/inside", b""),
        Entry("thing", b"now a file"),
        Entry("other", b"file"),
        directory("other", 0o711),
        symlink("third", "thing"),
        Entry("third", b"itself"),
    )
    assert (root / "thing").read_bytes() == b"now a file"
    assert (root / "other").is_dir()
    assert (root / "third").read_bytes() == b"itself"


LOWER = (
    Entry("gone", b"1"),
    Entry("kept", b"1"),
    hardlink("same", "kept"),
    Entry("folder/one", b"1"),
    Entry("both/one", b"1"),
    Entry("file-then-folder", b"1"),
    symlink("link-then-folder", "folder"),
    Entry("folder-then-file/one", b"1"),
    Entry("renewed/one", b"1"),
)
UPPER = (
    Entry(".wh.gone"),
    Entry(".wh.never-was"),
    Entry("both/two", b"2"),
    directory("folder"),
    Entry("folder/.wh..wh..opq"),
    Entry("folder/two", b"2"),
    Entry("file-then-folder/two", b"2"),
    Entry("link-then-folder/two", b"2"),
    Entry("folder-then-file", b"2"),
    Entry(".wh.renewed"),
    Entry("renewed/two", b"2"),
    Entry(".wh..wh.plnk", b"of another storage"),
)
TOGETHER = {
    "kept": "1",
    "same": "1",
    "both/one": "1",
    "both/two": "2",
    "folder/two": "2",
    "file-then-folder/two": "2",
    "link-then-folder/two": "2",
    "folder-then-file": "2",
    "renewed/two": "2",
}


@pytest.mark.parametrize("together", [link_together, copy_together])
def test_what_layers_come_to_together(tmp_path: Path, together: Any):
    lower, upper = unpacked(tmp_path / "lower", *LOWER), unpacked(tmp_path / "upper", *UPPER)
    assert is_whiteout(os.lstat(upper / "gone"))
    assert is_opaque(str(upper / "folder"))
    assert is_opaque(str(upper / "renewed"))
    merged = tmp_path / "merged"
    merged.mkdir()
    together([str(lower), str(upper)], str(merged))
    files = {str(path.relative_to(merged)): path.read_text() for path in merged.rglob("*") if path.is_file()}
    assert files == TOGETHER
    shared = (merged / "kept").stat().st_ino == (lower / "kept").stat().st_ino
    assert shared is (together is link_together)
    assert (merged / "kept").stat().st_mtime == MTIME
    assert (merged / "kept").stat().st_ino == (merged / "same").stat().st_ino
    tree = Tree([str(upper), str(lower)])
    for path in {**TOGETHER, "gone": "", "folder/one": "", "renewed/one": "", "folder-then-file/one": ""}:
        assert tree.read(path) == TOGETHER.get(path, ""), path


def test_where_links_lead_in_an_image(tmp_path: Path):
    lower = unpacked(
        tmp_path / "lower",
        symlink("var/run", "/run"),
        symlink("run", "real/run"),
        directory("real/run"),
        symlink("out", "../../../../etc"),
        symlink("a", "b"),
        symlink("b", "a"),
        symlink("hidden", "/elsewhere"),
    )
    upper = unpacked(tmp_path / "upper", Entry(".wh.hidden"))
    tree = Tree([str(upper), str(lower)])
    assert tree.resolve("/var/run/secrets/x") == "/real/run/secrets/x"
    assert tree.resolve("/out/passwd") == "/etc/passwd"
    assert tree.resolve("/hidden/x") == "/hidden/x"
    assert tree.resolve("/not/there/../x") == "/not/x"
    assert tree.resolve("//") == "/"
    assert tree.read("/out/passwd") == ""
    with pytest.raises(TooManyLinks):
        tree.resolve("/a/x")
