"""ValidatingAdmissionPolicies: expressions that judge writes."""

from typing import Any

import pytest

from ketch.kube.errors import Forbidden, Invalid
from ketch.kube.transport import MERGE_PATCH

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/validatingadmissionpolicies", f"{GROUP}/validatingadmissionpolicybindings"
MAPS = "/api/v1/namespaces/default/configmaps"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}


def a_policy(*validations: dict[str, Any], **spec: Any) -> dict[str, Any]:
    constraints = {"resourceRules": [RULE]}
    return {
        "metadata": {"name": "rules"},
        "spec": {"matchConstraints": constraints, "validations": list(validations), **spec},
    }


def a_binding(*actions: str, **spec: Any) -> dict[str, Any]:
    body = {"policyName": "rules", "validationActions": list(actions or ("Deny",)), **spec}
    return {"metadata": {"name": "bound"}, "spec": body}


def a_map(name: str = "m", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


async def test_a_policy_refuses_once_it_is_bound(ask: Any) -> None:
    await ask("POST", POLICIES, a_policy({"expression": "size(object.data) <= 1"}))
    await ask("POST", MAPS, a_map("before", a="1", b="2"))
    await ask("POST", BINDINGS, a_binding())
    with pytest.raises(Invalid) as caught:
        await ask("POST", MAPS, a_map(a="1", b="2"))
    assert caught.value.message == (
        "configmaps \"m\" is invalid: ValidatingAdmissionPolicy 'rules' with binding 'bound' denied request: "
        "failed expression: size(object.data) <= 1"
    )
    await ask("POST", MAPS, a_map(a="1"))
    await ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})


async def test_words_variables_and_conditions(ask: Any) -> None:
    policy = a_policy(
        {
            "expression": "variables.short && !variables.grew",
            "messageExpression": "'keys: ' + variables.keys.join(',')",
            "reason": "Forbidden",
        },
        variables=[
            {"name": "keys", "expression": "object.data.map(k, k)"},
            {"name": "short", "expression": "variables.keys.all(k, k.size() < 3)"},
            {"name": "grew", "expression": "oldObject != null && size(object.data) > size(oldObject.data)"},
        ],
        matchConditions=[{"name": "not special", "expression": "object.metadata.name != 'special'"}],
    )
    await ask("POST", POLICIES, policy)
    await ask("POST", BINDINGS, a_binding())
    with pytest.raises(Forbidden, match="keys: long"):
        await ask("POST", MAPS, a_map(long="1"))
    await ask("POST", MAPS, a_map("special", long="1"))
    await ask("POST", MAPS, a_map(a="1"))
    with pytest.raises(Forbidden, match="keys: a,b"):
        await ask("PATCH", f"{MAPS}/m", {"data": {"b": "2"}}, content_type=MERGE_PATCH)


async def test_parameters(ask: Any) -> None:
    policy = a_policy(
        {"expression": "size(object.data) <= int(params.data.most)"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
    )
    policy["spec"]["matchConditions"] = [{"name": "no params", "expression": "!has(object.data.most)"}]
    await ask("POST", POLICIES, policy)
    await ask("POST", BINDINGS, a_binding(paramRef={"name": "limits", "parameterNotFoundAction": "Deny"}))
    with pytest.raises(Invalid, match="no params found"):
        await ask("POST", MAPS, a_map(a="1"))
    await ask("POST", MAPS, a_map("limits", most="1"))
    await ask("POST", MAPS, a_map(a="1"))
    with pytest.raises(Invalid, match="failed expression"):
        await ask("POST", MAPS, a_map("n", a="1", b="2"))


async def test_a_policy_that_cannot_be_asked(ask: Any) -> None:
    await ask("POST", POLICIES, a_policy({"expression": "object.data.missing == '1'"}))
    await ask("POST", BINDINGS, a_binding())
    with pytest.raises(Invalid, match="resulted in error: no such key: missing"):
        await ask("POST", MAPS, a_map(a="1"))
    await ask("PATCH", f"{POLICIES}/rules", {"spec": {"failurePolicy": "Ignore"}}, content_type=MERGE_PATCH)
    await ask("POST", MAPS, a_map(a="1"))


async def test_a_binding_narrows(ask: Any) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "free", "labels": {"mode": "free"}}})
    await ask("POST", POLICIES, a_policy({"expression": "false"}))
    selector = {"matchExpressions": [{"key": "mode", "operator": "NotIn", "values": ["free"]}]}
    await ask("POST", BINDINGS, a_binding(matchResources={"namespaceSelector": selector}))
    with pytest.raises(Invalid):
        await ask("POST", MAPS, a_map())
    await ask("POST", MAPS.replace("default", "free"), a_map())


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param(
            {"validations": [{"expression": "object."}]}, "spec.validations[0].expression", id="no expression"
        ),
        pytest.param({"validations": [{"expression": "'a'"}]}, "spec.validations[0].expression", id="no yes and no no"),
        pytest.param({"validations": []}, "spec.validations", id="nothing to judge by"),
        pytest.param({"matchConstraints": {}}, "spec.matchConstraints", id="about nothing"),
        pytest.param({"failurePolicy": "Perhaps"}, "spec.failurePolicy", id="undecided"),
    ],
)
async def test_a_policy_is_refused_for(ask: Any, spec: dict[str, Any], field: str) -> None:
    policy = a_policy({"expression": "true"})
    with pytest.raises(Invalid) as caught:
        await ask("POST", POLICIES, {**policy, "spec": {**policy["spec"], **spec}})
    assert field in caught.value.causes[0].field
