"""Virtual environments made inside a container see the environment, whichever layout its interpreter has."""

import subprocess
import sys
from pathlib import Path

import pytest

from ketch.local.images.interpreters import Interpreter
from ketch.local.images.nesting import nesting_mounts

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def interpreter(prefix: Path) -> Interpreter:
    return Interpreter(prefix / "bin/python3", prefix, (sys.version_info[0], sys.version_info[1], 0))


@pytest.mark.parametrize("place", [f"lib/python{MINOR}/site-packages", f"local/lib/python{MINOR}/dist-packages"])
def test_what_stands_in_place_of_the_machines_packages_leads_to_the_environment(tmp_path, place):
    (tmp_path / "prefix" / place).mkdir(parents=True)
    library = tmp_path / f"environment/lib/python{MINOR}/site-packages"
    library.mkdir(parents=True)
    (tmp_path / "further").mkdir()
    (library / "further.pth").write_text(str(tmp_path / "further"))
    (mount,) = nesting_mounts(interpreter(tmp_path / "prefix"), str(tmp_path / "environment"), tmp_path / "written")
    assert (mount.kind, mount.target) == ("ro-bind", str(tmp_path / "prefix" / place))
    code = f"import site, sys; site.addsitedir({mount.source!r}); print(*sys.path, sep='\\n')"
    path = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert {str(library), str(tmp_path / "further")} <= set(path.splitlines())


def test_an_interpreter_without_a_place_for_packages_is_left_alone(tmp_path):
    assert list(nesting_mounts(interpreter(tmp_path), "/opt/environment", tmp_path / "written")) == []
