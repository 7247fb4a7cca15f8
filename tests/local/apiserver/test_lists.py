"""Lists: selectors, pages that stay consistent under writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.kube.errors import BadRequest, Gone
from ketch.kube.selectors import parse_labels
from ketch.kube.transport import MERGE_PATCH
from ketch.local.apiserver.store import collection

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def names(page: Any) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


@pytest.fixture
async def six(ask: Any) -> None:
    """c0 … c5 with a number and whether it is even."""
    for index in range(6):
        labels = {"number": str(index), **({"even": "yes"} if index % 2 == 0 else {})}
        await ask("POST", MAPS, {"metadata": {"name": f"c{index}", "labels": labels}})


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", "012345"),
        ("even=yes", "024"),
        ("even==yes,number=2", "2"),
        ("even!=yes", "135"),
        ("even", "024"),
        ("!even", "135"),
        ("number in (1,2,9)", "12"),
        ("number notin (1,2),even", "04"),
        ("number>3", "45"),
        ("number<2", "01"),
    ],
)
async def test_label_selectors(ask: Any, selector: str, expected: str) -> None:
    assert names(await ask("GET", MAPS, query={"labelSelector": selector})) == [f"c{digit}" for digit in expected]


@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")), st.sampled_from("ab"), st.sampled_from("xy"))
def test_a_selector_and_its_negation_divide_the_world(labels: dict[str, str], key: str, value: str) -> None:
    for yes, no in ((f"{key}={value}", f"{key}!={value}"), (key, f"!{key}"), (f"{key} in (x,y)", f"{key} notin (x,y)")):
        assert parse_labels(yes).matches(labels) != parse_labels(no).matches(labels)
        assert str(parse_labels(str(parse_labels(yes)))) == str(parse_labels(yes))


async def test_field_selectors(ask: Any) -> None:
    for name in ("p1", "p2", "p3"):
        body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "x"}]}}
        await ask("POST", PODS, body)
    await ask("POST", f"{PODS}/p2/binding", {"target": {"name": "n1"}})
    await ask("PATCH", f"{PODS}/p3/status", {"status": {"phase": "Failed"}}, MERGE_PATCH)
    for selector, expected in (
        ("spec.nodeName=n1", ["p2"]),
        ("spec.nodeName=", ["p1", "p3"]),
        ("status.phase!=Failed", ["p1", "p2"]),
        ("metadata.name=p3,status.phase=Failed", ["p3"]),
        ("metadata.name!=p3", ["p1", "p2"]),
        ("metadata.namespace=default,spec.nodeName=n1", ["p2"]),
        ("metadata.namespace=other", []),
    ):
        assert names(await ask("GET", "/api/v1/pods", query={"fieldSelector": selector})) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"labelSelector": "a in (b"},
        {"labelSelector": "a=b=c"},
        {"labelSelector": "-=x"},
        {"fieldSelector": "spec.bogus=1"},
        {"fieldSelector": "nothing"},
        {"limit": "many"},
        {"continue": "%%%"},
        {"resourceVersion": "x"},
    ],
)
async def test_what_is_no_parameter(ask: Any, query: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        await ask("GET", MAPS, query=query)


@pytest.mark.usefixtures("six")
async def test_pages_cover_everything_once(ask: Any) -> None:
    seen: list[str] = []
    query = {"limit": "4"}
    first = await ask("GET", MAPS, query=query)
    assert first["metadata"]["remainingItemCount"] == 2
    seen += names(first)
    second = await ask("GET", MAPS, query={**query, "continue": first["metadata"]["continue"]})
    assert "continue" not in second["metadata"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert [*seen, *names(second)] == [f"c{index}" for index in range(6)]


@pytest.mark.usefixtures("six")
async def test_later_pages_show_the_time_of_the_first(ask: Any) -> None:
    first = await ask("GET", MAPS, query={"limit": "2"})
    await ask("DELETE", f"{MAPS}/c3")
    await ask("POST", MAPS, {"metadata": {"name": "c4a"}})
    await ask("PATCH", f"{MAPS}/c5", {"data": {"x": "new"}}, MERGE_PATCH)
    rest = await ask("GET", MAPS, query={"continue": first["metadata"]["continue"]})
    assert names(rest) == ["c2", "c3", "c4", "c5"]
    assert "data" not in rest["items"][-1]


@pytest.mark.usefixtures("six")
async def test_a_page_that_is_too_old_is_gone(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "HISTORY", 3)
    first = await ask("GET", MAPS, query={"limit": "2"})
    for index in range(12):
        await ask("PATCH", f"{MAPS}/c5", {"data": {"x": str(index)}}, MERGE_PATCH)
    with pytest.raises(Gone, match="too old to display a consistent list"):
        await ask("GET", MAPS, query={"continue": first["metadata"]["continue"]})


@pytest.mark.usefixtures("six")
async def test_an_exact_revision(ask: Any) -> None:
    then = (await ask("GET", MAPS))["metadata"]["resourceVersion"]
    await ask("DELETE", MAPS)
    old = await ask("GET", MAPS, query={"resourceVersion": then, "resourceVersionMatch": "Exact"})
    assert len(old["items"]) == 6
    assert (await ask("GET", MAPS))["items"] == []


@pytest.mark.usefixtures("six")
async def test_a_namespace_does_not_see_the_others(ask: Any) -> None:
    await ask("POST", "/api/v1/namespaces/kubeflow/configmaps", {"metadata": {"name": "x"}})
    assert "x" not in names(await ask("GET", MAPS))
    everything = await ask("GET", "/api/v1/configmaps", query={"limit": "6"})
    rest = await ask("GET", "/api/v1/configmaps", query={"continue": everything["metadata"]["continue"]})
    assert names(rest) == ["x"]
