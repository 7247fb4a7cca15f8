"""Kinds that are served in an older version than they are kept in: autoscaling/v1."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.local.apiserver.conftest import Ask
from tests.local.apiserver.test_kubectl import kubectl  # noqa: F401  # a fixture

from ketch.kube.transport import MERGE_PATCH
from ketch.local.apiserver.custom.autoscaling import as_v1, as_v2

ROOT = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
OTHER = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}


async def test_one_object_in_two_versions(ask: Ask, kubectl: Any) -> None:  # noqa: F811  # the fixture
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}
    made = await ask("POST", ROOT.format("v1"), {"metadata": {"name": "web"}, "spec": spec})
    assert (made["apiVersion"], made["spec"]) == ("autoscaling/v1", {**spec, "minReplicas": 1})
    newer = await ask("GET", f"{ROOT.format('v2')}/web")
    target = {"type": "Utilization", "averageUtilization": 70}
    assert newer["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    metrics = [*newer["spec"]["metrics"], OTHER]
    await ask("PATCH", f"{ROOT.format('v2')}/web", {"spec": {"metrics": metrics}}, MERGE_PATCH)
    older = await ask("GET", f"{ROOT.format('v1')}/web")
    assert older["spec"]["targetCPUUtilizationPercentage"] == 70
    assert "targetAverageValue" in older["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]
    changed = {**older, "spec": {**older["spec"], "maxReplicas": 7, "targetCPUUtilizationPercentage": 50}}
    await ask("PUT", f"{ROOT.format('v1')}/web", changed)
    newer = await ask("GET", f"{ROOT.format('v2')}/web")
    assert newer["spec"]["maxReplicas"] == 7
    assert newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert newer["spec"]["metrics"][1] == OTHER
    assert "annotations" not in newer["metadata"]
    assert "cpu: <unknown>/50%" in await kubectl("get", "hpa.v1.autoscaling")
    assert "maxReplicas: 7" in await kubectl("get", "hpa.v1.autoscaling", "web", "-o", "yaml")
    listed = await ask("GET", ROOT.format("v1"))
    assert [each["apiVersion"] for each in listed["items"]] == ["autoscaling/v1"]
    versions = await kubectl("api-versions")
    assert {"autoscaling/v1", "autoscaling/v2"} <= set(versions.split())
    assert "autoscaling/v2" in await kubectl("api-resources", "--api-group=autoscaling")


QUANTITY = st.sampled_from(["1", "500m", "2Gi"])
METRIC = st.one_of(
    st.builds(
        lambda name, value: {
            "type": "Resource",
            "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": value}},
        },
        st.sampled_from(["memory", "cpu"]),
        st.integers(1, 200),
    ),
    st.builds(
        lambda value, container: {
            "type": "ContainerResource",
            "containerResource": {
                "name": "cpu",
                "container": container,
                "target": {"type": "AverageValue", "averageValue": value},
            },
        },
        QUANTITY,
        st.sampled_from(["a", "b"]),
    ),
    st.builds(
        lambda value: {
            "type": "Pods",
            "pods": {"metric": {"name": "rate"}, "target": {"type": "AverageValue", "averageValue": value}},
        },
        QUANTITY,
    ),
    st.builds(
        lambda value, field: {
            "type": "Object",
            "object": {
                "describedObject": TARGET,
                "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": field[0].upper() + field[1:], field: value},
            },
        },
        QUANTITY,
        st.sampled_from(["value", "averageValue"]),
    ),
    st.builds(
        lambda value: {
            "type": "External",
            "external": {
                "metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "Value", "value": value},
            },
        },
        QUANTITY,
    ),
)


@given(st.lists(METRIC, max_size=4), st.booleans())
def test_nothing_is_lost_on_the_way_there_and_back(metrics: list[dict[str, Any]], behaves: bool) -> None:
    spec: dict[str, Any] = {"scaleTargetRef": TARGET, "maxReplicas": 5}
    if metrics:
        spec["metrics"] = metrics
    if behaves:
        spec["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 5}}
    kept = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec}
    back = as_v2(as_v1(kept))

    def ordered(found: dict[str, Any]) -> list[str]:
        return sorted(json.dumps(each, sort_keys=True) for each in found["spec"].get("metrics", []))

    assert ordered(back) == ordered(kept)
    assert {**back["spec"], "metrics": []} == {**kept["spec"], "metrics": []}
    assert back["metadata"] == kept["metadata"]
