"""Warm interpreters themselves: many at once, killed, replaced, idle, refused."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.sandbox.warmth import ENV, EXTRAS, FURNITURE, PYTHON, Warm, template_spec
from tests.waiting import eventually

from ketch.local.sandbox.container import Container
from ketch.local.sandbox.errors import AlreadyStarted, StartError
from ketch.local.sandbox.spec import Mount, WarmStart

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason="needs an interpreter below /usr")


@pytest.fixture
async def warm(sandboxes: Any, tmp_path: Path) -> AsyncIterator[Warm]:
    spec = template_spec(sandboxes.data, sandboxes.spec("true").mounts, extras=EXTRAS)
    await sandboxes.client.start_template(spec)
    folder = tmp_path / "work"
    folder.mkdir()
    return Warm(sandboxes, spec.socket, folder)


def children_of(pid: int) -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class TestTemplates:
    async def test_many_at_once(self, warm):
        ended = await asyncio.gather(*(warm.run("import os; print(os.getpid())") for _ in range(12)))
        assert ended == [(0, "3")] * 12
        await eventually(lambda: children_of(warm.pid) == [])

    async def test_one_that_is_killed_harms_nobody_and_is_replaced(self, warm):
        source = (
            "import sys, time\nwhile True:\n    if open('/work/go').read(): break\n    time.sleep(0.01)\nsys.exit(5)"
        )
        (warm.folder / "go").write_text("")
        container = await warm.begin(source)
        os.kill(warm.pid, signal.SIGKILL)
        await eventually(lambda: not warm.socket.exists())
        assert container.running
        (warm.folder / "go").write_text("x")
        assert (await container.wait()).code == 5
        assert await warm.run("print('cold')", warm=False) == (0, "cold")
        spec = template_spec(warm.sandboxes.data, warm.sandboxes.spec("true").mounts)
        await warm.sandboxes.client.start_template(spec)
        assert await warm.run("print('warm')") == (0, "warm")

    async def test_containers_outlive_everyone_but_their_keeper(self, warm):
        container = await warm.begin("import time; time.sleep(60)")
        template_pid = warm.pid
        warm.sandboxes.kill_zygote()
        await eventually(lambda: not Path(f"/proc/{template_pid}").exists())
        assert Container.adopt(container.directory).running
        os.kill(container.started.keeper_pid, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{container.pid}").exists())

    async def test_one_that_hangs_is_not_waited_for_long(self, warm, monkeypatch):
        os.kill(warm.pid, signal.SIGSTOP)
        pid = warm.pid
        start = WarmStart(warm.socket, "python3", "task", (), furniture=FURNITURE)
        warm.write("print('cold')")
        mounts = (Mount("bind", "/work", str(warm.folder)),)
        container = await warm.sandboxes.start("python3", "-m", "task", mounts=mounts, cwd="/work", env=ENV, warm=start)
        assert not container.started.warm
        assert (await container.wait()).code == 0
        assert warm.text(container) == "cold"
        await eventually(lambda: not Path(f"/proc/{pid}").exists())

    async def test_one_is_enough(self, warm):
        spec = template_spec(warm.sandboxes.data, warm.sandboxes.spec("true").mounts)
        with pytest.raises(AlreadyStarted):
            await warm.sandboxes.client.start_template(spec)

    async def test_inits_that_wait_may_be_killed(self, warm):
        nursery = parent_of(warm.pid)
        await eventually(lambda: len(children_of(nursery)) > 1)
        waiting = set(children_of(nursery)) - {warm.pid}
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not waiting & set(children_of(nursery)))  # it knows: until then one starts cold
        assert await warm.run("print('warm')") == (0, "warm")

    async def test_it_ends_when_it_is_told_to(self, warm):
        container = await warm.begin("import time; time.sleep(60)")
        warm.sandboxes.client.end_template(warm.socket)
        await eventually(lambda: not warm.socket.exists())
        assert container.running

    async def test_it_ends_when_nobody_asks(self, sandboxes):
        spec = template_spec(sandboxes.data, sandboxes.spec("true").mounts, idle=1)
        await sandboxes.client.start_template(spec)
        await eventually(lambda: not spec.socket.exists())

    async def test_what_it_cannot_import_is_told(self, sandboxes):
        spec = template_spec(sandboxes.data, sandboxes.spec("true").mounts, extras=("nothing_like_it",))
        with pytest.raises(StartError, match=re.escape(str(spec.log))):
            await sandboxes.client.start_template(spec)
        assert "nothing_like_it" in spec.log.read_text()

    async def test_a_module_that_starts_threads_is_not_imported_ahead(self, sandboxes, tmp_path):
        (tmp_path / "busy.py").write_text(
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
        )
        mounts = (*sandboxes.spec("true").mounts, Mount("ro-bind", "/usr/lib/python3/dist-packages", str(tmp_path)))
        spec = template_spec(sandboxes.data, mounts, extras=("busy",))
        with pytest.raises(StartError):
            await sandboxes.client.start_template(spec)
        assert "threads" in spec.log.read_text()
