"""Nobody in a container has more processes than the administrator allows, however many it tries to have."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.local.sandbox.warmth import PYTHON, Warm, template_spec

from ketch.local.sandbox.processlimit import (
    DEFAULT,
    LARGEST,
    PID_MAX,
    RESERVED,
    SETTING,
    kept_by_namespaces,
    process_limit,
)

MOST = 50
BOMB = f"""
import os, time
most = 0
try:
    while most < {MOST + RESERVED} * 2:
        if os.fork() == 0:
            time.sleep(1000)
        most += 1
except BlockingIOError as error:
    print(error.strerror, most <= {MOST + RESERVED}, most >= {MOST}, open("/proc/sys/kernel/pid_max").read())
"""
REFUSED = f"Resource temporarily unavailable True True {MOST + RESERVED}\n"
kept = pytest.mark.skipif(
    not kept_by_namespaces(os.uname().release) or not Path(PYTHON).exists(),
    reason="needs Linux 6.14, and an interpreter below /usr",
)


@pytest.fixture
async def warm(sandboxes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warm:
    sandboxes.kill_zygote()
    monkeypatch.setenv(SETTING, str(MOST))
    sandboxes.zygote = sandboxes.start_zygote()
    spec = template_spec(sandboxes.data, sandboxes.spec("true").mounts)
    await sandboxes.client.start_template(spec)
    folder = tmp_path / "work"
    folder.mkdir()
    return Warm(sandboxes, spec.socket, folder)


def bound_of_the_machine() -> str:
    return Path(PID_MAX).read_text()


@kept
async def test_a_fork_bomb_comes_to_its_bound_and_others_live(warm: Warm):
    before = bound_of_the_machine()
    assert await warm.both(BOMB) == ((0, REFUSED), (0, REFUSED))
    assert await warm.both("print('alive')") == ((0, "alive"), (0, "alive"))
    assert bound_of_the_machine() == before


@kept
async def test_a_container_cannot_move_its_bound(warm: Warm):
    source = f"open({PID_MAX!r}, 'w').write('100000')"
    (cold, _), (from_warm, _) = await warm.both(source)
    assert cold == from_warm == 1


@pytest.mark.parametrize(
    ("text", "most"), [("", DEFAULT), (" ", DEFAULT), ("-1", None), ("1", 1), ("100", 100), (str(LARGEST), LARGEST)]
)
def test_the_administrator_chooses(text: str, most: int | None):
    assert process_limit({SETTING: text}) == most


@pytest.mark.parametrize("text", ["0", "-2", "many", "1.5", str(LARGEST + 1), "--1", "²"])
def test_what_is_no_number_of_processes_is_refused(text: str):
    with pytest.raises(ValueError, match=SETTING):
        process_limit({SETTING: text})


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.14.0", True),
        ("6.18.44-fc-v595", True),
        ("7.0-rc1", True),
        ("6.13.12", False),
        ("5.15.0-91-generic", False),
        ("6", False),
        ("", False),
    ],
)
def test_only_kernels_that_keep_it_for_each_namespace_are_told(release: str, expected: bool):
    assert kept_by_namespaces(release) is expected
