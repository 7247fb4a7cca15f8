"""Custom resources of several versions, converted by a webhook."""

import asyncio
from typing import Any

import pytest
from tests.local.apiserver.admission.test_webhooks import VALIDATING, Webhook, allow, register, webhook  # noqa: F401
from tests.local.apiserver.conftest import Ask
from tests.waiting import eventually

from ketch.kube.errors import APIError, InternalError, Invalid
from ketch.kube.transport import APPLY_PATCH, MERGE_PATCH, Request

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1, V2 = (f"/apis/example.com/{version}/namespaces/default/hosts" for version in ("v1", "v2"))
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """v1 has ``spec.hostPort: "a:1"``, v2 ``spec.host`` and ``spec.port``."""
    made: list[dict[str, Any]] = []
    for obj in request["objects"]:
        spec = dict(obj.get("spec") or {})
        if request["desiredAPIVersion"].endswith("/v2"):
            host, _, port = spec.pop("hostPort", ":0").partition(":")
            spec |= {"host": host, "port": int(port)}
        else:
            spec["hostPort"] = f"{spec.pop('host', '')}:{spec.pop('port', 0)}"
        made.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
    return {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": made}


def version(name: str, properties: dict[str, Any], *, storage: bool = False) -> dict[str, Any]:
    spec = {"type": "object", "properties": {**properties, "replicas": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": OPEN}}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }


def definition(client: dict[str, Any], stored: str = "v1") -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "integer"}
    told = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    return {
        "metadata": {"name": "hosts.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "hosts", "singular": "host", "kind": "Host"},
            "conversion": {"strategy": "Webhook", "webhook": told},
            "versions": [
                version("v1", {"hostPort": text}, storage=stored == "v1"),
                version("v2", {"host": text, "port": {**number, "maximum": 99}}, storage=stored == "v2"),
            ],
        },
    }


@pytest.fixture
async def hosts(ask: Ask, webhook: Webhook) -> Webhook:  # noqa: F811  # the fixture
    """Hosts are served in two versions."""
    webhook.reply["/convert"] = convert
    await ask("POST", DEFINITIONS, definition(webhook.client("/convert")))
    return webhook


def old(name: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Host", "metadata": {"name": name}, "spec": {"hostPort": text}}


def new(name: str, host: str, port: int) -> dict[str, Any]:
    spec = {"host": host, "port": port}
    return {"apiVersion": "example.com/v2", "kind": "Host", "metadata": {"name": name}, "spec": spec}


async def test_each_reads_and_writes_in_its_own_version(ask: Ask, hosts: Webhook) -> None:
    made = await ask("POST", V1, old("a", "a.org:1"))
    assert not hosts.asked, "what is kept as it was written needs nobody"
    read = await ask("GET", f"{V2}/a")
    assert (read["apiVersion"], read["spec"]) == ("example.com/v2", {"host": "a.org", "port": 1})
    assert read["metadata"] == made["metadata"]
    made = await ask("POST", V2, new("b", "b.org", 2))
    assert (made["apiVersion"], made["spec"]["port"]) == ("example.com/v2", 2)
    assert made["metadata"]["resourceVersion"]
    assert (await ask("GET", f"{V1}/b"))["spec"] == {"hostPort": "b.org:2"}
    changed = await ask("PATCH", f"{V2}/a", {"spec": {"port": 3}}, MERGE_PATCH)
    assert changed["spec"] == {"host": "a.org", "port": 3}
    assert (await ask("GET", f"{V1}/a"))["spec"] == {"hostPort": "a.org:3"}
    applied = await ask("PATCH", f"{V2}/b", new("b", "c.org", 4), APPLY_PATCH, {"fieldManager": "x", "force": "true"})
    assert applied["spec"] == {"host": "c.org", "port": 4}
    status = await ask("PATCH", f"{V2}/b/status", {"status": {"replicas": 7}}, MERGE_PATCH)
    assert (status["apiVersion"], status["status"]["replicas"]) == ("example.com/v2", 7)
    scaled = await ask("PATCH", f"{V2}/b/scale", {"spec": {"replicas": 5}}, MERGE_PATCH)
    assert (scaled["spec"]["replicas"], scaled["status"]["replicas"]) == (5, 7)
    with pytest.raises(Invalid, match=r"spec\.port"):
        await ask("PATCH", f"{V2}/a", {"spec": {"port": 100}}, MERGE_PATCH)
    listed = await ask("GET", V2)
    assert [each["spec"]["host"] for each in listed["items"]] == ["a.org", "c.org"]
    assert {each["apiVersion"] for each in listed["items"]} == {"example.com/v2"}
    assert len(hosts.asked[-1][1]["objects"]) == 2, "a list is asked for at once"


async def test_a_watch_tells_in_its_own_version(ask: Ask, served: Any, hosts: Webhook) -> None:
    await ask("POST", V1, old("a", "a.org:1"))
    async with served.api.transport().watch(
        Request(
            "GET",
            V2,
            {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"},
        )
    ) as events:
        await ask("POST", V1, old("b", "b.org:2"))
        await ask("DELETE", f"{V1}/a")
        seen: list[tuple[str, Any]] = []
        async with asyncio.timeout(60):
            async for event in events:
                seen.append((event["type"], event["object"].get("spec")))
                assert event["object"]["apiVersion"] == "example.com/v2"
                if event["type"] == "DELETED":
                    break
    assert seen == [
        ("ADDED", {"host": "a.org", "port": 1}),
        ("BOOKMARK", None),
        ("ADDED", {"host": "b.org", "port": 2}),
        ("DELETED", {"host": "a.org", "port": 1}),
    ]


async def test_objects_move_when_another_version_is_kept(ask: Ask, hosts: Webhook) -> None:
    await ask("POST", V1, old("a", "a.org:1"))
    await ask("PATCH", f"{DEFINITIONS}/hosts.example.com", definition(hosts.client("/convert"), "v2"), MERGE_PATCH)
    found = await ask("GET", f"{DEFINITIONS}/hosts.example.com")
    assert found["status"]["storedVersions"] == ["v1", "v2"]
    before = await ask("GET", f"{V1}/a")
    assert (await ask("GET", f"{V2}/a"))["spec"] == {"host": "a.org", "port": 1}
    after = await ask("PUT", f"{V1}/a", before)
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"], "it is kept anew"
    hosts.asked.clear()
    assert (await ask("GET", f"{V2}/a"))["spec"] == {"host": "a.org", "port": 1}
    assert not hosts.asked
    again = await ask("PUT", f"{V1}/a", after)
    assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    listed = {**found["status"], "storedVersions": ["v2"]}
    await ask("PATCH", f"{DEFINITIONS}/hosts.example.com/status", {"status": listed}, MERGE_PATCH)
    assert (await ask("GET", f"{DEFINITIONS}/hosts.example.com"))["status"]["storedVersions"] == ["v2"]
    assert (await ask("GET", f"{V1}/a"))["spec"] == {"hostPort": "a.org:1"}


async def test_admission_sees_the_version_that_it_asks_for(ask: Ask, hosts: Webhook) -> None:
    rule = {"apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["hosts"], "operations": ["*"]}
    await register(ask, VALIDATING, hosts.hook(allow, rules=[rule]))
    await ask("POST", V1, old("a", "a.org:1"))
    request = next(each for path, each in hosts.asked if path == "/")
    assert (request["object"]["spec"], request["kind"]["version"]) == ({"host": "a.org", "port": 1}, "v2")
    assert request["requestKind"]["version"] == "v1"


def answering(**changes: Any) -> Any:
    return lambda request: {**convert(request), **changes}


def meddling(request: dict[str, Any]) -> dict[str, Any]:
    answer = convert(request)
    answer["convertedObjects"][0]["metadata"] = {**answer["convertedObjects"][0]["metadata"], "name": "other"}
    return answer


BROKEN = [
    (answering(result={"status": "Failure", "message": "not today"}), "not today"),
    (answering(uid="no"), "expected response.uid"),
    (answering(convertedObjects=[]), "returned 0 objects, expected 1"),
    (answering(convertedObjects=[{"apiVersion": "example.com/v1", "kind": "Host", "metadata": {}}]), "has apiVersion"),
    (meddling, "another metadata.name"),
]


@pytest.mark.parametrize(("reply", "words"), BROKEN)
async def test_what_a_webhook_may_not_answer(ask: Ask, hosts: Webhook, reply: Any, words: str) -> None:
    await ask("POST", V1, old("a", "a.org:1"))
    hosts.reply["/convert"] = reply
    for method, path, body in (("GET", f"{V2}/a", None), ("GET", V2, None), ("PUT", f"{V2}/a", new("a", "b", 1))):
        with pytest.raises(InternalError, match=r"conversion webhook for example\.com/v1, Kind=Host failed") as failed:
            await ask(method, path, body)
        assert words in str(failed.value)
    assert (await ask("GET", f"{V1}/a"))["spec"] == {"hostPort": "a.org:1"}


async def test_labels_may_change_but_nothing_else_of_the_metadata(ask: Ask, hosts: Webhook) -> None:
    made = await ask("POST", V1, old("a", "a.org:1"))

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        answer = convert(request)
        for each in answer["convertedObjects"]:
            each["metadata"] = {"name": "a", "labels": {"from": "webhook"}}
        return answer

    hosts.reply["/convert"] = reply
    meta = (await ask("GET", f"{V2}/a"))["metadata"]
    assert meta == {**made["metadata"], "labels": {"from": "webhook"}}


async def test_nobody_there(ask: Ask, hosts: Webhook) -> None:
    await ask("POST", V1, old("a", "a.org:1"))
    service = {"service": {"namespace": "default", "name": "none"}}
    changed = definition({**service, "url": None, "caBundle": None})
    await ask("PATCH", f"{DEFINITIONS}/hosts.example.com", changed, MERGE_PATCH)
    with pytest.raises(InternalError, match='service "none" not found'):
        await ask("GET", f"{V2}/a")
    await ask("DELETE", f"{DEFINITIONS}/hosts.example.com")

    async def gone() -> bool:
        try:
            await ask("GET", f"{DEFINITIONS}/hosts.example.com")
        except APIError as error:
            return error.http_code == 404
        return False

    await eventually(gone)


WRONG = [
    ({"strategy": "Webhook"}, "spec.conversion.webhook.clientConfig: Required value"),
    ({"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}, "spec.conversion.webhook: Forbidden"),
    (
        {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "http://x"}, "conversionReviewVersions": ["v1"]}},
        "clientConfig.url",
    ),
    (
        {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v2"]}},
        "must include v1",
    ),
]


@pytest.mark.parametrize(("conversion", "words"), WRONG)
async def test_what_is_no_conversion(ask: Ask, conversion: dict[str, Any], words: str) -> None:
    body = definition({"url": "https://x"})
    body["spec"]["conversion"] = conversion
    with pytest.raises(Invalid) as refused:
        await ask("POST", DEFINITIONS, body)
    assert words in str(refused.value)
