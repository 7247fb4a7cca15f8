"""``ketch runs debug`` at a real terminal: a shell and pdb where a step ran, and nothing left behind."""

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp import compiler, dsl
from tests.e2e.platforms import SCRIPTS, Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]

PATIENCE = 60.0
LABEL = "debug.ketch.dev/task"


@dsl.component(base_image="python:3.11")
def measure(text: str, report: dsl.Output[dsl.Artifact]) -> int:
    """Count."""
    length = len(text)
    with open(report.path, "w") as file:  # noqa: PTH123
        file.write(f"it has {length} characters")
    return length


@dsl.component(base_image="python:3.11")
def check(report: dsl.Input[dsl.Artifact], limit: int):
    with open(report.path) as file:  # noqa: PTH123
        words = file.read().split()
    raise ValueError(f"{words[2]} is more than {limit}")


@dsl.pipeline(name="debugged")
def debugged(text: str, limit: int = 3):
    measured = measure(text=text)
    check(report=measured.outputs["report"], limit=limit)


@pytest.fixture(scope="module")
def run_id(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    package = tmp_path_factory.mktemp("debug") / "debugged.yaml"
    compiler.Compiler().compile(debugged, str(package))
    result = platform.ketch("run", str(package), "--no-cache", "-p", "text=$HOME 'quoted' $(NOT) twice\n\n")
    assert result.returncode == 1, result.stderr
    assert "check failed: ValueError: 29 is more than 3" in result.stderr
    return result.stdout.split()[1]


class Session:
    """A ``ketch`` command at a terminal of its own."""

    def __init__(self, platform: Platform, *arguments: str) -> None:
        self.terminal, theirs = pty.openpty()
        command = [str(SCRIPTS / "ketch"), *arguments, "--data-dir", str(platform.root)]
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def expect(self, text: str) -> str:
        """Wait until ``text`` appears; what came before it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0], self.seen
            try:
                self.seen += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:
                pytest.fail(f"it ended without {text!r}: {self.seen}")
        before, _, self.seen = self.seen.partition(text)
        return before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.fixture
def session(platform: Platform) -> Iterator[list[Session]]:
    opened: list[Session] = []
    yield opened
    for each in opened:
        each.close()


def debug_pods(platform: Platform) -> list[str]:
    return [item["metadata"]["name"] for item in platform.get("pods", "-A", "-l", LABEL)["items"]]


def test_a_shell_is_where_the_step_was_and_its_outputs_stay(platform: Platform, run_id: str, session: list[Session]):
    shell = Session(platform, "runs", "debug", run_id, "check")
    session.append(shell)
    shell.expect("A sandbox like that of check")
    shell.expect("(debug check)")
    shell.type("cat $(find /minio -name report) && tty -s && echo at a ter''minal; echo $KFP_RUN_ID\n")
    shell.expect("it has 29 characters")
    shell.expect("at a terminal")
    shell.expect(run_id)
    shell.type("/tmp/ketch-debug/step; echo code=$?\n")
    shell.expect("ValueError: 29 is more than 3")
    shell.expect("code=1")
    shell.type("sh -c 'echo asl''eep; exec sleep 100'\n")
    shell.expect("asleep")  # it runs: the key is its own
    shell.type("\x03")
    shell.type("exit 5\n")
    assert shell.process.wait(timeout=PATIENCE) == 5
    assert debug_pods(platform) == []


def test_pdb_stops_in_the_function_with_its_very_arguments(platform: Platform, run_id: str, session: list[Session]):
    shell = Session(platform, "runs", "debug", run_id, "measure", "--pdb")
    session.append(shell)
    shell.expect("-> length = len(text)")
    shell.expect("(Pdb)")
    shell.type("p text\n")
    assert r"$HOME 'quoted' $(NOT) twice\n\n" in shell.expect("(Pdb)")
    shell.type("n\n")
    shell.expect("(Pdb)")
    shell.type("p length + 1000\n")
    shell.expect("1029")
    shell.type("q\n")
    shell.process.wait(timeout=PATIENCE)
    assert debug_pods(platform) == []


def test_running_the_step_again_does_not_touch_what_was_recorded(platform: Platform, run_id: str):
    (report,) = (platform.root / "objects").glob(f"**/{run_id}/measure/**/report")
    before = report.stat()
    text = (
        "/tmp/ketch-debug/step >/dev/null 2>&1 && cat $(find /minio -name report) /tmp/recorded-outputs/report; exit 7"
    )
    result = platform.ketch("runs", "debug", run_id, "measure", "--command", text, stdin=subprocess.DEVNULL)
    assert result.returncode == 7, result.stderr
    assert result.stdout == "it has 29 characters" * 2
    assert report.stat() == before


def test_input_comes_through_a_pipe(platform: Platform, run_id: str):
    command = [str(SCRIPTS / "ketch"), "runs", "debug", run_id, "check", "--data-dir", str(platform.root)]
    script = "echo from the sandbox; pwd >&2; exit 3"
    result = subprocess.run(command, input=script, text=True, capture_output=True, check=False, timeout=PATIENCE)
    assert (result.returncode, result.stdout) == (3, "from the sandbox\n")


def test_the_sandbox_goes_when_the_command_is_ended(platform: Platform, run_id: str, session: list[Session]):
    shell = Session(platform, "runs", "debug", run_id, "check")
    session.append(shell)
    shell.expect("(debug check)")
    shell.process.send_signal(signal.SIGTERM)
    assert shell.process.wait(timeout=PATIENCE) == 128 + signal.SIGTERM
    assert debug_pods(platform) == []


def test_a_killed_command_leaves_no_process_behind(platform: Platform, run_id: str, session: list[Session]):
    shell = Session(platform, "runs", "debug", run_id, "check")
    session.append(shell)
    shell.expect("(debug check)")
    shell.type("sleep 4343\n")
    eventually(lambda: _runs("4343"), what="the shell's command runs")
    shell.process.kill()
    eventually(lambda: not _runs("4343"), what="the shell's command ends")
    (pod,) = platform.get("pods", "-A", "-l", LABEL)["items"]
    assert pod["spec"]["activeDeadlineSeconds"] == 86400
    platform.kubectl(
        "wait",
        f"pod/{pod['metadata']['name']}",
        "-n",
        pod["metadata"]["namespace"],
        "--for=jsonpath={.status.phase}=Succeeded",
        "--timeout=120s",
    )
    result = platform.ketch("runs", "debug", run_id, "check", "--command", "true", stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    assert debug_pods(platform) == []


def test_a_step_whose_pod_is_gone_can_be_entered(platform: Platform, run_id: str):
    selector = f"pipelines.kubeflow.org/run-id={run_id}"
    platform.kubectl("delete", "pods", "-A", "-l", selector, "--wait=true")
    assert platform.get("pods", "-A", "-l", selector)["items"] == []
    text = "/tmp/ketch-debug/step 2>&1 | tail -n 1; cat $(find /minio -name report)"
    result = platform.ketch("runs", "debug", run_id, "check", "--command", text, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["ValueError: 29 is more than 3", "it has 29 characters"]


def test_a_cached_step_can_be_entered_though_it_never_ran(platform: Platform, tmp_path: Path):
    package = tmp_path / "debugged.yaml"
    compiler.Compiler().compile(debugged, str(package))
    for _ in range(2):
        result = platform.ketch("run", str(package), "-p", "text=again")
    assert "measure  CACHED" in result.stdout
    text = "/tmp/ketch-debug/step >/dev/null 2>&1 && cat $(find /minio -name report)"
    run = result.stdout.split()[1]
    result = platform.ketch("runs", "debug", run, "measure", "--command", text, stdin=subprocess.DEVNULL)
    assert result.stdout == "it has 5 characters", result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["absent-run", "check"], 2, "there is no run 'absent-run'", id="no such run"),
        pytest.param(["@latest", "chekc"], 2, "no step 'chekc': there are measure, check", id="no such step"),
        pytest.param(["@latest", "check", "--attempt", "4"], 2, "no attempt 4", id="no such attempt"),
        pytest.param(["@latest", "check", "--pdb", "--command", "ls"], 2, "contradict", id="two things at once"),
    ],
)
def test_wrong_words_are_answered(platform: Platform, run_id: str, arguments, code, words):
    arguments = [run_id if each == "@latest" else each for each in arguments]
    result = platform.ketch("runs", "debug", *arguments)
    assert result.returncode == code
    assert words in result.stderr


def test_without_a_platform_it_says_so(tmp_path: Path):
    command = [str(SCRIPTS / "ketch"), "runs", "debug", "@latest", "check", "--data-dir", str(tmp_path)]
    result = subprocess.run(command, text=True, capture_output=True, check=False, timeout=PATIENCE)
    assert result.returncode == 3
    assert "can be entered only where they run" in result.stderr


def _runs(argument: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", argument.encode()]:
            return True
    return False
