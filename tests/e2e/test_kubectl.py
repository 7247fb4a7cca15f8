"""kubectl's verbs on the running platform: what it prints, and what comes of it."""

import json

import pytest
from tests.e2e.manifests import claim, config_map, container, deployment, job, pod, service, shell
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

SLEEP = container("sleep", "1000")
GADGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "shortNames": ["gd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A gadget for the test.",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "maximum": 10, "description": "How big it is."},
                                    "colour": {"type": "string", "enum": ["red", "green"], "default": "green"},
                                    "replicas": {"type": "integer", "default": 1},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


def test_client_side_apply_becomes_server_side_apply_and_back(platform: Platform, namespace: str):
    objects = [
        deployment("web", 1, SLEEP),
        service("web"),
        claim("data"),
        job("once", container("true")),
        config_map("settings", kept="1", gone="2"),
    ]
    platform.apply(*objects, namespace=namespace)
    objects[-1]["data"].pop("gone")
    manifest = "\n---\n".join(map(json.dumps, objects))
    for _ in range(2):
        platform.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=manifest)
    assert platform.get("configmap", "settings", "-n", namespace)["data"] == {"kept": "1"}
    again = platform.kubectl_result("apply", "-n", namespace, "-f", "-", stdin=manifest)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count("unchanged") >= 4
    assert platform.kubectl("diff", "-n", namespace, "-f", "-", stdin=json.dumps(objects[-1])) == ""
    objects[-1]["data"]["kept"] = "3"
    stranger = platform.kubectl_result(
        *("apply", "--server-side", "--field-manager=stranger", "-n", namespace, "-f", "-"),
        stdin=json.dumps(objects[-1]),
    )
    assert stranger.returncode == 1
    assert ".data.kept" in stranger.stderr


def test_a_custom_kind_is_used_like_any_other(platform: Platform, namespace: str):
    platform.apply(GADGETS)
    platform.kubectl("wait", "crd/gadgets.example.org", "--for=condition=Established", "--timeout=20s")
    gadget = {"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 3}}
    platform.apply(gadget, namespace=namespace)
    platform.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(gadget))
    assert platform.kubectl("get", "gd", "-n", namespace).split() == ["NAME", "SIZE", "g", "3"]
    assert platform.get("gadget", "g", "-n", namespace)["spec"] == {"size": 3, "colour": "green", "replicas": 1}
    assert "How big it is." in platform.kubectl("explain", "gadget.spec.size")
    assert "APIVersion defines" in platform.kubectl("explain", "gadget")
    platform.kubectl("scale", "gadget/g", "-n", namespace, "--replicas=3")
    status = '{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}'
    platform.kubectl("patch", "gadget", "g", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
    platform.kubectl("wait", "gadget/g", "-n", namespace, "--for=condition=Ready", "--timeout=20s")
    assert "Replicas:  3" in platform.kubectl("describe", "gadget", "g", "-n", namespace)
    wrong = '{"spec": {"size": 99, "colour": "pink"}}'
    refused = platform.kubectl_result("patch", "gadget", "g", "-n", namespace, "--type=merge", "-p", wrong)
    assert "spec.size: Invalid value: 99" in refused.stderr
    assert 'spec.colour: Unsupported value: "pink"' in refused.stderr
    platform.kubectl("delete", "crd", "gadgets.example.org", "--timeout=30s")
    assert platform.kubectl_result("get", "gadgets", "-n", namespace).returncode == 1


def test_a_rollout_is_watched_undone_and_restarted(platform: Platform, namespace: str):
    def rollout(*arguments: str) -> str:
        return platform.kubectl("rollout", *arguments, "-n", namespace)

    def images() -> list[str]:
        pods = platform.get("pods", "-n", namespace, "--field-selector=status.phase=Running")["items"]
        return [item["spec"]["containers"][0]["image"] for item in pods if "deletionTimestamp" not in item["metadata"]]

    platform.apply(deployment("web", 2, SLEEP), namespace=namespace)
    assert "successfully rolled out" in rollout("status", "deployment/web", "--timeout=60s")
    platform.kubectl("set", "image", "deployment/web", "main=nobody/knows:1", "-n", namespace)
    stuck = platform.kubectl_result("rollout", "status", "deployment/web", "-n", namespace, "--timeout=1s")
    assert stuck.returncode == 1
    assert len(images()) == 2, "pods that work are kept"
    rollout("undo", "deployment/web")
    rollout("status", "deployment/web", "--timeout=60s")
    platform.kubectl("set", "image", "deployment/web", "main=alpine", "-n", namespace)
    platform.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=smaller", "-n", namespace)
    rollout("status", "deployment/web", "--timeout=60s")
    eventually(lambda: images() == ["alpine", "alpine"])
    history = rollout("history", "deployment/web")
    assert [line.split() for line in history.strip().splitlines()[1:]] == [
        ["REVISION", "CHANGE-CAUSE"],
        ["2", "<none>"],
        ["3", "<none>"],
        ["4", "smaller"],
    ]
    rollout("restart", "deployment/web")
    rollout("status", "deployment/web", "--timeout=60s")


def test_delete_takes_or_leaves_what_an_object_owns(platform: Platform, namespace: str):
    def names(kind: str) -> list[str]:
        return platform.kubectl("get", kind, "-n", namespace, "-o", "name").split()

    platform.apply(deployment("web", 1, SLEEP), namespace=namespace)
    platform.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    platform.kubectl("delete", "deployment", "web", "-n", namespace, "--cascade=orphan")
    assert len(names("replicasets")) == 1
    (owned,) = platform.get("replicasets", "-n", namespace)["items"]
    assert "ownerReferences" not in owned["metadata"]
    platform.apply(deployment("web", 1, SLEEP), namespace=namespace)
    platform.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    assert len(names("replicasets")) == 1, "the orphan is adopted again"
    platform.kubectl("delete", "deployment", "web", "-n", namespace, "--cascade=foreground", "--timeout=30s")
    assert names("replicasets") + names("pods") == []

    platform.apply(pod("stubborn", shell("trap '' TERM; while true; do sleep 1; done")), namespace=namespace)
    platform.kubectl("wait", "pod/stubborn", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    platform.kubectl("delete", "pod", "stubborn", "-n", namespace, "--timeout=30s")
    platform.apply(pod("stubborn", SLEEP, terminationGracePeriodSeconds=600), namespace=namespace)
    platform.kubectl("wait", "pod/stubborn", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    platform.kubectl("delete", "pod", "stubborn", "-n", namespace, "--grace-period=0", "--force", "--timeout=20s")
    assert names("pods") == []


def test_tables_have_the_columns_that_people_look_for(platform: Platform, namespace: str):
    platform.apply(deployment("web", 1, SLEEP), service("web"), claim("data"), namespace=namespace)
    platform.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")

    def columns(*arguments: str) -> str:
        lines = platform.kubectl("get", *arguments, "-n", namespace).splitlines()
        return " ".join(lines[0].split())

    assert columns("pods") == "NAME READY STATUS RESTARTS AGE"
    wide = "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    assert columns("pods", "-o", "wide") == wide
    assert columns("deployments") == "NAME READY UP-TO-DATE AVAILABLE AGE"
    assert columns("services") == "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"
    assert columns("nodes") == "NAME STATUS ROLES AGE VERSION"
    assert columns("pvc") == "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE"
    assert columns("events") == "LAST SEEN TYPE REASON OBJECT MESSAGE"
    row = platform.kubectl("get", "pods", "-o", "wide", "-n", namespace).splitlines()[1].split()
    assert row[1:4] == ["1/1", "Running", "0"]
    assert row[5].startswith("10.244.")
    manifest = platform.kubectl("get", "deployment", "web", "-n", namespace, "-o", "yaml")
    assert "readyReplicas: 1" in manifest
    assert "managedFields" not in manifest


def test_a_kind_that_does_not_exist_is_named(platform: Platform):
    misspelt = {**deployment("web", 1, SLEEP), "kind": "Deploymet"}
    result = platform.kubectl_result("apply", "-f", "-", stdin=json.dumps(misspelt))
    assert result.returncode == 1
    assert 'no matches for kind "Deploymet" in version "apps/v1"' in result.stderr
