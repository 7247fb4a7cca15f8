"""kubectl get with every output, describe, explain, logs, events, wait, top and all that only reads: in tables."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.kubernetes.kubectl.commands import Kubectl
from tests.e2e.manifests import claim, config_map, container, deployment, pod, service, shell
from tests.e2e.platforms import SCRIPTS, Platform, eventually

pytestmark = pytest.mark.e2e

SPACE = "reading"
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed"},
    "spec": {"podSelector": {"matchLabels": {"app": "nobody"}}},
}
LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "limits"},
    "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "9Gi"}}]},
}
CHATTY = shell("echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; sleep 1000")


@pytest.fixture(scope="module")
def kubectl(platform: Platform) -> Iterator[Kubectl]:
    """A namespace with some of everything, which no test changes."""
    made = Kubectl(platform, SPACE)
    made("create", "namespace", SPACE)
    made.apply(
        *(deployment("web", 1, SLEEP), service("web"), claim("data"), config_map("settings", a="1"), POLICY, LIMITS),
        pod("chatty", CHATTY, shell("echo aside; sleep 1000", name="side"), initContainers=[shell("echo 0", name="i")]),
        pod("flaky", shell("echo attempt; exit 1"), restartPolicy="OnFailure"),
    )
    made("create", "job", "once", "--image=busybox", "--", "echo", "hello")
    made("create", "cronjob", "often", "--image=busybox", "--schedule=0 0 1 1 *", "--", "true")
    made("create", "quota", "small", "--hard=pods=20,configmaps=20")
    made("create", "ingress", "front", "--rule=example.org/=web:80")
    made("create", "poddisruptionbudget", "web", "--selector=app=web", "--max-unavailable=1")
    made("create", "serviceaccount", "robot")
    made("create", "role", "reader", "--verb=get", "--resource=pods")
    made("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={SPACE}:robot")
    made("create", "secret", "generic", "hidden", "--from-literal=p=q")
    made("autoscale", "deployment", "web", "--max=2", "--cpu=50%")
    made("rollout", "status", "deployment/web", "--timeout=60s")
    made("wait", "pod/chatty", "--for=condition=Ready", "--timeout=60s")
    made("wait", "job/once", "--for=condition=complete", "--timeout=60s")
    made("wait", "pod/flaky", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=60s")
    yield made
    made("delete", "namespace", SPACE, "--wait=false")


SLEEP = container("sleep", "1000")


def test_every_output_of_get(kubectl: Kubectl):
    kubectl.check(
        [
            ("get pod chatty", "NAME READY STATUS RESTARTS AGE chatty 2/2 Running 0"),
            ("get pod chatty -o wide", "NODE NOMINATED NODE READINESS GATES"),
            ("get pod chatty -o yaml", "podIP: 10.244."),
            ("get configmap settings -o json", '"a": "1"'),
            ("get pod chatty -o name", "pod/chatty"),
            ("get pod chatty --no-headers --show-labels --show-kind -L app", "chatty app=chatty"),
            ("get pod chatty -o jsonpath={.spec.containers[*].name}", "main side"),
            ("get pod chatty -o |jsonpath={range .spec.containers[*]}{.name}:{.image} {end}|", "side:busybox"),
            ("get pods -o |jsonpath-as-json={.items[*].metadata.labels.app}|", '"chatty"'),
            ("get pod chatty -o |go-template={{range .spec.containers}}<{{.name}}>{{end}}|", "<main><side>"),
            (
                "get pod chatty -o custom-columns=N:.metadata.name,C:.spec.containers[*].name,X:.none",
                "main,side <none>",
            ),
            ("get pod,service,job -o name", "job.batch/once"),
            ("get pod/chatty service/web -o name", "service/web"),
            ("get all --no-headers -o name", "deployment.apps/web"),
            ("get pods --sort-by=.metadata.name -o name", "pod/chatty pod/flaky pod/once"),
            ("get pods --sort-by=.status.startTime --no-headers", "chatty"),
            ("get pods -l |app in (chatty,x),!none| -o name", "pod/chatty"),
            ("get pods --field-selector=status.phase=Succeeded,metadata.name!=x -o name", "pod/once"),
            ("get pods --chunk-size=1 -o name", "pod/flaky"),
            (f"get pods -A --field-selector=metadata.namespace={SPACE} --no-headers", SPACE),
            ("get configmap settings --show-managed-fields -o yaml", "kubectl-client-side-apply"),
            ("get configmap none --ignore-not-found", ""),
            ("get deployment web --subresource=status -o jsonpath={.status.readyReplicas}", "1"),
            ("get deployment web --subresource=scale -o jsonpath={.kind}{.spec.replicas}", "Scale1"),
            ("get --raw /version", '"major":"1"'),
            ("get --raw /readyz", "ok"),
            ("get nodes -o wide", "bubblewrap://"),
            ("get quota", "NAME REQUEST LIMIT AGE small configmaps: 2/20, pods: 3/20"),
            ("get networkpolicy --no-headers", "closed app=nobody"),
            ("get limits", "NAME CREATED AT limits"),
        ]
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("get none", 'the server doesn\'t have a resource type "none"'),
        ("get pod none", 'pods "none" not found'),
        ("get pods --field-selector=none=1", "field label not supported: none"),
        ("get pods -l a=b,==", "unable to parse requirement"),
        ("explain pod.spec.none", 'field "none" does not exist'),
        ("logs chatty -c none", "container none is not valid for pod chatty"),
        ("logs chatty -c side -p", 'previous terminated container "side" in pod "chatty" not found'),
        ("logs chatty --since=1h --since-time=2026-01-01T00:00:00Z", "at most one of"),
        ("exec job/once -- true", "cannot exec into a container in a completed pod"),
        ("wait pod/chatty --for=condition=Ready=false --timeout=0.1s", "timed out waiting"),
        ("wait configmap/none --for=create --timeout=0.1s", "timed out waiting"),
    ],
)
def test_what_is_not_there_is_said(kubectl: Kubectl, command: str, said: str):
    assert said in kubectl.fails(*command.split())


def test_everything_is_described_with_its_events(kubectl: Kubectl):
    (node,) = kubectl("get", "nodes", "-o", "name").split()
    kubectl.check(
        [
            ("describe pod chatty", "Normal Started"),
            ("describe pod flaky", "BackOff"),
            ("describe deployment web", "Scaled up replica set"),
            ("describe deployment web", "1 desired | 1 updated | 1 total | 1 available | 0 unavailable"),
            ("describe replicaset -l app=web", "Controlled By: Deployment/web"),
            ("describe job once", "1 Succeeded / 0 Failed"),
            ("describe cronjob often", "Concurrency Policy: Allow"),
            ("describe service web", "Endpoints: 10.244."),
            ("describe endpointslice -l kubernetes.io/service-name=web", "AddressType: IPv4"),
            ("describe endpoints web", "Addresses: 10.244."),
            ("describe pvc data", "waiting for first consumer"),
            ("describe configmap settings", "a: ---- 1"),
            ("describe secret hidden", "p: 1 bytes"),
            ("describe quota small", "pods 3 20"),
            ("describe limits", "storage - 9Gi"),
            ("describe ingress front", "example.org / web:80 (10.244."),
            ("describe networkpolicy closed", "PodSelector: app=nobody"),
            ("describe pdb web", "Max unavailable: 1"),
            ("describe hpa web", "Reference: Deployment/web"),
            ("describe role reader", "pods [] [] [get]"),
            ("describe rolebinding reader", "ServiceAccount robot reading"),
            ("describe serviceaccount robot", "Name: robot"),
            (f"describe namespace {SPACE}", "Resource Quotas Name: small"),
            (f"describe {node}", "Allocated resources:"),
            ("describe storageclass standard", "AllowVolumeExpansion: True"),
            ("describe priorityclass system-cluster-critical", "Value: 2000000000"),
            ("describe clusterrole view", "pods/log"),
            ("describe crd trainjobs.trainer.kubeflow.org", "Kind: CustomResourceDefinition"),
        ]
    )


def test_a_pod_s_events_are_told_in_their_order(kubectl: Kubectl):
    said = kubectl("describe", "pod", "-l", "app=web").partition("Events:")[2].splitlines()[3:]
    assert [line.split()[1] for line in said if line.strip()] == ["Scheduled", "Pulled", "Created", "Started"]


def test_explanations_discovery_and_events(kubectl: Kubectl):
    kubectl.check(
        [
            ("explain pod.spec.containers.livenessProbe", "Periodic probe of container liveness"),
            ("explain deployment.spec --recursive", "maxSurge <IntOrString>"),
            ("explain cronjob --api-version=batch/v1", "KIND: CronJob"),
            ("explain trainjob.spec.trainer", "FIELDS:"),
            ("explain trainjob.spec --recursive", "numNodes <integer>"),
            ("explain pod.spec.nodeName --output=plaintext-openapiv2", "FIELD: nodeName <string>"),
            ("explain trainjob.spec --output=plaintext-openapiv2", "RESOURCE: spec <Object>"),
            ("api-resources --namespaced=false --api-group=storage.k8s.io -o name", "storageclasses.storage.k8s.io"),
            ("api-resources --verbs=list,watch --sort-by=name -o wide", "deployments deploy apps/v1 true Deployment"),
            ("api-versions", "apps/v1"),
            ("version -o json", '"gitVersion": "v1.37'),
            ("cluster-info", "control plane is running at"),
            ("config view --minify -o jsonpath={.clusters[0].name}", "ketch"),
            ("config get-contexts", "kubernetes-admin"),
            ("events --for=pod/chatty", "Started container side"),
            ("events --types=Warning", "Back-off restarting failed container main"),
            ("get events --sort-by=.lastTimestamp", "SuccessfulCreate"),
            ("get events --field-selector=involvedObject.name=chatty,reason=Scheduled", "Successfully assigned"),
            ("auth can-i create pods", "yes"),
            ("auth can-i list deployments.apps -A", "yes"),
            ("top node", "CPU(cores)"),
            ("wait pod/chatty --for=jsonpath={.status.phase}=Running --timeout=5s", "condition met"),
            ("wait pod/chatty --for=condition=Ready --timeout=5s", "condition met"),
            ("wait configmap/settings --for=create --timeout=5s", "condition met"),
            ("wait configmap/settings --for=jsonpath={.data.a} --timeout=5s", "condition met"),
            ("wait pod/none --for=delete --timeout=5s", ""),
        ]
    )


def test_logs_of_all_and_of_some(kubectl: Kubectl):
    eventually(lambda: "three" in kubectl("logs", "chatty"))
    kubectl.check(
        [
            ("logs chatty", "one two three"),
            ("logs chatty -c i", "0"),
            ("logs chatty --tail=1", "three"),
            ("logs chatty --limit-bytes=5", "one t"),
            ("logs chatty --since=1h --timestamps", "Z three"),
            ("logs chatty --since-time=2026-01-01T00:00:00Z", "one"),
            ("logs chatty --all-containers --prefix", "[pod/chatty/side] aside"),
            ("logs -l app=chatty --all-containers --tail=-1", "aside"),
            ("logs flaky --previous", "attempt"),
            ("logs job/once", "hello"),
            ("logs job/once --all-pods --prefix", "hello"),
            ("logs deployment/web", ""),
            ("exec chatty -c side -- echo in", "in"),
            ("exec deployment/web -- echo in", "in"),
        ]
    )
    assert kubectl("logs", "chatty", "--since=1s", "--tail=1", "-c", "i") in ("", "0\n")
    followed = kubectl.run("logs", "-f", "job/once", "--pod-running-timeout=5s")
    assert followed.out == "hello\n"


def test_a_watch_tells_of_changes(kubectl: Kubectl):
    kubectl("create", "configmap", "seen")
    environment = {**os.environ, "KUBECONFIG": str(kubectl.platform.kubeconfig)}
    options = ("--watch", "--output-watch-events", "--no-headers", "--field-selector=metadata.name=seen")
    command = [str(SCRIPTS / "kubectl"), "-n", SPACE, "get", "configmaps", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            kubectl("label", "configmap", "seen", "x=1")
            second = process.stdout.readline()
            kubectl("delete", "configmap", "seen")
            third = process.stdout.readline()
        finally:
            process.kill()
    assert [line.split()[0] for line in (first, second, third)] == ["ADDED", "MODIFIED", "DELETED"]


def test_the_cluster_is_dumped_and_proxied(kubectl: Kubectl, tmp_path: Path):
    kubectl("cluster-info", "dump", f"--namespaces={SPACE}", f"--output-directory={tmp_path}")
    assert "hello" in "".join(path.read_text() for path in (tmp_path / SPACE).glob("once-*/logs.txt"))
    assert len(json.loads((tmp_path / "nodes.json").read_text())["items"]) == 1
    environment = {**os.environ, "KUBECONFIG": str(kubectl.platform.kubeconfig)}
    command = [str(SCRIPTS / "kubectl"), "proxy", "--port=0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[-1]
            url = f"http://{address}/api/v1/namespaces/{SPACE}/configmaps/settings"
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert json.loads(answer.read())["data"] == {"a": "1"}
        finally:
            process.kill()
