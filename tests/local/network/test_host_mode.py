"""A machine that permits no namespaces, and what it allows in general."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ketch.local.network.capabilities import check
from ketch.local.network.client import NetworkClient, NetworkInfo, NetworkUnavailable, ServiceEntry


@pytest.fixture
def restricted() -> Iterator[NetworkClient]:
    """A daemon in a user namespace that may make no network namespaces."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    directory = Path(tempfile.mkdtemp(prefix="ketch-net-", dir="/tmp"))
    told, tell = os.pipe()
    script = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    daemon = [sys.executable, "-m", "ketch.local.network.daemon", "--data-dir", str(directory)]
    process = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *daemon],
        pass_fds=(tell,),
        env={**os.environ, "KETCH_READY_FD": str(tell)},
    )
    os.close(tell)
    ready = os.read(told, 16)
    os.close(told)
    try:
        if not ready:
            pytest.skip("this machine permits no user namespace to try it in")
        yield NetworkClient(directory / "run" / "network.sock")
    finally:
        process.terminate()
        process.wait(timeout=20)
        shutil.rmtree(directory)


async def test_pods_share_the_hosts_network_and_the_reason_says_why(restricted):
    info = await restricted.info()
    assert info == NetworkInfo("host", "10.244.0.0/16", "10.96.0.0/16", "", None, info.reason)
    assert info.reason.startswith("pods share the host's network")
    assert "network namespaces: unshare: No space left on device; set it with 'sudo sysctl -w " in info.reason
    assert "user.max_net_namespaces is 0" in info.reason
    attachment = await restricted.attach("one")
    assert (attachment.ip, attachment.netns_fd) == ("127.0.0.1", None)
    assert await restricted.user_namespace() is None
    assert await restricted.attachments() == {"one": "127.0.0.1"}
    await restricted.set_services([ServiceEntry("10.96.0.9", 80, "TCP", (("127.0.0.1", 1),))])
    await restricted.set_names({"a.default.svc.cluster.local": ("127.0.0.1",)})
    await restricted.detach("one")
    assert await restricted.attachments() == {}


async def test_connections_are_the_hosts(restricted):
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with await restricted.connect("127.0.0.1", port) as connection:
            assert await asyncio.get_running_loop().sock_recv(connection, 100) == b"hello"


def test_what_the_machine_allows_is_tried():
    findings = check()
    assert findings
    assert all(finding.ok or (finding.detail and finding.advice) for finding in findings)


async def test_a_daemon_that_does_not_answer_is_said_so(tmp_path):
    with pytest.raises(NetworkUnavailable, match="No such file"):
        await NetworkClient(tmp_path / "network.sock", patience=0.1).info()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(NetworkUnavailable, match="too long"):
            await NetworkClient(tmp_path / "s", patience=0.1).info()
