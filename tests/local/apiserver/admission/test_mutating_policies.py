"""MutatingAdmissionPolicies: objects changed by expressions."""

from typing import Any

import pytest
from tests.local.apiserver.admission.test_webhooks import MUTATING, Webhook, patch, register, webhook  # noqa: F401
from tests.local.apiserver.conftest import Ask

from ketch.kube.errors import APIError, Invalid
from ketch.kube.transport import APPLY_PATCH, MERGE_PATCH

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/mutatingadmissionpolicies", f"{GROUP}/mutatingadmissionpolicybindings"
PODS, MAPS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/configmaps"
WEB = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "image": "x", "args": ["own"]}]}}


def apply(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def json_patch(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def bound(ask: Ask, *mutations: dict[str, Any], plural: str = "pods", name: str = "p", **spec: Any) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [plural]}
    body = {"matchConstraints": {"resourceRules": [rule]}, "mutations": list(mutations), "reinvocationPolicy": "Never"}
    binding = {"policyName": name, **({"paramRef": spec.pop("paramRef")} if "paramRef" in spec else {})}
    await ask("POST", POLICIES, {"metadata": {"name": name}, "spec": {**body, **spec}})
    await ask("POST", BINDINGS, {"metadata": {"name": name}, "spec": binding})


SIDECAR = """Object{
  metadata: Object.metadata{labels: Object.metadata.labels{`example.com/team`: "red", app: object.metadata.name}},
  spec: Object.spec{
    initContainers: [Object.spec.initContainers{
      name: "mesh", image: "mesh:1", restartPolicy: "Always",
      args: ["--for", object.spec.containers[0].name]
    }]
  }
}"""


async def test_a_sidecar_is_given_to_pods(ask: Ask) -> None:
    once = '!object.spec.?initContainers.orValue([]).exists(each, each.name == "mesh")'
    await bound(ask, apply(SIDECAR), matchConditions=[{"name": "once", "expression": once}])
    made = await ask("POST", PODS, WEB)
    assert made["metadata"]["labels"] == {"example.com/team": "red", "app": "web"}
    (mesh,) = made["spec"]["initContainers"]
    assert (mesh["name"], mesh["args"], mesh["restartPolicy"]) == ("mesh", ["--for", "main"], "Always")
    assert mesh["terminationMessagePolicy"] == "File", "defaulted like any other"
    changed = await ask("PATCH", f"{PODS}/web", {"metadata": {"annotations": {"a": "b"}}}, MERGE_PATCH)
    assert changed["spec"]["initContainers"] == made["spec"]["initContainers"]


async def test_json_patches(ask: Ask) -> None:
    steps = """[
      JSONPatch{op: "test", path: "/data/a", value: "b"},
      JSONPatch{op: "add", path: "/metadata/labels", value: {"x": string(size(object.data))}},
      JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey("c~d"), value: "e"},
      JSONPatch{op: "replace", path: "/data/a", value: "f"}
    ]"""
    await bound(ask, json_patch(steps), plural="configmaps")
    made = await ask("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
    assert made["data"] == {"a": "f", "c~d": "e"}
    assert made["metadata"]["labels"] == {"x": "1"}
    with pytest.raises(Invalid, match="policy 'p' with binding 'p' denied request"):
        await ask("POST", MAPS, {"metadata": {"name": "n"}, "data": {"a": "other"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "o"}, "data": {"a": "b"}}
    applied = await ask("PATCH", f"{MAPS}/o", body, APPLY_PATCH, {"fieldManager": "me"})
    assert applied["data"]["a"] == "f"


async def test_parameters_and_variables(ask: Ask) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "settings"}, "data": {"replicas": "3"}})
    variables = [{"name": "wanted", "expression": "int(params.data.replicas)"}]
    change = apply("Object{metadata: Object.metadata{annotations: {'n': string(variables.wanted + 1)}}}")
    reference = {"name": "settings", "parameterNotFoundAction": "Deny"}
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await bound(ask, change, variables=variables, paramKind=kind, paramRef=reference)
    assert (await ask("POST", PODS, WEB))["metadata"]["annotations"] == {"n": "4"}
    await ask("DELETE", f"{MAPS}/settings")
    with pytest.raises(APIError, match="no params found"):
        await ask("POST", PODS, {**WEB, "metadata": {"name": "other"}})


async def test_who_wants_to_see_what_others_did_does(ask: Ask) -> None:
    count = "Object{metadata: Object.metadata{annotations: {'saw': string(size(object.?data.orValue({})))}}}"
    more = json_patch('[JSONPatch{op: "add", path: "/data/more", value: "x"}]')
    await bound(ask, apply(count), plural="configmaps", name="a", reinvocationPolicy="IfNeeded")
    await bound(ask, more, plural="configmaps", name="b")
    made = await ask("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
    assert made["metadata"]["annotations"] == {"saw": "2"}


async def test_policies_come_before_webhooks(ask: Ask, webhook: Webhook) -> None:  # noqa: F811  # the fixture
    await bound(ask, apply("Object{metadata: Object.metadata{labels: {'a': 'policy'}}}"), plural="configmaps")
    label = patch({"op": "replace", "path": "/metadata/labels/a", "value": "webhook"})
    await register(ask, MUTATING, webhook.hook(label))
    made = await ask("POST", MAPS, {"metadata": {"name": "m"}})
    assert made["metadata"]["labels"] == {"a": "webhook"}


FAILING = [
    (apply("Object{spec: Object.spec{nodeName: object.none.such}}"), "no such key"),
    (apply("Object{metadata: Object.metadata{name: 'other'}}"), "metadata.name: policies must not change it"),
    (apply("Object{spec: Object.spec{containers: [{'image': 'x'}]}}"), "name"),
    (apply("[1]"), "must give an Object"),
    (apply("Object{spec: Object.spec{containers: [{'name': 'main', 'args': ['x']}]}}"), "may not mutate atomic"),
    (json_patch("{'op': 'add'}"), "must give a list of JSONPatch"),
    (json_patch('[JSONPatch{op: "remove", path: "/none"}]'), "no such path"),
]


@pytest.mark.parametrize(("mutation", "words"), FAILING)
async def test_what_fails_refuses_unless_it_is_to_be_ignored(ask: Ask, mutation: dict[str, Any], words: str) -> None:
    await bound(ask, mutation)
    with pytest.raises(Invalid) as refused:
        await ask("POST", PODS, WEB)
    assert words in str(refused.value)
    await ask("PATCH", f"{POLICIES}/p", {"spec": {"failurePolicy": "Ignore"}}, MERGE_PATCH)
    assert (await ask("POST", PODS, WEB))["spec"]["containers"][0]["image"] == "x"


WRONG = [
    ({"mutations": []}, "spec.mutations: Required value"),
    ({"mutations": [{"patchType": "Magic"}]}, "spec.mutations[0].patchType: Unsupported value"),
    ({"mutations": [{"patchType": "JSONPatch"}]}, "spec.mutations[0].jsonPatch.expression: Required value"),
    ({"mutations": [apply("Object{")]}, "spec.mutations[0].applyConfiguration.expression: Invalid value"),
    ({"mutations": [{**apply("Object{}"), **json_patch("[]")}]}, "applyConfiguration: Forbidden"),
    ({"reinvocationPolicy": "Often"}, "spec.reinvocationPolicy: Unsupported value"),
    ({"matchConstraints": None}, "spec.matchConstraints: Required value"),
]


@pytest.mark.parametrize(("spec", "words"), WRONG)
async def test_what_is_no_policy(ask: Ask, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as refused:
        await bound(ask, *spec.pop("mutations", [apply("Object{}")]), **spec)
    assert words in str(refused.value)
