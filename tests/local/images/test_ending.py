"""A thread of gloo's name that is busy when a program ends is waited for, as long as that makes sense."""

import subprocess
import sys
from pathlib import Path

import pytest

from ketch.local.images.environments import ENDING, _put_ending

PROGRAM = """
import atexit, ctypes, sys, threading, time, types

atexit.register(lambda: print("ended", "busy" if busy.is_set() else "at rest"))
import ketch_ending

sys.modules["torch.distributed"] = types.ModuleType("torch.distributed")
busy = threading.Event()
begun = threading.Event()

def run():
    ctypes.CDLL(None).prctl(15, NAME, 0, 0, 0)  # PR_SET_NAME
    busy.set()
    begun.set()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        pass
    busy.clear()
    threading.Event().wait()

threading.Thread(target=run, daemon=True).start()
begun.wait()
"""


def said(folder: Path, program: str) -> str:
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(folder)})
    return result.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ketch_ending.py").write_text(ENDING.read_text())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "seconds", "state"),
    [("pt_gloo_runloop", 0.3, "at rest"), ("another", 600, "busy")],
    ids=["gloo's", "another's"],
)
def test_the_interpreter_ends_when_gloos_threads_rest(folder: Path, name: str, seconds: float, state: str):
    program = PROGRAM.replace("NAME", repr(name.encode())).replace("SECONDS", str(seconds))
    assert said(folder, program) == f"ended {state}"


def test_programs_without_torch_end_at_once(folder: Path):
    assert said(folder, "import ketch_ending; print('ended')") == "ended"


@pytest.mark.parametrize("torch", [True, False])
def test_environments_with_torch_have_it(tmp_path: Path, torch: bool):
    library = tmp_path / "lib" / "python3.11" / "site-packages"
    (library / "torch" / "distributed" if torch else library).mkdir(parents=True)
    _put_ending(tmp_path, "3.11")
    assert (library / "ketch_ending.pth").exists() is torch
    assert (library / "ketch_ending.py").exists() is torch
