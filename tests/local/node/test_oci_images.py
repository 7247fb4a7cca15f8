"""Pods of OCI images: their own root file systems, and what their images say of users, commands, places and signals."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.debian import debian_program
from tests.ociimages import BuiltImage, Entry, directory, hardlink, layer, symlink
from tests.registries import PASSWORD, USER, RunningRegistry, running_registry

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import Pod, Secret
from ketch.local.images.oci.archives import import_images
from ketch.local.images.oci.store import Store

NAMES = (
    "cat",
    "chmod",
    "cut",
    "df",
    "echo",
    "env",
    "grep",
    "head",
    "id",
    "ls",
    "ln",
    "mkdir",
    "mount",
    "pwd",
    "readlink",
)
PROGRAMS = (*NAMES, "sh", "sleep", "stat", "test", "touch", "tr", "wc", "kill", "rm")
ESCAPE = Path("/tmp/ketch-escape")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1234:2345:app:/home/app:/bin/sh\n"
GROUP = b"root:x:0:\napps:x:2345:\nothers:x:777:\n"


def base_layer() -> bytes:
    busybox = debian_program("busybox-static", "bin/busybox").read_bytes()
    return layer(
        directory("bin"),
        Entry("bin/busybox", busybox, 0o755),
        *(hardlink(f"bin/{name}", "bin/busybox") for name in PROGRAMS),
        Entry("etc/passwd", PASSWD),
        Entry("etc/group", GROUP),
        Entry("etc/removed", b"below"),
        symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        directory("run"),
        directory("var"),
        symlink("var/run", "/run"),
        directory("tmp", 0o1777),
        symlink("escape", f"/../../../../oldroot{ESCAPE}"),
        directory("opaque"),
        Entry("opaque/below", b"below"),
    )


def upper_layer() -> bytes:
    return layer(
        Entry("etc/.wh.removed"),
        Entry("opaque/.wh..wh..opq"),
        Entry("opaque/above", b"above"),
        Entry("whose", b"mine\n"),
    )


@pytest.fixture(scope="module")
def layers() -> list[bytes]:
    return [base_layer(), upper_layer()]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry"), private=True) as running:
        yield running


def imported(node: Any, tmp_path: Path, name: str, layers: list[bytes], **process: Any) -> None:
    folder = tmp_path / name.replace("/", "-").replace(":", "-")
    import_images(Store(node.data / "images"), BuiltImage(layers, process).write_layout(folder, name))


def of_image(image: str, sh: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"image": image, "command": None if sh is None else ["sh", "-c", sh], **fields}


def words(text: str) -> str:
    return " ".join(text.split())


async def test_the_image_is_all_that_is_seen(node: Any, layers: list[bytes], tmp_path: Path):
    imported(node, tmp_path, "here/own:1", layers)
    script = """
    ls / ; cat /whose; ls /opaque; test -e /etc/removed || echo removed
    touch /etc/new /usr-new && echo writable; cat /etc/hostname; grep -c nameserver /etc/resolv.conf
    cat /var/run/secrets/there/key; env; ls /dev
    """
    await node.secret("s", key="in the volume")
    volumes = [{"name": "s", "secret": {"secretName": "s"}}]
    mounts = [{"name": "s", "mountPath": path} for path in ("/var/run/secrets/there", "/escape/from/here")]
    await node.create("own", of_image("here/own:1", script, volumeMounts=mounts), volumes=volumes)
    text = await node.output("own")
    lines = text.split()
    assert {"removed", "writable", "own", "mine", "above", "HOME=/root"} <= set(lines), text
    assert "in the volume" in text
    assert not {"usr", "below"} & set(lines), text
    assert "SSL_CERT_FILE" not in text
    assert not ESCAPE.exists()  # noqa: ASYNC240
    pod = await node.pod("own")
    status = pod.status.container_statuses[0]
    assert status.image_id.startswith("docker.io/here/own@sha256:")
    # What it wrote went with it, and the image is as it was.
    scratch = node.data / "pods" / pod.metadata.uid / "containers" / "main" / "0" / "scratch"
    await node.until("own", lambda _: not scratch.exists())
    assert not list((node.data / "images" / "layers").rglob("new"))


async def test_entrypoint_command_user_place_and_variables(node: Any, layers: list[bytes], tmp_path: Path):
    tell = ["/bin/sh", "-c", 'echo "$0 $*"; id -u; id -g; pwd; echo $HOME $OWN']
    process = {"Entrypoint": tell, "Cmd": ["default", "args"], "User": "app:others", "WorkingDir": "/work/new"}
    imported(node, tmp_path, "here/full:1", layers, **process, Env=["OWN=image", "PATH=/bin"])
    await node.create("as-it-is", of_image("here/full:1"))
    assert words(await node.output("as-it-is")) == "default args 1234 777 /work/new /home/app image"
    await node.create("args", of_image("here/full:1", args=["other"], env=[{"name": "OWN", "value": "pod"}]))
    assert words(await node.output("args")) == "other 1234 777 /work/new /home/app pod"
    context = {"runAsUser": 4321, "runAsGroup": 5}
    await node.create("user", of_image("here/full:1", args=["x"], securityContext=context, workingDir="/tmp"))
    assert words(await node.output("user")) == "x 4321 5 /tmp / image"
    await node.create("command", of_image("here/full:1", "pwd; echo $#"))
    assert (await node.output("command")).split() == ["/work/new", "0"]


async def test_users_that_cannot_be(node: Any, layers: list[bytes], tmp_path: Path):
    imported(node, tmp_path, "here/nobody:1", layers, User="nobody-knows", Cmd=["sh"])
    imported(node, tmp_path, "here/root:1", layers, Cmd=["sh"])
    await node.create("unknown", of_image("here/nobody:1"))
    pod = await node.waits_for("unknown", "CreateContainerConfigError")
    assert "unable to find user nobody-knows" in pod.status.container_statuses[0].state.waiting.message
    await node.create("root", of_image("here/root:1", securityContext={"runAsNonRoot": True}))
    pod = await node.waits_for("root", "CreateContainerConfigError")
    assert "runAsNonRoot and image will run as root" in pod.status.container_statuses[0].state.waiting.message
    for name in ("unknown", "root"):
        await node.delete(name, 0)
        await node.gone(name)


async def test_the_stop_signal_and_what_happens_inside(node: Any, layers: list[bytes], tmp_path: Path):
    imported(node, tmp_path, "here/stop:1", layers, StopSignal="SIGQUIT", Env=["PATH=/bin"])
    script = "trap 'echo asked nicely; exit 3' QUIT; trap '' TERM; touch /ready; while true; do sleep 0.05; done"
    probe = {"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1}
    await node.create("stop", of_image("here/stop:1", script, readinessProbe=probe))
    await node.until("stop", lambda pod: pod.status.container_statuses and pod.status.container_statuses[0].ready)
    uid = (await node.pod("stop")).metadata.uid
    log = node.data / "pods" / uid / "logs" / "main" / "0.log"
    await node.edit(Pod, "stop", {"metadata": {"finalizers": ["test.ketch.dev/seen"]}})
    await node.delete("stop", 20)
    pod = await node.until("stop", lambda pod: pod.status.container_statuses[0].state.terminated)
    assert pod.status.container_statuses[0].state.terminated.exit_code == 3
    assert "asked nicely" in log.read_text()
    await node.edit(Pod, "stop", {"metadata": {"finalizers": None}})
    await node.gone("stop")


async def test_pulled_with_a_secret_and_what_is_said_of_it(node: Any, layers: list[bytes], registry: RunningRegistry):
    built = BuiltImage(layers, {"Cmd": ["sh", "-c", "cat /whose"]})
    registry.push("team/private", "1", built)
    name = f"{registry.host}/team/private:1"
    await node.create("without", of_image(name, imagePullPolicy="IfNotPresent"))
    pod = await node.waits_for("without", "ImagePullBackOff")
    message = pod.status.container_statuses[0].state.waiting.message
    assert "ErrImagePull" in message
    assert "imagePullSecrets" in message
    assert any(name in text for text in await node.messages("BackOff"))
    await node.delete("without", 0)
    await node.gone("without")

    await node.create("with", of_image(name, imagePullPolicy="Always"), imagePullSecrets=[{"name": "pull"}])
    await node.waits_for("with", "ImagePullBackOff")
    assert any(
        'Secret "pull": there is none' in text for text in await node.messages("FailedToRetrieveImagePullSecret")
    )
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    data = base64.b64encode(json.dumps({"auths": {registry.host: {"auth": auth}}}).encode()).decode()
    kind = "kubernetes.io/dockerconfigjson"
    metadata = ObjectMeta(name="pull", namespace="default")
    await node.client.create(Secret(metadata=metadata, type=kind, data={".dockerconfigjson": data}))
    assert await node.output("with") == "mine\n"  # as soon as there is the secret, without the rest of the pause
    assert any(text == f'Pulling image "{name}"' for text in await node.messages("Pulling"))
    pulled = [text for text in await node.messages("Pulled") if name in text]
    assert pulled[0].startswith(f'Successfully pulled image "{name}" in ')
    assert pulled[0].endswith(" bytes.")

    await node.create("again", of_image(name, imagePullPolicy="IfNotPresent"))
    assert await node.output("again") == "mine\n"
    assert any("already present on machine" in text and name in text for text in await node.messages("Pulled"))
    await node.create("always", of_image(name, imagePullPolicy="Always"))
    await node.waits_for("always", "ImagePullBackOff")  # its layers are here, and whoever asks has no right to them
    await node.delete("always", 0)
    await node.gone("always")


async def test_names_that_nobody_may_ask_for(node: Any, layers: list[bytes], tmp_path: Path):
    await node.create("never", of_image("127.0.0.1:1/no/such:1", "true", imagePullPolicy="Never"))
    pod = await node.waits_for("never", "ErrImageNeverPull")
    assert "is not present with pull policy of Never" in pod.status.container_statuses[0].state.waiting.message
    await node.create("invalid", of_image("Capital/Letters:1"))
    await node.waits_for("invalid", "InvalidImageName")
    assert any("Capital/Letters" in text for text in await node.messages("InspectFailed"))
    # Whoever follows the advice need not wait for the end of the pause.
    folder = tmp_path / "layout"
    import_images(Store(node.data / "images"), BuiltImage(layers).write_layout(folder, "127.0.0.1:1/no/such:1"))
    assert await node.output("never") == ""
    for name in ("never", "invalid"):
        await node.delete(name, 0)
        await node.gone(name)


async def test_a_terminal_without_the_program_that_hands_it_over(node: Any, layers: list[bytes], tmp_path: Path):
    imported(node, tmp_path, "here/terminal:1", layers, Env=["PATH=/bin"])
    await node.create(
        "terminal", of_image("here/terminal:1", "test -t 0 && test -t 1 && echo yes", tty=True, stdin=True)
    )
    assert words(await node.output("terminal")) == "yes"


async def test_a_root_that_must_not_be_written_to(node: Any, layers: list[bytes], tmp_path: Path):
    imported(node, tmp_path, "here/closed:1", layers, Env=["PATH=/bin"])
    script = "touch /new 2> /dev/null || echo closed; touch /scratch/new && echo open"
    scratch = {"volumeMounts": [{"name": "s", "mountPath": "/scratch"}]}
    context = {"readOnlyRootFilesystem": True, "runAsUser": 1234}
    container = of_image("here/closed:1", script, securityContext=context, **scratch)
    await node.create("closed", container, volumes=[{"name": "s", "emptyDir": {}}])
    assert words(await node.output("closed")) == "closed open"
