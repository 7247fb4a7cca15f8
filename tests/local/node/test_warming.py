"""Which containers may come from a warm interpreter, and which process they are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ketch.local.images.image import Image
from ketch.local.node.environment import ConfigError
from ketch.local.node.processes import Process, python_process, wants_warm
from ketch.local.node.warming import fits, furniture, stands, warm_start
from ketch.local.sandbox.spec import ContainerSpec, Mount

SAID = {
    "container": "main",
    "program": "python3",
    "module": "kfp.dsl.executor_main",
    "first": 3,
    "text": 2,
    "text-name": "component.py",
    "option": "--path",
    "env": {"_KFP_RUNTIME": "true"},
}
ARGV = ("sh", "-c", "the text", "--input", "{}")
ENV = {"PATH": "/opt/environment/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "PYTHON_VERSION": "3.11.7"}
BASE = (Mount("ro-bind", "/usr", "/usr"), Mount("overlay", "/opt/environment", "/e"), Mount("scratch", "/tmp"))
IMAGE = Image("python:3.11", "sha256:0", BASE, ENV, ("python3",), environment=Path("/e"))
PROCESS = Process(program="python3", module="m", arguments=(), text="t", text_name="t.py")
SPEC = ContainerSpec(Path("/c"), ("python3", "-m", "m"), ENV, Path("/log"), mounts=BASE)


def annotated(**changes: object) -> dict[str, str]:
    return {"environment.ketch.dev/process": json.dumps({**SAID, **changes})}


class TestWhichProcessItIs:
    def test_what_the_pod_says(self):
        found = python_process(annotated(), "main", ARGV)
        assert found == Process(
            program="python3",
            module="kfp.dsl.executor_main",
            arguments=("--path", "", "--input", "{}"),
            env={"_KFP_RUNTIME": "true"},
            text="the text",
            text_name="component.py",
            text_at=1,
            below_shell=True,
        )

    @pytest.mark.parametrize("program", ["python", "python3"])
    def test_what_is_plain(self, program):
        found = python_process({}, "any", (program, "-m", "a.b", "--c", "d"))
        assert found == Process(program=program, module="a.b", arguments=("--c", "d"))

    @pytest.mark.parametrize(
        "argv", [("python3",), ("python3", "a.py"), ("/usr/bin/python3", "-m", "a"), ("python3", "-O", "-m", "a"), ARGV]
    )
    def test_of_others_nothing_is_known(self, argv):
        assert python_process({}, "any", argv) is None

    def test_it_speaks_for_one_container(self):
        assert python_process(annotated(), "sidecar", ARGV) is None

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            pytest.param({"text": 9}, "has only 5 words", id="no such word"),
            pytest.param({"first": -1}, "has only 5 words", id="a negative one"),
            pytest.param({"first": "x"}, "Expected `int`", id="no number"),
            pytest.param({"program": "/bin/sh"}, "must be plain names", id="no python"),
            pytest.param({"text-name": "../x"}, "must be plain names", id="a path"),
        ],
    )
    def test_what_is_wrong_is_said(self, changes, sentence):
        with pytest.raises(ConfigError, match=r"environment.ketch.dev/process") as caught:
            python_process(annotated(**changes), "main", ARGV)
        assert sentence in str(caught.value)

    def test_the_switch_of_a_pod(self):
        assert wants_warm({})
        assert not wants_warm({"environment.ketch.dev/warm": "false"})
        with pytest.raises(ConfigError, match="must be"):
            wants_warm({"environment.ketch.dev/warm": "perhaps"})


class TestWhatStartsCold:
    def test_the_usual_does_not(self):
        assert fits(PROCESS, SPEC, IMAGE)

    @pytest.mark.parametrize(
        "env",
        [
            pytest.param({"PATH": "/usr/bin:/opt/environment/bin"}, id="another interpreter"),
            pytest.param({"PYTHONPATH": "/x"}, id="another path"),
            pytest.param({"PYTHONHASHSEED": "1"}, id="a seed"),
            pytest.param({"PYTHONOPTIMIZE": "1"}, id="an option"),
            pytest.param({"LANG": "de_DE.UTF-8"}, id="a language"),
            pytest.param({"LC_ALL": "C"}, id="a locale"),
            pytest.param({"LD_PRELOAD": "/x.so"}, id="a library"),
            pytest.param({"TMPDIR": "/x"}, id="a place for the text"),
        ],
    )
    def test_what_an_interpreter_reads_when_it_starts(self, env):
        assert not fits(PROCESS, replace(SPEC, env=ENV | env), IMAGE)

    @pytest.mark.parametrize("env", [{"PYTHONUNBUFFERED": "1"}, {"PYTHONDONTWRITEBYTECODE": "1"}, {"TZ": "Asia/Tokyo"}])
    def test_what_a_warm_one_obeys(self, env):
        assert fits(PROCESS, replace(SPEC, env=ENV | env), IMAGE)

    @pytest.mark.parametrize("changes", [{"user": 1000}, {"group": 1000}, {"argv": ("python3", "x" * (1 << 17))}])
    def test_what_is_odd(self, changes):
        assert not fits(PROCESS, replace(SPEC, **changes), IMAGE)

    @pytest.mark.parametrize(
        ("target", "fitting"),
        [
            ("/data", True),
            ("/opt", True),
            ("/root/.cache", True),
            ("/opt/environment", False),
            ("/opt/environment/lib/python3.11/site-packages/kfp", False),
            ("/usr/lib/python3", False),
        ],
    )
    def test_a_volume_over_what_was_imported(self, target, fitting):
        assert fits(PROCESS, replace(SPEC, mounts=(*BASE, Mount("bind", target, "/x"))), IMAGE) == fitting


def test_what_the_sandbox_is_told():
    start = warm_start(PROCESS, Path("/run/warm/t"))
    assert (start.module, start.text, start.text_at, start.template) == ("m", "t", 0, Path("/run/warm/t"))


class TestFurniture:
    def test_it_is_what_all_containers_have_and_none_changes(self):
        within = Mount("ro-bind", "/opt/environment/bin/python", "/p")
        others = (Mount("directory", "/etc", mode=0o755), Mount("symlink", "/bin", "usr/bin"), Mount("tmpfs", "/run"))
        assert furniture((*BASE, within, *others)) == (BASE[0], *others)

    def test_what_a_container_has_over_it(self):
        ahead = frozenset({Mount("ro-bind", "/etc/passwd", "/p")})
        own = (Mount("bind", "/etc/hosts", "/h"), Mount("bind", "/etc/passwd", "/q"), Mount("directory", "/etc"))
        assert stands(ahead, (*ahead, *own))

    def test_what_would_lie_under_it(self):
        ahead = frozenset({Mount("ro-bind", "/etc/passwd", "/p")})
        assert not stands(ahead, (*ahead, Mount("bind", "/etc", "/volume")))

    def test_what_a_container_lacks(self):
        assert not stands(frozenset({Mount("ro-bind", "/etc/passwd", "/p")}), ())
