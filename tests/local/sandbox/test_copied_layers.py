"""Where the kernel permits no overlay: a container gets copies, and what it writes is its own as ever."""

import os
from pathlib import Path
from typing import Any

import pytest

from ketch.local.sandbox.client import as_request
from ketch.local.sandbox.keeper import begin
from ketch.local.sandbox.main import find_bubblewrap
from ketch.local.sandbox.spec import ContainerSpec, Mount

BUBBLEWRAP = """#!/bin/sh
# As bubblewrap on a machine without overlays. The options are read once more, by a descriptor of their own.
if tr '\\0' '\\n' < /proc/self/fd/3 | grep -q -x -e --overlay; then
    echo "bwrap: Can't make overlay mount on /newroot/ with options x: Operation not permitted" >&2
    exit 1
fi
exec {} "$@"
"""


@pytest.fixture
def bubblewrap(tmp_path: Path) -> str:
    path = tmp_path / "bwrap"
    path.write_text(BUBBLEWRAP.format(find_bubblewrap()))
    path.chmod(0o755)
    return str(path)


def test_copies_in_place_of_overlays(tmp_path: Path, bubblewrap: str, capfd: pytest.CaptureFixture[str]):
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for folder in (upper, lower):
        folder.mkdir()
        (folder / "both").write_text(folder.name)
    (lower / "below").write_text("below")
    mounts = [Mount("ro-bind", "/usr", "/usr")]
    links = [Mount("symlink", name, f"usr{name}") for name in ("/bin", "/lib", "/lib64") if Path(name).is_symlink()]
    layered = Mount("overlay", "/layered", str(upper), lower=(str(lower),))
    argv = ("sh", "-c", "cat /layered/both /layered/below; echo new > /layered/both; cat /layered/both")
    spec = ContainerSpec(
        directory=tmp_path / "c",
        argv=argv,
        env={"PATH": "/usr/bin:/bin"},
        log=tmp_path / "log",
        mounts=(*mounts, *links, layered),
    )
    (tmp_path / "c").mkdir()
    request: Any = as_request(spec, [])
    request = {**request, "mounts": [dict(each) for each in request["mounts"]]}
    container = begin(bubblewrap, request)
    said = b""
    while part := os.read(container.stdout, 1000):
        said += part
    assert container.reap() == 0
    assert said == b"upperbelownew\n"
    assert (upper / "both").read_text() == "upper"
    assert "files are copied" in capfd.readouterr().err
    for number in (container.stdout, container.stderr, container.status):
        os.close(number)
