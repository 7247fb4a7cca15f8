"""Containers that join a pod that is there already: what the API makes of ``kubectl debug``."""

from typing import Any

import pytest
from tests.local.apiserver.conftest import Ask

from ketch.kube.errors import Invalid, MethodNotAllowed
from ketch.kube.transport import APPLY_PATCH, STRATEGIC_MERGE_PATCH

PODS = "/api/v1/namespaces/default/pods"
BELOW = f"{PODS}/web/ephemeralcontainers"
LOOK = {"name": "look", "image": "busybox", "targetContainerName": "main"}


@pytest.fixture
async def pod(ask: Ask) -> dict[str, Any]:
    """A pod ``web``."""
    spec = {"containers": [{"name": "main", "image": "python:3"}]}
    return await ask("POST", PODS, {"metadata": {"name": "web"}, "spec": spec})


def patch(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"ephemeralContainers": list(containers)}}


async def test_they_come_one_after_the_other_and_stay(ask: Ask, pod: dict[str, Any]) -> None:
    changed = await ask("PATCH", BELOW, patch(LOOK), STRATEGIC_MERGE_PATCH)
    (first,) = changed["spec"]["ephemeralContainers"]
    assert first["terminationMessagePolicy"] == "File"
    assert changed["metadata"]["generation"] == 2
    assert changed["spec"]["containers"] == pod["spec"]["containers"]
    (entry,) = [each for each in changed["metadata"]["managedFields"] if each.get("subresource")]
    assert entry["subresource"] == "ephemeralcontainers"
    changed = await ask("PATCH", BELOW, patch({"name": "again", "image": "busybox"}), STRATEGIC_MERGE_PATCH)
    assert {each["name"] for each in changed["spec"]["ephemeralContainers"]} == {"look", "again"}
    assert await ask("GET", BELOW) == changed == await ask("GET", f"{PODS}/web")
    for body in (patch({**LOOK, "image": "python:3"}), {"spec": {"ephemeralContainers": None}}):
        with pytest.raises(Invalid, match=r"existing ephemeral containers .* may not be"):
            await ask("PATCH", BELOW, body, STRATEGIC_MERGE_PATCH)


async def test_only_they_are_written_there(ask: Ask, pod: dict[str, Any]) -> None:
    body = {**pod, "spec": {**pod["spec"], "nodeName": "elsewhere", "ephemeralContainers": [LOOK]}}
    body["metadata"] = {**pod["metadata"], "labels": {"a": "b"}}
    changed = await ask("PUT", BELOW, body)
    assert "nodeName" not in changed["spec"]
    assert "labels" not in changed["metadata"]
    assert [each["name"] for each in changed["spec"]["ephemeralContainers"]] == ["look"]
    applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, **patch({"name": "b", "image": "c"})}
    changed = await ask("PATCH", BELOW, applied, APPLY_PATCH, {"fieldManager": "me"})
    assert len(changed["spec"]["ephemeralContainers"]) == 2
    with pytest.raises(Invalid, match="pod updates may not change fields"):
        await ask("PATCH", f"{PODS}/web", patch({"name": "d", "image": "c"}), STRATEGIC_MERGE_PATCH)
    with pytest.raises(MethodNotAllowed):
        await ask("POST", BELOW, body)


REFUSED = [
    ({"image": "x"}, "spec.ephemeralContainers[0].name"),
    ({"name": "main", "image": "x"}, "spec.ephemeralContainers[0].name: Duplicate value"),
    ({"name": "a"}, "spec.ephemeralContainers[0].image: Required value"),
    ({"name": "a", "image": "x", "ports": [{"containerPort": 1}]}, "ports: Forbidden: cannot be set for an Ephemeral"),
    ({"name": "a", "image": "x", "targetContainerName": "none"}, 'targetContainerName: Not found: "none"'),
    ({"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, 'name: Not found: "v"'),
]


@pytest.mark.parametrize(("container", "words"), REFUSED)
async def test_what_cannot_join(ask: Ask, pod: dict[str, Any], container: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as refused:
        await ask("PUT", BELOW, {**pod, "spec": {**pod["spec"], "ephemeralContainers": [container]}})
    assert words in str(refused.value)


async def test_no_pod_is_born_with_them(ask: Ask) -> None:
    spec = {"containers": [{"name": "main", "image": "x"}], "ephemeralContainers": [LOOK]}
    with pytest.raises(Invalid, match=r"spec\.ephemeralContainers: Forbidden: cannot be set on create"):
        await ask("POST", PODS, {"metadata": {"name": "web"}, "spec": spec})
