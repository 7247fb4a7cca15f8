"""Whatever is sent, the answer is an answer: objects of any shape are refused in the API's words."""

import asyncio
import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ketch.kube.errors import APIError, InternalError
from ketch.kube.transport import APPLY_PATCH, JSON_TYPE, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Request
from ketch.local.apiserver.server import APIServer

GARBAGE = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], ["x"], [None], [[]], {}, {"name": 1}, {"": None}])
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "x",
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
            }
        ],
        "tolerations": [{"key": "a"}],
        "volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}}],
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}},
}
VERSION = {
    "name": "v1",
    "served": True,
    "storage": True,
    "schema": {"openAPIV3Schema": SCHEMA},
    "subresources": {"status": {}},
    "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}],
}
OBJECTS: dict[str, dict[str, Any]] = {
    "/api/v1/namespaces/default/pods": {**TEMPLATE, "metadata": {"name": "a", "annotations": {"a": "b"}}},
    "/apis/apps/v1/namespaces/default/deployments": {
        "metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}]},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE, "strategy": {"rollingUpdate": {}}},
    },
    "/apis/apps/v1/namespaces/default/statefulsets": {
        "metadata": {"name": "a"},
        "spec": {
            "serviceName": "a",
            "selector": {"matchLabels": {"app": "a"}},
            "template": TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": "w"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        },
    },
    "/apis/batch/v1/namespaces/default/jobs": {"metadata": {"name": "a"}, "spec": {"template": TEMPLATE}},
    "/api/v1/namespaces/default/services": {
        "metadata": {"name": "a", "finalizers": ["a/b"]},
        "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "a"}},
    },
    "/api/v1/namespaces/default/secrets": {"metadata": {"name": "a"}, "data": {"a": "YQ=="}, "stringData": {"b": "c"}},
    "/api/v1/namespaces/default/configmaps": {
        "metadata": {"name": "a"},
        "data": {"a": "b"},
        "binaryData": {"b": "YQ=="},
    },
    "/api/v1/namespaces/default/persistentvolumeclaims": {
        "metadata": {"name": "a"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    },
    "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings": {
        "metadata": {"name": "a"},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "s"}],
    },
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
        "metadata": {"name": "as.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "as", "singular": "a", "kind": "A"},
            "versions": [VERSION],
        },
    },
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within a value."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, item in children for place in places(item, (*path, key))]


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, Any]:
    """A good object with up to three places replaced by garbage."""
    path = draw(st.sampled_from(sorted(OBJECTS)))
    body = copy.deepcopy(OBJECTS[path])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(body)))
        target = body
        for step in way:
            target = target[step]
        target[last] = copy.deepcopy(draw(GARBAGE))
    return path, body


@pytest.fixture(scope="module")
def runner() -> Any:
    """One server for all examples, and a loop that runs it."""
    with asyncio.Runner() as loop, TemporaryDirectory() as directory:
        server = APIServer(Path(directory) / "kube.db", Path(directory) / "pki")
        loop.run(server.start())
        transport = server.transport()

        async def send(method: str, path: str, body: Any, content_type: str = JSON_TYPE) -> Any:
            query = {"fieldManager": "fuzz", "force": "true"} if content_type == APPLY_PATCH else {}
            try:
                return await transport.request(Request(method, path, query, body, content_type))
            except InternalError:
                raise
            except APIError as error:
                return error

        yield lambda *arguments: loop.run(send(*arguments))
        loop.run(server.close())


@given(broken())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_objects_are_answered(runner: Any, example: tuple[str, Any]) -> None:
    path, body = example
    made = runner("POST", path, body)
    name = OBJECTS[path]["metadata"]["name"]
    if isinstance(made, APIError):
        assert 400 <= made.http_code < 500
        runner("POST", path, OBJECTS[path])
    for method, content_type in (
        ("PUT", JSON_TYPE),
        ("PATCH", APPLY_PATCH),
        ("PATCH", MERGE_PATCH),
        ("PATCH", STRATEGIC_MERGE_PATCH),
    ):
        for subresource in ("", "/status", "/scale"):
            runner(method, f"{path}/{name}{subresource}", body, content_type)
    runner("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}}, MERGE_PATCH)
    json.dumps(runner("DELETE", path, {"gracePeriodSeconds": 0}), default=str)


@pytest.mark.parametrize(
    "body",
    [
        None,
        1,
        "x",
        [],
        [[]],
        {"spec": 1},
        {"spec": None},
        {"spec": {"audiences": 1, "groups": 1, "finalizers": 1}},
        {"target": {"name": 1}},
        {"metadata": None},
    ],
)
def test_reviews_and_subresources_of_any_shape(runner: Any, body: Any) -> None:
    runner("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "s"}})
    runner("POST", "/api/v1/namespaces/default/pods", OBJECTS["/api/v1/namespaces/default/pods"])
    for path in (
        "/apis/authentication.k8s.io/v1/tokenreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        "/api/v1/namespaces/default/serviceaccounts/s/token",
        "/api/v1/namespaces/default/pods/a/binding",
        "/api/v1/namespaces/default/pods/a/eviction",
    ):
        runner("POST", path, body)
    runner("DELETE", "/api/v1/namespaces/default/pods/a", body)
    runner("PUT", "/api/v1/namespaces/default/finalize", body)
