"""Evictions: a pod is taken away on purpose only as far as its PodDisruptionBudget allows."""

from collections.abc import Mapping
from typing import Any

from ketch.kube.codec import decode, format_time
from ketch.kube.errors import Cause, InternalError, StatusDetails, TooManyRequests
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import matcher
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.copying import fresh
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.verbs.writing import WriteHandlers

BUDGETS = "policy/poddisruptionbudgets"
RETRY_SECONDS = 10
MOST_DISRUPTED = 2000
"""Pods that a budget may know as evicted and not yet gone."""
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
UNCOUNTED = ("Pending", "Succeeded", "Failed")
"""Phases in which a pod does not count for a budget."""
ALWAYS = "AlwaysAllow"


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or NOTHING).get("conditions") or NO_ITEMS
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _refused(why: str, seconds: int = 0) -> TooManyRequests:
    """A refusal; only with ``seconds`` do clients try again by themselves, without a word."""
    causes = (Cause("DisruptionBudget", why),)
    return TooManyRequests(REFUSED, StatusDetails(causes=causes, retry_after_seconds=seconds))


class Evictions:
    """Asks budgets; what they allow is taken from them at once, so that no two evictions use the same."""

    def __init__(self, store: Store, registry: Registry, writes: WriteHandlers) -> None:
        self._store = store
        self._budgets = registry.find("policy", "v1", "poddisruptionbudgets")
        self._writes = writes

    async def admit(self, call: Call, target: Target, pods: ServedResource, pod: Mapping[str, Any]) -> None:
        """Whether the pod may go. Raises TooManyRequests, InternalError."""
        if "deletionTimestamp" in pod["metadata"] or (pod.get("status") or NOTHING).get("phase") in UNCOUNTED:
            return
        budgets = self._budgets_of(pod)
        if len(budgets) > 1:
            raise InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        if budgets and not _is_free(budgets[0], pod):
            await self._take(call, pod, budgets[0])
        await self._mark(call, target, pods)

    def _budgets_of(self, pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        labels = pod["metadata"].get("labels") or NOTHING
        found: list[Mapping[str, Any]] = []
        for record in self._store.list(BUDGETS, pod["metadata"]["namespace"]):
            selector = record.value["spec"].get("selector")
            if selector is not None and matcher(decode(LabelSelector, selector))(labels):
                found.append(record.value)
        return found

    async def _take(self, call: Call, pod: Mapping[str, Any], budget: Mapping[str, Any]) -> None:
        meta, name = budget["metadata"], pod["metadata"]["name"]
        now = format_time(self._writes.clock.now().replace(microsecond=0))

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            status = newest.get("status") or NOTHING
            if status.get("observedGeneration", 0) < newest["metadata"].get("generation", 0):
                raise _refused(
                    f"The disruption budget {meta['name']} is still being processed by the server.", RETRY_SECONDS
                )
            allowed, disrupted = status.get("disruptionsAllowed", 0), status.get("disruptedPods") or NOTHING
            if len(disrupted) > MOST_DISRUPTED:
                raise _refused(f"The disruption budget {meta['name']} has too many evictions that are not confirmed.")
            if allowed <= 0:
                needed, there = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
                raise _refused(
                    f"The disruption budget {meta['name']} needs {needed} healthy pods and has {there} currently"
                )
            obj = fresh(newest)
            obj["status"]["disruptionsAllowed"] = allowed - 1
            obj["status"].setdefault("disruptedPods", {})[name] = now
            return obj

        where = Target("policy", "v1", "poddisruptionbudgets", meta["namespace"], meta["name"], "status", "update")
        await self._writes.rewrite(_quiet(call), where, self._budgets, change)

    async def _mark(self, call: Call, target: Target, pods: ServedResource) -> None:
        """Say on the pod why it goes."""
        now = format_time(self._writes.clock.now().replace(microsecond=0))
        told = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": now,
        }

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            obj = fresh(newest)
            status = obj.setdefault("status", {})
            others = [each for each in status.get("conditions") or NO_ITEMS if each.get("type") != told["type"]]
            status["conditions"] = [*others, told]
            return obj

        where = Target("", "v1", "pods", target.namespace, target.name, "status", "update")
        await self._writes.rewrite(_quiet(call), where, pods, change)


def _is_free(budget: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether a pod that does not serve may go without asking: it protects nothing."""
    if _is_ready(pod):
        return False
    status = budget.get("status") or NOTHING
    if budget["spec"].get("unhealthyPodEvictionPolicy") == ALWAYS:
        return True
    return status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0


def _quiet(call: Call) -> Call:
    """The same sender's write without its body; a dry run stays one."""
    dry = {"dryRun": "All"} if call.dry_run else {}
    return Call(call.user, "PUT", call.path, {"fieldManager": call.manager, **dry}, None)
