"""Whatever is sent to any operation that OpenAPI tells of, nothing breaks, and answers are as it says."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance
from tests.pipelines.api.test_wire import SPEC, a_run

Stage = Any
EXAMPLES = int(os.environ.get("FUZZING_EXAMPLES", "4"))
"""For each operation and each kind of input; the environment asks for a longer search."""

LEAVE = frozenset({"DELETE"})
"""What would take away what the other operations are tried with: those are given other ids."""


@pytest.fixture
def there(http: httpx.Client) -> Mapping[str, str]:
    """Things that are there, by the names that paths have for them."""
    run = http.post("/runs", json=a_run()).json()
    task = http.post(f"/runs/{run['run_id']}/tasks", json={"name": "t"}).json()
    artifact = http.post("/artifacts", json={"artifact": {"name": "a", "type": "Model", "uri": "s3://b/a"}}).json()
    both = {"pipeline": {"name": "p"}, "pipeline_version": {"pipeline_spec": SPEC}}
    pipeline = http.post("/pipelines/create", json=both).json()
    version = http.get(f"/pipelines/{pipeline['pipeline_id']}/versions").json()["pipeline_versions"][0]
    recurring = http.post(
        "/recurringruns",
        json={"display_name": "r", "max_concurrency": 1, "mode": "DISABLE", "pipeline_spec": SPEC}
        | {"runtime_config": {"parameters": {"n": 1}}, "trigger": {"periodic_schedule": {"interval_second": 60}}},
    ).json()
    return {
        "run_id": run["run_id"],
        "task_id": task["task_id"],
        "node_id": task["task_id"],
        "artifact_id": artifact["artifact_id"],
        "pipeline_id": pipeline["pipeline_id"],
        "version_id": version["pipeline_version_id"],
        "experiment_id": run["experiment_id"],
        "recurring_run_id": recurring["recurring_run_id"],
        "name": "p",
    }


def operations(stage: Stage, mode: GenerationMode) -> Iterator[Any]:
    """Every operation; where wrong input is looked for, those alone that can be given any."""
    schema = schemathesis.openapi.from_url(f"{stage.host}/apis/v2beta1/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        asked = operation.definition.raw.get("parameters", ())
        typed = any(each["in"] == "query" and each["schema"] != {"type": "string"} for each in asked)
        if mode is GenerationMode.POSITIVE or typed or "requestBody" in operation.definition.raw:
            yield operation


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_answer_is_a_defect(stage: Stage, there: Mapping[str, str], mode: GenerationMode):
    tested = 0
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(stage, mode):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize="FUZZING_EXAMPLES" not in os.environ,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
            def answers(case: Any, known: bool) -> None:
                if known and case.method not in LEAVE:
                    case.path_parameters.update({name: there[name] for name in case.path_parameters if name in there})
                response = case.call(base_url=stage.host, session=session, timeout=30)
                case.validate_response(response, checks=(not_a_server_error, response_schema_conformance))

            with contextlib.suppress(Unsatisfiable):  # where there is nothing to get wrong
                answers()
            tested += 1
    assert tested > 30
