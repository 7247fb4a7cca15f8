"""What pods ask for beyond a container's ordinary rights, and what becomes of it on a real node."""

import socket

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.core import Pod
from ketch.kube.types.volumes import HostPathVolume
from ketch.local.node.environment import ConfigError
from ketch.local.node.privileges import not_applied, refuse, sysctls
from ketch.local.node.volumes.places import Folders, host_place


def a_pod(container=None, **spec):
    containers = [{"name": "main", "image": "busybox", **(container or {})}]
    return decode(Pod, {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}})


def one(pod):
    return pod, pod.spec.containers[0]


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        pytest.param(a_pod(), "", id="nothing"),
        pytest.param(a_pod({"securityContext": {"privileged": True}}), "without: privileged", id="privileged"),
        pytest.param(
            a_pod({"securityContext": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}),
            "without: capabilities NET_ADMIN",
            id="a capability",
        ),
        pytest.param(a_pod({"securityContext": {"capabilities": {"drop": ["ALL"]}}}), "", id="fewer capabilities"),
        pytest.param(a_pod(hostIPC=True), "without: hostIPC", id="the host's shared memory"),
        pytest.param(
            a_pod(securityContext={"seLinuxOptions": {"level": "s0"}, "fsGroup": 1}), "seLinuxOptions", id="labels"
        ),
    ],
)
def test_what_a_container_does_not_get_is_told(pod, said):
    text = not_applied(*one(pod))
    assert said in text
    assert bool(text) is bool(said)


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        pytest.param(a_pod(hostPID=True), "hostPID", id="the host's processes"),
        pytest.param(
            a_pod({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}}),
            'no profile "x"',
            id="a profile that is not there",
        ),
    ],
)
def test_what_would_mean_something_else_is_refused(pod, said):
    with pytest.raises(ConfigError, match=said):
        refuse(*one(pod))
    refuse(*one(a_pod({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}})))


@pytest.mark.parametrize(
    ("name", "isolated"), [("kernel.shmmax", True), ("net.core.somaxconn", True), ("net.ipv4.tcp_syncookies", False)]
)
def test_parameters_that_are_not_the_pod_s_own_are_refused(name, isolated):
    pod = a_pod(securityContext={"sysctls": [{"name": name, "value": "1"}]})
    with pytest.raises(ConfigError, match=f'forbidden sysctl: "{name}" not allowlisted'):
        sysctls(pod, isolated=isolated)


@pytest.mark.parametrize(
    ("kind", "place", "wrong"),
    [
        (None, "there", None),
        ("Directory", "there", None),
        ("Directory", "file", "is not a directory"),
        ("Directory", "missing", "does not exist"),
        ("DirectoryOrCreate", "made/deep", None),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("File", "file", None),
        ("File", "there", "is not a file"),
        ("FileOrCreate", "fresh", None),
        ("Socket", "socket", None),
        ("Socket", "file", "is not a socket file"),
        ("CharDevice", "file", "is not a character device"),
        ("BlockDevice", "file", "is not a block device"),
    ],
)
def test_a_host_path_is_what_its_type_says(tmp_path, kind, place, wrong):
    root = tmp_path / "open"
    (root / "there").mkdir(parents=True)
    (root / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    source = HostPathVolume(path=str(root / place), type=kind)
    folders, environment = Folders(tmp_path / "data"), {"KETCH_HOST_PATHS": str(root)}
    if wrong is None:
        assert host_place(folders, source, "volume", environment).path == (root / place).resolve()
        assert (root / place).exists()
    else:
        with pytest.raises(ConfigError, match=wrong):
            host_place(folders, source, "volume", environment)


async def test_a_read_only_root_leaves_volumes_to_write_to(node):
    script = """
for place in / /tmp /root /usr/local /run /var/tmp; do touch $place/x 2>/dev/null && echo $place is open; done
touch /v/x && touch /var/cache/x && echo volumes are open
echo last > /dev/termination-log
"""
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/var/cache", "subPath": "cache"}]
    container = {"sh": script, "volumeMounts": mounts, "securityContext": {"readOnlyRootFilesystem": True}}
    await node.create("closed", container, volumes=[{"name": "v", "emptyDir": {}}])
    assert await node.output("closed") == "volumes are open\n"
    ended = await node.pod("closed")
    assert ended.status.container_statuses[0].state.terminated.message == "last\n"


async def test_parameters_of_the_pod_s_network_are_set(node):
    name = "net.ipv4.ip_unprivileged_port_start"
    context = {"sysctls": [{"name": name, "value": "80"}]}
    await node.create("tuned", {"sh": f"cat /proc/sys/{name.replace('.', '/')}"}, securityContext=context)
    assert await node.output("tuned") == "80\n"
    await node.create("greedy", {}, securityContext={"sysctls": [{"name": "kernel.shmmax", "value": "1"}]})
    await node.waits_for("greedy", "CreateContainerConfigError")


async def test_what_is_asked_for_in_vain_is_an_event(node):
    await node.create("bold", {"sh": "echo ran", "securityContext": {"privileged": True}})
    assert await node.output("bold") == "ran\n"
    (told,) = await node.messages("SecurityContextNotApplied")
    assert told.startswith("Container main runs without: privileged")


async def test_links_in_a_volume_lead_nowhere_else(node):
    """The link is made by a container of the same pod, in time for the next one to start."""
    (node.data / "objects" / "secret").write_text("secret")
    volumes = [{"name": "v", "emptyDir": {}}]
    whole = [{"name": "v", "mountPath": "/v"}]
    outward = {"sh": f"ln -s {node.data}/objects /v/out; mkdir /v/in; echo kept > /v/in/f; ln -s in /v/inward"}
    below = [{"name": "v", "mountPath": "/below", "subPath": "out/deep"}]
    await node.create(
        "outward",
        {"sh": "ls /below", "volumeMounts": below},
        initContainers=[node.container(**outward, name="first", volumeMounts=whole)],
        volumes=volumes,
    )
    await node.waits_for("outward", "CreateContainerConfigError")
    assert sorted(path.name for path in (node.data / "objects").iterdir()) == ["secret"]
    inward = [{"name": "v", "mountPath": "/below", "subPathExpr": "$(WHERE)ward"}]
    env = [{"name": "WHERE", "value": "in"}]
    await node.create(
        "inward",
        {"sh": "cat /below/f; ls /proc/self/fd", "volumeMounts": inward, "env": env},
        initContainers=[node.container(**outward, name="first", volumeMounts=whole)],
        volumes=volumes,
    )
    assert await node.output("inward") == "kept\n0\n1\n2\n3\n"
