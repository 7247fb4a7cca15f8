"""One platform per directory, clear words about ports, and an end in reverse order."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from ketch.local.platform.directory import DataDirectory, DirectoryError
from ketch.local.platform.identity import identity, kill
from ketch.local.platform.process import ProcessSpec
from ketch.local.platform.record import end_leftovers, running_platform
from ketch.local.platform.supervisor import (
    DirectoryInUse,
    Endpoints,
    PortInUse,
    Supervisor,
    listen,
    lock_directory,
)

PROGRAM = """
import signal, sys
from ketch.local.program import announce_ready
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
announce_ready()
signal.pause()
"""

# A supervisor of its own process, whose programs say nothing and go on.
SUPERVISE = """
import asyncio, sys
from pathlib import Path
from ketch.local.platform.directory import DataDirectory
from ketch.local.platform.process import ProcessSpec
from ketch.local.platform.supervisor import Endpoints, Supervisor, lock_directory

async def supervise(directory, program):
    lock_directory(directory)
    specs = [ProcessSpec(name, (sys.executable, "-c", program)) for name in ("one", "two")]
    supervisor = Supervisor(directory, specs, Endpoints("http://x", "https://y"))
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    print("ready", flush=True)
    await running

asyncio.run(supervise(DataDirectory(Path(sys.argv[1])), sys.argv[2]))
"""


@pytest.fixture
def directory(tmp_path):
    directory = DataDirectory(tmp_path / "d")
    directory.prepare()
    return directory


def test_the_directory_is_closed_to_others(directory):
    assert {oct(path.stat().st_mode & 0o777) for path in (directory.root, directory.run, directory.pki)} == {"0o700"}


def test_a_path_too_long_for_sockets_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(DirectoryError, match=r"too long a path for Unix sockets .*--data-dir"):
        DataDirectory(tmp_path / ("x" * 90)).prepare()


def test_a_file_in_the_way_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "d").write_text("")
    with pytest.raises(DirectoryError, match=r"cannot use data directory .*--data-dir"):
        DataDirectory(tmp_path / "d").prepare()


def test_a_directory_that_holds_other_things_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(DirectoryError, match=r"holds other things \(thesis.tex\).*--data-dir"):
        DataDirectory(tmp_path).prepare()
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_with_images_of_its_own_and_one_that_was_used_are_taken(tmp_path):
    directory = DataDirectory(tmp_path)
    (tmp_path / "images.json").write_text("[]")
    directory.prepare()
    os.close(lock_directory(directory))
    (tmp_path / "notes.txt").touch()
    directory.prepare()


def test_a_second_platform_on_the_directory_is_told_which_process_has_it(directory):
    first = lock_directory(directory)
    with pytest.raises(DirectoryInUse, match=rf"process {os.getpid()}.*ketch down"):
        lock_directory(directory)
    os.close(first)
    os.close(lock_directory(directory))


def test_a_taken_port_is_named_together_with_the_option_that_changes_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} is in use .* --port"):
            listen(port, "--port")


async def test_processes_run_until_stopped_and_the_state_file_tells_of_them(directory):
    cleared: list[str] = []
    specs = [
        ProcessSpec(name, (sys.executable, "-c", PROGRAM), after_stop=lambda name=name: cleared.append(name))
        for name in ("one", "two")
    ]
    supervisor = Supervisor(directory, specs, Endpoints("http://x", "https://y"))
    run = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 30)
    state = json.loads(directory.state.read_text())
    assert state["ready"]
    assert {name: item["ready"] for name, item in state["processes"].items()} == {"one": True, "two": True}
    pids = [item["pid"] for item in state["processes"].values()]
    os.kill(os.getpid(), signal.SIGTERM)
    await run
    assert cleared == ["two", "one"]
    assert not directory.state.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_programs_end_with_a_killed_supervisor_and_the_directory_is_free_again(directory):
    argv = [sys.executable, "-c", SUPERVISE, str(directory.root), PROGRAM]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "ready\n"
        found = running_platform(directory)
        assert found is not None
        assert (found.pid, found.ready) == (supervisor.pid, True)
        programs = [os.pidfd_open(process.pid) for process in found.processes if process.pid is not None]
        supervisor.kill()
        os.waitid(os.P_PID, supervisor.pid, os.WEXITED | os.WNOWAIT)
        assert running_platform(directory) is None, "nobody has waited for it yet"
    for program in programs:
        assert select.select([program], [], [], 30)[0], "it ends by itself"
        os.close(program)
    assert running_platform(directory) is None
    os.close(lock_directory(directory))
    assert end_leftovers(directory)
    assert not end_leftovers(directory)


def test_leftovers_are_ended_but_not_who_has_their_number_now(directory):
    with subprocess.Popen(["sleep", "600"]) as left, subprocess.Popen(["sleep", "600"]) as stranger:
        processes = {
            "left": {"pid": left.pid, "identity": identity(left.pid)},
            "reused": {"pid": stranger.pid, "identity": "another/1"},
            "down": {"pid": None, "identity": None},
        }
        directory.state.write_text(json.dumps({"pid": stranger.pid, "identity": "another/1", "processes": processes}))
        assert running_platform(directory) is None
        assert end_leftovers(directory)
        assert left.wait(30) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()
    assert kill(left.pid, "whoever", 1)
