"""``ketch run``, ``ketch runs``, ``ketch experiments`` and ``ketch recurring`` as their users meet them."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import kfp
import pytest
from tests.e2e.platforms import SCRIPTS, Platform, eventually

pytestmark = pytest.mark.e2e

PIPELINE = """
from kfp import dsl


@dsl.component
def flip(n: int) -> str:
    print(f"flipping {n}")
    return "heads" if n % 2 else "tails"


@dsl.component
def flaky():
    import os

    number = int(os.environ["KFP_RETRY_INDEX"])
    print(f"try {number}")
    if number < 1:
        raise RuntimeError("not yet")


@dsl.component
def fail_for(word: str):
    print("line one")
    if word == "bad":
        raise ValueError("no good: " + word)


@dsl.component
def doze(seconds: float):
    import time

    print("dozing", flush=True)
    time.sleep(seconds)


@dsl.pipeline(name="coins")
def coins(word: str, counts: list = [1, 2, 3], seconds: float = 0.0):
    with dsl.ParallelFor(counts) as count:
        flip(n=count)
    flaky().set_retry(2).set_caching_options(False)
    doze(seconds=seconds).set_caching_options(False)
    fail_for(word=word)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coins") / "coins.py"
    path.write_text(PIPELINE)
    return path


@pytest.fixture(scope="module")
def good(platform: Platform, file: Path) -> str:
    result = platform.ketch("run", str(file), "-p", "word=10", "--name", "good coins", "--experiment", "coins")
    assert result.returncode == 0, result.stderr
    for words in ("for-loop-1", "✓ for-loop-1/[1]/flip", "flaky", "attempt 2", "succeeded"):
        assert words in result.stdout
    return result.stdout.split()[1]


@pytest.fixture(scope="module")
def bad(platform: Platform, file: Path) -> str:
    result = platform.ketch("run", str(file), "-p", "word=bad", "--name", "bad coins")
    assert result.returncode == 1
    assert "✗ fail-for failed: ValueError: no good: bad\n" in result.stderr
    assert "│ line one" in result.stderr
    run_id = result.stdout.split()[1]
    assert f"ketch runs debug {run_id[:8]} fail-for" in result.stderr
    return run_id


def shown(platform: Platform, *arguments: str) -> str:
    result = platform.ketch(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(platform: Platform, code: int, *arguments: str) -> str:
    result = platform.ketch(*arguments)
    assert result.returncode == code, result.stdout + result.stderr
    assert result.stderr.startswith("ketch: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_runs_are_listed_and_filtered(platform: Platform, good: str, bad: str):
    everything = shown(platform, "runs", "ls")
    assert f"{good[:8]}   ✓ SUCCEEDED" in everything
    assert f"{bad[:8]}   ✗ FAILED" in everything
    assert shown(platform, "runs", "ls", "--state", "failed", "bad coins", "-o", "name").split() == [bad]
    assert shown(platform, "runs", "ls", "--experiment", "coins", "-o", "name").split() == [good]
    assert len(shown(platform, "runs", "ls", "-n", "1", "-o", "name").split()) == 1
    wide = shown(platform, "runs", "ls", "-o", "wide", "coins")
    assert good in wide
    assert "no good: bad" in wide
    found = json.loads(shown(platform, "runs", "ls", "-o", "json", "good coins"))
    assert [run["run_id"] for run in found] == [good]
    assert "coins" in shown(platform, "experiments", "ls", "-o", "name").split()


def test_a_run_is_found_by_id_beginning_name_and_as_the_latest(platform: Platform, good: str):
    for words in (good, good[:12], "good coins"):
        assert f"run            {good}" in shown(platform, "runs", "show", words)
    newest = json.loads(shown(platform, "runs", "ls", "-n", "1", "-o", "json"))[0]["run_id"]
    assert newest in shown(platform, "runs", "show", "@latest")


def test_a_run_is_shown_with_values_artifacts_and_errors(platform: Platform, good: str, bad: str):
    text = shown(platform, "runs", "show", good)
    for words in ("experiment     coins", "word  10", "← n = 2", "→ Output = tails", "3/3", "attempt 2"):
        assert words in text
    text = shown(platform, "runs", "show", bad)
    assert "✗ fail-for: ValueError: no good: bad" in text
    document = json.loads(shown(platform, "runs", "show", good, "flaky", "-o", "json"))
    (step,) = document["steps"]
    assert (step["attempts"], step["state"], len(step["pods"])) == (2, "SUCCEEDED", 2)


def test_logs_are_of_one_step_one_attempt_or_all(platform: Platform, good: str):
    assert "try 1\n" in shown(platform, "runs", "logs", good, "flaky")
    for choice in (("--previous",), ("--attempt", "1")):
        text = shown(platform, "runs", "logs", good, "flaky", *choice)
        assert "try 0\n" in text
        assert "not yet" in text
    text = shown(platform, "runs", "logs", good)
    assert re.search(r"^for-loop-1/\[0\]/flip +│ flipping 1$", text, re.MULTILINE)
    assert re.search(r"^doze +│ dozing$", text, re.MULTILINE)
    assert len(shown(platform, "runs", "logs", good, "for-loop-1/[2]/flip", "--tail", "1").splitlines()) == 1


def test_logs_are_followed_until_the_run_has_ended(platform: Platform, file: Path):
    run = shown(platform, "run", str(file), "-p", "word=x", "-p", "seconds=2", "--detach").strip()
    text = shown(platform, "runs", "logs", "-f", run)
    assert re.search(r"^doze +│ dozing$", text, re.MULTILINE)
    assert "SUCCEEDED" in shown(platform, "runs", "show", run)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(("runs", "show", "nothing"), 2, "there is no run 'nothing'", id="no such run"),
        pytest.param(("runs", "logs", "GOOD", "flapy"), 2, "no step 'flapy': there are", id="no such step"),
        pytest.param(("runs", "logs", "GOOD", "flip"), 2, "several steps are called 'flip'", id="several steps"),
        pytest.param(("runs", "logs", "GOOD", "for-loop-1"), 2, "only holds other steps", id="a loop"),
        pytest.param(("runs", "logs", "GOOD", "doze", "--previous"), 2, "begun only once", id="no earlier attempt"),
        pytest.param(("runs", "logs", "GOOD", "--previous"), 2, "name it", id="an attempt of everything"),
        pytest.param(("runs", "logs", "GOOD", "flaky", "--attempt", "9"), 2, "no attempt 9", id="no such attempt"),
        pytest.param(("runs", "ls", "--state", "great"), 2, "no run is ever 'great'", id="no such state"),
        pytest.param(("runs", "ls", "-o", "xml"), 2, "-o xml: there are table", id="no such form"),
        pytest.param(("runs", "ls", "--experiment", "none"), 2, "no experiment 'none'", id="no such experiment"),
        pytest.param(("runs", "retry", "GOOD"), 2, "only failed or terminated runs", id="nothing to retry"),
        pytest.param(("runs", "terminate", "GOOD"), 1, "its state is SUCCEEDED", id="over already"),
        pytest.param(("recurring", "disable", "none"), 2, "no recurring run 'none'", id="no such recurring run"),
        pytest.param(("run", "FILE"), 2, "needs more: -p word=(text)", id="a missing parameter"),
        pytest.param(("run", "FILE", "-p", "wrod=x"), 2, "did you mean 'word'", id="an unknown parameter"),
        pytest.param(("run", "FILE", "-p", "word=x", "-p", "counts=3"), 2, "takes a list", id="a wrong type"),
        pytest.param(("run", "FILE", "-p", "word=x", "--watch", "--detach"), 2, "leave out", id="watching nobody"),
        pytest.param(("run", "FILE", "--pipeline", "x"), 2, "no pipeline or component 'x'", id="no such pipeline"),
    ],
)
def test_wrong_words_are_answered_by_what_is_right(platform: Platform, good: str, file: Path, arguments, code, words):
    real = {"GOOD": good, "FILE": str(file)}
    assert words in refused(platform, code, *[real.get(each, each) for each in arguments])


def test_a_run_is_terminated_retried_archived_and_deleted(platform: Platform, kfp_client: kfp.Client, file: Path):
    run = shown(platform, "run", str(file), "-p", "word=x", "-p", "seconds=6", "--detach", "--name", "changing").strip()
    eventually(lambda: kfp_client.get_run(run).state == "RUNNING")
    assert "has not ended" in refused(platform, 2, "runs", "delete", "-y", run)
    shown(platform, "runs", "terminate", run)
    eventually(lambda: kfp_client.get_run(run).state in ("FAILED", "CANCELED"))
    result = platform.ketch("runs", "retry", run)
    assert result.returncode == 0, result.stderr
    assert kfp_client.get_run(run).state == "SUCCEEDED"
    shown(platform, "runs", "archive", run)
    assert run not in shown(platform, "runs", "ls", "-o", "name", "changing")
    assert run in shown(platform, "runs", "ls", "-o", "name", "--archived")
    shown(platform, "runs", "unarchive", run)
    assert platform.ketch("runs", "delete", run, input="n\n").returncode == 1
    shown(platform, "runs", "delete", run, "--yes")
    assert "there is no run" in refused(platform, 2, "runs", "show", run)


def test_json_is_all_that_stdout_gets(platform: Platform, file: Path):
    result = platform.ketch("run", str(file), "-p", "word=bad", "-o", "json")
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert document["state"] == "FAILED"
    assert document["parameters"] == {"word": "bad"}
    assert {step["path"] for step in document["steps"]} == {"for-loop-1", "flaky", "doze", "fail-for"}
    assert "✗ fail-for failed" in result.stderr


def test_the_address_of_a_run_is_printed(platform: Platform, good: str):
    assert shown(platform, "runs", "open", good).strip() == f"{platform.address}/#/runs/details/{good}"


def test_host_may_be_given_or_be_in_the_environment(platform: Platform, good: str, tmp_path: Path):
    def ls(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPTS / "ketch"), "runs", "ls", "-o", "name", "good coins", "--data-dir", str(tmp_path)]
        return subprocess.run(
            [*command, *arguments],
            text=True,
            capture_output=True,
            check=False,
            env=os.environ | environment,
            timeout=60,
        )

    assert ls("--host", platform.address).stdout.split() == [good]
    assert ls(KETCH_HOST=platform.address).stdout.split() == [good]
    result = ls("--host", "http://127.0.0.1:9")
    assert (result.returncode, "start one with 'ketch up'" in result.stderr) == (3, True)


def test_recurring_runs_are_made_listed_and_removed(platform: Platform, kfp_client: kfp.Client, file: Path):
    identity = shown(
        platform, "recurring", "create", str(file), "--every", "6h", "-p", "word=x", "--name", "each six hours"
    ).strip()
    made = kfp_client.get_recurring_run(identity)
    assert (made.display_name, made.status) == ("each six hours", "ENABLED")
    assert made.runtime_config.parameters == {"word": "x"}
    assert re.search(r"each six hours +enabled +every 6 h", shown(platform, "recurring", "ls"))
    shown(platform, "recurring", "disable", "each six hours")
    assert kfp_client.get_recurring_run(identity).status == "DISABLED"
    shown(platform, "recurring", "enable", identity[:8])
    shown(platform, "recurring", "delete", identity)
    assert identity not in shown(platform, "recurring", "ls", "-o", "name")
    assert "--cron or --every" in refused(platform, 2, "recurring", "create", str(file))


def on_terminal(command: list[str], lines: int, columns: int, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code of a command at a terminal of that size, and what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=os.environ | environment
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        seen += part
        if not part:
            break
    os.close(ours)
    return process.wait(timeout=60), seen.decode(errors="replace")


@pytest.mark.parametrize("environment", [{"TERM": "xterm"}, {"TERM": "xterm", "NO_COLOR": "1"}], ids=["colour", "none"])
def test_on_a_terminal_the_tree_fits_and_is_redrawn(platform: Platform, file: Path, environment: dict[str, Any]):
    counts = json.dumps(list(range(30)))
    arguments = ["run", str(file), "-p", "word=x", "-p", f"counts={counts}", "--data-dir", str(platform.root)]
    code, seen = on_terminal([str(SCRIPTS / "ketch"), *arguments], 15, 60, environment)
    assert code == 0, seen
    last = re.split(r"\x1b\[1A\x1b\[2K", seen)[-1]
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last)
    assert "30/30" in plain
    assert re.search(r"… +\d+ more +\d+ (succeeded|cached)", plain)
    assert all(len(line) <= 60 for line in plain.splitlines() if not line.startswith("run "))
    assert ("\x1b[32m" in seen) is ("NO_COLOR" not in environment)


def test_watching_submits_again_when_the_file_changes(platform: Platform, tmp_path: Path):
    path, output = tmp_path / "watched.py", tmp_path / "output"
    path.write_text(PIPELINE)
    command = [str(SCRIPTS / "ketch"), "run", str(path), "-p", "word=x", "--watch", "--data-dir", str(platform.root)]
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        eventually(lambda: output.read_text().count("waiting for") == 1, what="the first run ends")
        path.write_text("def broken(:")
        eventually(lambda: "SyntaxError" in output.read_text(), what="the mistake is told")
        path.write_text(PIPELINE.replace("flipping", "throwing"))
        eventually(lambda: output.read_text().count(" succeeded") == 2, what="the second run ends")
        path.write_text(PIPELINE.replace("seconds: float = 0.0", "seconds: float = 300.0"))
        eventually(lambda: "● doze" in output.read_text(), what="a long run is under way")
        path.write_text(PIPELINE)
        eventually(lambda: output.read_text().count(" succeeded") == 3, what="it is overtaken")
        assert "the file has changed" in output.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_help_needs_no_platform_and_names_every_command():
    result = subprocess.run(
        [sys.executable, "-m", "ketch.cli.main", "runs", "--help"],
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for word in ("ls", "show", "logs", "debug", "retry", "terminate", "archive", "unarchive", "delete", "open"):
        assert re.search(rf"^ +{word} ", result.stdout, re.MULTILINE)
