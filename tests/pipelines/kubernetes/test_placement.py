"""Where a step's pod may run."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.pipelines.kubernetes.building import amended, constant, of_input

from ketch.kube.codec import encode
from ketch.pipelines.steps.step import PodProblem

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def spec(platform: Mapping[str, Any], given: Any = None) -> Mapping[str, Any]:
    return encode(amended(platform, {"given": given}).spec)


def test_node_selectors() -> None:
    assert spec({"nodeSelector": {"labels": {"disk": "ssd"}}})["nodeSelector"] == {"disk": "ssd"}
    both = {"labels": {"disk": "ssd"}, "nodeSelectorJson": of_input("given")}
    assert spec({"nodeSelector": both}, {"zone": "a", "x": "y"})["nodeSelector"] == {"zone": "a", "x": "y"}
    assert "nodeSelector" not in spec({"nodeSelector": both}, None)
    assert spec({"nodeSelector": {"nodeSelectorJson": constant({"a": "b"})}})["nodeSelector"] == {"a": "b"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ({}, []),
        ([], []),
        (
            {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"},
            [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}],
        ),
        (
            [
                {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5.0},
                {"operator": "Exists"},
            ],
            [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}, {"operator": "Exists"}],
        ),
    ],
)
def test_tolerations_as_json_are_one_or_many(given: Any, expected: list[Any]) -> None:
    first = {"key": "first", "operator": "Exists", "tolerationSeconds": "7"}
    found = spec({"tolerations": [first, {"tolerationJson": of_input("given")}]}, given)["tolerations"]
    assert found == [{"key": "first", "operator": "Exists", "tolerationSeconds": 7}, *expected]


@pytest.mark.parametrize(
    ("platform", "given", "message"),
    [
        ({"nodeSelector": {"nodeSelectorJson": of_input("given")}}, {"a": 1}, "a must be text, not number"),
        ({"nodeSelector": {"nodeSelectorJson": of_input("given")}}, "x", "must be an object, not string"),
        ({"tolerations": [{"tolerationJson": of_input("given")}]}, "x", "must be an object, not string"),
        ({"tolerations": [{"tolerationJson": of_input("given")}]}, [{"keys": "k"}], "has no field 'keys'"),
        ({"tolerations": [{"tolerationJson": of_input("given")}]}, {"key": True}, "key must be text, not bool"),
        ({"nodeAffinity": [{"nodeAffinityJson": of_input("given")}]}, {"x": {}}, "has no field 'x'"),
        ({"nodeAffinity": [{"nodeAffinityJson": of_input("given")}]}, {PREFERRED: {}}, "must be a list, not struct"),
        ({"nodeAffinity": [{"nodeAffinityJson": of_input("given")}]}, {REQUIRED: [1]}, "must be an object, not list"),
    ],
)
def test_json_of_another_shape_fails_the_task_in_words(platform: Mapping[str, Any], given: Any, message: str) -> None:
    with pytest.raises(PodProblem, match=message):
        spec(platform, given)


def test_node_affinity_is_required_or_preferred_and_may_be_json() -> None:
    expression = {"key": "zone", "operator": "In", "values": ["a"]}
    field = {"key": "metadata.name", "operator": "Exists"}
    json = {
        REQUIRED: {"nodeSelectorTerms": [{"matchFields": [field]}]},
        PREFERRED: [{"weight": 1, "preference": {"matchFields": [field]}}],
    }
    platform = {
        "nodeAffinity": [
            {"matchExpressions": [expression]},
            {"matchExpressions": [expression], "matchFields": [field], "weight": 9},
            {"nodeAffinityJson": of_input("given")},
            {},
        ]
    }
    assert spec(platform, json)["affinity"]["nodeAffinity"] == {
        REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [expression]}, {"matchFields": [field]}]},
        PREFERRED: [
            {"weight": 9, "preference": {"matchExpressions": [expression], "matchFields": [field]}},
            {"weight": 1, "preference": {"matchFields": [field]}},
        ],
    }
    assert "affinity" not in spec({"nodeAffinity": [{"nodeAffinityJson": of_input("given")}, {}]}, None)


def test_pod_affinity_and_its_opposite() -> None:
    near = {
        "matchPodLabels": {"app": "a"},
        "topologyKey": "zone",
        "namespaces": ["n"],
        "matchNamespaceLabels": {"team": "t"},
        "matchNamespaceExpressions": [{"key": "k", "operator": "Exists"}],
    }
    apart = {"matchPodExpressions": [{"key": "k", "operator": "In", "values": ["v"]}], "topologyKey": "host"}
    platform = {"podAffinity": [near, {**near, "weight": 5}, {**apart, "anti": True}]}
    term = {
        "labelSelector": {"matchLabels": {"app": "a"}},
        "topologyKey": "zone",
        "namespaces": ["n"],
        "namespaceSelector": {
            "matchLabels": {"team": "t"},
            "matchExpressions": [{"key": "k", "operator": "Exists"}],
        },
    }
    opposite = {
        "labelSelector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
        "topologyKey": "host",
    }
    assert spec(platform)["affinity"] == {
        "podAffinity": {REQUIRED: [term], PREFERRED: [{"weight": 5, "podAffinityTerm": term}]},
        "podAntiAffinity": {REQUIRED: [opposite]},
    }
