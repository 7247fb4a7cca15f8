"""Processes are started with their sockets, tell when they are ready, and come back when they die."""

import asyncio
import os
import signal
import socket
import sys

import pytest

from ketch.local.platform.process import (
    LARGEST_LOG,
    ProcessSpec,
    SupervisedProcess,
    spawn,
    wait_for_exit,
    wait_for_line,
)
from ketch.local.program import UNUSABLE

ANNOUNCE = "from ketch.local.program import announce_ready; announce_ready(); "
WAIT_FOREVER = "import signal; signal.pause()"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "program.log"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        pytest.param("raise SystemExit(0)", 0, id="success"),
        pytest.param("raise SystemExit(3)", 3, id="failure"),
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, id="killed by a signal"),
    ],
)
async def test_the_exit_of_a_program_is_known(code, exit_code, log):
    pid, told = spawn(ProcessSpec("program", python(code)), log)
    os.close(told)
    assert await wait_for_exit(pid) == exit_code


async def test_a_program_that_does_not_exist_exits_127_and_says_so_in_its_log(log):
    pid, told = spawn(ProcessSpec("program", ("/nonexistent/program",)), log)
    os.close(told)
    assert await wait_for_exit(pid) == 127
    assert "cannot start /nonexistent/program" in log.read_text()


async def test_a_log_that_has_grown_large_is_put_aside_by_the_next_start(log):
    with log.open("wb") as file:
        file.truncate(LARGEST_LOG + 1)
    pid, told = spawn(ProcessSpec("program", python("print('new')")), log)
    os.close(told)
    await wait_for_exit(pid)
    assert log.read_text() == "new\n"
    assert log.with_name("program.log.1").stat().st_size == LARGEST_LOG + 1


async def test_sockets_arrive_in_order_under_their_names(log):
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in ("first", "second")}
    code = (
        "import socket; from ketch.local.platform.process import inherited_sockets; "
        "got = {n: socket.socket(fileno=f) for n, f in inherited_sockets().items()}; "
        "print({n: s.getsockname()[1] for n, s in got.items()}); [s.close() for s in got.values()]"
    )
    spec = ProcessSpec("program", python(code), sockets={name: item.fileno() for name, item in listeners.items()})
    pid, told = spawn(spec, log)
    os.close(told)
    code = await wait_for_exit(pid)
    ports = {name: item.getsockname()[1] for name, item in listeners.items()}
    for item in listeners.values():
        item.close()
    assert (code, log.read_text().strip()) == (0, str(ports))


async def test_a_program_inherits_nothing_but_what_is_meant_for_it(log):
    secret = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(secret, True)
    code = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])"
    pid, told = spawn(ProcessSpec("program", python(code)), log)
    os.close(told)
    await wait_for_exit(pid)
    os.close(secret)
    assert log.read_text().strip() == "[0, 1, 2, 3]"


@pytest.mark.parametrize(
    ("code", "ready"),
    [
        pytest.param(ANNOUNCE + WAIT_FOREVER, True, id="it announces"),
        pytest.param("pass", False, id="it ends without a word"),
    ],
)
async def test_readiness_is_what_the_program_says(code, ready, log):
    pid, told = spawn(ProcessSpec("program", python(code)), log)
    assert await wait_for_line(told) is ready
    os.kill(pid, signal.SIGKILL)
    await wait_for_exit(pid)


async def test_a_killed_program_is_started_again_and_becomes_ready_again(log):
    process = SupervisedProcess(ProcessSpec("program", python(ANNOUNCE + WAIT_FOREVER)), log, lambda: None)
    run = asyncio.create_task(process.run())
    await process.ready.wait()
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    while process.pid in (None, first) or not process.ready.is_set():
        await asyncio.wait_for(process.ready.wait(), 30)
        await asyncio.sleep(0)  # noqa: TID251  # yield only: the condition is the state above
    assert (process.restarts, process.last_exit) == (1, -9)
    await process.stop()
    await run
    assert process.pid is None


async def test_a_program_that_says_that_it_cannot_start_is_believed(log):
    changed = asyncio.Event()
    spec = ProcessSpec("program", python(f"raise SystemExit({UNUSABLE})"))
    process = SupervisedProcess(spec, log, lambda: changed.set() if process.last_exit is not None else None)
    run = asyncio.create_task(process.run())
    await changed.wait()
    assert process.cannot_start
    await process.stop()
    await run


async def test_a_program_deaf_to_sigterm_is_killed(log):
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + ANNOUNCE + "\nwhile True: signal.pause()"
    process = SupervisedProcess(ProcessSpec("program", python(code), stop_seconds=0.1), log, lambda: None)
    run = asyncio.create_task(process.run())
    await process.ready.wait()
    await process.stop()
    await run
    assert process.last_exit == -9
