"""CustomResourceDefinitions: names, versions, what they select and show."""

from typing import Any

import pytest
from tests.local.apiserver.test_rules import BOATS, DEFINITIONS, a_boat, a_definition
from tests.waiting import eventually

from ketch.kube.errors import BadRequest, Invalid, NotFound
from ketch.kube.transport import MERGE_PATCH

V2 = "/apis/example.com/v2/namespaces/default/boats"
LENGTH = {"properties": {"length": {"type": "integer"}}}


def conditions(definition: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in definition["status"]["conditions"]}


def a_ship(**names: Any) -> dict[str, Any]:
    other = a_definition({})
    other["metadata"]["name"] = "ships.example.com"
    other["spec"]["names"] = {"plural": "ships", "singular": "ship", "kind": "Ship", **names}
    return other


async def test_names_that_are_taken_are_not_served_until_they_are_free(ask: Any) -> None:
    first = await ask("POST", DEFINITIONS, a_definition({}))
    assert conditions(first) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    second = await ask("POST", DEFINITIONS, a_ship(kind="Boat", shortNames=["sh"]))
    assert conditions(second) == {
        "NamesAccepted": ("False", "KindConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert second["status"]["acceptedNames"]["plural"] == ""
    ships = "/apis/example.com/v1/namespaces/default/ships"
    with pytest.raises(NotFound):
        await ask("GET", ships)
    await ask("DELETE", f"{DEFINITIONS}/boats.example.com")

    async def served() -> bool:
        found = await ask("GET", f"{DEFINITIONS}/ships.example.com")
        return conditions(found)["Established"][0] == "True"

    await eventually(served)
    assert (await ask("GET", ships))["kind"] == "BoatList"


async def test_a_built_in_name_of_the_group_is_taken(ask: Any) -> None:
    definition = a_ship(shortNames=["deploy"])
    definition["metadata"] = {
        "name": "ships.apps.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "https://example.com"},
    }
    definition["spec"]["group"] = "apps.k8s.io"
    assert conditions(await ask("POST", DEFINITIONS, definition))["NamesAccepted"][0] == "True"


def two_versions(stored: str) -> dict[str, Any]:
    definition = a_definition(LENGTH)
    first = definition["spec"]["versions"][0]
    definition["spec"]["versions"] = [
        {**first, "name": "v1", "storage": stored == "v1", "deprecated": True},
        {**first, "name": "v2", "storage": stored == "v2"},
    ]
    return definition


async def test_several_versions_and_a_change_of_what_is_stored(ask: Any) -> None:
    await ask("POST", DEFINITIONS, two_versions("v1"))
    await ask("POST", BOATS, a_boat(length=1))
    assert (await ask("GET", f"{V2}/b1"))["apiVersion"] == "example.com/v2"
    current = {**await ask("GET", f"{DEFINITIONS}/boats.example.com"), "spec": two_versions("v2")["spec"]}
    changed = await ask("PUT", f"{DEFINITIONS}/boats.example.com", current)
    assert changed["status"]["storedVersions"] == ["v1", "v2"]
    await ask("POST", V2, {"metadata": {"name": "b2"}, "spec": {"length": 2}})
    for path, version in ((BOATS, "v1"), (V2, "v2")):
        assert {item["apiVersion"] for item in (await ask("GET", path))["items"]} == {f"example.com/{version}"}
        assert (await ask("GET", f"{path}/b1"))["apiVersion"] == f"example.com/{version}"
    await ask("PATCH", f"{BOATS}/b1", {"spec": {"length": 3}}, content_type=MERGE_PATCH)
    fewer = {**changed, "spec": {**changed["spec"], "versions": [changed["spec"]["versions"][1]]}}
    with pytest.raises(Invalid, match=r"status.storedVersions\[0\]"):
        await ask("PUT", f"{DEFINITIONS}/boats.example.com", fewer)
    status = {"status": {"storedVersions": ["v2"]}}
    moved = await ask("PATCH", f"{DEFINITIONS}/boats.example.com/status", status, content_type=MERGE_PATCH)
    await ask("PUT", f"{DEFINITIONS}/boats.example.com", {**fewer, "metadata": moved["metadata"]})
    with pytest.raises(NotFound):
        await ask("GET", BOATS)
    assert [item["spec"]["length"] for item in (await ask("GET", V2))["items"]] == [3, 2]


async def test_fields_that_may_be_selected_by(ask: Any) -> None:
    definition = a_definition(
        {"properties": {"length": {"type": "integer"}, "sail": {"type": "boolean"}, "name": {"type": "string"}}},
        selectableFields=[{"jsonPath": ".spec.length"}, {"jsonPath": ".spec.sail"}],
    )
    await ask("POST", DEFINITIONS, definition)
    for number in range(3):
        body = {"metadata": {"name": f"b{number}"}, "spec": {"length": number, "sail": number > 0}}
        await ask("POST", BOATS, body)

    async def names(selector: str) -> list[str]:
        found = await ask("GET", BOATS, query={"fieldSelector": selector})
        return [item["metadata"]["name"] for item in found["items"]]

    assert await names("spec.length=1") == ["b1"]
    assert await names("spec.sail=true,spec.length!=1") == ["b2"]
    with pytest.raises(BadRequest, match="field label not supported"):
        await names("spec.name=a")


@pytest.mark.parametrize(
    ("version", "field"),
    [
        pytest.param({"selectableFields": [{"jsonPath": ".spec.none"}]}, "selectableFields[0].jsonPath", id="field"),
        pytest.param({"selectableFields": [{"jsonPath": ".spec"}]}, "selectableFields[0].jsonPath", id="an object"),
        pytest.param(
            {"subresources": {"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.a"}}},
            "subresources.scale.specReplicasPath",
            id="a scale whose wish stands in the status",
        ),
        pytest.param(
            {"additionalPrinterColumns": [{"name": "A", "type": "text", "jsonPath": ".spec"}]},
            "additionalPrinterColumns[0].type",
            id="a column of no type",
        ),
        pytest.param({"deprecationWarning": "old"}, "deprecationWarning", id="a warning of what is not deprecated"),
    ],
)
async def test_a_version_is_refused_for(ask: Any, version: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await ask("POST", DEFINITIONS, a_definition(LENGTH, **version))
    assert [cause.field for cause in caught.value.causes] == [f"spec.versions[0].{field}"]
