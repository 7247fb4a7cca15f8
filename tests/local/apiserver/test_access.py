"""Who may do what: RBAC, tokens, reviews."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ketch.kube.errors import BadRequest, Forbidden, Invalid, NotFound
from ketch.kube.transport import MERGE_PATCH, Request
from ketch.local.apiserver.auth.identity import ANONYMOUS, AUTHENTICATED, NODES, UserInfo
from ketch.local.apiserver.auth.pki import Authority
from ketch.local.apiserver.auth.tokens import TokenError, Tokens
from ketch.local.apiserver.server import APIServer

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ANN = UserInfo("ann", ("team", AUTHENTICATED))


class WindingClock:
    """A clock that the test winds."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def as_user(api: APIServer) -> Any:
    async def call(user: UserInfo, method: str, path: str, body: Any = None, query: Any = None) -> Any:
        return await api.transport(user).request(Request(method, path, query or {}, body))

    return call


async def grant(
    ask: Any, rules: list[Any], subject: dict[str, str], namespace: str = "", name: str = "granted"
) -> None:
    scope = f"/namespaces/{namespace}" if namespace else ""
    kind, plural = ("Role", "roles") if namespace else ("ClusterRole", "clusterroles")
    await ask("POST", f"{RBAC}{scope}/{plural}", {"metadata": {"name": name}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    bindings = f"{RBAC}{scope}/{'rolebindings' if namespace else 'clusterrolebindings'}"
    await ask("POST", bindings, {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})


def rule(verbs: str, resources: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split(), **more}


async def test_without_a_role_nothing_is_allowed(as_user: Any) -> None:
    with pytest.raises(Forbidden) as caught:
        await as_user(ANN, "GET", MAPS)
    assert caught.value.message == (
        'configmaps is forbidden: User "ann" cannot list resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    with pytest.raises(Forbidden, match=r'nodes "n" is forbidden.* at the cluster scope'):
        await as_user(ANN, "DELETE", "/api/v1/nodes/n")


@pytest.mark.parametrize(
    "subject", [{"kind": "User", "name": "ann"}, {"kind": "Group", "name": "team"}], ids=["user", "group"]
)
async def test_a_role_holds_in_its_namespace(ask: Any, as_user: Any, subject: dict[str, str]) -> None:
    await grant(ask, [rule("get list", "configmaps")], subject, "default")
    await as_user(ANN, "GET", MAPS)
    for method, path in (("POST", MAPS), ("GET", MAPS.replace("default", "kubeflow")), ("GET", PODS)):
        with pytest.raises(Forbidden):
            await as_user(ANN, method, path, {"metadata": {"name": "a"}})
    with pytest.raises(Forbidden):
        await as_user(ANN, "GET", "/api/v1/configmaps")


async def test_a_cluster_role_holds_everywhere_until_it_is_withdrawn(ask: Any, as_user: Any) -> None:
    await grant(ask, [rule("*", "configmaps")], {"kind": "User", "name": "ann"})
    await as_user(ANN, "POST", MAPS, {"metadata": {"name": "a"}})
    await as_user(ANN, "GET", "/api/v1/configmaps")
    await ask("DELETE", f"{RBAC}/clusterrolebindings/granted")
    with pytest.raises(Forbidden):
        await as_user(ANN, "GET", MAPS)


async def test_rules_about_names_and_subresources(ask: Any, as_user: Any) -> None:
    rules = [rule("get", "configmaps", resourceNames=["a"]), rule("get", "pods/log")]
    await grant(ask, rules, {"kind": "User", "name": "ann"}, "default")
    with pytest.raises(NotFound):
        await as_user(ANN, "GET", f"{MAPS}/a")
    with pytest.raises(NotFound):
        await as_user(ANN, "GET", f"{PODS}/p/log")
    for path in (f"{MAPS}/b", f"{PODS}/p"):
        with pytest.raises(Forbidden):
            await as_user(ANN, "GET", path)


async def test_a_service_account_is_bound_by_name(ask: Any, as_user: Any) -> None:
    subject = {"kind": "ServiceAccount", "name": "runner", "namespace": "default"}
    await grant(ask, [rule("list", "pods")], subject, "default")
    await as_user(UserInfo("system:serviceaccount:default:runner"), "GET", PODS)
    with pytest.raises(Forbidden):
        await as_user(UserInfo("system:serviceaccount:kubeflow:runner"), "GET", PODS)


async def test_aggregated_roles_grow(ask: Any, as_user: Any) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subject = {"kind": "User", "name": "ann"}
    body = {"metadata": {"name": "v"}, "roleRef": reference, "subjects": [subject]}
    await ask("POST", f"{RBAC}/namespaces/default/rolebindings", body)
    await as_user(ANN, "GET", PODS)
    leases = "/apis/example.com/v1/namespaces/default/trains"
    with pytest.raises(Forbidden):
        await as_user(ANN, "GET", leases)
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    extra = {"metadata": {"name": "more", "labels": labels}, "rules": [rule("list", "trains", "example.com")]}
    await ask("POST", f"{RBAC}/clusterroles", extra)
    with pytest.raises(NotFound):
        await as_user(ANN, "GET", leases)


async def test_a_binding_keeps_its_role(ask: Any) -> None:
    await grant(ask, [rule("get", "pods")], {"kind": "User", "name": "ann"}, "default")
    change = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}}
    with pytest.raises(Invalid, match="cannot change roleRef"):
        await ask("PATCH", f"{RBAC}/namespaces/default/rolebindings/granted", change, MERGE_PATCH)


async def test_what_everybody_may_see(as_user: Any) -> None:
    assert (await as_user(ANONYMOUS, "GET", "/version"))["major"] == "1"
    assert await as_user(ANONYMOUS, "GET", "/readyz") == "ok"
    await as_user(ANN, "GET", "/apis")
    for path in ("/api", "/openapi/v3", "/metrics"):
        with pytest.raises(Forbidden, match='User "system:anonymous" cannot get path'):
            await as_user(ANONYMOUS, "GET", path)


async def test_a_node_sees_pods_and_changes_no_others_objects(as_user: Any) -> None:
    node = UserInfo("system:node:n1", (NODES, AUTHENTICATED))
    await as_user(node, "GET", "/api/v1/pods", query={"fieldSelector": "spec.nodeName=n1"})
    for method, path in (("POST", PODS), ("DELETE", MAPS), ("POST", f"{RBAC}/clusterrolebindings")):
        with pytest.raises(Forbidden):
            await as_user(node, method, path, {})


async def test_reviews(ask: Any, as_user: Any) -> None:
    await grant(ask, [rule("get", "pods")], {"kind": "User", "name": "ann"}, "default")
    own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    async def allowed(user: UserInfo, **asked: str) -> bool:
        answer = await as_user(user, "POST", own, {"spec": {"resourceAttributes": {"namespace": "default", **asked}}})
        return answer["status"]["allowed"]

    assert await allowed(ANN, verb="get", resource="pods")
    assert not await allowed(ANN, verb="delete", resource="pods")
    rules = await as_user(
        ANN, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}
    )
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in rules["status"]["resourceRules"]
    who = await as_user(ANN, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert who["status"]["userInfo"] == {"username": "ann", "groups": ["team", AUTHENTICATED]}
    asked = {"spec": {"user": "ann", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
    review = await ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", asked)
    assert review["status"]["allowed"] is True
    local = "/apis/authorization.k8s.io/v1/namespaces/kubeflow/localsubjectaccessreviews"
    del asked["spec"]["resourceAttributes"]["namespace"]
    assert (await ask("POST", local, asked))["status"]["allowed"] is False
    with pytest.raises(BadRequest):
        await ask("POST", own, [])


# tokens ---------------------------------------------------------------------------------------------------------

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


async def token_of(ask: Any, **spec: Any) -> str:
    return (await ask("POST", f"{ACCOUNTS}/runner/token", {"spec": spec}))["status"]["token"]


async def review(ask: Any, token: str, **spec: Any) -> dict[str, Any]:
    body = {"spec": {"token": token, **spec}}
    return (await ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body))["status"]


async def test_a_token_is_its_account_until_that_is_gone(ask: Any) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "runner"}})
    token = await token_of(ask)
    status = await review(ask, token)
    assert status["user"]["username"] == "system:serviceaccount:default:runner"
    assert "system:serviceaccounts:default" in status["user"]["groups"]
    await ask("DELETE", f"{ACCOUNTS}/runner")
    await ask("POST", ACCOUNTS, {"metadata": {"name": "runner"}})
    assert (await review(ask, token))["authenticated"] is False


async def test_a_bound_token_ends_with_its_pod(ask: Any) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "runner"}})
    await ask("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "x"}]}})
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    token = await token_of(ask, boundObjectRef=bound)
    status = await review(ask, token)
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    await ask("DELETE", f"{PODS}/p")
    assert (await review(ask, token))["authenticated"] is False
    with pytest.raises(NotFound):
        await token_of(ask, boundObjectRef=bound)


async def test_audiences_and_lifetimes(ask: Any) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "runner"}})
    token = await token_of(ask, audiences=["vault"])
    assert (await review(ask, token))["authenticated"] is False
    assert (await review(ask, token, audiences=["vault"]))["authenticated"] is True


def test_tokens_expire_and_cannot_be_forged(tmp_path: Path) -> None:
    clock = WindingClock()
    account = {"metadata": {"namespace": "default", "name": "runner", "uid": "1"}}
    signer, other = Authority(tmp_path / "a", clock), Authority(tmp_path / "b", clock)
    tokens = Tokens(signer.signing_key, clock, lambda *_: account)
    token, expires = tokens.mint(account, (), 600)
    assert expires == clock.now().timestamp() + 600
    assert tokens.authenticate(token).name == "system:serviceaccount:default:runner"
    foreign, _ = Tokens(other.signing_key, clock, lambda *_: account).mint(account, (), 600)
    header, payload, signature = token.split(".")
    for bad in (
        foreign,
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload[:-2]}AA.{signature}",
        "x",
        "",
    ):
        with pytest.raises(TokenError):
            tokens.authenticate(bad)
    clock.time += timedelta(seconds=601)
    with pytest.raises(TokenError, match="expired"):
        tokens.authenticate(token)


def test_certificates_are_kept_renewed_and_private(tmp_path: Path) -> None:
    clock = WindingClock()
    first = Authority(tmp_path, clock).server_pair()[0].read_bytes()
    assert Authority(tmp_path, clock).server_pair()[0].read_bytes() == first
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    clock.time += timedelta(days=3649)
    assert Authority(tmp_path, clock).server_pair()[0].read_bytes() != first


async def test_a_token_tells_of_the_node_and_may_live_with_one(ask: Any) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "runner"}})
    node = await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    spec = {"nodeName": "n1", "containers": [{"name": "main", "image": "x"}]}
    await ask("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
    token = await token_of(ask, boundObjectRef={"kind": "Pod", "name": "p"})
    user = (await review(ask, token))["user"]
    assert user["extra"]["authentication.kubernetes.io/node-name"] == ["n1"]
    assert user["extra"]["authentication.kubernetes.io/node-uid"] == [node["metadata"]["uid"]]
    alone = await token_of(ask, boundObjectRef={"kind": "Node", "name": "n1"})
    await ask("DELETE", "/api/v1/nodes/n1")
    assert (await review(ask, token))["authenticated"] is True
    assert (await review(ask, alone))["authenticated"] is False


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"expirationSeconds": 60}, "spec.expirationSeconds: Invalid value: 60: may not specify a duration less"),
        ({"expirationSeconds": 1 << 40}, "may not specify a duration longer"),
        ({"boundObjectRef": {"kind": "Job", "name": "x"}}, "spec.boundObjectRef.kind: Unsupported value"),
        ({"boundObjectRef": {"kind": "Pod"}}, "spec.boundObjectRef.name: Required value"),
    ],
)
async def test_what_is_no_request_for_a_token(ask: Any, spec: dict[str, Any], words: str) -> None:
    await ask("POST", ACCOUNTS, {"metadata": {"name": "runner"}})
    with pytest.raises(Invalid) as refused:
        await token_of(ask, **spec)
    assert words in str(refused.value)
