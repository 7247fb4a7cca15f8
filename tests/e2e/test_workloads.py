"""Built-in workloads through kubectl: what a user of any cluster would try first."""

import json

import pytest
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

SERVER = """
import http.server, os, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["POD_NAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): print("served", self.path, flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def _pod(name: str, *command: str, image: str = "busybox", **spec: object) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": image, "command": list(command)}],
            **spec,
        },
    }


def _deployment(name: str, replicas: int) -> dict:
    container = {
        "name": "server",
        "image": "python:3.11",
        "command": ["python3", "-c", SERVER],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 2},
            },
        },
    }


def _service(name: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


def test_two_pods_on_one_port_behind_a_service_are_reached_by_name(platform: Platform, namespace: str):
    platform.apply(_deployment("web", 2), _service("web"), namespace=namespace)
    platform.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    names = {item["metadata"]["name"] for item in platform.get("pods", "-n", namespace, "-l", "app=web")["items"]}
    ask = (
        "import urllib.request\n"
        f"for url in ['http://web', 'http://web.{namespace}', 'http://web.{namespace}.svc.cluster.local'] * 10:\n"
        "    print(urllib.request.urlopen(url, timeout=10).read().decode())\n"
    )
    platform.apply(_pod("asker", "python3", "-c", ask, image="python:3.11"), namespace=namespace)
    platform.kubectl("wait", "pod/asker", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert set(platform.kubectl("logs", "asker", "-n", namespace).split()) == names

    platform.kubectl("scale", "deployment/web", "-n", namespace, "--replicas=1")
    platform.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    eventually(lambda: len(platform.get("pods", "-n", namespace, "-l", "app=web")["items"]) == 1)
    wide = platform.kubectl("get", "pods", "-n", namespace, "-l", "app=web", "-o", "wide")
    assert "READY" in wide
    assert "NODE" in wide
    assert "1/1" in wide


def test_a_job_backs_off_and_fails_at_its_limit(platform: Platform, namespace: str):
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "doomed"},
        "spec": {
            "backoffLimit": 1,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", "exit 3"]}],
                }
            },
        },
    }
    platform.apply(job, namespace=namespace)
    platform.kubectl("wait", "job/doomed", "-n", namespace, "--for=condition=Failed", "--timeout=90s")
    found = platform.get("job", "doomed", "-n", namespace)
    assert found["status"]["failed"] == 2
    assert "BackoffLimitExceeded" in json.dumps(found["status"]["conditions"])
    pods = platform.get("pods", "-n", namespace, "-l", "batch.kubernetes.io/job-name=doomed")["items"]
    codes = [pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for pod in pods]
    assert codes == [3, 3]
    assert "BackoffLimitExceeded" in platform.kubectl("describe", "job", "doomed", "-n", namespace)


def test_logs_follow_a_pod_to_its_end(platform: Platform, namespace: str):
    script = "for i in 1 2 3; do echo line $i; sleep 0.2; done"
    platform.apply(_pod("talker", "sh", "-c", script), namespace=namespace)
    platform.kubectl("wait", "pod/talker", "-n", namespace, "--for=jsonpath={.status.phase}", "--timeout=60s")
    eventually(lambda: platform.get("pod", "talker", "-n", namespace)["status"].get("phase") != "Pending")
    assert platform.kubectl("logs", "-f", "talker", "-n", namespace).split("\n") == ["line 1", "line 2", "line 3", ""]
    assert platform.kubectl("logs", "--tail=1", "talker", "-n", namespace) == "line 3\n"


def test_what_cannot_run_says_why(platform: Platform, namespace: str):
    too_big = _pod("too-big", "true")
    too_big["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1000"}}
    platform.apply(too_big, _pod("unknown", "true", image="nobody/knows:1"), namespace=namespace)
    events = eventually(
        lambda: "FailedScheduling" in (text := platform.kubectl("get", "events", "-n", namespace)) and text
    )
    assert "Insufficient cpu" in events

    def waiting() -> dict:
        statuses = platform.get("pod", "unknown", "-n", namespace)["status"].get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting", {})

    reason = eventually(lambda: waiting().get("reason") in ("ErrImagePull", "ImagePullBackOff") and waiting())
    assert "nobody/knows:1" in json.dumps(reason) + platform.kubectl("describe", "pod", "unknown", "-n", namespace)


def test_a_broken_manifest_names_every_field(platform: Platform, namespace: str):
    broken = _deployment("broken", 1)
    broken["spec"]["template"]["metadata"]["labels"] = {"app": "another"}
    broken["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 99999
    manifest = json.dumps(broken)
    result = platform.kubectl_result("apply", "-n", namespace, "-f", "-", stdin=manifest)
    assert result.returncode == 1
    assert "spec.template.spec.containers[0].ports[0].containerPort" in result.stderr
    assert "spec.template.metadata.labels" in result.stderr
    assert platform.get("deployments", "-n", namespace)["items"] == []


def test_a_namespace_goes_with_all_that_is_in_it(platform: Platform):
    platform.kubectl("create", "namespace", "short-lived")
    platform.apply(_deployment("web", 1), _service("web"), namespace="short-lived")
    platform.kubectl("rollout", "status", "deployment/web", "-n", "short-lived", "--timeout=60s")
    platform.kubectl("delete", "namespace", "short-lived", "--timeout=60s")
    assert platform.kubectl_result("get", "namespace", "short-lived").returncode == 1
    assert platform.get("pods", "-n", "short-lived")["items"] == []
