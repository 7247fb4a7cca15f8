"""What a template goes through before it waits is not seen in what comes from it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.local.sandbox.warmth import ENV, FURNITURE, PYTHON, Warm, template_spec

from ketch.local.sandbox import readying
from ketch.local.sandbox.spec import Mount, Rehearsal, WarmStart

REHEARSAL = Rehearsal("json.tool", ("{text}", "{folder}/out.json"), '{"a": [1, 2]}')

PROGRAM = """
import logging, sys, {name}
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)
logging.warning("said")
sys.path.insert(0, "/nowhere")
with open(sys.argv[1]) as file, open(sys.argv[2], "w") as copy:
    copy.write(file.read())
{end}
"""

HARNESS = """
import importlib.util, json, logging, os, random, sys
spec = importlib.util.spec_from_file_location("readying", {path!r})
readying = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readying)
readying.PLACE = {place!r}
def state():
    log = logging.root
    return [sorted(sys.modules), sys.path, sys.argv, log.level, len(log.handlers), hasattr(json, "tool"),
            sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, os.path.exists(readying.PLACE)]
before = state()
told = dict(text="text", arguments=["{{text}}", "{{folder}}/copy"])
try:
    readying.rehearse(type(sys)("__main__"), compile({program!r}, "program", "exec"), told)
    print("whole")
except ZeroDivisionError:
    print("broken")
assert state() == before, (before, state())
"""


class TestRehearse:
    @pytest.mark.parametrize(("end", "said"), [("", "whole"), ("1 / 0", "broken")])
    def test_everything_is_put_back(self, tmp_path, end, said):
        program = PROGRAM.format(name="json.tool", end=end)
        text = HARNESS.format(path=readying.__file__, place=str(tmp_path / "place"), program=program)
        result = subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True)
        assert (result.stdout, result.stderr) == (f"{said}\n", "")


class TestForks:
    def test_what_modules_want_after_a_fork_is_known(self):
        text = HARNESS.partition("before =")[0].format(path=readying.__file__, place="") + (
            "import os, sys\nfor name in ('random', '_random'): sys.modules.pop(name, None)\n"
            "forks = readying.Forks(); own = os.register_at_fork; forks.listen()\n"
            "import random\nforks.stop()\nassert os.register_at_fork is own\n"
            "state = random.getstate(); forks.meet(); assert random.getstate() != state"
        )
        result = subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")


@pytest.fixture
async def warm(sandboxes: Any, tmp_path: Path) -> AsyncIterator[Warm]:
    spec = template_spec(sandboxes.data, sandboxes.spec("true").mounts)
    await sandboxes.client.start_template(replace(spec, rehearsal=REHEARSAL))
    folder = tmp_path / "work"
    folder.mkdir()
    return Warm(sandboxes, spec.socket, folder)


@pytest.mark.skipif(not Path(PYTHON).exists(), reason="needs an interpreter below /usr")
class TestContainers:
    async def tool(self, warm: Warm, *arguments: str, fast: bool) -> tuple[int, str]:
        start = WarmStart(warm.socket, "python3", "json.tool", arguments, furniture=FURNITURE) if fast else None
        mounts = (Mount("bind", "/work", str(warm.folder)),)
        argv = ("python3", "-m", "json.tool", *arguments)
        container = await warm.sandboxes.start(*argv, mounts=mounts, warm=start, cwd="/work", env=ENV)
        assert container.started.warm == fast
        return (await container.wait()).code, warm.text(container)

    async def test_the_program_that_was_rehearsed_does_the_same_warm_and_cold(self, warm):
        (warm.folder / "good.json").write_text('{"b": 1}')
        (warm.folder / "bad.json").write_text("{")
        for name in ("good.json", "bad.json", "none.json"):
            cold = await self.tool(warm, name, fast=False)
            assert await self.tool(warm, name, fast=True) == cold
        assert "b" in (await self.tool(warm, "good.json", fast=True))[1]

    async def test_another_program_sees_nothing_of_it(self, warm):
        source = (
            "import json, logging, os, sys\n"
            "print(json.dumps([sys.path, sys.argv, sorted(vars(json)), logging.root.level, logging.root.handlers,"
            " 'json.tool' in sys.modules, 'readying' in sys.modules, sorted(os.listdir('/tmp')),"
            " 'runpy' in sys.modules, os.register_at_fork.__module__, sys.stdout.name]))"
        )
        cold, quick = await warm.both(source)
        assert cold[0] == quick[0] == 0
        assert json.loads(quick[1]) == json.loads(cold[1])

    async def test_an_error_is_told_as_an_interpreter_tells_it(self, warm):
        (warm.folder / "good.json").write_text("{}")
        cold, quick = [await self.tool(warm, "good.json", "/none/out.json", fast=fast) for fast in (False, True)]
        assert "Traceback" in cold[1]
        assert quick == cold

    async def test_chance_is_new_in_each(self, warm):
        source = "import random, tempfile; print(random.random(), tempfile.mktemp())"
        assert len({(await warm.run(source))[1] for _ in range(3)}) == 3
