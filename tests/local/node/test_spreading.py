"""Folders that ext4 keeps far apart."""

import array
import fcntl
import os
from pathlib import Path

from ketch.local.node.volumes.places import Folders
from ketch.local.node.volumes.spreading import GET_FLAGS, TOP_OF_HIERARCHIES, spread


def flags_of(folder):
    descriptor, flags = os.open(folder, os.O_RDONLY), array.array("L", (0,))
    try:
        fcntl.ioctl(descriptor, GET_FLAGS, flags)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return flags[0]


def test_pods_are_kept_apart_where_the_file_system_can(tmp_path):
    before = flags_of(tmp_path)
    folders = Folders(tmp_path)
    assert folders.pods() == []
    folders.of_pod("u").mkdir()
    assert folders.pods() == ["u"]
    spread(tmp_path / "pods")
    after = flags_of(tmp_path / "pods")
    if before is not None and after is not None and after & TOP_OF_HIERARCHIES:
        assert after & ~TOP_OF_HIERARCHIES == before & ~TOP_OF_HIERARCHIES
    assert flags_of(folders.of_pod("u")) == before


def test_a_file_system_without_such_flags_is_left_alone():
    spread_at = Path("/proc/self")
    assert flags_of(spread_at) is None
    spread(spread_at)
