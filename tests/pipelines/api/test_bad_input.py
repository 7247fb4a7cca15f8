"""Bytes that no honest client sends, values at the edges: always an answer, never a defect, and the field by name."""

import json
from typing import Any

import httpx
import pytest
from tests.pipelines.api.test_wire import SPEC, a_run, refused, spec_with

from ketch.pipelines.api.listing import MAX_PREDICATES, MAX_VALUES

Stage = Any

HUGE = 10**400
DEEP = 5_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "not valid JSON", id="nothing"),
        pytest.param(b'{"display_name": "\xff"}', "not valid JSON", id="no UTF-8"),
        pytest.param(b'{"display_name": "\\ud800"}', "not valid JSON", id="half a character"),
        pytest.param(b'{"display_name": NaN}', "not valid JSON", id="not a number"),
        pytest.param(b"[" * DEEP + b"]" * DEEP, "not valid JSON", id="lists without end"),
        pytest.param(b'{"a":' * DEEP + b"1" + b"}" * DEEP, "not valid JSON", id="objects without end"),
        pytest.param(b'{"runtime_config":{"parameters":{"n":%d}}}' % HUGE, "not valid JSON", id="a huge number"),
        pytest.param(b"{" + b'"a":1,' * 10 + b"}", "not valid JSON", id="a comma too many"),
        pytest.param(b"null", "expected an object", id="null"),
        pytest.param(b'"text"', "expected an object", id="a text"),
        pytest.param(b'{"\\u0000": 1}', "unknown field", id="a field of NUL"),
    ],
)
def test_bodies_that_are_no_message(http: httpx.Client, body: bytes, message: str):
    for path in ("/runs", "/experiments", "/pipelines", "/recurringruns", "/artifacts"):
        assert message in refused(http.post(path, content=body), 400, 3)


def test_a_body_that_is_too_large(http: httpx.Client):
    body = b'{"description": "' + b"x" * (33 * 2**20) + b'"}'
    assert "larger than 32 MiB" in refused(http.post("/runs", content=body), 400, 3)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("run", "message"),
    [
        pytest.param({"max_depth": 1}, 'unknown field "max_depth" in Run', id="unknown field"),
        pytest.param({"description": "a\0b"}, '"description": holds a NUL', id="NUL"),
        pytest.param({"experiment_id": 7}, '"experiment_id": expected a text', id="a number for a text"),
        pytest.param({"storage_state": 9}, '"storage_state": 9 is none of', id="an enum's number"),
        pytest.param({"storage_state": True}, '"storage_state": True is none of', id="a boolean for an enum"),
        pytest.param({"state_history": {}}, '"state_history": expected a list', id="an object for a list"),
        pytest.param({"state_history": [1]}, "state_history[0]: expected an object", id="a number for an object"),
        pytest.param({"runtime_config": []}, "runtime_config: expected an object", id="a list for an object"),
        pytest.param({"created_at": "2026-13-01T00:00:00Z"}, '"created_at": expected a time', id="no month"),
        pytest.param({"created_at": "2026-01-01"}, '"created_at": expected a time', id="no hour"),
        pytest.param({"experiment_id": "none"}, "Experiment none not found", id="no experiment"),
        pytest.param({"pipeline_spec": {}}, "invalid pipeline spec", id="empty specification"),
        pytest.param({"pipeline_spec": spec_with(surprise=1)}, "surprise", id="unknown field in a specification"),
        pytest.param(
            {"pipeline_spec": {"pipeline_spec": SPEC, "x": 1}}, "unknown field 'x'", id="beside both documents"
        ),
        pytest.param({"pipeline_spec": {"pipeline_spec": 1}}, "must be objects", id="no document"),
        pytest.param({"runtime_config": {"parameters": {"n": nested(200)}}}, "nested too deeply", id="deep parameter"),
        pytest.param({"runtime_config": {"parameters": {"n": 1, "d": "x"}}}, "d should be of type", id="wrong type"),
    ],
)
def test_runs_that_are_refused(http: httpx.Client, stage: Stage, run: dict[str, Any], message: str):
    answer = http.post("/runs", json=a_run(**run))
    assert answer.status_code in (400, 404)
    assert message in answer.json()["message"]
    assert stage.enqueued == []


@pytest.mark.parametrize("text", ["\u2028", "\U0001d518", "'; drop table runs; --", "%", "\\", '"', "x" * 128])
def test_any_text_is_kept_as_it_is(http: httpx.Client, text: str):
    made = http.post("/experiments", json={"display_name": text, "description": text}).json()
    assert (made["display_name"], made["description"]) == (text, text)
    for operation in ("EQUALS", "IS_SUBSTRING"):
        listed = http.get("/experiments", params=predicates(of(operation=operation, string_value=text))).json()
        assert [each["experiment_id"] for each in listed["experiments"]] == [made["experiment_id"]]
    assert http.get("/experiments?page_size=1&sort_by=display_name").json()["next_page_token"]


def predicates(*given: Any) -> dict[str, str]:
    return {"filter": json.dumps({"predicates": list(given)})}


def of(key: str = "display_name", operation: Any = "EQUALS", **value: Any) -> dict[str, Any]:
    return {"operation": operation, "key": key} | value


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param({"page_size": "-1"}, "page_size: must not be negative", id="negative size"),
        pytest.param({"page_size": "many"}, "page_size: expected an integer", id="size of words"),
        pytest.param({"page_size": str(HUGE)}, "page_size: expected an integer", id="huge size"),
        pytest.param({"page_token": "x"}, "page_token: not a token", id="token of nobody"),
        pytest.param({"page_token": "\0"}, "page_token: not a token", id="token of NUL"),
        pytest.param({"page_token": "ä"}, "page_token: not a token", id="token of an umlaut"),
        pytest.param({"page_token": "A" * 10_000}, "page_token: not a token", id="long token"),
        pytest.param({"sort_by": "size"}, "sort_by: there is no field 'size'", id="unknown order"),
        pytest.param({"sort_by": "name sideways"}, "sort_by: expected", id="unknown direction"),
        pytest.param({"sort_by": "name asc desc"}, "sort_by: expected", id="two directions"),
        pytest.param({"sort_by": "metric:$"}, "no metric's name", id="no metric"),
        pytest.param({"filter": "["}, "filter: not valid JSON", id="half a filter"),
        pytest.param({"filter": "[]"}, "filter: expected an object", id="a list"),
        pytest.param({"filter": "[" * 3000}, "filter: not valid JSON", id="deep filter"),
        pytest.param({"filter": '{"x": 1}'}, 'unknown field "filter.x"', id="unknown field"),
        pytest.param(predicates(of()), "exactly one value", id="no value"),
        pytest.param(predicates(of(string_value="a", int_value=1)), "exactly one value", id="two values"),
        pytest.param(predicates(of(string_value="a", key="")), "an operation and a key", id="no key"),
        pytest.param(predicates(of("size", string_value="a")), "no field 'size'", id="unknown key"),
        pytest.param(predicates(of(operation="LIKE", string_value="a")), "'LIKE' is none of", id="no operation"),
        pytest.param(predicates(of(operation=4, string_value="a")), "4 is none of", id="the missing number"),
        pytest.param(predicates(of(operation="IN", string_value="a")), "takes a list", id="one value in IN"),
        pytest.param(predicates(of(string_values={"values": []})), "takes one value", id="several values"),
        pytest.param(predicates(of(int_value=1)), "is a text", id="a number for a text"),
        pytest.param(predicates(of("created_at", string_value="a")), "is a time", id="a text for a time"),
        pytest.param(
            predicates(of("created_at", "IS_SUBSTRING", long_value=1)), "does not apply", id="part of a time"
        ),
        pytest.param(predicates(of("created_at", int_value=2**31)), "32-bit", id="a large int"),
        pytest.param(predicates(of("created_at", long_value=str(2**63))), "64-bit", id="a larger long"),
        pytest.param(predicates(of("created_at", timestamp_value="now")), "expected a time", id="no time"),
        pytest.param(predicates(*[of(string_value="a")] * (MAX_PREDICATES + 1)), "at most", id="many"),
        pytest.param(
            predicates(of(operation="IN", string_values={"values": ["a"] * (MAX_VALUES + 1)})),
            "at most", id="many values",
        ),
        pytest.param(predicates(of(string_value="x" * 5_000)), "at most", id="long text"),
        pytest.param(predicates(of("tags.a", string_value="b")), "no field 'tags.a'", id="tags of runs"),
    ],
)  # fmt: skip
def test_lists_that_are_refused(http: httpx.Client, query: dict[str, str], message: str):
    assert message in refused(http.get("/runs", params=query), 400, 3)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0, -1])
@pytest.mark.parametrize("operation", ["EQUALS", "NOT_EQUALS", "GREATER_THAN", "LESS_THAN_EQUALS"])
def test_times_beyond_all_time(http: httpx.Client, operation: str, value: int):
    for key in ("created_at", "last_run_created_at"):
        query = predicates(of(key, operation, long_value=str(value)))
        assert http.get("/experiments", params=query).status_code == 200


@pytest.mark.parametrize("key", ["", 'a"b', "a'b", "$", "ä", "a b", "[0]", "\\", "x" * 500])
def test_tags_of_any_name(http: httpx.Client, key: str):
    query = predicates(of(f"tags.{key}", string_value="b"))
    assert http.get("/pipelines", params=query).json() == {}


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({f"k{number}": "v" for number in range(20)}, 200),
        ({f"k{number}": "v" for number in range(21)}, 400),
        ({"k" * 63: "v" * 63}, 200),
        ({"k" * 64: "v"}, 400),
        ({"k": "v" * 64}, 400),
        ({"a.b": "c"}, 400),
        ({"": "c"}, 400),
        ({"a": 1}, 400),
    ],
)
def test_limits_of_tags(http: httpx.Client, tags: dict[str, Any], status: int):
    assert http.post("/pipelines", json={"name": "p", "tags": tags}).status_code == status


@pytest.mark.parametrize(
    ("path", "field", "limit"), [("/pipelines", "name", 128), ("/experiments", "display_name", 128)]
)
def test_limits_of_names(http: httpx.Client, path: str, field: str, limit: int):
    assert http.post(path, json={field: "x" * limit}).status_code == 200
    refused(http.post(path, json={field: "x" * (limit + 1)}), 400, 3)
    refused(http.post(path, json={}), 400, 3)


def test_versions_are_what_they_were(http: httpx.Client):
    pipeline_id = http.post("/pipelines", json={"name": "p"}).json()["pipeline_id"]
    versions = f"/pipelines/{pipeline_id}/versions"
    refused(http.post(versions, json={"name": "v"}), 400, 3)
    refused(http.post(versions, json={"name": "v" * 128, "pipeline_spec": SPEC}), 400, 3)
    refused(http.post("/pipelines/none/versions", json={"name": "v", "pipeline_spec": SPEC}), 404, 5)
    address = {"pipeline_url": "https://127.0.0.1/p.yaml"}
    assert "public" in refused(http.post(versions, json={"name": "v", "package_url": address}), 400, 3)
    version = http.post(versions, json={"name": "v", "pipeline_spec": SPEC}).json()
    path = f"{versions}/{version['pipeline_version_id']}"
    for change in (
        {"name": "w"},
        {"description": "x"},
        {"pipeline_spec": spec_with(sdkVersion="x")},
        {"code_source_url": "x"},
    ):
        assert "cannot be changed" in refused(http.patch(path, json=change), 400, 3)
    assert http.patch(path, json=version | {"display_name": "V"}).json() == version | {"display_name": "V"}
    refused(http.delete(f"/pipelines/{pipeline_id}?cascade=perhaps"), 400, 3)


@pytest.mark.parametrize(
    "path", ["/runs/%00", "/runs/%ff", "/runs/..%2f..", "/runs/" + "x" * 5_000, "/pipelines/names/%00"]
)
def test_ids_of_any_kind(http: httpx.Client, path: str):
    assert http.get(path).status_code == 404
