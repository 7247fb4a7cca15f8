"""kubectl in an administrator's hands: quotas, rules, rights, field owners, what fields mean."""

import json
from typing import Any

import pytest
from tests.local.apiserver.test_kubectl import kubectl  # noqa: F401  # a fixture

QUOTA = """
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
spec: {hard: {configmaps: "2", requests.cpu: "1", pods: "3"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: sizes}
spec:
  limits:
  - {type: Container, default: {cpu: 500m}, defaultRequest: {cpu: 250m}, max: {cpu: "1"}}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: few-replicas}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations:
  - {expression: "object.spec.replicas <= 5", messageExpression: "'at most 5, not ' + string(object.spec.replicas)"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: few-replicas}
spec: {policyName: few-replicas, validationActions: [Deny]}
"""
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {%s}\n"


async def test_quotas_and_limits(kubectl: Any) -> None:  # noqa: F811
    await kubectl("create", "-f", "-", stdin=QUOTA)
    await kubectl("run", "p", "--image=x", "--restart=Never")
    await kubectl("wait", "--for=jsonpath={.status.used.pods}=1", "quota/small", "--timeout=30s")
    told = await kubectl("describe", "quota", "small")
    assert ["pods", "1", "3"] in [line.split() for line in told.splitlines()]
    assert ["requests.cpu", "250m", "1"] in [line.split() for line in told.splitlines()]
    assert "500m" in (await kubectl("describe", "limits", "sizes"))
    resources = await kubectl("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].resources}")
    assert json.loads(resources) == {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}}
    await kubectl("create", "configmap", "one")
    await kubectl("create", "configmap", "two")
    refused = await kubectl("create", "configmap", "three", code=None)
    assert "exceeded quota: small, requested: configmaps=1, used: configmaps=2, limited: configmaps=2" in refused.err


async def test_a_policy_in_expressions(kubectl: Any) -> None:  # noqa: F811
    await kubectl("apply", "--server-side", "-f", "-", stdin=POLICY)
    refused = await kubectl("create", "deployment", "web", "--image=x", "--replicas=6", code=None)
    assert "ValidatingAdmissionPolicy 'few-replicas' with binding 'few-replicas' denied request: at most 5, not 6" in (
        refused.err
    )
    await kubectl("create", "deployment", "web", "--image=x", "--replicas=5")
    refused = await kubectl("scale", "deployment", "web", "--replicas=9", code=None)
    assert "at most 5, not 9" in refused.err
    assert "few-replicas" in (await kubectl("get", "validatingadmissionpolicy"))


async def test_dry_runs_keep_nothing(kubectl: Any) -> None:  # noqa: F811
    await kubectl("create", "deployment", "web", "--image=x", "--replicas=1")
    for command in (
        ("scale", "deployment", "web", "--replicas=4"),
        ("label", "deployment", "web", "seen=yes"),
        ("set", "image", "deployment/web", "x=y"),
        ("delete", "deployment", "web"),
        ("create", "configmap", "never"),
        ("apply", "--server-side", "-f", "-"),
    ):
        await kubectl(*command, "--dry-run=server", stdin=MAP % 'a: "1"')
    shown = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    assert shown["spec"]["replicas"] == 1
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "x"
    assert "seen" not in shown["metadata"]["labels"]
    assert "never" not in await kubectl("get", "configmaps")
    assert "shared" not in await kubectl("get", "configmaps")


async def test_what_fields_mean(kubectl: Any) -> None:  # noqa: F811
    probe = await kubectl("explain", "pod.spec.containers.livenessProbe")
    assert "FIELD: livenessProbe <Probe>" in probe
    assert "failureThreshold" in probe
    assert "Periodic probe of container liveness" in " ".join(probe.split())
    older = await kubectl("explain", "deployment.spec.strategy", "--output=plaintext-openapiv2")
    assert "RESOURCE: strategy <Object>" in older
    whole = json.loads(await kubectl("get", "--raw", "/openapi/v2"))
    assert whole["swagger"] == "2.0"
    assert "io.k8s.api.core.v1.Pod" in whole["definitions"]
    assert "/api/v1/namespaces/{namespace}/pods/{name}" in whole["paths"]


async def test_who_may_do_what(kubectl: Any) -> None:  # noqa: F811
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,configmaps")
    await kubectl("create", "rolebinding", "reader", "--role=reader", "--user=ann")
    assert (await kubectl("auth", "can-i", "list", "pods", "--as=ann")).strip() == "yes"
    assert (await kubectl("auth", "can-i", "create", "pods", "--as=ann", code=None)).out.strip() == "no"
    listed = await kubectl("auth", "can-i", "--list", "--as=ann")
    assert any(line.split()[:1] == ["pods"] and "[get list]" in line for line in listed.splitlines())
    who = await kubectl("auth", "whoami", "--as=bob", "--as-group=team", "--as-uid=7")
    assert "bob" in who
    assert "team" in who
    refused = await kubectl("create", "role", "more", "--verb=delete", "--resource=pods", "--as=ann", code=None)
    assert 'User "ann" cannot create resource "roles"' in refused.err
    await kubectl("create", "rolebinding", "admin", "--clusterrole=edit", "--user=ann")
    await kubectl("create", "role", "keeper", "--verb=create,get", "--resource=roles,rolebindings")
    await kubectl("create", "rolebinding", "keeper", "--role=keeper", "--user=ann")
    await kubectl("create", "role", "fine", "--verb=delete", "--resource=pods", "--as=ann")
    refused = await kubectl(
        "create", "role", "much", "--verb=update", "--resource=resourcequotas", "--as=ann", code=None
    )
    assert "attempting to grant RBAC permissions not currently held" in refused.err
    await kubectl("auth", "reconcile", "-f", "-", stdin=(await kubectl("get", "clusterrole", "view", "-o", "yaml")))


async def test_field_owners(kubectl: Any) -> None:  # noqa: F811
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=MAP % 'a: "1", b: "1"')
    refused = await kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=MAP % 'a: "2"', code=None)
    assert 'conflict with "one": .data.a' in refused.err
    ours = ("--server-side", "--force-conflicts", "--field-manager=two", "-f", "-")
    differs = await kubectl("diff", *ours, stdin=MAP % 'a: "2"', code=None)
    assert (differs.code, '+  a: "2"' in differs.out) == (1, True)
    await kubectl("apply", *ours, stdin=MAP % 'a: "2"')
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=MAP % 'c: "3"')
    assert json.loads(await kubectl("get", "cm", "shared", "-o", "jsonpath={.data}")) == {"a": "2", "c": "3"}
    shown = json.loads(await kubectl("get", "cm", "shared", "-o", "json", "--show-managed-fields"))
    owners = {entry["manager"]: entry["fieldsV1"] for entry in shown["metadata"]["managedFields"]}
    assert owners == {"one": {"f:data": {"f:c": {}}}, "two": {"f:data": {"f:a": {}}}}


@pytest.mark.parametrize(("mode", "code"), [("strict", 1), ("warn", 0), ("ignore", 0)])
async def test_unknown_fields(kubectl: Any, mode: str, code: int) -> None:  # noqa: F811
    done = await kubectl("create", f"--validate={mode}", "-f", "-", stdin=MAP % 'a: "1"' + "nonsense: 1\n", code=None)
    assert done.code == code
    assert ('unknown field "nonsense"' in done.err) == (mode != "ignore")
