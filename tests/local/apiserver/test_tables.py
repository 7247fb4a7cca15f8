"""Cells as kubectl's users know them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ketch.local.apiserver.tables import administration, pods, workloads
from ketch.local.apiserver.tables.columns import duration
from ketch.local.apiserver.tables.jsonpath import PathError, compiled

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (11 * MINUTE + 5, "11m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (20 * HOUR, "20h"),
        (2 * DAY, "2d"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (30 * DAY, "30d"),
        (800 * DAY, "2y70d"),
        (9 * 365 * DAY, "9y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def pod(*statuses: dict[str, Any], phase: str = "Running", **more: Any) -> dict[str, Any]:
    containers = [{"name": f"c{index}"} for index in range(len(statuses) or 1)]
    named = [{"name": f"c{index}", **status} for index, status in enumerate(statuses)]
    status = {"phase": phase, "containerStatuses": named, **more.pop("status", {})}
    return {
        "metadata": {"name": "p", **more.pop("metadata", {})},
        "spec": {"containers": containers, **more},
        "status": status,
    }


RUNNING: dict[str, Any] = {"ready": True, "state": {"running": {}}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(pod(phase="Pending"), ("0/1", "Pending", "0"), id="pending"),
        pytest.param(pod(RUNNING, RUNNING), ("2/2", "Running", "0"), id="running"),
        pytest.param(
            pod({"state": {"waiting": {"reason": "ErrImagePull"}}}, phase="Pending"),
            ("0/1", "ErrImagePull", "0"),
            id="image",
        ),
        pytest.param(
            pod({"state": {"terminated": {"reason": "Completed"}}}, phase="Succeeded"),
            ("0/1", "Completed", "0"),
            id="done",
        ),
        pytest.param(pod({"state": {"terminated": {"exitCode": 3}}}), ("0/1", "ExitCode:3", "0"), id="exit code"),
        pytest.param(pod({"state": {"terminated": {"signal": 9}}}), ("0/1", "Signal:9", "0"), id="signal"),
        pytest.param(
            pod(RUNNING, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
            ("1/1", "Terminating", "0"),
            id="dying",
        ),
        pytest.param(pod(RUNNING, status={"reason": "Evicted"}), ("1/1", "Evicted", "0"), id="reason"),
        pytest.param(
            pod({**RUNNING, "restartCount": 3, "lastState": {"terminated": {"finishedAt": "2026-01-01T23:00:00Z"}}}),
            ("1/1", "Running", "3 (60m ago)"),
            id="restarted",
        ),
        pytest.param(
            pod(
                {"state": {"waiting": {"reason": "PodInitializing"}}},
                phase="Pending",
                initContainers=[{"name": "i"}, {"name": "j"}],
                status={"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
            ),
            ("0/1", "Init:0/2", "0"),
            id="initializing",
        ),
        pytest.param(
            pod(
                phase="Pending",
                initContainers=[{"name": "i"}],
                status={
                    "initContainerStatuses": [
                        {"name": "i", "state": {"terminated": {"reason": "Error", "exitCode": 1}}}
                    ]
                },
            ),
            ("0/1", "Init:Error", "0"),
            id="init failed",
        ),
    ],
)
def test_pods(obj: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert (pods.ready(obj, NOW), pods.status(obj, NOW), pods.restarts(obj, NOW + timedelta(0))) == expected


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("a.b", [1]),
        ("{.a.b}", [1]),
        ("$.a.b", [1]),
        (".a['b']", [1]),
        (".l[1].x", [2]),
        (".l[*].x", [1, 2]),
        (".l[-1:].x", [2]),
        (".l[:1].x", [1]),
        (".l[0:2:2].x", [1]),
        ('.l[?(@.t=="two")].x', [2]),
        (".l[?(@.t!='two')].x", [1]),
        (r".m.x\.y/z", [3]),
        (".none.such", []),
        (".l[9]", []),
        (".", [...]),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    value = {"a": {"b": 1}, "l": [{"t": "one", "x": 1}, {"t": "two", "x": 2}], "m": {"x.y/z": 3}}
    assert compiled(path)(value) == (found if found != [...] else [value])


def test_paths_that_say_nothing() -> None:
    for path in (".a[", ".a[?(x)]", ".a["):
        with pytest.raises(PathError):
            compiled(path)


def an_autoscaler(*current: dict[str, Any]) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 50}
    amount = {"type": "AverageValue", "averageValue": "1Gi"}
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": target}},
        {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "main", "target": amount}},
    ]
    return {"spec": {"metrics": metrics}, "status": {"currentMetrics": list(current)}}


def test_an_autoscalers_metrics_as_they_are_and_as_they_should_be() -> None:
    (targets,) = [each for each in workloads.AUTOSCALER if each.name == "Targets"]
    cpu = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 38}}}
    memory = {"name": "memory", "container": "main", "current": {"averageValue": "2Gi"}}
    assert targets.cell(an_autoscaler(), NOW) == "cpu: <unknown>/50%, main/memory: <unknown>/1Gi"
    known = an_autoscaler(cpu, {"type": "ContainerResource", "containerResource": memory})
    assert targets.cell(known, NOW) == "cpu: 38%/50%, main/memory: 2Gi/1Gi"


QUOTA = {
    "status": {
        "hard": {"pods": "5", "limits.cpu": "2", "requests.memory": "1Gi"},
        "used": {"pods": "1", "limits.cpu": "500m"},
    }
}
POLICY = {
    "spec": {"podSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}}
}
BINDING = {"spec": {"policyName": "p", "paramRef": {"name": "limits", "namespace": "n"}}}
REVISION = {
    "revision": 3,
    "metadata": {
        "ownerReferences": [{"controller": True, "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}]
    },
}


@pytest.mark.parametrize(
    ("columns", "obj", "cells"),
    [
        pytest.param(
            administration.RESOURCE_QUOTA,
            QUOTA,
            ["pods: 1/5, requests.memory: 0/1Gi", "limits.cpu: 500m/2"],
            id="quota",
        ),
        pytest.param(administration.NETWORK_POLICY, POLICY, ["a=b,c"], id="network policy"),
        pytest.param(administration.NETWORK_POLICY, {"spec": {"podSelector": {}}}, ["<none>"], id="all pods"),
        pytest.param(administration.POLICY_BINDING, BINDING, ["p", "n/limits"], id="binding of a policy"),
        pytest.param(administration.REVISION, REVISION, ["statefulset.apps/db", 3], id="revision"),
        pytest.param(administration.WEBHOOKS, {"webhooks": [{}, {}]}, [2], id="webhooks"),
        pytest.param(administration.RUNTIME_CLASS, {"handler": "runc"}, ["runc"], id="runtime class"),
    ],
)
def test_what_administrators_look_for(columns: Any, obj: dict[str, Any], cells: list[Any]) -> None:
    named = {**obj, "metadata": {"name": "x", "creationTimestamp": "2026-01-01T23:59:00Z", **obj.get("metadata", {})}}
    assert [column.cell(named, NOW) for column in columns] == ["x", *cells, "60s"]
