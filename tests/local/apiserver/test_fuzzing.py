"""Whatever is sent to any operation that our own OpenAPI tells of: no defect, no hang, no growth."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from tests.local.apiserver.test_rules import DEFINITIONS, a_definition, rule

EXAMPLES = int(os.environ.get("FUZZING_EXAMPLES", "0"))
"""For each operation and each kind of input; the environment asks for a longer search over every kind."""

DOCUMENTS = ("api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1", "apis/example.com/v1")
PLURALS = frozenset(
    {"configmaps", "secrets", "namespaces", "serviceaccounts", "resourcequotas", "limitranges", "events", "boats"}
    | {"controllerrevisions", "roles", "clusterrolebindings"}
)
"""Kinds of a size that inputs for are quickly made."""

PROTECTED = frozenset({"default", "kube-system"})
MOST_TASKS = 50


def operations(session: requests.Session, server: str) -> Iterator[Any]:
    """Every operation of the documents, or of a few kinds."""
    paths = session.get(f"{server}/openapi/v3").json()["paths"]
    for path in paths if EXAMPLES else DOCUMENTS:
        raw = session.get(f"{server}/openapi/v3/{path}").json()
        if "openapi" not in raw:
            continue  # the search has deleted the definition
        schema = schemathesis.openapi.from_dict(raw)
        for result in schema.get_all_operations():
            operation = result.ok()
            plural = next(
                part for part in reversed(operation.path.split("/")) if not part.startswith("{") and part != "status"
            )
            if EXAMPLES or plural in PLURALS:
                yield operation


def fuzz(session: requests.Session, server: str, mode: GenerationMode) -> int:
    tested = 0
    for operation in operations(session, server):

        @settings(
            max_examples=EXAMPLES or 1,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
        def answers(case: Any, known: bool) -> None:
            if known and "namespace" in case.path_parameters:
                case.path_parameters["namespace"] = "default"
            if case.method == "DELETE" and case.path_parameters.get("name") in PROTECTED:
                return
            if "watch" in (case.query or {}):
                case.query["watch"] = "false"
            response = case.call(base_url=server, session=session, timeout=30, verify=session.verify, cert=session.cert)
            case.validate_response(response, checks=(not_a_server_error,))

        with contextlib.suppress(Unsatisfiable):  # where there is nothing to get wrong
            answers()
        tested += 1
    return tested


async def test_no_answer_is_a_defect(ask: Any, served: Any) -> None:

    text = rule("self.length < 5", messageExpression="'is ' + string(self.length)")
    await ask(
        "POST",
        DEFINITIONS,
        a_definition({"properties": {"length": {"type": "integer"}}, "x-kubernetes-validations": text}),
    )
    pair = served.api.authority.client_pair("fuzzer", "fuzzer", ("system:masters",))
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(served.api.authority.certificate)
        session.cert = tuple(map(str, pair))
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            tested = await asyncio.to_thread(fuzz, session, served.server, mode)
            assert tested > 40
        assert (await asyncio.to_thread(session.get, f"{served.server}/readyz")).text == "ok"
    assert len(asyncio.all_tasks()) < MOST_TASKS
