"""Pods' lives on the running platform: what they are given, how they are watched, what becomes of them."""

import json
from typing import Any

import pytest
from tests.e2e.manifests import claim, config_map, container, pod, service, shell
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

READER = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    },
]
INSIDE = """
import kubernetes
kubernetes.config.load_incluster_config()
core = kubernetes.client.CoreV1Api()
core.api_client.configuration.host = "https://kubernetes.default.svc"
namespace = open("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read()
print([pod.metadata.name for pod in core.list_namespaced_pod(namespace).items])
try:
    core.list_namespaced_secret(namespace)
except kubernetes.client.ApiException as error:
    print(error.status)
"""


def _status(platform: Platform, namespace: str, name: str) -> dict[str, Any]:
    """The first container's status, or nothing yet."""
    statuses = platform.get("pod", name, "-n", namespace)["status"].get("containerStatuses") or [{}]
    return statuses[0]


def _output(platform: Platform, namespace: str, name: str) -> str:
    """What a pod printed, once it has succeeded."""
    done = "--for=jsonpath={.status.phase}=Succeeded"
    platform.kubectl("wait", f"pod/{name}", "-n", namespace, done, "--timeout=60s")
    return platform.kubectl("logs", name, "-n", namespace)


def test_what_a_pod_is_given(platform: Platform, namespace: str):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"password": "hunter2"}}
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "BOTH", "value": "$(COLOUR)-$(LIMIT)"},
    ]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("shared", "settings", "keys", "info")]
    script = (
        "echo $COLOUR $PASSWORD $NODE $BOTH $ALL_colour; cat /shared/first /info/labels /keys/password; echo;"
        " while ! [ -e /shared/second ] || ! grep -q blue /settings/colour; do sleep 0.1; done; echo updated"
    )
    main = shell(
        script,
        env=env,
        envFrom=[{"prefix": "ALL_", "configMapRef": {"name": "settings"}}],
        volumeMounts=mounts,
        resources={"limits": {"memory": "64Mi"}},
    )
    shared = [{"name": "shared", "mountPath": "/shared"}]
    given = pod(
        "given",
        main,
        shell("echo x > /shared/second", name="second", volumeMounts=shared),
        initContainers=[shell("echo first > /shared/first", name="first", volumeMounts=shared)],
        volumes=[
            {"name": "shared", "emptyDir": {}},
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
            {
                "name": "info",
                "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
            },
        ],
    )
    platform.apply(config_map("settings", colour="red"), secret, given, namespace=namespace)
    eventually(lambda: _status(platform, namespace, "given").get("started"))
    platform.kubectl("patch", "configmap", "settings", "-n", namespace, "-p", '{"data": {"colour": "blue"}}')
    lines = _output(platform, namespace, "given").split()
    assert lines == ["red", "hunter2", "local", "red-64", "red", "first", 'app="given"hunter2', "updated"]


def test_readiness_opens_and_closes_the_way_to_a_pod(platform: Platform, namespace: str):
    web = container(
        *("python3", "-m", "http.server", "8080", "-d", "/"),
        image="python:3.11",
        readinessProbe={
            "exec": {"command": ["test", "-e", "/shared/ready"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
        volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
    )
    switch = shell(
        "while ! [ -e /settings/on ]; do sleep 0.1; done; touch /shared/ready;"
        " while [ -e /settings/on ]; do sleep 0.1; done; rm /shared/ready; sleep 1000",
        name="switch",
        volumeMounts=[{"name": "shared", "mountPath": "/shared"}, {"name": "settings", "mountPath": "/settings"}],
    )
    volumes = [
        {"name": "shared", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "settings", "optional": True}},
    ]
    platform.apply(
        config_map("settings"), pod("web", web, switch, volumes=volumes), service("web"), namespace=namespace
    )

    def endpoints() -> list[dict[str, Any]]:
        found = platform.get("endpoints", "-n", namespace)["items"]
        return (found and found[0].get("subsets")) or [{}]

    eventually(lambda: "notReadyAddresses" in endpoints()[0])
    assert "1/2" in platform.kubectl("get", "pod", "web", "-n", namespace)
    platform.apply(config_map("settings", on="yes"), namespace=namespace)
    platform.kubectl("wait", "pod/web", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    eventually(lambda: "addresses" in endpoints()[0])
    platform.apply(config_map("settings"), namespace=namespace)
    eventually(lambda: "addresses" not in endpoints()[0])


def test_liveness_starts_a_container_again(platform: Platform, namespace: str):
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "touch /tmp/alive; sleep 1; rm /tmp/alive; sleep 1000"
    platform.apply(
        pod("frail", shell(script, livenessProbe={**probe, "initialDelaySeconds": 1}), restartPolicy="Always"),
        namespace=namespace,
    )
    eventually(lambda: _status(platform, namespace, "frail").get("restartCount"))
    described = platform.kubectl("describe", "pod", "frail", "-n", namespace)
    assert "Liveness probe failed" in described
    assert "failed liveness probe, will be restarted" in described


def test_what_keeps_failing_is_held_back_and_says_why(platform: Platform, namespace: str):
    platform.apply(
        pod("crash", shell("exit 7"), restartPolicy="Always"),
        pod("absent", container("/no/such/program")),
        pod("unset", container("true", envFrom=[{"configMapRef": {"name": "nowhere"}}])),
        pod("greedy", container("tail", "/dev/zero", resources={"limits": {"memory": "32Mi"}})),
        namespace=namespace,
    )

    def waiting(name: str) -> dict[str, Any]:
        return _status(platform, namespace, name).get("state", {}).get("waiting", {})

    eventually(lambda: waiting("crash").get("reason") == "CrashLoopBackOff")
    assert _status(platform, namespace, "crash")["lastState"]["terminated"]["exitCode"] == 7
    assert "back-off 10s restarting failed container" in waiting("crash")["message"]
    eventually(lambda: waiting("unset").get("reason") == "CreateContainerConfigError")
    assert waiting("unset")["message"] == 'configmap "nowhere" not found'
    ended = eventually(lambda: _status(platform, namespace, "absent").get("state", {}).get("terminated"))
    assert "no such file or directory" in ended["message"]
    killed = eventually(lambda: _status(platform, namespace, "greedy").get("state", {}).get("terminated"))
    assert (killed["reason"], killed["exitCode"]) == ("OOMKilled", 137)
    platform.apply(config_map("nowhere"), namespace=namespace)
    _output(platform, namespace, "unset")


def test_a_failed_init_container_keeps_the_others_from_starting(platform: Platform, namespace: str):
    platform.apply(
        pod("halted", container("true"), initContainers=[shell("echo no; exit 2", name="first")]), namespace=namespace
    )
    failed = "--for=jsonpath={.status.phase}=Failed"
    platform.kubectl("wait", "pod/halted", "-n", namespace, failed, "--timeout=60s")
    assert "Init:Error" in platform.kubectl("get", "pod", "halted", "-n", namespace)
    assert platform.kubectl("logs", "halted", "-c", "first", "-n", namespace) == "no\n"


def test_a_claim_s_data_stays_until_the_claim_goes(platform: Platform, namespace: str):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = [{"name": "data", "mountPath": "/data"}]
    writer = pod("writer", shell("echo kept > /data/file", volumeMounts=mounts), volumes=volumes)
    reader = pod("reader", shell("cat /data/file; sleep 1000", volumeMounts=mounts), volumes=volumes)
    platform.apply(claim("data"), writer, namespace=namespace)
    _output(platform, namespace, "writer")
    platform.kubectl("delete", "pod", "writer", "-n", namespace)
    platform.apply(reader, namespace=namespace)
    eventually(lambda: platform.kubectl_result("logs", "reader", "-n", namespace).stdout == "kept\n")
    bound = platform.get("pvc", "data", "-n", namespace)
    folder = platform.root / "volumes" / bound["spec"]["volumeName"]
    assert (folder / "file").read_text() == "kept\n"
    platform.kubectl("delete", "pvc", "data", "-n", namespace, "--wait=false")
    assert "Terminating" in platform.kubectl("get", "pvc", "data", "-n", namespace)
    assert folder.exists(), "a claim in use is not taken away"
    platform.kubectl("delete", "pod", "reader", "-n", namespace)
    eventually(lambda: not folder.exists() and platform.kubectl("get", "pvc", "-n", namespace) == "")


def test_a_pod_uses_the_api_as_far_as_its_account_may(platform: Platform, namespace: str):
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    client = pod(
        "client",
        container("python3", "-c", INSIDE, image="python:3.11"),
        serviceAccountName="reader",
        annotations={"environment.ketch.dev/packages": json.dumps(["kubernetes"])},
    )
    platform.apply(*READER, binding, client, namespace=namespace)
    assert _output(platform, namespace, "client") == "['client']\n403\n"
    account = f"--as=system:serviceaccount:{namespace}:reader"
    assert platform.kubectl("auth", "can-i", "list", "pods", "-n", namespace, account) == "yes\n"
    assert platform.kubectl_result("auth", "can-i", "list", "secrets", "-n", namespace, account).stdout == "no\n"


def test_pip_installs_from_within_a_pod(platform: Platform, namespace: str):
    script = "pip install --quiet iniconfig && python3 -c 'import iniconfig; print(iniconfig.__name__)'"
    platform.apply(pod("installer", shell(script, image="python:3.11")), namespace=namespace)
    assert _output(platform, namespace, "installer") == "iniconfig\n"
    second = pod("second", shell("python3 -c 'import iniconfig'", image="python:3.11"))
    platform.apply(second, namespace=namespace)
    failed = "--for=jsonpath={.status.phase}=Failed"
    platform.kubectl("wait", "pod/second", "-n", namespace, failed, "--timeout=60s")
    assert "No module named 'iniconfig'" in platform.kubectl("logs", "second", "-n", namespace)
