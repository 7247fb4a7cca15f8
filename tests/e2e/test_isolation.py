"""What a pod may see of the machine, and what a page in a browser may do to the local ports."""

import json
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.e2e.platforms import Platform

pytestmark = pytest.mark.e2e

LOOK = """
import os, sys
for path in sys.argv[1:]:
    try:
        print(path, os.listdir(path) if os.path.isdir(path) else open(path).read(1))
    except OSError as error:
        print("hidden" if error.errno in (2, 13) else error)
"""

LIST = """
import os, sys
if os.path.isdir(sys.argv[1]):
    print(*os.listdir(sys.argv[1]))
"""


def _run(platform: Platform, namespace: str, name: str, *command: str, volumes: list | None = None) -> str:
    container = {"name": "main", "image": "python:3.11", "command": list(command)}
    spec: dict = {"restartPolicy": "Never", "containers": [container]}
    if volumes:
        spec["volumes"] = volumes
        container["volumeMounts"] = [{"name": item["name"], "mountPath": f"/{item['name']}"} for item in volumes]
    platform.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, namespace=namespace)
    platform.kubectl(
        "wait", f"pod/{name}", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
    )
    return platform.kubectl("logs", name, "-n", namespace)


def test_a_pod_sees_neither_database_nor_keys_nor_home_nor_the_platform_s_sockets(platform: Platform, namespace: str):
    secret = [
        platform.root / name for name in ("kube.db", "platform.db", "pki", "kubeconfig", "run", "pods", "objects")
    ]
    mine = Path(tempfile.mkstemp(prefix=".ketch-test-", dir=Path.home())[1])
    try:
        seen = _run(platform, namespace, "looker", "python3", "-c", LOOK, *map(str, secret), str(mine))
        listed = _run(platform, namespace, "lister", "python3", "-c", LIST, str(Path.home()))
    finally:
        mine.unlink()
    assert set(seen.split("\n")) == {"hidden", ""}
    interpreter = Path(sys.base_prefix).resolve()
    way = interpreter.relative_to(Path.home()).parts[:1] if interpreter.is_relative_to(Path.home()) else ()
    assert set(listed.split()) <= set(way), "of a home, containers see the interpreter at most"


def test_a_pod_does_not_see_another_pod_s_volume(platform: Platform, namespace: str):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    platform.apply(claim, namespace=namespace)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    write = "open('/data/secret', 'w').write('mine')"
    _run(platform, namespace, "writer", "python3", "-c", write, volumes=volumes)
    read = "print(open('/data/secret').read())"
    assert _run(platform, namespace, "reader", "python3", "-c", read, volumes=volumes) == "mine\n"
    search = "import os; print([p for p, _, files in os.walk('/') if 'secret' in files and not p.startswith('/proc')])"
    assert _run(platform, namespace, "stranger", "python3", "-c", search) == "[]\n"


def test_a_pod_cannot_reach_the_platform_s_local_ports(platform: Platform, namespace: str):
    port = platform.address.rpartition(":")[2]
    probe = (
        "import os, socket\n"
        "from urllib.parse import urlsplit\n"
        "proxy = urlsplit(os.environ.get('https_proxy', ''))\n"
        "for host in ('127.0.0.1', '10.244.0.1'):\n"
        "    try:\n"
        f"        socket.create_connection((host, {port}), timeout=2); print('reached')\n"
        "    except OSError:\n"
        "        print('refused')\n"
        "    if proxy.hostname:\n"
        "        tunnel = socket.create_connection((proxy.hostname, proxy.port), timeout=5)\n"
        f"        tunnel.sendall(f'CONNECT {{host}}:{port} HTTP/1.1\\r\\n\\r\\n'.encode())\n"
        "        print('reached' if b' 200 ' in tunnel.recv(4096) else 'refused')\n"
    )
    assert set(_run(platform, namespace, "prober", "python3", "-c", probe).split()) == {"refused"}


FOREIGN = pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "evil.example"}, id="foreign Host: a rebound name"),
        pytest.param({"Origin": "https://evil.example"}, id="a page of another origin"),
        pytest.param({"Origin": "null"}, id="a sandboxed page"),
    ],
)


@FOREIGN
def test_foreign_pages_are_refused_by_the_one_address(platform: Platform, headers: dict[str, str]):
    request = urllib.request.Request(f"{platform.address}/apis/v2beta1/healthz", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 403
    refused.value.close()


@FOREIGN
def test_foreign_pages_are_refused_by_the_kubernetes_api(platform: Platform, headers: dict[str, str]):
    trusted = ssl.create_default_context(cafile=str(platform.root / "pki" / "ca.crt"))
    request = urllib.request.Request(f"{platform.kubernetes}/version", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10, context=trusted)
    with refused.value as answer:
        assert answer.code == 403
        assert json.load(answer)["reason"] == "Forbidden"
    with urllib.request.urlopen(f"{platform.kubernetes}/version", timeout=10, context=trusted) as answer:
        assert answer.status == 200


def test_local_pages_are_served(platform: Platform):
    request = urllib.request.Request(
        f"{platform.address}/apis/v2beta1/healthz",
        headers={"Origin": platform.address.replace("127.0.0.1", "localhost")},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
