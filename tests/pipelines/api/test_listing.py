"""Pages, orders and filters: every row once, in order, whatever the page size; bad queries refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.pipelines.api.test_wire import SPEC

from ketch.metadata.tables import OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.records.states import SUCCEEDED
from ketch.pipelines.records.tables import Experiment, Run

Stage = Any
START = datetime(2026, 1, 31, tzinfo=UTC)


def a_run(index: int, experiment_id: str = "e") -> Run:
    return Run(
        id=f"run-{index * 7919 % 1000:03}",
        name="r",
        display_name=f"name {index % 3}",
        namespace="kubeflow",
        experiment_id=experiment_id,
        pipeline_spec={},
        pipeline_root="minio://b/p",
        created_at=START + timedelta(seconds=index // 2),
        finished_at=START if index % 4 == 0 else None,
        state=SUCCEEDED,
        storage_state="AVAILABLE",
    )


@pytest.fixture
def filled(stage: Stage) -> Stage:
    async def fill() -> None:
        async with stage.database.transaction() as session:
            session.add_all(a_run(index) for index in range(23))

    stage.call(fill())
    return stage


def walk(http: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    token, first = "", True
    while first or token:
        first = False
        page = http.get("/runs", params={**query, "page_token": token}).json()
        assert page["total_size"] == 23
        assert len(page["runs"]) <= query["page_size"]
        rows += page["runs"]
        token = page.get("next_page_token", "")
    return rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 30),
    field=st.sampled_from(["created_at", "finished_at", "name", "run_id", "state", "recurring_run_id"]),
    order=st.sampled_from(["", " asc", " desc", " DESC"]),
)
def test_paging_shows_every_row_once_and_in_order(http: httpx.Client, filled: Stage, size: int, field: str, order: str):
    rows = walk(http, page_size=size, sort_by=field + order)
    ids = [row["run_id"] for row in rows]
    assert sorted(ids) == sorted(f"run-{index * 7919 % 1000:03}" for index in range(23))
    key = {"name": "display_name"}.get(field, field)
    keys = [(row.get(key, ""), row["run_id"]) for row in rows]
    assert keys == sorted(keys, reverse=order.strip().lower() == "desc")


def test_pages_stay_whole_while_rows_come(http: httpx.Client, filled: Stage):
    first = http.get("/runs", params={"page_size": 10}).json()

    async def add() -> None:
        async with filled.database.transaction() as session:
            early = a_run(900)
            early.created_at = START - timedelta(days=1)
            session.add(early)

    filled.call(add())
    second = http.get("/runs", params={"page_size": 100, "page_token": first["next_page_token"]}).json()
    assert len({row["run_id"] for row in (*first["runs"], *second["runs"])}) == 23


@pytest.mark.parametrize(("given_size", "shown"), [("", 20), ("0", 20), ("7", 7), ("1000", 23)])
def test_page_sizes(http: httpx.Client, filled: Stage, given_size: str, shown: int):
    assert len(http.get("/runs", params={"page_size": given_size}).json()["runs"]) == shown


def a_filter(operation: object, key: str, **value: object) -> str:
    return json.dumps({"predicates": [{"operation": operation, "key": key, **value}]})


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (a_filter("EQUALS", "display_name", string_value="name 0"), 8),
        (a_filter(2, "display_name", stringValue="name 0"), 15),
        (a_filter("IN", "name", string_values={"values": ["name 0", "name 1"]}), 16),
        (a_filter("IS_SUBSTRING", "name", string_value="NAME"), 23),
        (a_filter("IS_SUBSTRING", "name", string_value="%"), 0),
        (a_filter("GREATER_THAN", "name", string_value="name 1"), 7),
        (a_filter("EQUALS", "created_at", timestamp_value="2026-01-31T00:00:03Z"), 2),
        (a_filter("NOT_EQUALS", "created_at", timestamp_value="2026-01-31T00:00:03Z"), 21),
        (a_filter("GREATER_THAN", "created_at", timestamp_value="2026-01-31T00:00:03Z"), 15),
        (a_filter("GREATER_THAN_EQUALS", "created_at", timestamp_value="2026-01-31T01:00:03+01:00"), 17),
        (a_filter("LESS_THAN", "created_at", long_value="1769817603"), 6),
        (a_filter("LESS_THAN_EQUALS", "created_at", int_value=1769817603), 8),
        (a_filter("IN", "created_at", long_values={"values": ["1769817600", 1769817601]}), 4),
        (a_filter("EQUALS", "finished_at", timestamp_value="1970-01-01T00:00:00Z"), 17),
        ("{}", 23),
    ],
)
def test_filters(http: httpx.Client, filled: Stage, text: str, count: int):
    for sent in (text, str(httpx.QueryParams({"f": text})).removeprefix("f=")):  # the UI encodes twice
        answer = http.get("/runs", params={"filter": sent}).json()
        assert answer.get("total_size", 0) == count


@pytest.mark.parametrize(
    "query",
    [
        {"page_size": "-1"},
        {"page_size": "many"},
        {"page_size": "9" * 30},
        {"sort_by": "colour"},
        {"sort_by": "name upwards"},
        {"page_token": "x"},
        {"page_token": "é"},
        {"filter": "{"},
        {"filter": "[]"},
        {"filter": '{"colour": 1}'},
        {"filter": a_filter("EQUALS", "colour", string_value="x")},
        {"filter": a_filter("EQUALS", "name")},
        {"filter": a_filter("EQUALS", "", string_value="x")},
        {"filter": a_filter("LIKE", "name", string_value="x")},
        {"filter": a_filter("IN", "name", string_value="x")},
        {"filter": a_filter("EQUALS", "name", string_values={"values": ["x"]})},
        {"filter": a_filter("EQUALS", "name", int_value=1)},
        {"filter": a_filter("EQUALS", "created_at", string_value="today")},
        {"filter": a_filter("IS_SUBSTRING", "created_at", long_value=1)},
        {"filter": a_filter("EQUALS", "name", string_value="x", int_value=1)},
    ],
)
def test_bad_queries_are_refused(http: httpx.Client, query: dict[str, str]):
    answer = http.get("/runs", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_a_token_belongs_to_its_list(http: httpx.Client, filled: Stage):
    text = a_filter("NOT_EQUALS", "name", string_value="x")
    query = {"page_size": "5", "sort_by": "name desc", "filter": text}
    token = http.get("/runs", params=query).json()["next_page_token"]
    assert http.get("/runs", params={"page_token": token}).json()["total_size"] == 23
    assert http.get("/runs", params={**query, "page_token": token}).status_code == 200
    for changed in ({"sort_by": "name"}, {"filter": "{}"}, {"page_token": token[:-4] + "AAA="}):
        answer = http.get("/runs", params={**query, "page_token": token, **changed})
        assert answer.status_code == 400
    assert http.get("/experiments", params={"page_token": token}).status_code == 400


def test_pipelines_are_found_by_their_tags(http: httpx.Client):
    for name, team in (("a", "red"), ("b", "blue")):
        http.post("/pipelines", json={"name": name, "tags": {"team": team}})
    found = http.get("/pipelines", params={"filter": a_filter("EQUALS", "tags.team", string_value="blue")}).json()
    assert [row["name"] for row in found["pipelines"]] == ["b"]
    bad = a_filter("GREATER_THAN", "tags.team", string_value="blue")
    assert http.get("/pipelines", params={"filter": bad}).status_code == 400


def test_lists_of_one_experiment(http: httpx.Client, stage: Stage):
    async def fill() -> None:
        async with stage.database.transaction() as session:
            session.add_all((a_run(1, "e1"), a_run(2, "e2")))
            session.add(
                Experiment(
                    id="e1", namespace="", name="one", storage_state="AVAILABLE", created_at=START, description=""
                )
            )

    stage.call(fill())
    assert [row["experiment_id"] for row in http.get("/runs?experiment_id=e1").json()["runs"]] == ["e1"]
    assert http.get("/runs?experiment_id=e3").json() == {}


def test_runs_in_the_order_of_a_metric(http: httpx.Client, filled: Stage):
    async def measure() -> None:
        async with filled.database.transaction() as session:
            for index, values in enumerate(({"F1": 0.5}, {"F1": 0.9, "loss": 1}, {"F1": -1.5}, {"other": 3})):
                session.add(
                    Artifact(
                        id=f"m{index}", namespace="", type="system.Metrics", name="m", uri="", properties=values,
                        created_at=START,
                    )
                )  # fmt: skip
                link = {"task_id": f"t{index}", "role": OUTPUT, "key": "m", "artifact_id": f"m{index}"}
                session.add(ArtifactTask(**link, run_id=a_run(index).id))

    filled.call(measure())
    best, second, worst = (a_run(index).id for index in (1, 0, 2))
    down = [run["run_id"] for run in walk(http, page_size=2, sort_by="metric:F1 desc")]
    assert (down[:3], len(set(down))) == ([best, second, worst], 23)
    assert [run["run_id"] for run in walk(http, page_size=7, sort_by="metric:F1")] == down[::-1]
    filtered = {"filter": '{"predicates":[{"operation":"EQUALS","key":"metric:F1","string_value":"1"}]}'}
    for query in ({"sort_by": 'metric:a"b'}, {"sort_by": "metric:"}, filtered):
        assert http.get("/runs", params=query).status_code == 400


def test_fields_that_are_kept_for_older_clients(http: httpx.Client, filled: Stage):
    def total(path: str, key: str, text: str) -> int:
        query = {"operation": "IS_SUBSTRING", "key": key, "string_value": text}
        return http.get(path, params={"filter": json.dumps({"predicates": [query]})}).json().get("total_size", 0)

    spec = {"pipeline": {"name": "p"}, "pipeline_version": {"pipeline_spec": SPEC}}
    versions = f"/pipelines/{http.post('/pipelines/create', json=spec).json()['pipeline_id']}/versions"
    assert (total(versions, "status", "READY"), total(versions, "status", "FAILED")) == (1, 0)
    assert (total(versions, "pipeline_spec", "busybox"), total(versions, "pipeline_spec", "alpine")) == (1, 0)
    assert total("/runs", "state_history", "PENDING") == 0
