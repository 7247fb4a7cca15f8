"""Places below folders: found, made, and never outside, whoever changes the folder meanwhile."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ketch.local.sandbox.beneath import open_beneath
from ketch.local.sandbox.mounting import AT_FDCWD
from ketch.local.sandbox.namespaces import libc

RENAME_EXCHANGE = 2


def place(descriptor):
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    finally:
        os.close(descriptor)


def test_places_are_found_made_and_followed_inside(tmp_path):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "f").touch()
    (root / "link").symlink_to("a")
    assert place(open_beneath(str(root), "a/f", make=False)) == str(root / "a" / "f")
    assert place(open_beneath(str(root), "link/f", make=True)) == str(root / "a" / "f")
    assert place(open_beneath(str(root), "link/new/deep", make=True)) == str(root / "a" / "new" / "deep")
    with pytest.raises(FileNotFoundError):
        open_beneath(str(root), "none", make=False)


@pytest.mark.parametrize("link", ["..", "/", "../other", "/proc/self/root"])
@pytest.mark.parametrize("make", [True, False])
def test_links_that_lead_out_are_not_followed(tmp_path, link, make):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "other").mkdir()
    (root / "out").symlink_to(link)
    for below in ("out", "out/new"):
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            open_beneath(str(root), below, make=make)
        assert caught.value.errno in (errno.EXDEV, errno.ELOOP)
    assert list((tmp_path / "other").iterdir()) == []


def test_a_folder_that_is_exchanged_for_a_link_meanwhile(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    other.mkdir()
    (root / "folder").mkdir(parents=True)
    (root / "link").symlink_to(other)
    folder, link = (os.fsencode(root / name) for name in ("folder", "link"))
    stop = threading.Event()

    def exchange():
        while not stop.is_set():
            libc.renameat2(AT_FDCWD, folder, AT_FDCWD, link, RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for number in range(2000):
            try:
                descriptor = open_beneath(str(root), f"folder/{number}", make=True)
            except OSError:
                continue
            assert place(descriptor).startswith(f"{root}/")
    finally:
        stop.set()
        thread.join()
    assert list(other.iterdir()) == []
