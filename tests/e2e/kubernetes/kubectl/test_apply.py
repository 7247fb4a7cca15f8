"""kubectl apply in all its ways, diff, edit, patch, replace: what they say and what stands afterwards."""

import json
from pathlib import Path

import pytest
from tests.e2e.kubernetes.kubectl.commands import Kubectl
from tests.e2e.manifests import config_map, container, deployment

pytestmark = pytest.mark.e2e

SLEEP = container("sleep", "1000")


def labelled(name: str, **data: str) -> dict:
    return {**config_map(name, **data), "metadata": {"name": name, "labels": {"group": "p"}}}


def test_a_kustomization_is_applied_compared_and_deleted(kubectl: Kubectl, tmp_path: Path):
    base, over = tmp_path / "base", tmp_path / "over"
    for folder in (base, over):
        folder.mkdir()
    (base / "web.json").write_text(json.dumps(deployment("web", 1, SLEEP)))
    generator = [{"name": "settings", "literals": ["a=1"]}]
    (base / "kustomization.yaml").write_text(json.dumps({"resources": ["web.json"], "configMapGenerator": generator}))
    patch = '[{"op": "add", "path": "/metadata/annotations", "value": {"note": "yes"}}]'
    overlay = {
        "resources": ["../base"],
        "namePrefix": "my-",
        "replicas": [{"name": "web", "count": 0}],
        "patches": [{"target": {"kind": "Deployment"}, "patch": patch}],
    }
    (over / "kustomization.yaml").write_text(json.dumps(overlay))
    where = ("-k", str(over))
    assert kubectl("apply", *where).count("created") == 2
    assert kubectl("apply", *where).count("unchanged") == 2
    assert kubectl("diff", *where) == ""
    made = kubectl.get("deployment", "my-web")
    assert (made["spec"]["replicas"], made["metadata"]["annotations"]["note"]) == (0, "yes")
    assert [line.split("-")[0] for line in kubectl("get", *where, "-o", "name").split()] == [
        "configmap/my",
        "deployment.apps/my",
    ]
    kubectl("delete", *where)
    assert kubectl("get", *where, "--ignore-not-found", "-o", "name") == ""


def test_what_is_no_longer_said_is_pruned(kubectl: Kubectl):
    kubectl.apply(labelled("a"), labelled("b"))
    only = ("--prune", "-l", "group=p", "--prune-allowlist=core/v1/ConfigMap")
    assert "configmap/b pruned" in kubectl("apply", "-f", "-", *only, stdin=labelled("a"))
    assert kubectl("get", "configmap", "-l", "group=p", "-o", "name") == "configmap/a\n"
    sets = ("--server-side", "--force-conflicts", "--prune", "--applyset=configmap/set")
    kubectl("apply", "-f", "-", *sets, stdin=[config_map("c"), config_map("d")], KUBECTL_APPLYSET="true")
    said = kubectl("apply", "-f", "-", *sets, stdin=config_map("c"), KUBECTL_APPLYSET="true")
    assert "configmap/d pruned" in said
    assert kubectl.run("get", "configmap", "d").code == 1


def test_differences_and_who_may_settle_them(kubectl: Kubectl):
    kubectl.apply(labelled("a", x="1"))
    changed = labelled("a", x="2")
    done = kubectl.run("diff", "-f", "-", stdin=changed)
    assert done.code == 1
    assert '-  x: "1"\n+  x: "2"' in done.out
    other = ("--server-side", "--field-manager=other", "-f", "-")
    assert kubectl.run("diff", *other, stdin=changed).code == 2
    assert kubectl.run("diff", *other, "--force-conflicts", stdin=changed).code == 1
    refused = kubectl.run("apply", *other, stdin=changed)
    assert refused.code == 1
    assert 'conflict with "kubectl-client-side-apply" using v1: .data.x' in refused.err
    assert "serverside-applied" in kubectl("apply", *other, "--force-conflicts", stdin=changed)
    managers = json.loads(kubectl("get", "configmap", "a", "--show-managed-fields", "-o", "json"))["metadata"]
    owners = [each["manager"] for each in managers["managedFields"] if "f:data" in each["fieldsV1"]]
    assert owners == ["other"]
    assert kubectl.run("diff", *other, stdin=changed).code == 0
    dry = kubectl("apply", *other, "--dry-run=server", "-o", "json", stdin=labelled("a", x="3"))
    assert json.loads(dry)["data"] == {"x": "3"}
    assert kubectl.value(".data.x", "configmap", "a") == "2"


def test_what_was_applied_last_is_seen_and_set(kubectl: Kubectl):
    kubectl("create", "-f", "-", stdin=config_map("a", x="1"))
    warned = kubectl.run("apply", "-f", "-", stdin=config_map("a", x="1"))
    assert "missing the kubectl.kubernetes.io/last-applied-configuration annotation" in warned.err
    kubectl("create", "-f", "-", stdin=config_map("b", x="1"))
    kubectl("apply", "set-last-applied", "--create-annotation", "-f", "-", stdin=config_map("b", x="1"))
    assert json.loads(kubectl("apply", "view-last-applied", "configmap/b", "-o", "json"))["data"] == {"x": "1"}
    kubectl.apply(config_map("b"))
    assert not kubectl.get("configmap", "b")["data"]


def editor(folder: Path, script: str) -> str:
    path = folder / "editor.sh"
    path.write_text(f"#!/bin/sh\nsed -i '{script}' \"$1\"\n")
    path.chmod(0o755)
    return str(path)


def test_objects_are_edited(kubectl: Kubectl, tmp_path: Path):
    kubectl.apply(config_map("a", x="1"), deployment("web", 0, SLEEP))
    assert "edited" in kubectl("edit", "configmap", "a", KUBE_EDITOR=editor(tmp_path, 's/x: "1"/x: "2"/'))
    assert kubectl.value(".data.x", "configmap", "a") == "2"
    assert "no changes made" in kubectl.run("edit", "configmap", "a", KUBE_EDITOR="true").err
    done = kubectl.run("edit", "deployment", "web", KUBE_EDITOR=editor(tmp_path, "s/replicas: 0/replicas: -1/"))
    assert done.code == 1
    assert 'deployments.apps "web" is invalid' in done.err
    paused = editor(tmp_path, "s/^status:/status:\\n  collisionCount: 3/")
    kubectl("edit", "deployment", "web", "--subresource=status", KUBE_EDITOR=paused)
    assert kubectl.value(".status.collisionCount", "deployment", "web") == "3"
    kubectl("apply", "edit-last-applied", "configmap/a", KUBE_EDITOR=editor(tmp_path, 's/x: "1"/x: "9"/'))
    assert kubectl.value(".data.x", "configmap", "a") == "2"


def test_all_kinds_of_patches(kubectl: Kubectl):
    kubectl.apply(config_map("a", x="1"), deployment("web", 0, container("true"), container("true", name="second")))
    env = {"name": "second", "env": [{"name": "A", "value": "1"}]}
    kubectl("patch", "deployment", "web", "-p", json.dumps({"spec": {"template": {"spec": {"containers": [env]}}}}))
    containers = kubectl.get("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each.get("env") for each in containers} == {"main": None, "second": env["env"]}
    kubectl("patch", "configmap", "a", "--type=merge", "-p", '{"data": {"x": null, "y": "2"}}')
    test = {"op": "test", "path": "/data/y", "value": "2"}
    replace = {"op": "replace", "path": "/data/y", "value": "3"}
    kubectl("patch", "configmap", "a", "--type=json", "-p", json.dumps([test, replace]))
    assert kubectl.get("configmap", "a")["data"] == {"y": "3"}
    assert "invalid" in kubectl.fails("patch", "configmap", "a", "--type=json", "-p", json.dumps([test]))
    kubectl("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec": {"replicas": 2}}')
    kubectl("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", '{"status": {"replicas": 7}}')
    assert kubectl.value(".spec.replicas", "deployment", "web") == "2"
    local = kubectl("patch", "--local", "-f", "-", "-p", '{"data": {"z": "1"}}', "-o", "json", stdin=config_map("q"))
    assert json.loads(local)["data"] == {"z": "1"}
    dry = kubectl("patch", "configmap", "a", "-p", '{"data": {"y": "9"}}', "--dry-run=server", "-o", "json")
    assert json.loads(dry)["data"] == {"y": "9"}
    assert kubectl.get("configmap", "a")["data"] == {"y": "3"}


def test_objects_are_replaced(kubectl: Kubectl):
    kubectl.apply(config_map("a", x="1"))
    old = kubectl.get("configmap", "a")
    kubectl("replace", "-f", "-", stdin={**old, "data": {"x": "2"}})
    assert "the object has been modified" in kubectl.fails("replace", "-f", "-", stdin={**old, "data": {"x": "3"}})
    kubectl("replace", "--force", "-f", "-", stdin=config_map("a", x="4"))
    new = kubectl.get("configmap", "a")
    assert new["data"] == {"x": "4"}
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    path = f"/api/v1/namespaces/{kubectl.namespace}/configmaps/a"
    kubectl("replace", "--raw", path, "-f", "-", stdin=config_map("a", x="5"))
    assert kubectl.value(".data.x", "configmap", "a") == "5"
    assert "not found" in kubectl.fails("replace", "-f", "-", stdin=config_map("none"))
