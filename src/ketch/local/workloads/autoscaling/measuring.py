"""What pods use, as metrics.k8s.io tells it, and the scale of what is autoscaled."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from ketch.kube.client import Client
from ketch.kube.codec import parse_time
from ketch.kube.errors import APIError, NotFound
from ketch.kube.times.durations import parse_duration
from ketch.kube.types.autoscaling import ScaleTarget
from ketch.kube.types.containers import NOTHING
from ketch.local.workloads.autoscaling.proposals import Measured

METRICS = "/apis/metrics.k8s.io/v1beta1"
DEFAULT_WINDOW = timedelta(seconds=30)


class Meter(Protocol):
    """Tells what pods use."""

    async def use(self, namespace: str, selector: str) -> Mapping[str, Measured]:
        """By pod. Raises APIError where it cannot be told."""
        ...


class MetricsAPI:
    """A meter that asks metrics.k8s.io."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def use(self, namespace: str, selector: str) -> Mapping[str, Measured]:
        """By pod. Raises APIError."""
        path = f"{METRICS}/namespaces/{namespace}/pods"
        answer: Mapping[str, Any] = await self._client.request("GET", path, {"labelSelector": selector})
        return {item["metadata"]["name"]: measured(item) for item in answer.get("items") or ()}


def measured(item: Mapping[str, Any]) -> Measured:
    """A PodMetrics object, read."""
    moment: datetime = parse_time(item["timestamp"])
    window = parse_duration(item["window"]) if item.get("window") else DEFAULT_WINDOW
    containers: dict[str, Mapping[str, str]] = {
        each["name"]: each.get("usage") or NOTHING for each in item.get("containers") or ()
    }
    return Measured(moment, window, containers)


class Scale(NamedTuple):
    """The scale of a workload: where it is, its size as wanted and as it is, and its pods' selector."""

    path: str
    body: Mapping[str, Any]
    wanted: int
    actual: int
    selector: str


class Scales:
    """Finds scales by kind and name; the plural of a kind is asked for once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._plurals: dict[tuple[str, str], str] = {}

    async def get(self, target: ScaleTarget, namespace: str) -> Scale:
        """The target's scale. Raises APIError."""
        root = f"/apis/{target.api_version}" if "/" in target.api_version else f"/api/{target.api_version or 'v1'}"
        plural = await self._plural(root, target.kind)
        path = f"{root}/namespaces/{namespace}/{plural}/{target.name}/scale"
        body: Mapping[str, Any] = await self._client.request("GET", path)
        spec: Mapping[str, Any] = body.get("spec") or {}
        status: Mapping[str, Any] = body.get("status") or {}
        selector = str(status.get("selector", ""))
        return Scale(path, body, int(spec.get("replicas", 0)), int(status.get("replicas", 0)), selector)

    async def set(self, scale: Scale, replicas: int) -> None:
        """Write another size; Conflict when somebody was quicker. Raises APIError."""
        await self._client.request("PUT", scale.path, body={**scale.body, "spec": {"replicas": replicas}})

    async def _plural(self, root: str, kind: str) -> str:
        known = self._plurals.get((root, kind))
        if known is not None:
            return known
        try:
            answer: Mapping[str, Any] = await self._client.request("GET", root)
        except APIError as error:
            raise NotFound(f"no matches for kind {kind} in {root.removeprefix('/apis/')}: {error}") from error
        for each in answer.get("resources") or ():
            if each.get("kind") == kind and "/" not in each.get("name", ""):
                self._plurals[root, kind] = each["name"]
                return str(each["name"])
        raise NotFound(f"no matches for kind {kind} in {root.removeprefix('/apis/')}")
