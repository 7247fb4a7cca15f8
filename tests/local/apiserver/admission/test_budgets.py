"""ResourceQuotas and LimitRanges: what a namespace may spend, and what containers get."""

import asyncio
from typing import Any

import pytest
from tests.waiting import eventually

from ketch.kube.errors import Forbidden, Invalid
from ketch.kube.transport import MERGE_PATCH

CORE = "/api/v1/namespaces/default"
PODS, MAPS, QUOTAS, LIMITS = (f"{CORE}/{plural}" for plural in ("pods", "configmaps", "resourcequotas", "limitranges"))


def a_quota(name: str = "q", scopes: list[str] | None = None, **hard: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"hard": {key.replace("__", "/").replace("_", "."): text for key, text in hard.items()}}
    if scopes:
        spec["scopes"] = scopes
    return {"metadata": {"name": name}, "spec": spec}


def a_pod(name: str, requests: Any = None, limits: Any = None, **spec: Any) -> dict[str, Any]:
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "x", "resources": resources}], **spec},
    }


async def used(ask: Any, name: str = "q") -> dict[str, str]:
    return (await ask("GET", f"{QUOTAS}/{name}"))["status"].get("used", {})


async def becomes(ask: Any, name: str = "q", **wanted: str) -> None:
    expected = {key.replace("__", "/").replace("_", "."): text for key, text in wanted.items()}

    async def reached() -> bool:
        return await used(ask, name) == expected

    await eventually(reached, f"usage {expected}")


async def test_objects_are_counted_and_no_more_are_admitted(ask: Any) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "before"}})
    await ask("POST", QUOTAS, a_quota(configmaps="2", count__configmaps="3"))
    await becomes(ask, configmaps="1", count__configmaps="1")
    await ask("POST", MAPS, {"metadata": {"name": "second"}})
    with pytest.raises(Forbidden) as caught:
        await ask("POST", MAPS, {"metadata": {"name": "third"}})
    assert caught.value.message == (
        'configmaps "third" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, '
        "limited: configmaps=2"
    )
    await ask("DELETE", f"{MAPS}/before")
    await ask("POST", MAPS, {"metadata": {"name": "third"}})
    await becomes(ask, configmaps="2", count__configmaps="2")


async def test_what_comes_at_once_cannot_spend_the_same(ask: Any) -> None:
    await ask("POST", QUOTAS, a_quota(configmaps="5"))
    made = await asyncio.gather(
        *(ask("POST", MAPS, {"metadata": {"name": f"m{number}"}}) for number in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, dict) for outcome in made) == 5
    assert sum(isinstance(outcome, Forbidden) for outcome in made) == 15
    await becomes(ask, configmaps="5")


async def test_what_is_refused_or_only_tried_costs_nothing(ask: Any) -> None:
    await ask("POST", QUOTAS, a_quota(configmaps="1"))
    await ask("POST", MAPS, {"metadata": {"name": "a"}}, query={"dryRun": "All"})
    with pytest.raises(Invalid):
        await ask("POST", MAPS, {"metadata": {"name": "A"}})
    await ask("POST", MAPS, {"metadata": {"name": "a"}})
    with pytest.raises(Forbidden):
        await ask("POST", MAPS, {"metadata": {"name": "b"}}, query={"dryRun": "All"})


async def test_pods_cost_what_their_containers_ask_for(ask: Any) -> None:
    hard = {"pods": "9", "requests_cpu": "2", "limits_memory": "1Gi", "requests_nvidia_com__gpu": "1"}
    body = a_quota(**hard)
    body["spec"]["hard"]["requests.nvidia.com/gpu"] = body["spec"]["hard"].pop("requests.nvidia.com/gpu")
    await ask("POST", QUOTAS, body)
    with pytest.raises(Forbidden, match=r"must specify limits.memory for: main; requests.cpu for: main"):
        await ask("POST", PODS, a_pod("silent"))
    init = {"name": "first", "image": "x", "resources": {"requests": {"cpu": "1500m"}, "limits": {"memory": "1Mi"}}}
    limits = {"memory": "512Mi", "nvidia.com/gpu": "1"}
    await ask("POST", PODS, a_pod("p", {"cpu": "500m"}, limits, initContainers=[init]))
    await becomes(ask, pods="1", requests_cpu="1500m", limits_memory="512Mi", requests_nvidia_com__gpu="1")
    with pytest.raises(
        Forbidden, match=r"requested: requests.cpu=600m, used: requests.cpu=1500m, limited: requests.cpu=2"
    ):
        await ask("POST", PODS, a_pod("q", {"cpu": "600m"}, {"memory": "1Mi"}))
    status = {"status": {"phase": "Succeeded"}}
    await ask("PATCH", f"{PODS}/p/status", status, content_type=MERGE_PATCH)
    await becomes(ask, pods="0", requests_cpu="0", limits_memory="0", requests_nvidia_com__gpu="0")


async def test_scopes(ask: Any) -> None:
    await ask("POST", QUOTAS, a_quota("best", ["BestEffort"], pods="1"))
    await ask("POST", QUOTAS, a_quota("ending", ["Terminating"], pods="1"))
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}
    await ask(
        "POST", QUOTAS, {"metadata": {"name": "high"}, "spec": {"hard": {"pods": "0"}, "scopeSelector": selector}}
    )
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await ask("POST", classes, {"metadata": {"name": "high"}, "value": 5})
    await ask("POST", PODS, a_pod("a"))
    await ask("POST", PODS, a_pod("b", {"cpu": "1"}, activeDeadlineSeconds=5))
    for pod in (a_pod("c"), a_pod("d", {"cpu": "1"}, activeDeadlineSeconds=5)):
        with pytest.raises(Forbidden, match="exceeded quota"):
            await ask("POST", PODS, pod)
    with pytest.raises(Forbidden, match="exceeded quota: high"):
        await ask("POST", PODS, a_pod("e", {"cpu": "1"}, priorityClassName="high"))
    await ask("POST", PODS, a_pod("f", {"cpu": "1"}))
    with pytest.raises(Invalid, match="conflicting scopes"):
        await ask("POST", QUOTAS, a_quota("both", ["BestEffort", "NotBestEffort"], pods="1"))


async def test_claims_and_services(ask: Any) -> None:
    hard = {"requests.storage": "2Gi", "persistentvolumeclaims": "5", "services.nodeports": "1"}
    hard["slow.storageclass.storage.k8s.io/requests.storage"] = "1Gi"
    await ask("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}})

    def claim(name: str, size: str, kind: str) -> dict[str, Any]:
        resources = {"requests": {"storage": size}}
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": kind, "resources": resources}
        return {"metadata": {"name": name}, "spec": spec}

    claims, services = f"{CORE}/persistentvolumeclaims", f"{CORE}/services"
    await ask("POST", claims, claim("a", "1Gi", "slow"))
    with pytest.raises(Forbidden, match=r"slow\.storageclass"):
        await ask("POST", claims, claim("b", "1Mi", "slow"))
    await ask("POST", claims, claim("b", "512Mi", "fast"))
    expandable = {"metadata": {"name": "fast"}, "provisioner": "x", "allowVolumeExpansion": True}
    await ask("POST", "/apis/storage.k8s.io/v1/storageclasses", expandable)
    bound = {"status": {"phase": "Bound", "capacity": {"storage": "512Mi"}}}  # only such ones grow
    await ask("PATCH", f"{claims}/b/status", bound, content_type=MERGE_PATCH)
    bigger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    with pytest.raises(Forbidden, match=r"requested: requests.storage=1536Mi"):
        await ask("PATCH", f"{claims}/b", bigger, content_type=MERGE_PATCH)
    service = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 1}]}}
    await ask("POST", services, service)
    with pytest.raises(Forbidden, match=r"services.nodeports"):
        await ask("POST", services, {**service, "metadata": {"name": "t"}})


async def test_a_quota_that_grows_admits_more(ask: Any) -> None:
    await ask("POST", QUOTAS, a_quota(configmaps="0"))
    with pytest.raises(Forbidden):
        await ask("POST", MAPS, {"metadata": {"name": "a"}})
    await ask("PATCH", f"{QUOTAS}/q", {"spec": {"hard": {"configmaps": "1"}}}, content_type=MERGE_PATCH)
    await ask("POST", MAPS, {"metadata": {"name": "a"}})
    await ask("DELETE", f"{QUOTAS}/q")
    await ask("POST", MAPS, {"metadata": {"name": "b"}})


def a_range(**item: Any) -> dict[str, Any]:
    return {"metadata": {"name": "l"}, "spec": {"limits": [item]}}


async def test_containers_get_what_they_do_not_name(ask: Any) -> None:
    await ask("POST", LIMITS, a_range(type="Container", default={"cpu": "500m"}, max={"memory": "1Gi"}))
    pod = await ask("POST", PODS, a_pod("p", {"memory": "1Mi"}))
    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "1Mi"},
    }
    assert pod["status"]["qosClass"] == "Burstable"


@pytest.mark.parametrize(
    ("item", "pod", "why"),
    [
        pytest.param(
            {"type": "Container", "max": {"cpu": "1"}},
            a_pod("p", None, {"cpu": "2"}),
            "maximum cpu usage per Container is 1, but limit is 2",
            id="more than a container may have",
        ),
        pytest.param(
            {"type": "Container", "min": {"cpu": "100m"}},
            a_pod("p", {"cpu": "50m"}),
            "minimum cpu usage per Container is 100m, but request is 50m",
            id="less than a container must ask for",
        ),
        pytest.param(
            {"type": "Pod", "max": {"memory": "1Gi"}},
            a_pod("p"),
            "maximum memory usage per Pod is 1Gi. No limit is specified",
            id="a pod that does not say",
        ),
        pytest.param(
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            a_pod("p", {"cpu": "1"}, {"cpu": "3"}),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            id="a limit far above what is asked for",
        ),
    ],
)
async def test_a_pod_beyond_the_limits(ask: Any, item: Any, pod: Any, why: str) -> None:
    await ask("POST", LIMITS, a_range(**item))
    with pytest.raises(Forbidden) as caught:
        await ask("POST", PODS, pod)
    assert caught.value.message == f'pods "p" is forbidden: {why}'


async def test_limits_that_cannot_be(ask: Any) -> None:
    with pytest.raises(Invalid, match="min value 2 is greater than max value 1"):
        await ask("POST", LIMITS, a_range(type="Container", min={"cpu": "2"}, max={"cpu": "1"}))
    with pytest.raises(Invalid, match="may not be specified when `type` is 'Pod'"):
        await ask("POST", LIMITS, a_range(type="Pod", default={"cpu": "2"}))
