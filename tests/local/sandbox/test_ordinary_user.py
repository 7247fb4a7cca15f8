"""The same promises when an ordinary user runs the platform: the whole suite again, as somebody without any rights."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.ordinary import CHECKOUT, as_ordinary_user

HERE = Path(__file__).parent
SUITES = [
    str(HERE / name)
    for name in ("test_sandbox.py", "test_warm.py", "test_rehearsals.py", "test_process_limit.py", "test_logs.py")
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; this user ran the suite already")
@pytest.mark.skipif(shutil.which("setpriv") is None or shutil.which("unshare") is None, reason="needs util-linux")
def test_the_suite_passes_for_an_ordinary_user():
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pytest", *SUITES, "-q", "-p", "no:cacheprovider"]
        result = subprocess.run(
            as_ordinary_user(command, Path(home)),
            env={"PATH": os.environ["PATH"], "TMPDIR": home, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
