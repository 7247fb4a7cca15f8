"""The same promises when an ordinary user runs the platform: the whole suite again, as somebody without any rights."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY_IN_PARTICULAR = "54321"
HERE = Path(__file__).parent
SUITES = [str(HERE / name) for name in ("test_sandbox.py", "test_logs.py")]

# The interpreter may stand in a home that is closed to others: in this mount namespace alone it can be reached.
REACH_INTERPRETER = """
mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 none "/$(echo "$1" | cut -d/ -f2)" &&
mkdir -p "$1" && mount --bind "$2" "$1"
"""
AS_SOMEBODY = f"""
setpriv --reuid {NOBODY_IN_PARTICULAR} --regid {NOBODY_IN_PARTICULAR} --clear-groups true || exit 99
shift 2
exec setpriv --reuid {NOBODY_IN_PARTICULAR} --regid {NOBODY_IN_PARTICULAR} --clear-groups "$@"
"""


def closed_to_others(path: Path) -> bool:
    return any(not folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; this user ran the suite already")
@pytest.mark.skipif(shutil.which("setpriv") is None or shutil.which("unshare") is None, reason="needs util-linux")
def test_the_suite_passes_for_an_ordinary_user():
    prefix = Path(sys.base_prefix)
    if closed_to_others(HERE):
        pytest.skip("this checkout is closed to other users")
    if closed_to_others(prefix) and HERE.parts[1] == prefix.parts[1]:
        pytest.skip("interpreter and checkout are below the same closed folder")
    script = (REACH_INTERPRETER if closed_to_others(prefix) else "") + AS_SOMEBODY
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as aside:
        Path(home).chmod(0o777)
        pytest_argv = [sys.executable, "-m", "pytest", *SUITES, "-q", "-p", "no:cacheprovider"]
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(prefix), aside, *pytest_argv],
            env={"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=HERE.parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
