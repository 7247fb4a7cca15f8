"""Rights: nobody gives what they do not have, nodes keep to their own, tokens that others can check."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from tests.local.apiserver.test_access import ANN, MAPS, PODS, RBAC, grant, rule
from tests.waiting import eventually

from ketch.kube.errors import BadRequest, Forbidden, NotFound
from ketch.kube.transport import APPLY_PATCH, MERGE_PATCH, Request
from ketch.local.apiserver.auth.identity import ANONYMOUS, AUTHENTICATED, NODES, UserInfo
from ketch.local.apiserver.server import APIServer

ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
USER = {"kind": "User", "name": "ann"}
NODE = UserInfo("system:node:n1", (NODES, AUTHENTICATED))


@pytest.fixture
def as_user(api: APIServer) -> Any:
    async def call(
        user: UserInfo, method: str, path: str, body: Any = None, query: Any = None, kind: str = "application/json"
    ) -> Any:
        return await api.transport(user).request(Request(method, path, query or {}, body, kind))

    return call


async def may_write_roles(ask: Any, *rules: dict[str, Any]) -> None:
    own = rule("create update patch get", "roles rolebindings", "rbac.authorization.k8s.io")
    await grant(ask, [own, *rules], USER, "default")


def a_role(*rules: dict[str, Any], name: str = "r") -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def a_binding(role: str, kind: str = "Role", name: str = "b") -> dict[str, Any]:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    return {"metadata": {"name": name}, "roleRef": reference, "subjects": [{"kind": "User", "name": "bob"}]}


async def test_nobody_grants_more_than_they_hold(ask: Any, as_user: Any) -> None:
    await may_write_roles(ask, rule("get list", "pods"), rule("get", "secrets", resourceNames=["a", "b"]))
    await as_user(ANN, "POST", ROLES, a_role(rule("list", "pods"), rule("get", "secrets", resourceNames=["a"])))
    for number, more in enumerate(
        (
            rule("delete", "pods"),
            rule("*", "pods"),
            rule("get", "pods/log"),
            rule("get", "pods", "apps"),
            rule("get", "secrets"),
            rule("get", "secrets", resourceNames=["c"]),
        )
    ):
        with pytest.raises(Forbidden, match="is attempting to grant RBAC permissions not currently held"):
            await as_user(ANN, "POST", ROLES, a_role(more, name=f"r{number}"))
    with pytest.raises(Forbidden) as caught:
        await as_user(ANN, "PATCH", f"{ROLES}/r", {"rules": [rule("delete", "pods")]}, kind=MERGE_PATCH)
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "ann" (groups=["team" "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'
    )
    await as_user(ANN, "PATCH", f"{ROLES}/r", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE_PATCH)


async def test_who_may_escalate_does(ask: Any, as_user: Any) -> None:
    await may_write_roles(ask, rule("escalate", "roles", "rbac.authorization.k8s.io"))
    await as_user(ANN, "POST", ROLES, a_role(rule("*", "*", "*")))


async def test_nobody_hands_on_more_than_they_hold(ask: Any, as_user: Any) -> None:
    await may_write_roles(ask, rule("get", "pods"))
    await ask("POST", ROLES, a_role(rule("get", "pods"), name="little"))
    await ask("POST", ROLES, a_role(rule("delete", "pods"), name="much"))
    await as_user(ANN, "POST", BINDINGS, a_binding("little"))
    with pytest.raises(Forbidden, match="not currently held"):
        await as_user(ANN, "POST", BINDINGS, a_binding("much", name="c"))
    with pytest.raises(Forbidden, match="not currently held"):
        await as_user(ANN, "POST", BINDINGS, a_binding("cluster-admin", "ClusterRole", name="c"))
    with pytest.raises(NotFound):
        await as_user(ANN, "POST", BINDINGS, a_binding("none", name="c"))
    bind = rule("bind", "roles", "rbac.authorization.k8s.io", resourceNames=["much"])
    await grant(ask, [bind], USER, "default", name="binder")
    await as_user(ANN, "POST", BINDINGS, a_binding("much", name="c"))


async def test_only_who_holds_everything_aggregates(ask: Any, as_user: Any) -> None:
    own = rule("create", "clusterroles", "rbac.authorization.k8s.io")
    await grant(ask, [own], USER)
    selector = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    body = {"metadata": {"name": "sum"}, "aggregationRule": selector}
    with pytest.raises(Forbidden, match="not currently held"):
        await as_user(ANN, "POST", f"{RBAC}/clusterroles", body)


async def test_what_roles_gather_can_be_read(ask: Any) -> None:
    selector = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["one", "two"]}]}
    body = {"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": [selector]}}
    await ask("POST", f"{RBAC}/clusterroles", body)
    for name in ("one", "two", "three"):
        role = {"metadata": {"name": name, "labels": {"tier": name}}, "rules": [rule("get", name)]}
        await ask("POST", f"{RBAC}/clusterroles", role)

    async def gathered() -> list[str]:
        found = await ask("GET", f"{RBAC}/clusterroles/sum")
        return sorted(each["resources"][0] for each in found.get("rules") or ())

    async def both() -> bool:
        return await gathered() == ["one", "two"]

    async def admin_has_it_all() -> bool:
        return bool((await ask("GET", f"{RBAC}/clusterroles/admin")).get("rules"))

    await eventually(both)
    await eventually(admin_has_it_all)


async def test_who_applies_what_is_not_there_must_be_allowed_to_create(ask: Any, as_user: Any) -> None:
    await grant(ask, [rule("patch", "configmaps")], USER, "default")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    query = {"fieldManager": "me"}
    with pytest.raises(Forbidden, match="cannot create resource"):
        await as_user(ANN, "PATCH", f"{MAPS}/a", body, query, APPLY_PATCH)
    await ask("POST", MAPS, {"metadata": {"name": "a"}})
    await as_user(ANN, "PATCH", f"{MAPS}/a", body, query, APPLY_PATCH)


async def test_a_review_says_why(ask: Any, as_user: Any) -> None:
    await grant(ask, [rule("get", "pods")], {"kind": "Group", "name": "team"}, "default")
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}
    answer = await as_user(ANN, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": spec})
    assert answer["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "default/granted" of Role "granted" to Group "team"',
    }
    for wrong in ({}, {**spec, "nonResourceAttributes": {"path": "/", "verb": "get"}}):
        with pytest.raises(BadRequest):
            await as_user(ANN, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": wrong})


# nodes ----------------------------------------------------------------------------------------------------------


async def bound_pod(ask: Any, name: str, node: str) -> dict[str, Any]:
    pod = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "a", "image": "x"}]}}
    return await ask("POST", PODS, pod)


async def test_a_node_keeps_to_its_own(ask: Any, as_user: Any) -> None:
    await ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    mine, other = await bound_pod(ask, "mine", "n1"), await bound_pod(ask, "other", "n2")
    nodes = "/api/v1/nodes"
    await as_user(NODE, "POST", nodes, {"metadata": {"name": "n1"}})
    with pytest.raises(Forbidden, match="is not allowed to modify other nodes"):
        await as_user(NODE, "POST", nodes, {"metadata": {"name": "n2"}})
    status = {"status": {"phase": "Running"}}
    await as_user(NODE, "PATCH", f"{PODS}/mine/status", status, kind=MERGE_PATCH)
    for method, path, body in (
        ("PATCH", f"{PODS}/other/status", status),
        ("DELETE", f"{PODS}/other", None),
        ("GET", f"{PODS}/other", None),
    ):
        with pytest.raises(Forbidden, match="that are bound to it"):
            await as_user(NODE, method, path, body, kind=MERGE_PATCH if body else "application/json")
    with pytest.raises(Forbidden, match="can only list and watch pods of its own node"):
        await as_user(NODE, "GET", "/api/v1/pods")
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    await as_user(NODE, "POST", leases, {"metadata": {"name": "n1"}})
    with pytest.raises(Forbidden, match="lease of its own name"):
        await as_user(NODE, "POST", leases, {"metadata": {"name": "n2"}})
    token = "/api/v1/namespaces/default/serviceaccounts/default/token"

    def asks(pod: dict[str, Any]) -> dict[str, Any]:
        meta = pod["metadata"]
        return {"spec": {"boundObjectRef": {"kind": "Pod", "name": meta["name"], "uid": meta["uid"]}}}

    await as_user(NODE, "POST", token, asks(mine))
    for body in (asks(other), {"spec": {}}):
        with pytest.raises(Forbidden, match="can only request tokens"):
            await as_user(NODE, "POST", token, body)


NAMING = (
    {"volumes": [{"name": "v", "configMap": {"name": "it"}}, {"name": "w", "secret": {"secretName": "it"}}]},
    {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "it"}}, {"secret": {"name": "it"}}]}}]},
    {"envFrom": [{"configMapRef": {"name": "it"}}, {"secretRef": {"name": "it"}}]},
    {
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "it", "key": "a"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "it", "key": "b"}}},
        ]
    },
)


@pytest.mark.parametrize("naming", NAMING, ids=("volumes", "projected", "envFrom", "env"))
async def test_a_node_reads_what_its_pods_name_and_nothing_else(ask: Any, as_user: Any, naming: dict[str, Any]) -> None:
    container = {"name": "a", "image": "x", **{key: naming[key] for key in ("envFrom", "env") if key in naming}}
    spec = {"containers": [container], "volumes": naming.get("volumes", [])}
    await ask("POST", PODS, {"metadata": {"name": "far"}, "spec": {**spec, "nodeName": "n2"}})
    for plural in ("configmaps", "secrets"):
        objects = f"/api/v1/namespaces/default/{plural}"
        for name in ("it", "other"):
            await ask("POST", objects, {"metadata": {"name": name}})
        with pytest.raises(Forbidden, match="no relationship found"):
            await as_user(NODE, "GET", f"{objects}/it")
    await ask("POST", PODS, {"metadata": {"name": "near"}, "spec": {**spec, "nodeName": "n1"}})
    for plural in ("configmaps", "secrets"):
        objects = f"/api/v1/namespaces/default/{plural}"
        await as_user(NODE, "GET", f"{objects}/it")
        listed = await as_user(NODE, "GET", objects, query={"fieldSelector": "metadata.name=it"})
        assert [item["metadata"]["name"] for item in listed["items"]] == ["it"]
        for query in ({}, {"fieldSelector": "metadata.name!=it"}):
            with pytest.raises(Forbidden, match="by their names"):
                await as_user(NODE, "GET", objects, query=query)
        with pytest.raises(Forbidden, match="no relationship found"):
            await as_user(NODE, "GET", f"{objects}/other")
        with pytest.raises(Forbidden, match="by their names"):
            await as_user(NODE, "GET", f"/api/v1/{plural}", query={"fieldSelector": "metadata.name=it"})


async def test_a_node_reads_the_secrets_that_images_are_pulled_with(ask: Any, as_user: Any) -> None:
    await ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "registry"}})
    spec = {
        "containers": [{"name": "a", "image": "x"}],
        "nodeName": "n1",
        "imagePullSecrets": [{"name": "registry"}],
    }
    await ask("POST", PODS, {"metadata": {"name": "a"}, "spec": spec})
    await as_user(NODE, "GET", "/api/v1/namespaces/default/secrets/registry")


# tokens that others can check -----------------------------------------------------------------------------------


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_others_can_check_tokens(ask: Any, as_user: Any) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await ask("POST", accounts, {"metadata": {"name": "runner"}})
    request = {"spec": {"audiences": ["vault"], "expirationSeconds": 600}}
    token = (await ask("POST", f"{accounts}/runner/token", request))["status"]["token"]
    runner = UserInfo("system:serviceaccount:default:runner", ("system:serviceaccounts", AUTHENTICATED))
    about = await as_user(runner, "GET", "/.well-known/openid-configuration")
    assert about["jwks_uri"] == about["issuer"] + "/openid/v1/jwks"
    (key,) = json.loads(await as_user(runner, "GET", "/openid/v1/jwks"))["keys"]
    header, payload, signature = token.split(".")
    assert json.loads(decoded(header))["kid"] == key["kid"]
    claims = json.loads(decoded(payload))
    assert (claims["aud"], claims["iss"], claims["exp"] - claims["iat"]) == (["vault"], about["issuer"], 600)
    x, y = (int.from_bytes(decoded(key[name]), "big") for name in "xy")
    raw = decoded(signature)
    encoded = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    public.verify(encoded, f"{header}.{payload}".encode(), ECDSA(SHA256()))
    with pytest.raises(Forbidden):
        await as_user(ANONYMOUS, "GET", "/openid/v1/jwks")
    review = {"spec": {"token": token, "audiences": ["other", "vault"]}}
    status = (await ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review))["status"]
    assert (status["authenticated"], status["audiences"]) == (True, ["vault"])
    assert status["user"]["extra"]["authentication.kubernetes.io/credential-id"] == [f"JTI={claims['jti']}"]
