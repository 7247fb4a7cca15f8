"""kubectl create with its generators, run, expose and autoscale: what stands in the world afterwards."""

import base64
import json
from pathlib import Path

import pytest
from tests.e2e.kubernetes.kubectl.commands import Kubectl
from tests.e2e.manifests import container, pod

pytestmark = pytest.mark.e2e


def test_configuration_and_secrets_from_everywhere(kubectl: Kubectl, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("folder's")
    (tmp_path / "binary").write_bytes(b"\x00\xff")
    (tmp_path / "env").write_text("A=1\nB=2\n")
    sources = (f"--from-file={tmp_path}/folder", f"--from-file=key={tmp_path}/binary", "--from-literal=a=b")
    kubectl("create", "configmap", "all", *sources)
    made = kubectl.get("configmap", "all")
    assert made["data"] == {"inside": "folder's", "a": "b"}
    assert base64.b64decode(made["binaryData"]["key"]) == b"\x00\xff"
    hashed = kubectl("create", "configmap", "env", f"--from-env-file={tmp_path}/env", "--append-hash", "-o", "name")
    assert hashed.startswith("configmap/env-")
    assert kubectl.get(hashed.strip())["data"] == {"A": "1", "B": "2"}
    kubectl("create", "secret", "generic", "typed", "--from-literal=p=q", "--type=example.org/kind")
    kubectl(
        *("create", "secret", "docker-registry", "registry", "--docker-server=reg.example"),
        *("--docker-username=u", "--docker-password=p"),
    )
    secrets = {each["metadata"]["name"]: each for each in kubectl.get("secrets")["items"]}
    assert (secrets["typed"]["type"], base64.b64decode(secrets["typed"]["data"]["p"])) == ("example.org/kind", b"q")
    auths = json.loads(base64.b64decode(secrets["registry"]["data"][".dockerconfigjson"]))["auths"]
    assert auths["reg.example"]["username"] == "u"
    assert "already exists" in kubectl.fails("create", "configmap", "all")


def test_workloads_and_what_is_around_them(kubectl: Kubectl):
    kubectl("create", "deployment", "web", "--image=busybox", "--replicas=1", "--port=80", "--", "sleep", "1000")
    kubectl("create", "job", "once", "--image=busybox", "--", "sh", "-c", "echo done")
    kubectl("create", "cronjob", "often", "--image=busybox", "--schedule=0 0 1 1 *", "--", "echo", "tick")
    kubectl("create", "job", "now", "--from=cronjob/often")
    kubectl("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1")
    kubectl("create", "quota", "small", "--hard=pods=20,limits.cpu=4")
    kubectl("create", "service", "clusterip", "plain", "--tcp=80:8080")
    kubectl("create", "service", "clusterip", "headless", "--clusterip=None")
    kubectl("create", "service", "nodeport", "outside", "--tcp=81:8080")
    kubectl("create", "service", "externalname", "elsewhere", "--external-name=example.org")
    kubectl("create", "ingress", "front", "--rule=example.org/shop*=plain:80", "--class=other", "--annotation=a=b")
    priority = f"{kubectl.namespace}-low"
    kubectl("create", "priorityclass", priority, "--value=-10", "--preemption-policy=Never")
    kubectl("delete", "priorityclass", priority)
    kubectl("wait", "job/once", "job/now", "--for=condition=complete", "--timeout=60s")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("wait", "quota/small", "--for=jsonpath={.status.used.pods}=1", "--timeout=60s")
    kubectl("wait", "pdb/web", "--for=jsonpath={.status.currentHealthy}=1", "--timeout=60s")
    kubectl.check(
        [
            ("get jobs -o custom-columns=N:.metadata.name,S:.status.succeeded --no-headers", "once 1"),
            ("logs job/now", "tick"),
            ("get cronjob often", "0 0 1 1 *"),
            ("get pdb web --no-headers", "web 1 N/A 0"),
            ("get quota small --no-headers", "pods: 1/20 limits.cpu: 0/4"),
            ("get service plain --no-headers", "80/TCP"),
            ("get service headless --no-headers", "None"),
            ("get service outside --no-headers", "81:30"),
            ("get service elsewhere --no-headers", "example.org"),
            ("get ingress front --no-headers", "front other example.org"),
            ("get service plain -o jsonpath={.spec.ports[0].targetPort}", "8080"),
        ]
    )
    assert kubectl("get", "endpoints", "elsewhere", "--ignore-not-found") == ""


def test_accounts_rights_and_tokens(kubectl: Kubectl):
    namespace = kubectl.namespace
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log,deployments.apps")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:robot", "--user=ann")
    kubectl("create", "clusterrole", f"{namespace}-health", "--verb=get", "--non-resource-url=/metrics")
    kubectl("create", "clusterrolebinding", f"{namespace}-health", f"--clusterrole={namespace}-health", "--user=ann")
    kubectl("create", "clusterrole", f"{namespace}-sum", f"--aggregation-rule=sum={namespace}")
    robot = f"--as=system:serviceaccount:{namespace}:robot"
    kubectl.check(
        [
            (f"auth can-i list pods {robot}", "yes"),
            (f"auth can-i get pods --subresource=log {robot}", "yes"),
            ("auth can-i get /metrics --as=ann", "yes"),
            ("auth can-i get deployments.apps/web --as=ann", "yes"),
            (f"auth can-i --list {robot}", "deployments.apps"),
            ("auth whoami", "kubernetes-admin"),
            ("auth whoami --as=ann --as-group=g -o json", '"username": "ann"'),
        ]
    )
    for refused in (("delete", "pods", robot), ("get", "/metrics", robot), ("list", "pods", "-A", "--as=ann")):
        done = kubectl.run("auth", "can-i", *refused)
        assert (done.code, done.out.strip()) == (1, "no")
    kubectl("create", "secret", "generic", "bound", "--from-literal=a=b")
    options = ("--duration=20m", "--audience=shop", "--bound-object-kind=Secret", "--bound-object-name=bound")
    payload = kubectl("create", "token", "robot", *options).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == ["shop"]
    assert claims["exp"] - claims["iat"] == 1200
    assert claims["kubernetes.io"]["secret"]["name"] == "bound"
    kubectl("set", "subject", "rolebinding/reader", "--group=team")
    assert kubectl.run("auth", "can-i", "list", "pods", "--as=bob", "--as-group=team").out.strip() == "yes"
    for kind, name in (("clusterrolebinding", "health"), ("clusterrole", "health"), ("clusterrole", "sum")):
        kubectl("delete", kind, f"{namespace}-{name}")


def test_reconcile_brings_rights_to_what_a_manifest_says(kubectl: Kubectl):
    group, namespace = "rbac.authorization.k8s.io", kubectl.namespace
    kubectl("create", "role", "r", "--verb=get,list", "--resource=pods")
    kubectl("create", "role", "other", "--verb=get", "--resource=pods")
    kubectl("create", "rolebinding", "b", "--role=other", "--user=ann")
    named = {"metadata": {"name": "r", "namespace": namespace}, "apiVersion": f"{group}/v1"}
    role = {**named, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "zoe"}],
    }
    assert "reconciliation required recreate" in kubectl.run("auth", "reconcile", "-f", "-", stdin=[role, binding]).err
    assert len(kubectl.get("role", "r")["rules"]) == 2
    only = ("--remove-extra-permissions", "--remove-extra-subjects")
    kubectl("auth", "reconcile", "-f", "-", *only, stdin=[role, binding])
    assert kubectl.get("role", "r")["rules"] == role["rules"]
    assert [each["name"] for each in kubectl.get("rolebinding", "b")["subjects"]] == ["zoe"]


def test_manifests_are_checked_as_asked(kubectl: Kubectl):
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dat": {}}
    assert 'strict decoding error: unknown field "dat"' in kubectl.fails("create", "-f", "-", stdin=wrong)
    warned = kubectl.run("create", "--validate=warn", "-f", "-", stdin=wrong)
    assert (warned.code, warned.err) == (0, 'Warning: unknown field "dat"\n')
    named = {**wrong, "metadata": {"name": "d"}}
    assert kubectl.run("create", "--validate=ignore", "-f", "-", stdin=named).err == ""
    generated = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    assert kubectl("create", "-o", "name", "-f", "-", stdin=generated).startswith("configmap/made-")
    kubectl("create", "--raw", f"/api/v1/namespaces/{kubectl.namespace}/configmaps", "-f", "-", stdin=generated)
    for how, kept in (("client", ""), ("server", "uid")):
        said = kubectl("create", "configmap", "dry", f"--dry-run={how}", "-o", "yaml")
        assert kept in said
        assert kubectl.run("get", "configmap", "dry").code == 1
    kubectl("create", "--save-config", "-f", "-", stdin={**generated, "metadata": {"name": "saved"}})
    assert kubectl("apply", "view-last-applied", "configmap/saved").startswith("apiVersion: v1")


def test_run_and_expose(kubectl: Kubectl):
    kubectl(
        *("run", "one", "--image=busybox", "--restart=Never", "--labels=app=one,tier=x", "--env=A=1", "--port=80"),
        *("--expose", "--annotations=note=yes", "--", "sh", "-c", "echo $A; sleep 1000"),
    )
    kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=60s")
    assert kubectl("logs", "one") == "1\n"
    assert kubectl.get("service", "one")["spec"]["selector"] == {"app": "one", "tier": "x"}
    late = '{"spec": {"activeDeadlineSeconds": 1}}'
    kubectl("run", "late", "--image=busybox", "--overrides", late, "--restart=Never", "--command", "--", "sleep", "60")
    kubectl("expose", "pod", "one", "--port=81", "--target-port=80", "--name=again", "--type=NodePort")
    kubectl("expose", "service", "again", "--port=82", "--name=third", "--session-affinity=ClientIP")
    kubectl("create", "deployment", "web", "--image=busybox", "--port=8080", "--replicas=0")
    kubectl("expose", "deployment", "web")
    kubectl.check(
        [
            ("get service again -o jsonpath={.spec.type}{.spec.ports[0].targetPort}", "NodePort80"),
            ("get service third -o jsonpath={.spec.sessionAffinity}{.spec.selector.app}", "ClientIPone"),
            ("get service web -o jsonpath={.spec.ports[0].port}{.spec.selector}", '8080{"app":"web"}'),
            ("wait pod/late --for=jsonpath={.status.reason}=DeadlineExceeded --timeout=60s", "condition met"),
            ("get endpoints one --no-headers", ":80"),
        ]
    )
    kubectl("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu=50%")
    kubectl("autoscale", "deployment", "web", "--max=4", "--memory=100Mi", "--name=memory")
    said = kubectl("get", "hpa", "--no-headers")
    assert "cpu: <unknown>/50%" in said
    assert "memory: <unknown>/100Mi" in said


def test_restarts_follow_the_container_s_own_rules(kubectl: Kubectl):
    again = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    script = "test -e /v/been && exit 0; touch /v/been; exit 42"
    main = container(
        *("sh", "-c", script),
        restartPolicy="Never",
        restartPolicyRules=again,
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
    )
    kubectl.apply(pod("retries", main, volumes=[{"name": "v", "emptyDir": {}}]))
    kubectl("wait", "pod/retries", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert kubectl.value(".status.containerStatuses[0].restartCount", "pod", "retries") == "1"
