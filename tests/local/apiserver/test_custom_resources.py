"""CustomResourceDefinitions: served at once, checked, defaulted, pruned; gone with their objects."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from ketch.kube.errors import BadRequest, Invalid, MethodNotAllowed, NotFound, UnsupportedMedia
from ketch.kube.transport import APPLY_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Request
from ketch.local.apiserver.server import APIServer

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TRAINS = "/apis/example.com/v1/namespaces/default/trains"
WAGONS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "seats": {"type": "integer", "default": 50}},
    },
}
SPEC: Mapping[str, Any] = {
    "type": "object",
    "required": ["line"],
    "properties": {
        "line": {"type": "string", "enum": ["red", "blue"], "description": "Which line it runs on."},
        "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
        "port": {"x-kubernetes-int-or-string": True},
        "code": {"type": "string", "pattern": "^[A-Z]+$", "maxLength": 3},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "wagons": WAGONS,
    },
}


def definition(**version: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"spec": SPEC, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    one = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        **version,
    }
    names = {"plural": "trains", "singular": "train", "kind": "Train", "shortNames": ["tr"]}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [one]}
    return {"metadata": {"name": "trains.example.com"}, "spec": spec}


def train(name: str = "t", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"line": "red", **spec}}


@pytest.fixture
async def trains(ask: Any) -> dict[str, Any]:
    return await ask("POST", DEFINITIONS, definition())


@pytest.mark.usefixtures("trains")
async def test_a_definition_serves_at_once(ask: Any, trains: Any) -> None:
    conditions = {item["type"]: item["status"] for item in trains["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    made = await ask("POST", TRAINS, train())
    assert (made["apiVersion"], made["kind"], made["metadata"]["generation"]) == ("example.com/v1", "Train", 1)
    listed = await ask("GET", "/apis/example.com/v1/trains")
    assert (listed["kind"], len(listed["items"])) == ("TrainList", 1)
    resources = (await ask("GET", "/apis/example.com/v1"))["resources"]
    assert [item["name"] for item in resources] == ["trains", "trains/status"]


@pytest.mark.usefixtures("trains")
async def test_defaults_and_pruning(ask: Any) -> None:
    body = train(bogus=1, free={"any": {"thing": 1}}, wagons=[{"name": "a"}, {"name": "b", "seats": 3, "x": 1}])
    made = await ask("POST", TRAINS, body)
    assert made["spec"] == {
        "line": "red",
        "replicas": 1,
        "free": {"any": {"thing": 1}},
        "wagons": [{"name": "a", "seats": 50}, {"name": "b", "seats": 3}],
    }
    with pytest.raises(BadRequest, match=r'unknown field "spec\.bogus", unknown field "spec\.wagons\[1\]\.x"'):
        await ask("POST", TRAINS, body, query={"fieldValidation": "Strict"})


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        pytest.param({"line": "green"}, "spec.line", 'supported values: "red", "blue"', id="enum"),
        pytest.param({"line": None}, "spec.line", "must be of type string", id="null"),
        pytest.param({"replicas": 11}, "spec.replicas", "less than or equal to 10", id="maximum"),
        pytest.param({"replicas": "1"}, "spec.replicas", 'must be of type integer: "string"', id="type"),
        pytest.param({"port": 1.5}, "spec.port", "integer or string", id="int or string"),
        pytest.param({"code": "abc"}, "spec.code", r"should match '\^\[A-Z\]\+\$'", id="pattern"),
        pytest.param({"code": "ABCD"}, "spec.code", "Too long", id="length"),
        pytest.param({"tags": ["a", "a"]}, "spec.tags[1]", "Duplicate value", id="set"),
        pytest.param({"wagons": [{"name": "a"}, {"name": "a"}]}, "spec.wagons[1]", "Duplicate value", id="map"),
        pytest.param({"wagons": [{}]}, "spec.wagons[0].name", "Required value", id="required"),
        pytest.param({"wagons": {}}, "spec.wagons", "must be of type array", id="no list"),
    ],
)
async def test_validation_names_the_field(ask: Any, spec: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(Invalid, match=message) as caught:
        await ask("POST", TRAINS, train(**spec))
    assert [cause.field for cause in caught.value.causes] == [field]


@pytest.mark.usefixtures("trains")
async def test_lists_with_keys_merge_in_apply(ask: Any) -> None:
    for manager, name in (("one", "a"), ("two", "b")):
        body = {"spec": {"line": "red", "wagons": [{"name": name}]}}
        made = await ask("PATCH", f"{TRAINS}/t", body, APPLY_PATCH, {"fieldManager": manager})
    assert [wagon["name"] for wagon in made["spec"]["wagons"]] == ["a", "b"]
    again = await ask("PATCH", f"{TRAINS}/t", body, APPLY_PATCH, {"fieldManager": "two"})
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


@pytest.mark.usefixtures("trains")
async def test_status_is_apart_and_moves_no_generation(ask: Any) -> None:
    await ask("POST", TRAINS, {**train(), "status": {"x": 1}})
    made = await ask("GET", f"{TRAINS}/t")
    assert "status" not in made
    patch = {"status": {"ready": True}, "spec": {"line": "blue"}}
    reported = await ask("PATCH", f"{TRAINS}/t/status", patch, MERGE_PATCH)
    assert (reported["status"], reported["spec"]["line"]) == ({"ready": True}, "red")
    assert reported["metadata"]["generation"] == 1
    with pytest.raises(UnsupportedMedia):
        await ask("PATCH", f"{TRAINS}/t", patch, STRATEGIC_MERGE_PATCH)


async def test_scale(ask: Any) -> None:
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    await ask("POST", DEFINITIONS, definition(subresources={"scale": paths, "status": {}}))
    await ask("POST", TRAINS, train())
    await ask("PATCH", f"{TRAINS}/t/scale", {"spec": {"replicas": 4}}, MERGE_PATCH)
    assert (await ask("GET", f"{TRAINS}/t"))["spec"]["replicas"] == 4
    with pytest.raises(Invalid):
        await ask("PATCH", f"{TRAINS}/t/scale", {"spec": {"replicas": 40}}, MERGE_PATCH)


@pytest.mark.usefixtures("trains")
async def test_a_changed_schema_holds_from_then_on(ask: Any) -> None:
    await ask("POST", TRAINS, train())
    changed = definition()
    schema = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = {**SPEC, "properties": {**SPEC["properties"], "color": {"type": "string", "default": "grey"}}}
    schema["properties"] = {**schema["properties"], "spec": spec}
    await ask("PATCH", f"{DEFINITIONS}/trains.example.com", {"spec": changed["spec"]}, MERGE_PATCH)
    made = await ask("POST", TRAINS, train("u"))
    assert made["spec"]["color"] == "grey"


async def test_versions_are_served_side_by_side(ask: Any) -> None:
    body = definition()
    first = body["spec"]["versions"][0]
    body["spec"]["versions"] = [{**first, "name": "v1beta1", "storage": False, "deprecated": True}, first]
    await ask("POST", DEFINITIONS, body)
    old = TRAINS.replace("/v1/", "/v1beta1/")
    await ask("POST", old, train())
    assert (await ask("GET", f"{TRAINS}/t"))["apiVersion"] == "example.com/v1"
    assert (await ask("GET", f"{old}/t"))["apiVersion"] == "example.com/v1beta1"
    group = await ask("GET", "/apis/example.com")
    assert [item["version"] for item in group["versions"]] == ["v1", "v1beta1"]


@pytest.mark.usefixtures("trains")
async def test_a_deleted_definition_takes_its_objects_along(ask: Any) -> None:
    await ask("POST", TRAINS, train("a"))
    held = {"metadata": {"name": "b", "finalizers": ["example.com/x"]}, "spec": {"line": "red"}}
    await ask("POST", TRAINS, held)
    await ask("DELETE", f"{DEFINITIONS}/trains.example.com")
    async with asyncio.timeout(10):
        while len(left := (await ask("GET", TRAINS))["items"]) > 1 or "deletionTimestamp" not in left[0]["metadata"]:  # noqa: ASYNC110  # the world is asked
            await asyncio.sleep(0)  # noqa: TID251  # until the server got to it
    assert left[0]["metadata"]["name"] == "b"
    with pytest.raises(MethodNotAllowed):
        await ask("POST", TRAINS, train("c"))
    await ask("PATCH", f"{TRAINS}/b", {"metadata": {"finalizers": None}}, MERGE_PATCH)
    async with asyncio.timeout(10):
        while (await ask("GET", DEFINITIONS))["items"]:  # noqa: ASYNC110  # the world is asked
            await asyncio.sleep(0)  # noqa: TID251  # until the server got to it
    with pytest.raises(NotFound):
        await ask("GET", TRAINS)


@pytest.mark.usefixtures("trains")
async def test_definitions_are_served_after_a_restart(api: APIServer, ask: Any, tmp_path: Any) -> None:
    await ask("POST", TRAINS, train())
    await api.close()
    async with APIServer(tmp_path / "kube.db", tmp_path / "pki") as again:
        found = await again.transport().request(Request("GET", f"{TRAINS}/t"))
    assert found["spec"]["line"] == "red"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"group": "example"}, "should be a domain with at least one dot", id="group"),
        pytest.param({"group": "batch.k8s.io"}, "protected groups must have approval", id="protected group"),
        pytest.param({"scope": "Global"}, "spec.scope: Unsupported value", id="scope"),
        pytest.param({"versions": []}, "at least one version", id="no version"),
        pytest.param({"names": {"plural": "planes", "kind": "Plane"}}, "metadata.name", id="name"),
    ],
)
async def test_bad_definitions(ask: Any, change: dict[str, Any], message: str) -> None:
    body = definition()
    body["spec"] |= change
    with pytest.raises(Invalid, match=message):
        await ask("POST", DEFINITIONS, body)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        pytest.param({"type": "object", "properties": {"a": {}}}, r"properties\[a\].type: Required", id="no type"),
        pytest.param({"type": "string"}, "must be object at the root", id="root"),
        pytest.param({"type": "object", "$ref": "#/x"}, r"\$ref is not supported", id="ref"),
        pytest.param({"type": "object", "properties": {"a": {"type": "array"}}}, "items: Required", id="items"),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "valid regular", id="pattern"
        ),
    ],
)
async def test_schemas_that_are_not_structural(ask: Any, schema: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        await ask("POST", DEFINITIONS, definition(schema={"openAPIV3Schema": schema}))
