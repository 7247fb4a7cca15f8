"""Server-side apply: ownership, conflicts, pruning, and that an unchanged apply writes nothing."""

import json
from typing import Any

import pytest

from ketch.kube.errors import BadRequest, Conflict, NotFound
from ketch.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH

MAP = "/api/v1/namespaces/default/configmaps/a"
WEB = "/apis/apps/v1/namespaces/default/deployments/web"


def container(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "python:3.11", **fields}


def web(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": list(containers)}}
    return {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}}


@pytest.fixture
def apply(ask: Any) -> Any:
    async def call(path: str, body: Any, manager: str, *, force: bool = False) -> Any:
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        return await ask("PATCH", path, body, APPLY_PATCH, query)

    return call


async def test_apply_creates_then_changes(apply: Any) -> None:
    made = await apply(MAP, {"data": {"x": "1"}}, "one")
    assert made["data"] == {"x": "1"}
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:x": {}}}
    changed = await apply(MAP, {"data": {"x": "2"}}, "one")
    assert changed["data"] == {"x": "2"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_an_unchanged_apply_writes_nothing(apply: Any, ask: Any) -> None:
    body = web(container("a", ports=[{"containerPort": 80}]), replicas=2)
    made = await apply(WEB, body, "one")
    assert await apply(WEB, body, "one") == made
    await ask("PATCH", f"{WEB}/status", {"status": {"replicas": 2}}, MERGE_PATCH)
    reported = await ask("GET", WEB)
    assert await apply(WEB, body, "one") == reported


async def test_what_is_no_longer_applied_goes(apply: Any) -> None:
    await apply(MAP, {"data": {"x": "1", "y": "2"}}, "one")
    assert (await apply(MAP, {"data": {"y": "2"}}, "one"))["data"] == {"y": "2"}


async def test_what_another_owns_stays(apply: Any) -> None:
    await apply(MAP, {"data": {"x": "1", "y": "2"}}, "one")
    await apply(MAP, {"data": {"y": "2", "z": "3"}}, "two")
    assert (await apply(MAP, {}, "one"))["data"] == {"y": "2", "z": "3"}


async def test_a_conflict_names_owner_and_fields_and_force_takes_over(apply: Any) -> None:
    await apply(MAP, {"data": {"x": "1", "y": "1"}}, "one")
    with pytest.raises(Conflict, match="Apply failed with 2 conflicts") as caught:
        await apply(MAP, {"data": {"x": "2", "y": "2"}}, "two")
    assert [cause.field for cause in caught.value.causes] == [".data.x", ".data.y"]
    assert caught.value.causes[0].reason == "FieldManagerConflict"
    assert caught.value.causes[0].message == 'conflict with "one"'
    taken = await apply(MAP, {"data": {"x": "2", "y": "2"}}, "two", force=True)
    assert {item["manager"] for item in taken["metadata"]["managedFields"]} == {"two"}
    with pytest.raises(Conflict):
        await apply(MAP, {"data": {"x": "1"}}, "one")


async def test_the_same_value_is_shared(apply: Any) -> None:
    await apply(MAP, {"data": {"x": "1"}}, "one")
    shared = await apply(MAP, {"data": {"x": "1"}}, "two")
    assert {item["manager"] for item in shared["metadata"]["managedFields"]} == {"one", "two"}


async def test_an_update_takes_what_it_changes(apply: Any, ask: Any) -> None:
    await apply(MAP, {"data": {"x": "1"}}, "one")
    await ask("PATCH", MAP, {"data": {"x": "2"}}, MERGE_PATCH, {"fieldManager": "editor"})
    with pytest.raises(Conflict, match='conflict with "editor"'):
        await apply(MAP, {"data": {"x": "1"}}, "one")


async def test_elements_of_keyed_lists_have_owners_of_their_own(apply: Any) -> None:
    await apply(WEB, web(container("a")), "one")
    both = await apply(WEB, web(container("b")), "two")
    names = [each["name"] for each in both["spec"]["template"]["spec"]["containers"]]
    assert names == ["a", "b"]
    changed = await apply(WEB, web(container("b", env=[{"name": "X", "value": "1"}])), "two")
    assert changed["spec"]["template"]["spec"]["containers"][1]["env"] == [{"name": "X", "value": "1"}]
    left = await apply(WEB, web(container("a")), "two", force=True)
    assert [each["name"] for each in left["spec"]["template"]["spec"]["containers"]] == ["a"]


async def test_defaults_are_nobodys_conflict(apply: Any) -> None:
    made = await apply(WEB, web(container("a")), "one")
    assert made["spec"]["replicas"] == 1
    scaled = await apply(WEB, {"spec": {"replicas": 3}}, "scaler")
    assert scaled["spec"]["replicas"] == 3
    assert (await apply(WEB, web(container("a")), "one"))["spec"]["replicas"] == 3


async def test_status_is_applied_apart(apply: Any) -> None:
    await apply(WEB, {**web(container("a")), "status": {"replicas": 9}}, "one")
    reported = await apply(f"{WEB}/status", {"status": {"replicas": 2}}, "reporter")
    assert reported["status"]["replicas"] == 2
    again = await apply(WEB, {**web(container("a")), "status": {"replicas": 9}}, "one")
    assert again["status"]["replicas"] == 2
    assert await apply(f"{WEB}/status", {"status": {"replicas": 2}}, "reporter") == again
    managers = {(item["manager"], item.get("subresource", "")) for item in again["metadata"]["managedFields"]}
    assert managers == {("one", ""), ("reporter", "status")}


async def test_bad_applies(apply: Any, ask: Any) -> None:
    with pytest.raises(BadRequest, match="fieldManager: Required value"):
        await ask("PATCH", MAP, {"data": {}}, APPLY_PATCH)
    with pytest.raises(BadRequest, match="must be a ConfigMap object"):
        await apply(MAP, [], "one")
    with pytest.raises(BadRequest, match="managedFields must be nil"):
        await apply(MAP, {"metadata": {"managedFields": [{}]}}, "one")
    with pytest.raises(NotFound):
        await apply(f"{WEB}/status", {"status": {}}, "one")
    with pytest.raises(Conflict):
        await apply(MAP, {"metadata": {"uid": "other"}}, "one")


async def test_client_side_apply_hands_over_to_server_side(apply: Any, ask: Any) -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    body = {"metadata": {"name": "a", "annotations": {last: "{}"}}, "data": {"x": "1", "y": "2"}}
    collection = MAP.rpartition("/")[0]
    await ask("POST", collection, body, query={"fieldManager": "kubectl-client-side-apply"})
    with pytest.raises(Conflict):
        await apply(MAP, {"data": {"x": "3"}}, "another")
    taken = await apply(MAP, {"data": {"x": "3"}}, "kubectl")
    assert taken["data"] == {"x": "3", "y": "2"}
    assert json.loads(taken["metadata"]["annotations"][last])["data"] == {"x": "3"}
    mine = [item for item in taken["metadata"]["managedFields"] if item["manager"] == "kubectl"]
    mine[0]["fieldsV1"]["f:data"]["f:y"] = {}
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": mine}]
    await ask("PATCH", MAP, patch, JSON_PATCH)
    assert (await apply(MAP, {"data": {"x": "3"}}, "kubectl"))["data"] == {"x": "3"}


SHIPS = "/apis/example.com/v1/namespaces/default/ships"
STRINGS = {"type": "array", "items": {"type": "string"}}
KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
    "items": {
        "type": "object",
        "required": ["k"],
        "properties": {"k": {"type": "string"}, "v": {"type": "string"}, "d": {"type": "string", "default": "z"}},
    },
}
SHIP = {
    "tags": {**STRINGS, "x-kubernetes-list-type": "set"},
    "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
    "parts": {"type": "object", "additionalProperties": {"type": "string"}},
    "list": STRINGS,
    "keyed": KEYED,
}


@pytest.fixture
async def ship(ask: Any, apply: Any) -> Any:
    """``await ship(manager, force=..., **spec)``: the spec that comes of it."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": SHIP}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "ships", "singular": "ship", "kind": "Ship"},
        "versions": [version],
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await ask("POST", definitions, {"metadata": {"name": "ships.example.com"}, "spec": spec})

    async def call(manager: str, *, force: bool = False, **fields: Any) -> Any:
        return (await apply(f"{SHIPS}/s", {"spec": fields}, manager, force=force)).get("spec", {})

    return call


async def test_sets_are_shared_element_by_element(ship: Any) -> None:
    assert await ship("one", tags=["a", "b"]) == {"tags": ["a", "b"]}
    assert await ship("two", tags=["b", "c"]) == {"tags": ["a", "b", "c"]}
    assert await ship("one", tags=["a"]) == {"tags": ["a", "b", "c"]}
    assert await ship("two", tags=["c"]) == {"tags": ["a", "c"]}


async def test_keyed_lists_are_shared_field_by_field(ship: Any) -> None:
    await ship("one", keyed=[{"k": "a", "v": "1"}])
    assert await ship("two", keyed=[{"k": "b"}]) == {"keyed": [{"k": "a", "v": "1", "d": "z"}, {"k": "b", "d": "z"}]}
    with pytest.raises(Conflict, match=r'conflict with "one": .spec.keyed\[k="a"\].v'):
        await ship("two", keyed=[{"k": "a", "v": "2"}])
    assert await ship("two", keyed=[{"k": "a", "v": "2"}], force=True) == {"keyed": [{"k": "a", "v": "2", "d": "z"}]}


@pytest.mark.parametrize(
    ("first", "second"),
    [({"whole": {"p": "1"}}, {"whole": {"q": "2"}}), ({"list": ["a"]}, {"list": ["a", "b"]})],
    ids=["map", "list"],
)
async def test_what_is_atomic_has_one_owner(ship: Any, first: Any, second: Any) -> None:
    await ship("one", **first)
    with pytest.raises(Conflict):
        await ship("two", **second)
    assert await ship("two", force=True, **second) == second
    assert await ship("one", tags=["x"]) == {**second, "tags": ["x"]}


async def test_an_empty_map_is_owned_without_what_others_put_into_it(ship: Any) -> None:
    await ship("one", parts={})
    assert await ship("two", parts={"a": "1"}) == {"parts": {"a": "1"}}
    assert await ship("three") == {"parts": {"a": "1"}}
    assert await ship("two", parts={"b": "2"}) == {"parts": {"b": "2"}}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param({"tags": ["a", "a"]}, "duplicate entries for key", id="a set"),
        pytest.param({"keyed": [{"k": "a"}, {"k": "a"}]}, "duplicate entries for key", id="a keyed list"),
        pytest.param({"keyed": [{"v": "a"}]}, "omits key field 'k'", id="no key"),
    ],
)
async def test_elements_that_cannot_be_told_apart(ship: Any, fields: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        await ship("one", **fields)


async def test_who_scales_owns_by_that_subresource(ask: Any) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    labels, container = {"app": "web"}, {"name": "main", "image": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    await ask("PATCH", path, body, APPLY_PATCH, {"fieldManager": "one"})
    await ask("PATCH", f"{path}/scale", {"spec": {"replicas": 4}}, MERGE_PATCH, {"fieldManager": "hpa"})
    found = await ask("GET", path)
    entry = next(each for each in found["metadata"]["managedFields"] if each["manager"] == "hpa")
    assert (entry["subresource"], entry["fieldsV1"]) == ("scale", {"f:spec": {"f:replicas": {}}})
    with pytest.raises(Conflict, match=r'conflict with "hpa" with subresource "scale" using apps/v1: \.spec\.replicas'):
        await ask("PATCH", path, body, APPLY_PATCH, {"fieldManager": "one"})
    with pytest.raises(BadRequest, match="fieldManager: must be at most 128"):
        await ask("PATCH", path, body, APPLY_PATCH, {"fieldManager": "x" * 129})
