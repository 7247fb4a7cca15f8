"""``ketch run`` and ``ketch follow`` as a user meets them: at a terminal, and while the platform is hurt."""

import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import kfp
import pytest
from kfp import compiler, dsl
from tests.e2e.platforms import SCRIPTS, Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]


@dsl.component(base_image="python:3.11")
def doze(seconds: float):
    import time  # noqa: PLC0415

    time.sleep(seconds)


@dsl.pipeline(name="dozing")
def dozing(seconds: float):
    doze(seconds=seconds)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    target = tmp_path / "dozing.yaml"
    compiler.Compiler().compile(dozing, str(target))
    return target


def command(platform: Platform, *arguments: str) -> list[str]:
    return [str(SCRIPTS / "ketch"), "run", *arguments, "--no-cache", "--data-dir", str(platform.root)]


def test_following_goes_on_when_the_control_plane_is_killed(own_platform: Platform, package: Path, tmp_path: Path):
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(command(own_platform, str(package), "-p", "seconds=3"), stdout=file, stderr=file)
    eventually(lambda: "● doze" in output.read_text(), what="the step runs")
    os.kill(own_platform.pid("control-plane"), signal.SIGKILL)
    assert process.wait(timeout=120) == 0, output.read_text()
    assert "✓ doze" in output.read_text()


def test_an_interrupt_at_the_terminal_leaves_the_run_and_says_how_to_go_on(
    platform: Platform, kfp_client: kfp.Client, package: Path
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(platform, str(package), "-p", "seconds=600"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""

    def running() -> bool:
        nonlocal seen
        seen += os.read(ours, 4096)
        return b"doze" in seen and b"RUNNING" in seen.rpartition(b"doze")[2]

    eventually(running, what="the tree shows the step running")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    seen += os.read(ours, 65536)
    os.close(ours)
    (run_id,) = set(re.findall(r"ketch follow (\S+)", seen.decode()))
    assert kfp_client.get_run(run_id).state == "RUNNING"
    ended = platform.ketch("follow", run_id, "--terminate")
    assert ended.returncode == 1
    assert "the run was terminated" in ended.stderr
