"""The real gateway in front of a real server: who may come through, and who may not."""

import asyncio
import http.client
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ketch.local.platform.gateway import ENTRY_POINT, gateway_executable, gateway_process, write_routes
from ketch.local.platform.process import spawn, wait_for_exit
from ketch.local.platform.supervisor import listen


class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.headers['Host']} {self.path}".encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def platform():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def serving(probe):
    async with asyncio.timeout(60):
        while not await probe():
            pass


@pytest.fixture(scope="module")
def gateway(platform, tmp_path_factory):
    """The port of a gateway in front of ``platform``."""
    folder = tmp_path_factory.mktemp("gateway")
    sockets = listen(0, "--port")
    port = sockets[0].getsockname()[1]
    write_routes(folder / "routes", platform)
    spec = gateway_process(gateway_executable(), folder / "routes", {ENTRY_POINT: sockets[0].fileno()}, port)
    pid, told = spawn(spec, folder / "gateway.log")
    os.close(told)
    asyncio.run(serving(spec.probe))
    yield port
    os.kill(pid, signal.SIGTERM)
    asyncio.run(wait_for_exit(pid))
    for item in sockets:
        item.close()


def ask(port: int, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/some/path", headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "model.team.localhost:8080"]
)
async def test_hosts_of_this_machine_come_through_unchanged(gateway, host):
    assert await asyncio.to_thread(ask, gateway, Host=host) == (200, f"{host} /some/path")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"])
async def test_a_foreign_host_is_refused(gateway, host):
    assert (await asyncio.to_thread(ask, gateway, Host=host))[0] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param("http://localhost:8080", 200, id="the console itself"),
        pytest.param("http://notebook.team.localhost:8080", 200, id="a service behind the gateway"),
        pytest.param("https://evil.example", 403, id="another site"),
        pytest.param("http://localhost.evil.example", 403, id="a look-alike"),
        pytest.param("null", 403, id="a sandboxed page or a file"),
    ],
)
async def test_a_page_may_call_only_from_this_machine(gateway, origin, status):
    assert (await asyncio.to_thread(ask, gateway, Host="localhost", Origin=origin))[0] == status
