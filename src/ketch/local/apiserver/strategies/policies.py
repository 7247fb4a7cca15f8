"""CronJobs, disruption budgets, autoscalers and priority classes: what they may say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from ketch.kube.causes import forbidden, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.kube.times.cron import CronError, parse_crontab
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy
from ketch.local.apiserver.strategies.pods import pod_spec_causes
from ketch.local.apiserver.strategies.sets import DaemonSetStrategy, StatefulSetStrategy, a_share, not_negative

CONCURRENCIES = ["Allow", "Forbid", "Replace"]
LONGEST_CRON_JOB = 52
"""Characters of a CronJob's name: a Job's has eleven more."""
HIGHEST_PRIORITY = 1_000_000_000
"""Of classes that users make; above are the system's."""
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
PREEMPTIONS = ["Never", "PreemptLowerPriority"]
METRICS = ["ContainerResource", "External", "Object", "Pods", "Resource"]
SELECTIONS = ["Disabled", "Max", "Min"]
SCALING_STEPS = ["Percent", "Pods"]
LONGEST_WINDOW, LONGEST_PERIOD = 3600, 1800


class CronJobStrategy(Strategy):
    """batch/v1 CronJob."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """The schedule and zone can be read, the template is a good Job."""
        spec, name = obj["spec"], obj["metadata"].get("name", "")
        causes: list[Cause] = []
        if old is None and len(name) > LONGEST_CRON_JOB:
            causes.append(invalid("metadata.name", name, f"must be no more than {LONGEST_CRON_JOB} characters"))
        causes += self._times(spec, None if old is None else old["spec"])
        if spec.get("concurrencyPolicy") not in CONCURRENCIES:
            causes.append(unsupported("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), CONCURRENCIES))
        limits = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
        causes += not_negative(spec, "spec", *limits)
        job = (spec.get("jobTemplate") or NOTHING).get("spec") or NOTHING
        path, pod = "spec.jobTemplate.spec.template.spec", (job.get("template") or NOTHING).get("spec") or NOTHING
        causes += pod_spec_causes(pod, path)
        if pod.get("restartPolicy") not in ("OnFailure", "Never"):
            causes.append(unsupported(f"{path}.restartPolicy", pod.get("restartPolicy"), ["OnFailure", "Never"]))
        if job.get("manualSelector"):
            causes.append(unsupported("spec.jobTemplate.spec.manualSelector", True, ["nil", "false"]))
        return causes

    def _times(self, spec: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterable[Cause]:
        schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
        if not schedule:
            yield required("spec.schedule")
        elif old is None or schedule != old.get("schedule"):
            if "TZ" in schedule:
                yield invalid(
                    "spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
                )
            else:
                try:
                    parse_crontab(schedule)
                except CronError as error:
                    yield invalid("spec.schedule", schedule, str(error))
        if zone is None or (old is not None and zone == old.get("timeZone")):
            return
        if not zone or zone.lower() == "local":
            yield invalid(
                "spec.timeZone",
                zone,
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            )
            return
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")


class BudgetStrategy(Strategy):
    """policy/v1 PodDisruptionBudget."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """One of the two numbers."""
        spec = obj.get("spec") or NOTHING
        causes: list[Cause] = []
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            causes.append(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
        for name in ("minAvailable", "maxUnavailable"):
            if spec.get(name) is not None:
                causes += a_share(spec[name], f"spec.{name}")
        policy, supported = spec.get("unhealthyPodEvictionPolicy"), ["AlwaysAllow", "IfHealthyBudget"]
        if policy is not None and policy not in supported:
            causes.append(unsupported("spec.unhealthyPodEvictionPolicy", policy, supported))
        return causes


class AutoscalerStrategy(Strategy):
    """autoscaling/v2 HorizontalPodAutoscaler."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Bounds, a target, metrics, behaviour."""
        spec = obj["spec"]
        causes: list[Cause] = []
        target = spec.get("scaleTargetRef") or NOTHING
        causes += [required(f"spec.scaleTargetRef.{name}") for name in ("kind", "name") if not target.get(name)]
        least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
        if least < 1:
            causes.append(invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
        if most < 1:
            causes.append(invalid("spec.maxReplicas", most, "must be greater than 0"))
        elif most < least:
            causes.append(invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
        for index, metric in enumerate(spec.get("metrics") or NO_ITEMS):
            causes += self._metric(metric, f"spec.metrics[{index}]")
        for name in ("scaleUp", "scaleDown"):
            rules = (spec.get("behavior") or NOTHING).get(name)
            if rules:
                causes += self._rules(rules, f"spec.behavior.{name}")
        return causes

    def _metric(self, metric: Mapping[str, Any], path: str) -> Iterable[Cause]:
        kind = metric.get("type")
        if kind not in METRICS:
            yield unsupported(f"{path}.type", kind, METRICS)
            return
        field = f"{kind[0].lower()}{kind[1:]}"
        source: Mapping[str, Any] | None = metric.get(field)
        if not source:
            yield required(f"{path}.{field}", "must populate information for the given metric source")
            return
        target: Mapping[str, Any] = source.get("target") or NOTHING
        values = ("averageUtilization", "averageValue", "value")
        if not any(target.get(name) is not None for name in values):
            yield required(
                f"{path}.{field}.target", "must set either a target value, an average value or a utilization"
            )
        if isinstance(share := target.get("averageUtilization"), int) and share < 1:
            yield invalid(f"{path}.{field}.target.averageUtilization", share, "must be greater than 0")

    def _rules(self, rules: Mapping[str, Any], path: str) -> Iterable[Cause]:
        window = rules.get("stabilizationWindowSeconds")
        if window is not None and not 0 <= window <= LONGEST_WINDOW:
            yield invalid(f"{path}.stabilizationWindowSeconds", window, f"must be from 0 to {LONGEST_WINDOW}")
        if rules.get("selectPolicy", "Max") not in SELECTIONS:
            yield unsupported(f"{path}.selectPolicy", rules.get("selectPolicy"), SELECTIONS)
        policies = rules.get("policies")
        if policies is not None and not policies:
            yield required(f"{path}.policies", "must specify at least one Policy")
        for index, policy in enumerate(policies or NO_ITEMS):
            here = f"{path}.policies[{index}]"
            if policy.get("type") not in SCALING_STEPS:
                yield unsupported(f"{here}.type", policy.get("type"), SCALING_STEPS)
            if policy.get("value", 0) <= 0:
                yield invalid(f"{here}.value", policy.get("value", 0), "must be greater than zero")
            if not 0 < policy.get("periodSeconds", 0) <= LONGEST_PERIOD:
                message = f"must be from 1 to {LONGEST_PERIOD}"
                yield invalid(f"{here}.periodSeconds", policy.get("periodSeconds", 0), message)


class PriorityClassStrategy(Strategy):
    """scheduling.k8s.io/v1 PriorityClass."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """The highest values and the prefix are the system's; the value stays; one default at most."""
        name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
        causes: list[Cause] = []
        if name.startswith("system-") and SYSTEM_CLASSES.get(name) != value:
            message = "priority class names with 'system-' prefix are reserved for system use only"
            causes.append(forbidden("metadata.name", message))
        elif value > HIGHEST_PRIORITY and name not in SYSTEM_CLASSES:
            message = f"maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}"
            causes.append(forbidden("value", message))
        if obj.get("preemptionPolicy") not in PREEMPTIONS:
            causes.append(unsupported("preemptionPolicy", obj.get("preemptionPolicy"), PREEMPTIONS))
        if obj.get("globalDefault"):
            classes = context.listing("scheduling.k8s.io/priorityclasses", None)
            other = next((each["metadata"]["name"] for each in classes if each.get("globalDefault")), name)
            if other != name:
                causes.append(forbidden("globalDefault", f"PriorityClass {other} is already marked as default"))
        if old is not None:
            changed = [field for field in ("value", "preemptionPolicy") if obj.get(field) != old.get(field)]
            causes += [forbidden(field, "may not be changed in an update.") for field in changed]
        return causes


def workload_strategies() -> Mapping[str, Strategy]:
    """Strategies of the kinds that the cluster's controllers carry out, by where they are kept."""
    return {
        "apps/statefulsets": StatefulSetStrategy(),
        "apps/daemonsets": DaemonSetStrategy(),
        "batch/cronjobs": CronJobStrategy(),
        "policy/poddisruptionbudgets": BudgetStrategy(),
        "autoscaling/horizontalpodautoscalers": AutoscalerStrategy(),
        "scheduling.k8s.io/priorityclasses": PriorityClassStrategy(),
    }
