"""NetworkPolicies, by kubectl: who is not let in does not come in, neither by address nor by name nor by the proxy."""

import json

import pytest
from tests.e2e.manifests import Manifest, pod, service
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

KNOCK = """
import json, sys, urllib.request
ways = {"directly": urllib.request.ProxyHandler({}), "by the proxy": urllib.request.ProxyHandler()}
said = {}
for name, way in ways.items():
    try:
        said[name] = urllib.request.build_opener(way).open(sys.argv[1], timeout=2).status
    except OSError:
        said[name] = None
print(json.dumps(said))
"""
OPEN, CLOSED = {"directly": 200, "by the proxy": 200}, {"directly": None, "by the proxy": None}


def _server() -> Manifest:
    command = ["python3", "-m", "http.server", "8080"]
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    return pod("web", {"name": "main", "image": "python:3.11", "command": command, "readinessProbe": probe})


def _policy(name: str, **spec: object) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, **spec},
    }


def _knocks(platform: Platform, namespace: str, name: str, url: str) -> dict[str, int | None]:
    platform.kubectl("delete", "pod", name, "-n", namespace, "--ignore-not-found", "--now")
    knocking = {"name": "main", "image": "python:3.11", "command": ["python3", "-c", KNOCK, url]}
    platform.apply(pod(name, knocking), namespace=namespace)
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    platform.kubectl("wait", f"pod/{name}", "-n", namespace, ended, "--timeout=60s")
    return json.loads(platform.kubectl("logs", name, "-n", namespace))


def test_only_those_who_are_let_in_come_in(platform: Platform, namespace: str):
    platform.apply(_server(), service("web"), namespace=namespace)
    platform.kubectl("wait", "pod/web", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    assert _knocks(platform, namespace, "stranger", "http://web") == OPEN
    friends = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": 8080}]}
    platform.apply(_policy("friends", ingress=[friends]), namespace=namespace)
    assert eventually(lambda: _knocks(platform, namespace, "stranger", "http://web") == CLOSED)
    assert _knocks(platform, namespace, "friend", "http://web") == OPEN
    assert platform.get("pod", "web", "-n", namespace)["status"]["containerStatuses"][0]["ready"], "probes come in"
    platform.kubectl("delete", "networkpolicy", "friends", "-n", namespace)
    assert eventually(lambda: _knocks(platform, namespace, "stranger", "http://web") == OPEN)
