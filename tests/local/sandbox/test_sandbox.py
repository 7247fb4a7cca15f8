"""What a sandbox promises, whoever runs the platform: every law here is checked on real containers."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from tests.waiting import eventually

from ketch.local.processes import start_ticks
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.errors import (
    AlreadyStarted,
    ExecTimeout,
    NotRunning,
    NotStarted,
    SandboxUnavailable,
    StartError,
)
from ketch.local.sandbox.spec import Mount

FOREVER = ("sleep", "1000")


class TestItsEnd:
    @pytest.mark.parametrize(
        ("script", "code", "signum", "reason"),
        [
            pytest.param("true", 0, None, "Completed", id="success"),
            pytest.param("exit 3", 3, None, "Error", id="failure"),
            pytest.param("kill -KILL $$", 137, signal.SIGKILL, "Error", id="killed by itself"),
            pytest.param("kill -TERM $$", 143, signal.SIGTERM, "Error", id="ended by a signal"),
        ],
    )
    async def test_it_is_recorded(self, sandboxes, script, code, signum, reason):
        end = await (await sandboxes.start("sh", "-c", script)).wait()
        assert (end.code, end.signal, end.oom_killed, end.reason) == (code, signum, False, reason)
        assert end.started_at < end.finished_at

    async def test_sigterm_reaches_the_users_process(self, sandboxes, text_of):
        container = await sandboxes.start("sh", "-c", "trap 'exit 7' TERM; echo up; sleep 1000 & wait")
        await eventually(lambda: text_of(container) == "up")
        container.signal(signal.SIGTERM)
        assert (await container.wait()).code == 7

    async def test_kill_ends_every_process(self, sandboxes):
        container = await sandboxes.start("sh", "-c", "sleep 1000 & sleep 1000")
        container.kill()
        assert (await container.wait()).code == 137
        assert not container.running

    async def test_a_process_left_behind_ends_with_the_container(self, sandboxes):
        assert await sandboxes.run("sleep 1000 & echo started") == (0, "started")

    async def test_too_much_memory_is_its_end(self, sandboxes):
        hungry = "import time; data = bytearray(b'x') * (200 << 20); time.sleep(1000)"
        container = await sandboxes.start("/usr/bin/python3", "-c", hungry, memory_bytes=50 << 20)
        end = await container.wait()
        assert (end.code, end.oom_killed, end.reason) == (137, True, "OOMKilled")

    @pytest.mark.parametrize("place", ["/dev/shm/file", "/file"])
    async def test_files_in_memory_count(self, sandboxes, place):
        script = f"head -c 100000000 /dev/zero > {place}; sleep 20"
        end = await (await sandboxes.start("sh", "-c", script, memory_bytes=50 << 20)).wait()
        assert (end.code, end.oom_killed) == (137, True)

    async def test_a_mapped_file_in_memory_counts_once(self, sandboxes):
        maps = (
            "import mmap, time; file = open('/dev/shm/file', 'wb+'); file.truncate(40 << 20); "
            "mapped = mmap.mmap(file.fileno(), 40 << 20); mapped.write(b'x' * (40 << 20)); time.sleep(1); print('fits')"
        )
        container = await sandboxes.start("/usr/bin/python3", "-c", maps, memory_bytes=100 << 20)
        assert (await container.wait()).code == 0

    async def test_nothing_of_its_writable_layers_stays(self, sandboxes):
        container = await sandboxes.start("sh", "-c", "echo data > /tmp/data")
        await container.wait()
        await eventually(lambda: not (container.directory / "scratch").exists())


class TestWhatItSees:
    @pytest.mark.parametrize("place", ["secrets/key", "run/keeper.sock", "pods"])
    async def test_nothing_of_the_data_directory(self, sandboxes, place):
        assert (await sandboxes.run(f"test -e {sandboxes.data}/{place}"))[0] == 1

    async def test_neither_homes_nor_the_hosts_processes(self, sandboxes):
        # The keeper's own, which bounds the number of processes, is gone in a moment.
        count = "for _ in $(seq 200); do set -- /proc/[0-9]*; [ $# -gt 2 ] || break; sleep 0.05; done; echo $#"
        assert await sandboxes.run(f"ls -A /root; ls /home 2>/dev/null; {count}") == (0, "2")

    async def test_its_own_name_user_and_directory(self, sandboxes):
        script = 'cat /proc/sys/kernel/hostname; id -u; id -g; pwd; echo "$WHO"'
        fields = {"hostname": "pod-1", "user": 1000, "group": 2000, "cwd": "/usr", "env": {"WHO": "me\nor you"}}
        assert await sandboxes.run(script, **fields) == (0, "pod-1\n1000\n2000\n/usr\nme\nor you")

    async def test_no_capabilities_and_no_way_to_get_any(self, sandboxes):
        _, text = await sandboxes.run("grep -E 'CapEff|CapPrm|NoNewPrivs' /proc/self/status")
        assert [line.split()[1] for line in text.splitlines()] == ["0" * 16, "0" * 16, "1"]

    async def test_no_descriptor_that_is_not_its_own(self, sandboxes):
        # stdout and stderr of the listing are pipes; any other pipe or socket would be the platform's.
        assert await sandboxes.run("ls -l /proc/self/fd | grep -cE 'pipe|socket'") == (0, "2")

    async def test_its_environment_is_in_no_command_line(self, sandboxes):
        await sandboxes.start(*FOREVER, env={"PATH": "/usr/bin:/bin", "TOKEN": "hidden-token"})
        shown = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):  # noqa: ASYNC240  # kernel memory
            with contextlib.suppress(OSError):
                shown.append(path.read_text())
        assert any("sleep\x001000" in line for line in shown)
        assert not any("hidden-token" in line for line in shown)


class TestWhatItChanges:
    @pytest.mark.parametrize("path", ["/usr/bin/intruder", "/lib/intruder", "/proc/sys/kernel/core_pattern"])
    async def test_nothing_of_the_system(self, sandboxes, path):
        assert (await sandboxes.run(f"echo x > {path}"))[0] != 0

    async def test_its_own_tmp_and_home(self, sandboxes):
        script = 'test -z "$(ls -A /tmp)" && echo x > /tmp/x && echo y > $HOME/y && echo z > /dev/shm/z && cat /tmp/x'
        assert await sandboxes.run(script) == (0, "x")
        assert await sandboxes.run(script) == (0, "x")

    async def test_volumes_as_far_as_they_are_writable(self, sandboxes, tmp_path):
        for name in ("free", "fixed"):
            (tmp_path / name).mkdir()
        mounts = (
            Mount("bind", "/data/free", str(tmp_path / "free")),
            Mount("ro-bind", "/data/fixed", str(tmp_path / "fixed")),
        )
        assert (await sandboxes.run("echo x > /data/free/x; echo x > /data/fixed/x", mounts=mounts))[0] != 0
        assert (tmp_path / "free" / "x").read_text() == "x\n"
        assert list((tmp_path / "fixed").iterdir()) == []

    async def test_an_overlay_for_itself_alone(self, sandboxes, tmp_path):
        (tmp_path / "module.py").write_text("old\n")
        mounts = (Mount("overlay", "/opt/library", str(tmp_path)),)
        script = "echo new > /opt/library/module.py; echo more > /opt/library/more; cat /opt/library/*"
        assert await sandboxes.run(script, mounts=mounts) == (0, "new\nmore")
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("module.py", "old\n")]

    async def test_no_process_outside(self, sandboxes):
        # 0 and -1 mean "all that I may signal": the keeper must not be among them.
        container = await sandboxes.start("sh", "-c", "trap '' TERM; kill -TERM 0 -1; sleep 0; exit 5")
        assert (await container.wait()).code == 5
        assert sandboxes.zygote.poll() is None


class TestItsStart:
    @pytest.mark.parametrize(
        ("argv", "fields", "sentence", "code"),
        [
            pytest.param(("nothing",), {}, 'exec: "nothing": executable file not found in $PATH', 127, id="no program"),
            pytest.param(("/no/p",), {}, 'exec: "/no/p": stat /no/p: no such file or directory', 127, id="no path"),
            pytest.param(("/usr",), {}, 'exec: "/usr": permission denied', 126, id="a directory"),
            pytest.param(("true",), {"cwd": "/none"}, 'the working directory "/none" cannot be entered', 128, id="cwd"),
            pytest.param(
                ("true",), {"mounts": (Mount("bind", "/x", "/none"),)}, "the source does not exist", 128, id="mount"
            ),
            pytest.param(("true",), {"log": Path("/proc/none")}, 'cannot write the log "/proc/none"', 128, id="log"),
            pytest.param(("true",), {"mounts": (Mount("tmpfs", "x"),)}, "must be absolute", 128, id="relative target"),
        ],
    )
    async def test_what_prevents_it_is_a_sentence_and_nothing_is_left(self, sandboxes, argv, fields, sentence, code):
        spec = sandboxes.spec(*argv, **fields)
        with pytest.raises(StartError) as caught:
            await sandboxes.client.start(spec)
        assert sentence in str(caught.value)
        assert caught.value.exit_code == code
        assert list(spec.directory.iterdir()) == []

    async def test_a_directory_is_used_once(self, sandboxes):
        spec = sandboxes.spec(*FOREVER)
        await sandboxes.client.start(spec)
        sandboxes.started.append(Container.adopt(spec.directory))
        with pytest.raises(AlreadyStarted, match="was started already"):
            await sandboxes.client.start(spec)

    async def test_a_keeper_that_was_killed_before_it_started_anything_is_in_nobodys_way(self, sandboxes):
        spec = sandboxes.spec("echo", "second try")
        (spec.directory / "scratch" / "0").mkdir(parents=True)
        (spec.directory / "keeper").touch()
        await sandboxes.client.start(spec)
        assert (await Container.adopt(spec.directory).wait()).code == 0

    async def test_two_who_start_at_once_start_one(self, sandboxes):
        spec = sandboxes.spec("sleep", "60")
        tries = await asyncio.gather(*(sandboxes.client.start(spec) for _ in range(4)), return_exceptions=True)
        sandboxes.started.append(Container.adopt(spec.directory))
        assert sorted(type(one).__name__ for one in tries) == ["AlreadyStarted"] * 3 + ["Started"]

    async def test_nobody_answers(self, sandboxes):
        sandboxes.kill_zygote()
        with pytest.raises(SandboxUnavailable):
            await sandboxes.client.start(sandboxes.spec("true"))


class TestExec:
    async def test_it_shares_what_the_container_has(self, sandboxes):
        container = await sandboxes.start(*FOREVER, user=1000, cwd="/usr", env={"PATH": "/usr/bin:/bin", "WHO": "me"})
        script = 'id -u; pwd; echo "$WHO" >&2; cat /proc/2/comm; grep CapEff /proc/self/status; exit 4'
        result = await sandboxes.client.exec(container, ["sh", "-c", script])
        assert (result.code, result.output.split()) == (4, [b"1000", b"/usr", b"me", b"sleep", b"CapEff:", b"0" * 16])

    async def test_it_changes_the_containers_files(self, sandboxes):
        container = await sandboxes.start(*FOREVER)
        await sandboxes.client.exec(container, ["sh", "-c", "echo x > /tmp/x"])
        assert (await sandboxes.client.exec(container, ["cat", "/tmp/x"])).output == b"x\n"

    async def test_a_command_that_takes_too_long_is_killed(self, sandboxes):
        container = await sandboxes.start(*FOREVER)
        with pytest.raises(ExecTimeout):
            await sandboxes.client.exec(container, ["sleep", "999"], timeout=0.1)
        probe = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 99[9]'"
        for _ in range(100):
            if (await sandboxes.client.exec(container, ["sh", "-c", probe])).code == 1:
                return
        pytest.fail("the command lives on")

    async def test_output_has_a_limit(self, sandboxes):
        container = await sandboxes.start(*FOREVER)
        result = await sandboxes.client.exec(container, ["head", "-c", "300000", "/dev/zero"], limit=1000)
        assert (result.code, len(result.output)) == (0, 1000)

    async def test_no_such_command(self, sandboxes):
        container = await sandboxes.start(*FOREVER)
        with pytest.raises(StartError, match='exec: "nothing": executable file not found'):
            await sandboxes.client.exec(container, ["nothing"])

    async def test_a_container_that_has_ended(self, sandboxes):
        container = await sandboxes.start("true")
        await container.wait()
        with pytest.raises(NotRunning):
            await sandboxes.client.exec(container, ["true"])


class TestAdoption:
    async def test_it_outlives_the_zygote_and_its_end_is_kept(self, sandboxes, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        mounts = (Mount("bind", "/shared", str(tmp_path)),)
        container = await sandboxes.start("sh", "-c", "read x < /shared/fifo; echo $x; exit 6", mounts=mounts)
        sandboxes.kill_zygote()
        adopted = Container.adopt(container.directory)
        assert adopted.running
        assert adopted.started == container.started
        (tmp_path / "fifo").write_text("go\n")
        assert (await adopted.wait()).code == 6
        assert (await Container.adopt(container.directory).wait()).code == 6
        sandboxes.zygote = sandboxes.start_zygote()
        assert await sandboxes.run("echo again") == (0, "again")

    async def test_a_lost_keeper_takes_its_container_along(self, sandboxes):
        container = await sandboxes.start(*FOREVER)
        os.kill(container.started.keeper_pid, signal.SIGKILL)
        end = await container.wait()
        assert (end.code, end.reason) == (137, "ContainerStatusUnknown")
        # Whoever adopts orphans on this machine may take its time to bury them.
        await eventually(lambda: start_ticks(container.pid) is None)

    async def test_a_number_used_again_is_not_the_container(self, sandboxes):
        container = await sandboxes.start("true")
        await container.wait()
        record = json.loads((container.directory / "started.json").read_text())
        for name in ("pid", "init", "keeper_pid"):
            record[name] = os.getpid()
        (container.directory / "started.json").write_text(json.dumps(record))
        stranger = Container.adopt(container.directory)
        stranger.signal(signal.SIGTERM)
        stranger.kill()
        assert not stranger.running

    def test_an_empty_directory(self, tmp_path):
        with pytest.raises(NotStarted):
            Container.adopt(tmp_path)
