"""The module that training processes import, and what starts them with it: files, in real processes."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ketch.training import client

SOURCE = Path(client.__file__).parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "checkpoints"
    made.mkdir()
    monkeypatch.setenv("KETCH_CHECKPOINT_DIR", str(made))
    return made


@pytest.fixture
def module() -> ModuleType:
    """A fresh one, as a process has it."""
    spec = importlib.util.spec_from_file_location("fresh_ketch_training", SOURCE / client.MODULE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def put(folder: Path, name: str, *inside: str) -> None:
    """A file with something in it; or a folder with these files."""
    if inside:
        for each in inside:
            path = folder / name / each
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
    else:
        (folder / name).write_text("x")


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step-40", 40),
        ("step-40.pt", 40),
        ("epoch=3-step=1200.ckpt", 1200),
        ("checkpoint-500", 500),
        ("7", 7),
        ("model_12.safetensors", 12),
        ("last.ckpt", None),
        ("config.json", None),
    ],
)
def test_a_step_is_the_number_in_a_name(module: ModuleType, name: str, step: int | None):
    assert module.checkpoint_step(name) == step


@pytest.mark.parametrize(
    ("name", "inside", "whole"),
    [
        ("step-1.pt", (), True),
        ("step-1.pt.tmp", (), False),
        ("step-1.partial", (), False),
        (".saving-1-2", (), False),
        ("_step-1", (), False),
        ("tmp-checkpoint-5", ("trainer_state.json",), False),
        ("checkpoint-5", ("trainer_state.json", "model.safetensors"), True),
        ("checkpoint-5", ("model.safetensors",), False),
        ("step-5", ("__0_0.distcp", ".metadata"), True),
        ("step-5", ("__0_0.distcp",), False),
        ("5.orbax-checkpoint-tmp-123", ("x",), False),
        ("step-5", ("weights",), True),
    ],
)
def test_what_is_whole(folder: Path, module: ModuleType, name: str, inside: tuple[str, ...], whole: bool):
    put(folder, name, *inside)
    assert module.is_complete(folder / name) is whole


def test_an_empty_file_or_folder_is_not_whole(folder: Path, module: ModuleType):
    (folder / "step-1.pt").touch()
    (folder / "step-2").mkdir()
    assert not module.is_complete(folder / "step-1.pt")
    assert not module.is_complete(folder / "step-2")
    assert not module.is_complete(folder / "gone-3")
    assert module.latest_checkpoint() is None


def test_the_latest_is_the_highest_whole_one(folder: Path, module: ModuleType):
    for name in ("step-9.pt", "step-10.pt", "step-11.pt.tmp", "notes.txt"):
        put(folder, name)
    assert module.latest_checkpoint() == folder / "step-10.pt"


def test_without_a_folder_there_is_none(module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("KETCH_CHECKPOINT_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert module.latest_checkpoint() is None
    with module.saving_checkpoint(3) as path:
        path.write_text("x")
    assert module.latest_checkpoint() == Path("checkpoints/step-3")


def test_what_is_saved_has_its_name_when_it_is_whole(folder: Path, module: ModuleType):
    with module.saving_checkpoint(1, ".pt") as path:
        path.write_text("half")
        assert module.latest_checkpoint() is None
    assert module.latest_checkpoint() == folder / "step-1.pt"
    with module.saving_checkpoint(2) as path:
        path.mkdir()
        (path / "shard").write_text("x")
    assert (folder / "step-2" / "shard").read_text() == "x"
    with module.saving_checkpoint(2) as path:  # again, over what is there
        path.mkdir()
        (path / "other").write_text("y")
    assert [each.name for each in (folder / "step-2").iterdir()] == ["other"]


def test_what_fails_while_it_is_saved_leaves_nothing(folder: Path, module: ModuleType):
    def fails() -> None:
        with module.saving_checkpoint(1) as path:
            path.write_text("half")
            raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        fails()
    assert list(folder.iterdir()) == []


def test_older_ones_go_but_never_what_others_saved(folder: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KETCH_CHECKPOINT_KEEP", "2")
    put(folder, ".saving-1-99")  # of a process that was killed
    put(folder, "checkpoint-1", "trainer_state.json")
    put(folder, "best-1.pt")
    for step in range(1, 5):
        with module.saving_checkpoint(step) as path:
            path.write_text("x")
    assert sorted(each.name for each in folder.iterdir()) == ["best-1.pt", "checkpoint-1", "step-3", "step-4"]
    monkeypatch.setenv("KETCH_CHECKPOINT_KEEP", "all")
    with module.saving_checkpoint(5) as path:
        path.write_text("x")
    assert len(module.complete_checkpoints()) == 5


def test_a_command_is_started_with_what_it_may_go_on_from(folder: Path):
    put(folder, "step-3.pt")
    program = "import os, ketch_training; print(os.environ['KETCH_RESUME_FROM'], ketch_training.latest_checkpoint())"
    command = ["sh", str(SOURCE / client.START), sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": "/somewhere"}
    result = subprocess.run(command, check=True, text=True, capture_output=True, env=environment)
    assert result.stdout == f"{folder}/step-3.pt {folder}/step-3.pt\n"
    assert result.stderr == f"ketch: the last complete checkpoint is {folder}/step-3.pt\n"


def test_what_a_command_is_told_to_go_on_from_stays(folder: Path):
    put(folder, "step-3.pt")
    command = ["sh", str(SOURCE / client.START), "sh", "-c", 'printf "%s" "$KETCH_RESUME_FROM"']
    environment = {**os.environ, "KETCH_RESUME_FROM": "elsewhere"}
    result = subprocess.run(command, check=True, text=True, capture_output=True, env=environment)
    assert (result.stdout, result.stderr) == ("elsewhere", "")


def test_a_command_keeps_its_arguments_and_exit_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KETCH_CHECKPOINT_DIR", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    shell = 'printf "%s|" "$@"; printf "%s" "$PYTHONPATH"; exit 9'
    command = ["sh", str(SOURCE / client.START), "sh", "-c", shell, "name", "a b", "", "$x"]
    result = subprocess.run(command, check=False, text=True, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (9, f"a b||$x|{SOURCE}", "")


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A status endpoint; what it was sent."""
    got: list[Any] = []
    came = threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with came:
                got.append((self.headers["Authorization"], body))
                came.notify_all()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:  # its base would write to the tests' output
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", f"http://127.0.0.1:{server.server_port}/status")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "token"))

    def wait(count: int) -> list[Any]:
        with came:
            assert came.wait_for(lambda: len(got) >= count, timeout=30)
        return got

    yield wait
    server.shutdown()
    server.server_close()


def test_a_process_tells_how_far_it_is(module: ModuleType, reports: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    module.report(10, total=20, samples=32, loss=0.123456789, note="x" * 100)
    (authorization, body) = reports(1)[0]
    assert authorization == "Bearer secret"
    assert body["trainerStatus"]["progressPercentage"] == 50
    assert body["trainerStatus"]["metrics"] == [
        {"name": "loss", "value": "0.123457"},
        {"name": "note", "value": "x" * 64},
    ]
    rank = body["rank"]
    assert {key: rank[key] for key in ("rank", "worldSize", "step")} == {"rank": 1, "worldSize": 4, "step": 10}
    assert rank["memory"].endswith("Ki")
    module.report(20, total=20, samples=32)  # the last word is sent at once
    (_, last) = reports(2)[-1]
    assert last["trainerStatus"]["progressPercentage"] == 100
    assert last["trainerStatus"]["estimatedRemainingSeconds"] == 0
    assert float(last["rank"]["samplesPerSecond"]) > 0


def test_a_checkpoint_saved_after_the_last_step_is_told_before_the_process_leaves(
    folder: Path, module: ModuleType, reports: Any
):
    module.report(20, total=20)
    with module.saving_checkpoint(20, ".pt") as path:
        path.write_text("x")
    (_, last) = reports(2)[-1]  # it is there: nothing that runs at exit was needed
    assert last["rank"]["checkpoint"] == "step-20.pt"
    assert last["trainerStatus"]["progressPercentage"] == 100


def test_nothing_is_told_and_nothing_raised_where_nobody_listens(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("KUBEFLOW_TRAINER_SERVER_URL", raising=False)
    module.report(1, total=1)
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "http://127.0.0.1:9/status")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "missing"))
    module.report(1, total=1)
