"""Images on a real machine: environments are built once, whole or not at all."""

import asyncio
import gc
import json
import subprocess
from pathlib import Path

import pytest
from tests.waiting import eventually

from ketch.local.images.images import ImageBuildFailed, Images, ImageUnknown


@pytest.fixture
def images(tmp_path):
    plain = [{"pattern": "plain", "python": ""}]
    (tmp_path / "images.json").write_text(json.dumps(plain))
    return Images(tmp_path)


def environments(tmp_path):
    return [path for path in (tmp_path / "environments").iterdir() if path.name != "etc"]


async def test_an_environment_is_built_once_for_all_who_ask(images, tmp_path):
    first, second = await asyncio.gather(images.resolve("plain"), images.resolve("plain:2"))
    assert first.digest == second.digest
    (folder,) = environments(tmp_path)
    assert first.digest == f"sha256:{folder.name}"
    assert first.argv == ("python3",)


async def test_its_pip_answers_what_is_there_and_uv_the_rest(images, tmp_path):
    await images.resolve("plain")
    (folder,) = environments(tmp_path)
    pip = [folder / "bin" / "python3", "-m", "pip"]
    version = subprocess.run([*pip, "--version"], capture_output=True, text=True, check=True)  # noqa: ASYNC221
    assert version.stdout.startswith("pip ")
    line = [*pip, "install", "--no-warn-script-location", "--no-deps", 'absent; python_version<"3"']
    assert subprocess.run(line, env={"PATH": ""}, capture_output=True, check=True).returncode == 0  # noqa: ASYNC221
    without_uv = subprocess.run([*pip, "install", "absent"], env={"PATH": ""}, capture_output=True, check=False)  # noqa: ASYNC221
    assert b"uv is not on PATH" in without_uv.stderr


async def test_a_failed_build_leaves_nothing_and_tells_uvs_reason(images, tmp_path):
    with pytest.raises(ImageBuildFailed, match="no-such-thing"):
        await images.resolve("plain", packages=["no-such-thing @ file:///nowhere/no-such-thing-1-py3-none-any.whl"])
    assert environments(tmp_path) == []


async def test_a_failed_build_that_nobody_waits_for_any_more_is_no_trouble(images, tmp_path):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    packages = ["no-such-thing @ file:///nowhere/no-such-thing-1-py3-none-any.whl"]
    asking = asyncio.create_task(images.resolve("plain", packages=packages))
    await eventually(lambda: (tmp_path / "environments").is_dir() and environments(tmp_path), "a build that began")
    asking.cancel()
    await eventually(lambda: not environments(tmp_path), "its end")
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "the end of its task")
    gc.collect()
    assert complaints == []


async def test_what_a_killed_builder_left_is_cleared_away(images, tmp_path):
    left = tmp_path / "environments" / ".building-x" / "environment"
    left.mkdir(parents=True)
    image = await images.resolve("plain")
    assert [folder.name for folder in environments(tmp_path)] == [image.digest.removeprefix("sha256:")]


async def test_a_system_image_needs_no_environment(images, tmp_path):
    image = await images.resolve("busybox:1")
    assert image.argv == ("sh",)
    assert environments(tmp_path) == []


async def test_unknown_images_say_how_to_map_them(images, tmp_path):
    name = "127.0.0.1:1/team/thing:1"
    wanted = rf'"{name}" means, and it cannot be pulled: .*127\.0\.0\.1:1 cannot be reached.* import.*ketch image map'
    with pytest.raises(ImageUnknown, match=wanted):
        await images.resolve(name)


async def test_a_python_that_this_machine_lacks_is_noted(images, tmp_path):
    (tmp_path / "images.json").write_text(json.dumps([{"pattern": "future", "python": "3.99"}]))
    image = await images.resolve("future")
    assert len(image.notes) == 1
    assert "no Python 3.99" in image.notes[0]


async def test_the_platforms_own_programs_run_on_its_interpreter_and_see_themselves(images, tmp_path):
    image = await images.resolve("ketch.dev/transfer")
    sources = {mount.target: mount.source for mount in image.mounts}
    python = sources["/opt/ketch/bin/python3"]
    places = {"PYTHONPATH": f"{Path(sources['/opt/ketch/program/ketch']).parent}:{sources['/opt/ketch/packages']}"}
    assert set(image.env["PYTHONPATH"].split(":")) == {"/opt/ketch/program", "/opt/ketch/packages"}
    seen = subprocess.run(  # noqa: ASYNC221
        [python, "-s", "-m", "ketch.pipelines.transfer"], env=places, capture_output=True, text=True, check=False
    )
    assert "fetch URI" in seen.stderr
    assert all(
        mount.kind == "ro-bind" for mount in image.mounts if mount.target.startswith("/opt/ketch/p") and mount.source
    )
    assert environments(tmp_path) == []
