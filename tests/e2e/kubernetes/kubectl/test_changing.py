"""kubectl label, annotate, set, scale, rollout, delete: what they say and what stands afterwards."""

import json

import pytest
from tests.e2e.kubernetes.kubectl.commands import Kubectl
from tests.e2e.manifests import config_map, container, deployment, pod, service, shell

pytestmark = pytest.mark.e2e

SLEEP = container("sleep", "1000")


def test_labels_and_annotations(kubectl: Kubectl):
    kubectl.apply(config_map("a"), config_map("b"))
    kubectl("label", "configmap", "a", "x=1", "y=2")
    assert "--overwrite is false" in kubectl.fails("label", "configmap", "a", "x=2")
    kubectl("label", "configmap", "a", "x=2", "--overwrite")
    kubectl("label", "configmap", "a", "y-")
    assert kubectl.get("configmap", "a")["metadata"]["labels"] == {"x": "2"}
    assert "x=2" in kubectl("label", "configmap", "-l", "x", "--list")
    assert "has been modified" in kubectl.fails("label", "configmap", "a", "z=1", "--resource-version=1")
    assert kubectl("label", "configmap", "--all", "w=1", "--dry-run=server").count("(server dry run)") == 3
    kubectl("annotate", "configmap", "b", "note=a b", "kubectl.kubernetes.io/last-applied-configuration-")
    assert kubectl.get("configmap", "b")["metadata"]["annotations"] == {"note": "a b"}
    assert "a valid label must be" in kubectl.fails("label", "configmap", "a", "x=not valid", "--overwrite")


def test_set_changes_templates_selectors_and_accounts(kubectl: Kubectl):
    kubectl.apply(deployment("web", 0, SLEEP, container("true", name="second")), service("web"))
    kubectl.apply(config_map("settings", A="1"))
    kubectl("create", "serviceaccount", "robot")
    where = "deployment/web"
    kubectl("set", "image", where, "main=alpine")
    kubectl("set", "env", where, "-c", "main", "A=1", "B=2")
    kubectl("set", "env", where, "-c", "main", "A-")
    kubectl("set", "env", where, "-c", "main", "--from=configmap/settings", "--prefix=P_")
    kubectl("set", "resources", where, "-c=main", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m")
    kubectl("set", "serviceaccount", where, "robot")
    kubectl("set", "selector", "service/web", "app=other")
    assert "unable to find container" in kubectl.fails("set", "image", where, "none=alpine")
    assert "B=2" in kubectl("set", "env", where, "--list", "--resolve")
    spec = kubectl.get(where)["spec"]["template"]["spec"]
    main = next(each for each in spec["containers"] if each["name"] == "main")
    assert (main["image"], spec["serviceAccountName"]) == ("alpine", "robot")
    assert [each["name"] for each in main["env"]] == ["B", "P_A"]
    assert main["resources"]["requests"]["cpu"] == "100m"
    assert kubectl.get("service", "web")["spec"]["selector"] == {"app": "other"}
    kubectl("set", "image", where, "*=busybox")
    assert kubectl.value(".spec.template.spec.containers[*].image", where) == "busybox busybox"


def test_scale_heeds_what_was_expected(kubectl: Kubectl):
    kubectl.apply(deployment("web", 1, SLEEP))
    assert "Expected replicas to be 9, was 1" in kubectl.fails(
        "scale", "deployment/web", "--replicas=2", "--current-replicas=9"
    )
    assert "Expected resource version" in kubectl.fails(
        "scale", "deployment/web", "--replicas=2", "--resource-version=1"
    )
    kubectl("scale", "deployment/web", "--replicas=2", "--current-replicas=1")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("scale", "deployment", "--all", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
    kubectl("create", "job", "once", "--image=busybox", "--", "true")
    assert "could not find the requested resource" in kubectl.fails("scale", "job/once", "--replicas=2")


def test_a_rollout_is_paused_resumed_and_taken_back(kubectl: Kubectl):
    kubectl.apply(deployment("web", 1, SLEEP))
    where = "deployment/web"

    def rolled(*arguments: str) -> str:
        return kubectl("rollout", *arguments)

    rolled("status", where, "--timeout=60s")
    rolled("pause", where)
    assert "already paused" in kubectl.fails("rollout", "pause", where)
    kubectl("set", "image", where, "main=alpine")
    assert "timed out" in kubectl.fails("rollout", "status", where, "--timeout=1s")
    assert "can't restart paused deployment" in kubectl.fails("rollout", "restart", where)
    rolled("resume", where)
    rolled("status", where, "--timeout=60s")
    rolled("pause", where)
    assert "cannot rollback a paused deployment" in kubectl.fails("rollout", "undo", where)
    rolled("resume", where)
    assert "main:\n    Image:\talpine" in rolled("history", where, "--revision=2")
    assert "rolled back (server dry run)" in rolled("undo", where, "--dry-run=server")
    rolled("undo", where, "--to-revision=1")
    assert "unable to find specified revision 99" in kubectl.fails("rollout", "undo", where, "--to-revision=99")
    rolled("restart", "deployment", "-l", "!none")
    rolled("status", where, "--timeout=60s")
    template = kubectl.get(where)["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "busybox"
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    said = kubectl("get", "events", "--field-selector=reason=ScalingReplicaSet", "-o", "name")
    assert said.count("event/web") >= 5


def test_delete_in_all_its_ways(kubectl: Kubectl):
    kubectl.apply(*(config_map(name) for name in "abcde"), pod("now", SLEEP), pod("force", SLEEP), pod("left", SLEEP))
    kubectl("label", "configmap", "b", "c", "gone=yes")
    assert "(server dry run)" in kubectl("delete", "configmap", "--all", "--dry-run=server")
    kubectl("delete", "configmap", "-l", "gone=yes")
    kubectl("delete", "configmap", "--field-selector=metadata.name=d")
    assert kubectl("delete", "configmap/e", "-o", "name") == "configmap/e\n"
    assert "not found" in kubectl.fails("delete", "configmap", "e")
    kubectl("delete", "configmap", "e", "--ignore-not-found")
    kubectl("delete", "-f", "-", stdin=config_map("a"))
    assert kubectl("get", "configmap", "-o", "name") == "configmap/kube-root-ca.crt\n"
    kubectl("create", "configmap", "asked")
    assert "cancelled" in kubectl("delete", "configmap", "asked", "--interactive", stdin="n\n")
    kubectl("delete", "configmap", "asked", "--interactive", stdin="y\n")
    kubectl("wait", "pod/now", "pod/force", "pod/left", "--for=condition=Ready", "--timeout=60s")
    kubectl("delete", "pod", "now", "--now")
    kubectl("delete", "pod", "force", "--grace-period=0", "--force")
    kubectl("delete", "pod", "left", "--wait=false", "--grace-period=1")
    kubectl("wait", "--for=delete", "pod/left", "--timeout=60s")
    assert kubectl("get", "pods", "-o", "name") == ""
    kubectl.apply(deployment("web", 1, SLEEP))
    kubectl("wait", "--for=create", "replicaset", "-l", "app=web", "--timeout=60s")
    kubectl("delete", "deployment", "web", "--cascade=background")
    kubectl("wait", "--for=delete", "replicaset", "-l", "app=web", "--timeout=60s")
    raw = f"/api/v1/namespaces/{kubectl.namespace}/configmaps/kube-root-ca.crt"
    assert json.loads(kubectl("delete", "--raw", raw))["status"] == "Success"


def test_a_node_is_tainted_cordoned_and_drained(kubectl: Kubectl):
    """All of it in one: other tests' pods find the node as it was."""
    (name,) = kubectl("get", "nodes", "-o", "name").split()
    node = ("node", name.removeprefix("node/"))
    guarded = deployment("web", 1, shell("trap 'exit 0' TERM; while true; do sleep 0.1; done"))
    kubectl.apply(guarded)
    kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=0")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = kubectl.value(".items[0].metadata.name", "pods", "-l", "app=web")
    try:
        kubectl("taint", *node, "only=x:NoSchedule")
        kubectl("run", "late", "--image=busybox", "--", "sleep", "1000")
        kubectl("wait", "pod/late", "--for=condition=PodScheduled=false", "--timeout=60s")
        assert "untolerated taint" in kubectl("describe", "pod", "late")
        assert "modified" in kubectl("taint", *node, "only=y:NoSchedule", "--overwrite")
        kubectl("taint", *node, "only-")
        kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=60s")
        assert "cordoned" in kubectl("cordon", name)
        assert "SchedulingDisabled" in kubectl("get", name)
        assert "drained (server dry run)" in kubectl("drain", name, "--dry-run=server", "--pod-selector=app=web")
        kubectl("drain", name, "--pod-selector=app=web", "--timeout=60s")
        assert "declare no controller" in kubectl.fails("drain", name, "--pod-selector=run=late", "--timeout=10s")
        assert before not in kubectl("get", "pods", "-l", "app=web", "-o", "name")
        kubectl("wait", "pod", "-l", "app=web", "--for=condition=PodScheduled=false", "--timeout=60s")
    finally:
        kubectl("uncordon", name)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
