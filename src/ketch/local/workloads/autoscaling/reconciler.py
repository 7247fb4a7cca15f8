"""HorizontalPodAutoscaler: looks every quarter of a minute and sets the scale."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from ketch.kube.conditions import set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import APIError, Conflict, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import Manager
from ketch.kube.meta import Condition, ObjectKey
from ketch.kube.selectors import SelectorError, parse_labels
from ketch.kube.types.autoscaling import AutoscalerStatus, HorizontalPodAutoscaler
from ketch.kube.types.pods import Pod
from ketch.local.workloads.autoscaling.behavior import READY, WITHIN, Memory, Outcome, settle
from ketch.local.workloads.autoscaling.measuring import Meter, MetricsAPI, Scale, Scales
from ketch.local.workloads.autoscaling.proposals import Measured, MetricError, Proposal, propose
from ketch.local.workloads.reporting import report

MANAGER = "horizontal-pod-autoscaler"
ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
LOOK_SECONDS = 15.0


def _condition(kind: str, status: str, told: tuple[str, str]) -> Condition:
    return Condition(type=kind, status=status, reason=told[0], message=told[1])


class _Found:
    """What the metrics ask for, as far as they can be had."""

    def __init__(self) -> None:
        self.proposals: list[Proposal] = []
        self.error: MetricError | None = None

    def best(self, current: int) -> Proposal | None:
        """The largest proposal; none where a metric is missing and the others would only shrink the workload."""
        best = max(self.proposals, key=lambda each: each.replicas, default=None)
        if best is None or (self.error is not None and best.replicas < current):
            return None
        return best


def weigh(
    hpa: HorizontalPodAutoscaler, current: int, pods: Sequence[Pod], use: Mapping[str, Measured], now: datetime
) -> _Found:
    """Ask each metric."""
    found = _Found()
    for metric in hpa.spec.metrics:
        try:
            found.proposals.append(propose(metric, current, pods, use, now))
        except MetricError as error:
            found.error = found.error or error
    return found


class AutoscalerReconciler:
    """Sets scales. What was recommended of late is remembered here alone: after a restart it begins anew."""

    def __init__(self, manager: Manager, meter: Meter) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._autoscalers = manager.informer(HorizontalPodAutoscaler)
        self._pods = manager.informer(Pod)
        self._meter = meter
        self._scales = Scales(manager.client)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)
        self._memories: dict[str, Memory] = {}

    def forget(self, uid: str) -> None:
        """The autoscaler is gone."""
        self._memories.pop(uid, None)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One look."""
        hpa = self._autoscalers.get(key)
        if hpa is None or hpa.metadata.deletion_timestamp is not None:
            return Result()
        try:
            scale = await self._scales.get(hpa.spec.scale_target_ref, key.namespace)
        except APIError as error:
            text = f"the HPA controller was unable to get the target's current scale: {error}"
            await self._events.record(hpa, "Warning", "FailedGetScale", str(error))
            await self._report(hpa, hpa.status, _condition(ABLE, "False", ("FailedGetScale", text)))
            return Result(requeue_after=LOOK_SECONDS)
        await self._look(hpa, scale)
        return Result(requeue_after=LOOK_SECONDS)

    async def _look(self, hpa: HorizontalPodAutoscaler, scale: Scale) -> None:
        status = msgspec.structs.replace(hpa.status, current_replicas=scale.actual)
        succeeded = ("SucceededGetScale", "the HPA controller was able to get the target's current scale")
        able = _condition(ABLE, "True", succeeded)
        if not scale.wanted:
            text = "scaling is disabled since the replica count of the target is zero"
            status = msgspec.structs.replace(status, desired_replicas=0)
            await self._report(hpa, status, able, _condition(ACTIVE, "False", ("ScalingDisabled", text)))
            return
        least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
        if scale.wanted > hpa.spec.max_replicas:
            await self._resize(
                hpa, scale, status, hpa.spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"
            )
            return
        if scale.wanted < least:
            await self._resize(hpa, scale, status, least, "Current number of replicas below Spec.MinReplicas")
            return
        found = await self._weigh(hpa, scale)
        best = found.best(scale.wanted)
        metrics = tuple(each.current for each in found.proposals)
        status = msgspec.structs.replace(status, current_metrics=metrics)
        if best is None:
            error = found.error or MetricError("InvalidMetric", "no metric is given")
            text = f"the HPA was unable to compute the replica count: {error}"
            await self._events.record(hpa, "Warning", error.reason, str(error))
            status = msgspec.structs.replace(status, desired_replicas=scale.wanted)
            await self._report(hpa, status, able, _condition(ACTIVE, "False", (error.reason, text)))
            return
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        active = _condition(ACTIVE, "True", ("ValidMetricFound", text))
        memory = self._memories.setdefault(hpa.metadata.uid, Memory())
        outcome = settle(hpa.spec, scale.wanted, best.replicas, memory, self._clock.now())
        way = "above" if outcome.replicas > scale.wanted else "below"
        await self._resize(
            hpa, scale, status, outcome.replicas, f"{best.name} {way} target", outcome=outcome, active=active
        )

    async def _weigh(self, hpa: HorizontalPodAutoscaler, scale: Scale) -> _Found:
        namespace = hpa.metadata.namespace
        try:
            pods = self._pods.list(namespace, parse_labels(scale.selector))
            use = await self._meter.use(namespace, scale.selector)
        except (APIError, SelectorError) as error:
            found = _Found()
            text = f"unable to get resource metrics: unable to fetch metrics from resource metrics API: {error}"
            found.error = MetricError("FailedGetResourceMetric", text)
            return found
        return weigh(hpa, scale.wanted, pods, use, self._clock.now())

    async def _resize(
        self,
        hpa: HorizontalPodAutoscaler,
        scale: Scale,
        status: AutoscalerStatus,
        replicas: int,
        why: str,
        *,
        outcome: Outcome | None = None,
        active: Condition | None = None,
    ) -> None:
        """Write the scale where it differs, and report."""
        limited = WITHIN if outcome is None else outcome.limited
        conditions = [_condition(LIMITED, "False" if limited == WITHIN else "True", limited)]
        conditions += [active] if active else []
        able, now = READY if outcome is None else outcome.able, self._clock.now()
        if replicas != scale.wanted:
            try:
                await self._scales.set(scale, replicas)
            except (Conflict, NotFound):
                return  # somebody was quicker: the next look sees what is
            except APIError as error:
                text = f"the HPA controller was unable to update the target scale: {error}"
                await self._events.record(
                    hpa, "Warning", "FailedRescale", f"New size: {replicas}; reason: {why}; error: {error}"
                )
                await self._report(hpa, status, _condition(ABLE, "False", ("FailedUpdateScale", text)), *conditions)
                return
            able = ("SucceededRescale", f"the HPA controller was able to update the target scale to {replicas}")
            status = msgspec.structs.replace(status, last_scale_time=now.replace(microsecond=0))
            memory = self._memories.setdefault(hpa.metadata.uid, Memory())
            memory.changes.append((now, replicas - scale.wanted))
            await self._events.record(hpa, "Normal", "SuccessfulRescale", f"New size: {replicas}; reason: {why}")
        status = msgspec.structs.replace(status, desired_replicas=replicas)
        await self._report(hpa, status, _condition(ABLE, "True", able), *conditions)

    async def _report(self, hpa: HorizontalPodAutoscaler, status: AutoscalerStatus, *conditions: Condition) -> None:
        status = msgspec.structs.replace(
            status,
            observed_generation=hpa.metadata.generation,
            desired_replicas=status.desired_replicas or 0,
            conditions=set_conditions(hpa.status.conditions, *conditions, now=self._clock.now()),
        )
        await report(self._client, hpa, status, MANAGER)


def setup(manager: Manager, meter: Meter | None = None) -> None:
    """Run the controller; ``meter`` tells what pods use, metrics.k8s.io unless told otherwise."""
    autoscalers = manager.informer(HorizontalPodAutoscaler)
    reconciler = AutoscalerReconciler(manager, meter or MetricsAPI(manager.client))
    controller = manager.controller("autoscalers", reconciler)

    def changed(old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        """Its own reports are no news: the next look comes by itself."""
        if new is None:
            if old is not None:
                reconciler.forget(old.metadata.uid)
        elif old is None or old.metadata.generation != new.metadata.generation:
            controller.enqueue(new.key)

    autoscalers.add_handler(changed)
