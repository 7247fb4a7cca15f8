"""Looking into pods from outside: ``kubectl debug``, proxies."""

import contextlib
import http.client
import os
import pty
import subprocess
from typing import Any

from kubernetes import client as official
from kubernetes import config
from tests.e2e.platforms import SCRIPTS, Platform, eventually


def web(name: str) -> dict[str, Any]:
    command = ["python", "-m", "http.server", "8000"]
    container = {"name": "main", "image": "python:3", "command": command, "ports": [{"containerPort": 8000}]}
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def typed(platform: Platform, arguments: list[str], keys: str) -> str:
    """What kubectl shows on a terminal, of which somebody types ``keys``."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
    command = [SCRIPTS / "kubectl", *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.write(ours, keys.encode())
    shown = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown.decode()


def test_debug_and_proxies(platform: Platform, namespace: str) -> None:
    platform.apply(web("web"), namespace=namespace)
    platform.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=60s", "-n", namespace)
    keys = "tr '\\0' ' ' </proc/1/cmdline; echo told-$((40+2)); exit 3\n"
    arguments = ["debug", "-it", "web", "--image=busybox", "--target=main", "-c", "look", "-n", namespace]
    shown = typed(platform, arguments, keys)
    assert "told-42" in shown
    assert "http.server" in shown, "it sees its target's processes"

    def ended() -> Any:
        (status,) = platform.get("pod", "web", "-n", namespace)["status"]["ephemeralContainerStatuses"]
        return status["state"].get("terminated")

    assert eventually(ended)["exitCode"] == 3
    assert "told-42" in platform.kubectl("logs", "web", "-c", "look", "-n", namespace)
    assert "Ephemeral Containers:" in platform.kubectl("describe", "pod", "web", "-n", namespace)
    copied = ("--copy-to=copy", "--image=busybox", "-c", "beside", "-n", namespace, "--", "sleep", "600")
    platform.kubectl("debug", "web", *copied)
    platform.kubectl("wait", "pod/copy", "--for=condition=Ready", "--timeout=60s", "-n", namespace)
    platform.kubectl("expose", "pod", "web", "--port=80", "--target-port=8000", "-n", namespace)
    core = official.CoreV1Api(config.new_client_from_config(str(platform.kubeconfig)))
    assert "Directory listing" in core.connect_get_namespaced_pod_proxy_with_path("web", namespace, "")

    def answered() -> bool:
        with contextlib.suppress(official.ApiException):
            return "Directory listing" in core.connect_get_namespaced_service_proxy_with_path("web:80", namespace, "")
        return False

    eventually(answered)
    node = platform.get("pod", "web", "-n", namespace)["spec"]["nodeName"]
    assert platform.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz") == "ok"
    through_kubectl(platform, f"/api/v1/namespaces/{namespace}/pods/web/proxy/")


def through_kubectl(platform: Platform, path: str) -> None:
    """``kubectl proxy``, as browsers use it."""
    environment = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
    command = [SCRIPTS / "kubectl", "proxy", "--port=0"]
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert proxy.stdout is not None
    try:
        address = proxy.stdout.readline().rpartition(" ")[2].strip()
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("GET", path)
        assert b"Directory listing" in connection.getresponse().read()
        connection.close()
    finally:
        proxy.terminate()
        proxy.wait()
        proxy.stdout.close()
