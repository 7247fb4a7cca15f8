"""The command line on a running platform, and on what is not one."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from tests.e2e.platforms import SCRIPTS, Platform, eventually

pytestmark = pytest.mark.e2e


def ketch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPTS / "ketch"), *arguments]
    return subprocess.run(command, check=False, text=True, capture_output=True, timeout=120)


def test_status_tells_what_runs_and_where(platform: Platform):
    result = platform.ketch("status")
    assert result.returncode == 0
    for word in ("ready", platform.address, platform.kubernetes, "control-plane", "node-agent", "gateway"):
        assert word in result.stdout


def test_a_second_platform_on_one_directory_is_refused(platform: Platform):
    result = platform.ketch("up", "--port", "0", "--api-port", "0")
    assert result.returncode == 3
    assert "already runs" in result.stderr
    assert platform.ketch("status").returncode == 0


def test_a_port_in_use_is_named_and_nothing_is_left_behind(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = ketch("up", "--data-dir", str(tmp_path / "d"), "--port", str(port), "--api-port", "0")
    assert result.returncode == 3
    assert f"port {port} is in use" in result.stderr
    assert "--port" in result.stderr
    assert not (tmp_path / "d" / "run" / "supervisor.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what belongs to someone else")
def test_a_directory_of_someone_else_is_refused(tmp_path: Path):
    os.chown(tmp_path, 1234, 1234)
    result = ketch("up", "--data-dir", str(tmp_path), "--port", "0", "--api-port", "0")
    assert result.returncode == 3
    assert "belongs to user 1234" in result.stderr
    assert "--data-dir" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_a_data_directory_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 120)):
        result = ketch("up", "--data-dir", str(place), "--port", "0", "--api-port", "0")
        assert result.returncode == 3
        assert result.stderr.startswith("ketch: ")
        assert "--data-dir" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_platform_that_cannot_start_says_why_and_leaves_nothing(own_platform: Platform):
    assert own_platform.ketch("down").returncode == 0
    (own_platform.root / "kube.db").write_text("this is no database")
    for name in ("kube.db-wal", "kube.db-shm"):
        (own_platform.root / name).unlink(missing_ok=True)
    result = own_platform.ketch("up", "--detach", "--port", "0", "--api-port", "0")
    assert result.returncode == 3, result.stderr
    assert "cannot start: control-plane:" in result.stderr
    assert "kube.db" in result.stderr
    assert own_platform.ketch("status").returncode == 3


def test_a_number_that_is_no_port_is_refused(tmp_path: Path):
    result = ketch("up", "--data-dir", str(tmp_path / "d"), "--port", "99999")
    assert result.returncode == 2
    assert "less than or equal to 65535" in result.stderr


def test_commands_without_a_platform_say_how_to_start_one(tmp_path: Path):
    result = ketch("status", "--data-dir", str(tmp_path))
    assert result.returncode == 3
    assert "ketch up" in result.stderr
    assert ketch("down", "--data-dir", str(tmp_path)).returncode == 0


def test_doctor_finds_what_this_machine_has(platform: Platform):
    result = platform.ketch("doctor")
    assert result.returncode in (0, 1)
    for word in ("bubblewrap", "network namespaces", "Traefik"):
        assert word.lower() in result.stdout.lower()


def test_down_ends_every_pod_and_process(own_platform: Platform):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "left"},
        "spec": {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "4242"]}]},
    }
    own_platform.apply(pod)
    own_platform.kubectl("wait", "pod/left", "--for=condition=Ready", "--timeout=60s")
    assert _processes("4242")
    pids = [item["pid"] for item in own_platform.record()["processes"].values()]
    assert own_platform.ketch("down").returncode == 0
    eventually(lambda: not _processes("4242"), what="the pod's process ends")
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def _processes(argument: str) -> list[str]:
    """Processes of `sleep ARGUMENT`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-2:-1] == [argument.encode()] and words[0].endswith(b"sleep"):
            found.append(path.parent.name)
    return found
