"""A container from a warm interpreter is the container that a cold start makes: it sees, says and ends the same."""

import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.sandbox.warmth import ENV, EXTRAS, FURNITURE, PROGRAM, PYTHON, Warm, template_spec
from tests.waiting import eventually

from ketch.local.sandbox.errors import StartError
from ketch.local.sandbox.spec import Mount, WarmStart

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason="needs an interpreter below /usr")


@pytest.fixture
async def warm(sandboxes: Any, tmp_path: Path) -> AsyncIterator[Warm]:
    spec = template_spec(sandboxes.data, sandboxes.spec("true").mounts, extras=EXTRAS)
    await sandboxes.client.start_template(spec)
    folder = tmp_path / "work"
    folder.mkdir()
    return Warm(sandboxes, spec.socket, folder)


LOOK = """
import json, os, resource, signal, stat, sys, threading, locale, gc, random, tempfile
def status():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {name: lines[name].split() for name in (
        "Name", "Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
        "Seccomp", "SigBlk", "SigIgn", "SigCgt", "Threads", "Cpus_allowed_list")}
def modes():
    found = {}
    for top, folders, files in os.walk("/"):
        if top.startswith(("/proc", "/sys", "/usr")) or top.count("/") > 3:
            folders.clear(); continue
        for name in (*folders, *files):
            path = os.path.join(top, name)
            info = os.lstat(path)
            found[path] = (oct(info.st_mode), info.st_uid, info.st_gid)
    return found
mounts = []
for line in open("/proc/self/mountinfo"):
    left, _, right = line.partition(" - ")
    _, _, _, root, target, options, *_ = left.split()
    kind, source, superoptions = right.split()
    mounts.append((target, options, kind))
me = sys.modules["__main__"]
print(json.dumps({
    "status": status(), "modes": modes(), "mounts": sorted(mounts), "env": dict(os.environ),
    "fds": sorted(os.listdir("/proc/self/fd"))[:3], "many": len(os.listdir("/proc/self/fd")), "cwd": os.getcwd(),
    "limits": [resource.getrlimit(number) for number in range(16)],
    "leader": os.getpid() == os.getsid(0) == os.getpgid(0), "parent": os.getppid(), "nice": os.nice(0),
    "scheduling": os.sched_getscheduler(0), "hostname": os.uname().nodename,
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "executable": sys.executable,
    "flags": repr(sys.flags), "prefix": [sys.prefix, sys.base_prefix], "warnings": sys.warnoptions,
    "main": [me.__name__, me.__file__, me.__package__, me.__spec__.name, type(me.__builtins__).__name__],
    "streams": [(s.encoding, s.errors, s.line_buffering, s.write_through, s.name, s.mode) for s in (
        sys.stdin, sys.stdout, sys.stderr)],
    "locale": [locale.getlocale(), locale.getpreferredencoding(), sys.getfilesystemencoding()],
    "handlers": [str(signal.getsignal(number)) for number in (2, 13, 15, 17)],
    "collecting": gc.isenabled(), "threads": threading.active_count(), "thread": threading.current_thread().name,
    "tempdir": tempfile.gettempdir(), "dumpable": os.access("/proc/self/environ", os.R_OK),
    "fresh": "decimal" not in sys.modules and "ctypes" not in sys.modules and "socket" not in sys.modules,
    "proc": [os.access("/proc/sys/kernel/hostname", os.W_OK), len([n for n in os.listdir("/proc") if n.isdigit()])],
    "told": [open("/proc/self/" + name, "rb").read().decode(errors="replace") for name in ("cmdline", "environ")],
    "init": os.access("/proc/1/environ", os.R_OK) and os.path.getsize("/proc/1/environ"),
}))
"""


class TestWhatItSees:
    async def test_all_that_a_cold_start_shows(self, warm, tmp_path):
        (tmp_path / "volume").mkdir()
        (tmp_path / "file").write_text("x")
        mounts = (
            Mount("bind", "/data/deep/volume", str(tmp_path / "volume")),
            Mount("ro-bind", "/etc/config", str(tmp_path / "file")),
            Mount("overlay", "/opt/library", str(tmp_path)),
            Mount("tmpfs", "/run", mode=0o755, size=1 << 20),
            Mount("directory", "/var/run", mode=0o711),
        )
        env = {**ENV, "WHO": "me\nor \udcff", "TZ": "Asia/Tokyo"}
        (_, cold), (_, seen) = await warm.both(LOOK, "a", "", "b c", mounts=mounts, env=env, hostname="pod-1")
        assert cold.startswith("{"), cold
        assert seen.startswith("{"), seen
        expected, found = json.loads(cold), json.loads(seen)
        # It may have less: no bounding set, a session of its own. Signals 32 and 33 are the C library's own affair.
        assert found["status"].pop("CapBnd") == ["0" * 16]
        assert found.pop("leader")
        del expected["status"]["CapBnd"], expected["leader"]
        for seen_there in (expected, found):
            seen_there["told"][1] = sorted(seen_there["told"][1].split("\0"))
            seen_there["status"]["SigIgn"] = int(seen_there["status"]["SigIgn"][0], 16) & 0x7FFFFFFF
        for name in expected:
            assert found[name] == expected[name], name

    async def test_its_namespaces_are_its_own(self, warm):
        source = (
            "import os; print({name: os.readlink(f'/proc/self/ns/{name}') for name in os.listdir('/proc/self/ns')})"
        )
        _, seen = await warm.run(source)
        inside = eval(seen)
        ours = {name: str(Path(f"/proc/{warm.sandboxes.zygote.pid}/ns/{name}").readlink()) for name in inside}  # noqa: ASYNC240  # kernel memory
        assert {name for name in inside if inside[name] != ours[name]} == {
            "mnt", "pid", "pid_for_children", "ipc", "uts",
        }  # fmt: skip

    async def test_nothing_of_the_machine_or_of_the_platform(self, warm):
        data = warm.sandboxes.data
        source = f"""
import os
print([os.path.exists(path) for path in ({str(data)!r}, "/home", {PROGRAM!r})])
for name in ("environ", "mem", "maps", "auxv"):
    try:
        open("/proc/1/" + name).read()
    except PermissionError:
        print("closed", end=" ")
for name in ("cwd", "root", "exe", "fd/2"):
    try:
        os.readlink("/proc/1/" + name)
    except PermissionError:
        print("closed", end=" ")
"""
        assert await warm.run(source) == (0, "[False, False, False]\n" + "closed " * 8)

    @pytest.mark.parametrize("path", ["/usr/bin/intruder", "/proc/sys/kernel/core_pattern", "/etc/config"])
    async def test_what_is_not_its_to_change_stays(self, warm, tmp_path, path):
        (tmp_path / "file").write_text("x")
        mounts = (Mount("ro-bind", "/etc/config", str(tmp_path / "file")),)
        code, said = await warm.run(f"open({path!r}, 'w').write('y')", mounts=mounts)
        assert code == 1
        assert "Read-only file system" in said or "Permission denied" in said

    async def test_what_it_leaves_behind_no_other_sees(self, warm):
        source = """
import builtins, json, os, random, sys, threading
found = [hasattr(builtins, "mark"), hasattr(json, "mark"), "MARK" in os.environ, os.path.exists("/tmp/mark"),
         os.path.exists("/mark"), os.path.exists("/dev/shm/mark"), threading.active_count(), "/mark" in sys.path]
print(found)
builtins.mark = json.mark = True
json.dumps = None
os.environ["MARK"] = "x"
for path in ("/tmp/mark", "/mark", "/dev/shm/mark"):
    open(path, "w").close()
sys.path.insert(0, "/mark")
threading.Thread(target=threading.Event().wait, daemon=True).start()
os.chdir("/")
"""
        first = await warm.run(source)
        assert first == (0, "[False, False, False, False, False, False, 1, False]")
        assert await warm.run(source) == first

    async def test_chance_is_its_own(self, warm):
        source = """
import multiprocessing, random, tempfile, uuid
print(random.random(), tempfile.mktemp(), uuid.uuid4(), bytes(multiprocessing.current_process().authkey).hex())
"""
        seen = [await warm.run(source) for _ in range(3)]
        words = [word for _, text in seen for word in text.split()]
        assert len(set(words)) == 12

    async def test_what_modules_knew_of_the_template_is_forgotten(self, warm):
        source = """
import os, platform, threading
print(platform.node(), threading.main_thread().native_id == os.getpid())
"""
        assert await warm.run(source, hostname="pod-1") == (0, "pod-1 True")


ENDS = {
    "success": "print('done')",
    "a number": "import sys; sys.exit(3)",
    "a large number": "import sys; sys.exit(300)",
    "a message": "import sys; sys.exit('that was it')",
    "nothing to say": "raise SystemExit",
    "an exception": "def f():\n    raise ValueError('no')\nf()",
    "one after the other": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('then') from e",
    "a syntax error": "def f(:",
    "at once": "import os; print('lost', end=''); os._exit(7)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "aborted": "import os; os.abort()",
    "interrupted": "raise KeyboardInterrupt",
    "exit handlers": "import atexit; atexit.register(print, 'last'); print('first')",
    "a failing exit handler": "import atexit; atexit.register(lambda: 1 / 0)",
    "threads": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()",
    "daemons": "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); print(1)",
    "an open file": "import sys; held = open('/work/left', 'w'); held.write('text'); print('x', file=sys.stderr)",
    "a hook": "import sys; sys.excepthook = lambda *a: print('hooked', a[0].__name__, a[2].tb_lineno); 1 / 0",
    "destructors": "class A:\n    def __del__(self): print('gone', __name__)\na = A(); b = A(); b.b = b",
    "a child left behind": "import subprocess; subprocess.Popen(['sleep', '1000']); print('x')",
    "a closed stdout": "import sys; print('x'); sys.stdout.close()",
    "no such module": "import nothing_like_it",
    "warnings": "import warnings; warnings.warn('careful')",
    "logging": "import logging, sys; logging.basicConfig(stream=sys.stdout, level=20); logging.info('said')",
    "a process pool": "import concurrent.futures as c, multiprocessing as m\ndef f(x): return x + 1\n"
    "if __name__ == '__main__':\n"
    "    with c.ProcessPoolExecutor(1, m.get_context('spawn')) as p: print(list(p.map(f, [1])))",
}  # fmt: skip


ADDRESS = re.compile("0x[0-9a-f]+")


class TestItsEnd:
    @pytest.mark.parametrize("source", ENDS.values(), ids=ENDS)
    async def test_it_is_that_of_a_cold_start(self, warm, source):
        cold, ended = await warm.both(source)
        assert ended[0] == cold[0]
        assert ADDRESS.sub("0x", ended[1]) == ADDRESS.sub("0x", cold[1])
        if (left := warm.folder / "left").exists():
            assert left.read_text() == "text"

    async def test_sigterm_reaches_it(self, warm):
        source = """
import signal, sys, time
signal.signal(15, lambda *a: sys.exit(9))
print("up", flush=True)
time.sleep(60)
"""
        container = await warm.begin(source)
        await eventually(lambda: warm.text(container) == "up")
        container.signal(signal.SIGTERM)
        assert (await container.wait()).code == 9

    async def test_a_signal_that_nobody_handles(self, warm):
        container = await warm.begin("import time\nprint('up', flush=True)\ntime.sleep(60)")
        await eventually(lambda: warm.text(container) == "up")
        container.signal(signal.SIGTERM)
        end = await container.wait()
        assert (end.code, end.signal) == (143, 15)

    async def test_killed_from_outside_with_all_that_it_started(self, warm):
        source = """
import subprocess, sys
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("up", flush=True)
child.wait()
"""
        container = await warm.begin(source)
        await eventually(lambda: warm.text(container) == "up")
        container.kill()
        end = await container.wait()
        assert (end.code, end.signal, end.reason) == (137, 9, "Error")
        await eventually(lambda: not Path(f"/proc/{container.started.keeper_pid}").exists())

    async def test_its_init_is_not_its_to_end(self, warm):
        source = """
import os
for number in (1, 2, 9, 15, 17, 19):
    os.kill(1, number)
print("goes on")
"""
        assert await warm.run(source) == (0, "goes on")

    async def test_too_much_memory(self, warm):
        source = "import time; data = bytearray(b'x') * (200 << 20); time.sleep(60)"
        container = await warm.begin(source, memory_bytes=60 << 20)
        end = await container.wait()
        assert (end.code, end.oom_killed) == (137, True)

    async def test_a_shell_would_have_told_of_the_signal(self, warm):
        start = WarmStart(warm.socket, "python3", "task", (), below_shell=True, furniture=FURNITURE)
        warm.write("import os; os.kill(os.getpid(), 11)")
        mounts = (Mount("bind", "/work", str(warm.folder)),)
        command = ("sh", "-ec", "true\npython3 -m task\n")
        for how in (None, start):
            container = await warm.sandboxes.start(*command, mounts=mounts, cwd="/work", env=ENV, warm=how)
            assert (await container.wait()).code == 139
            assert warm.text(container).startswith("Segmentation fault")

    async def test_nothing_of_its_writable_layers_stays(self, warm):
        container = await warm.begin("open('/tmp/data', 'w').write('x')")
        await container.wait()
        await eventually(lambda: not (container.directory / "scratch").exists())


class TestItsProgram:
    async def test_a_text_becomes_a_file_of_its_own(self, warm):
        text = "print('from a file ü')\n"
        source = """
import os, runpy, sys
print(sys.argv[1:])
print(os.stat(sys.argv[2]).st_mode & 0o777)
runpy.run_path(sys.argv[2])
"""
        warm.write(source)
        chosen = {"text": text, "text_name": "component.py", "text_at": 1, "furniture": FURNITURE}
        start = WarmStart(warm.socket, "python3", "task", ("--path", "", "z"), {"A": "b"}, **chosen)
        mounts = (Mount("bind", "/work", str(warm.folder)),)
        container = await warm.sandboxes.start("false", mounts=mounts, cwd="/work", env=ENV, warm=start)
        assert (await container.wait()).code == 0
        said = warm.text(container)
        assert re.fullmatch(r"\['--path', '/tmp/tmp\.\w{10}/component\.py', 'z'\]\n420\nfrom a file ü", said)

    async def test_modules_that_were_imported_ahead_are_found_when_they_are_imported(self, warm):
        source = """
import sys
assert "decimal" not in sys.modules
import decimal, xml.dom.minidom as m
from _decimal import Decimal
print(decimal.Decimal is Decimal, m.__spec__.name, sys.modules["decimal"] is decimal, "xml.dom" in sys.modules)
"""
        assert await warm.run(source) == (0, "True xml.dom.minidom True True")

    async def test_a_users_own_module_comes_first(self, warm):
        (warm.folder / "decimal.py").write_text("WHOSE = 'mine'")
        source = "import decimal; print(decimal.WHOSE)"
        assert await warm.run(source) == (0, "mine")

    async def test_a_users_own_module_in_place_of_one_that_is_in_use_starts_it_cold(self, warm):
        (warm.folder / "random.py").write_text("WHOSE = 'mine'")
        assert await warm.run("import random; print(random.WHOSE)", warm=False) == (0, "mine")
        warm.write("import random; print(random.WHOSE)")
        start = WarmStart(warm.socket, "python3", "task", (), furniture=FURNITURE)
        mounts = (Mount("bind", "/work", str(warm.folder)),)
        argv = ("python3", "-m", "task")
        container = await warm.sandboxes.start(*argv, mounts=mounts, cwd="/work", env=ENV, warm=start)
        assert not container.started.warm
        assert (await container.wait()).code == 0
        assert warm.text(container) == "mine"

    async def test_unbuffered(self, warm):
        source = "import os, sys; print('a', end=''); sys.stderr.write('b'); os._exit(0)"
        cold, ended = await warm.both(source, env={**ENV, "PYTHONUNBUFFERED": "1"})
        assert sorted(ended[1].split()) == sorted(cold[1].split()) == ["a", "b"]

    async def test_a_command_inside(self, warm):
        container = await warm.begin("import time; time.sleep(60)", env={**ENV, "WHO": "me"})
        script = "pwd; echo $WHO; grep CapEff /proc/self/status; ls -d /proc/1"
        result = await warm.sandboxes.client.exec(container, ["sh", "-c", script])
        assert result.output.split() == [b"/work", b"me", b"CapEff:", b"0" * 16, b"/proc/1"]

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"cwd": "/none"}, id="no such directory"),
            pytest.param({"mounts": (Mount("bind", "/x", "/none"),)}, id="no such source"),
            pytest.param({"mounts": (Mount("tmpfs", "x"),)}, id="a relative target"),
        ],
    )
    async def test_what_prevents_it_is_told_as_of_any(self, warm, fields):
        with pytest.raises(StartError):
            await warm.begin("print()", **fields)


def interpreters() -> list[str]:
    """Those of this machine, by version."""
    found: dict[str, str] = {}
    for path in sorted(Path(sys.base_prefix).parent.glob("*/bin/python3.*")):
        if re.fullmatch(r"python3\.(9|\d\d)", path.name) and os.access(path, os.X_OK):
            found[path.name] = str(path)
    return list(found.values())


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
async def test_every_interpreter(sandboxes: Any, tmp_path: Path, python: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    prefix = str(Path(python).parents[1])
    extra = Mount("ro-bind", prefix, prefix)
    mounts = (*sandboxes.spec("true").mounts, extra)
    spec = template_spec(sandboxes.data, mounts, extras=("decimal", "xml.dom.minidom"), python=f"{prefix}/bin/python3")
    await sandboxes.client.start_template(spec)
    warm = Warm(sandboxes, spec.socket, folder)
    env = {**ENV, "PATH": f"{prefix}/bin:{ENV['PATH']}"}
    for name in ("an exception", "a message", "interrupted", "threads", "destructors", "logging", "a process pool"):
        cold, ended = await warm.both(ENDS[name], env=env, mounts=(extra,))
        assert ended == cold, name
    source = (
        "import sys; print(sys.version, sys.argv, sys.path, sys.executable, sys.flags); import decimal, xml.dom.minidom"
    )
    cold, ended = await warm.both(source, "a", env=env, mounts=(extra,))
    assert ended == cold
    assert ended[0] == 0
