"""StatefulSets and DaemonSets: how they may be replaced, and what may not change."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ketch.kube.causes import forbidden, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.base import Context, Obj
from ketch.local.apiserver.strategies.workloads import TemplateStrategy

MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
"""What of a StatefulSet's spec may change."""
UPDATES = ["OnDelete", "RollingUpdate"]
RETENTIONS = ["Delete", "Retain"]
MANAGEMENTS = ["OrderedReady", "Parallel"]


def is_none(value: Any) -> bool:
    """Whether a number or percentage is nought."""
    return value in (0, "0%")


def not_negative(spec: Mapping[str, Any], path: str, *names: str) -> Iterable[Cause]:
    """Whole numbers that are below nought."""
    for name in names:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield invalid(f"{path}.{name}", value, "must be greater than or equal to 0")


def a_share(value: Any, path: str) -> Iterable[Cause]:
    """What is neither a number from 0 on nor a percentage up to 100%."""
    if isinstance(value, int):
        if value < 0:
            yield invalid(path, value, "must be greater than or equal to 0")
    elif isinstance(value, str):
        digits = value.removesuffix("%")
        if digits == value or not digits.isdecimal():
            yield invalid(path, value, "must be a number, or a percentage such as 25%")
        elif int(digits) > 100:
            yield invalid(path, value, "must not be greater than 100%")


class StatefulSetStrategy(TemplateStrategy):
    """apps/v1 StatefulSet."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Policies, numbers, claims; and that identity does not change."""
        spec = obj["spec"]
        causes = [*super().validate(obj, None, context)]
        causes += not_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
        causes += not_negative(spec.get("ordinals") or NOTHING, "spec.ordinals", "start")
        if spec.get("podManagementPolicy") not in MANAGEMENTS:
            causes.append(unsupported("spec.podManagementPolicy", spec.get("podManagementPolicy"), MANAGEMENTS))
        causes += self._update(spec.get("updateStrategy") or NOTHING)
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or NOTHING
        for name in ("whenDeleted", "whenScaled"):
            if retention.get(name, "Retain") not in RETENTIONS:
                where = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
                causes.append(unsupported(where, retention[name], RETENTIONS))
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or NO_ITEMS):
            if not (claim.get("metadata") or NOTHING).get("name"):
                causes.append(required(f"spec.volumeClaimTemplates[{index}].metadata.name"))
        if old is not None and _fixed(old["spec"]) != _fixed(spec):
            names = "', '".join(MUTABLE[:-1])
            message = f"updates to statefulset spec for fields other than '{names}' and '{MUTABLE[-1]}' are forbidden"
            causes.append(forbidden("spec", message))
        return causes

    def _update(self, strategy: Mapping[str, Any]) -> Iterable[Cause]:
        kind, path = strategy.get("type"), "spec.updateStrategy"
        if kind not in UPDATES:
            yield unsupported(f"{path}.type", kind, UPDATES)
        rolling: Mapping[str, Any] = strategy.get("rollingUpdate") or NOTHING
        if kind == "OnDelete" and strategy.get("rollingUpdate"):
            yield invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
        yield from not_negative(rolling, f"{path}.rollingUpdate", "partition")
        if (most := rolling.get("maxUnavailable")) is not None:
            yield from a_share(most, f"{path}.rollingUpdate.maxUnavailable")
            if is_none(most):
                yield invalid(f"{path}.rollingUpdate.maxUnavailable", most, "cannot be 0")


def _fixed(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in spec.items() if name not in MUTABLE}


class DaemonSetStrategy(TemplateStrategy):
    """apps/v1 DaemonSet."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """A roll-out must be able to move: one of surge and unavailable, and not both."""
        spec = obj["spec"]
        causes = [*super().validate(obj, old, context)]
        causes += not_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
        strategy: Mapping[str, Any] = spec.get("updateStrategy") or NOTHING
        if strategy.get("type") not in UPDATES:
            causes.append(unsupported("spec.updateStrategy.type", strategy.get("type"), UPDATES))
        elif strategy["type"] == "RollingUpdate":
            causes += self._rolling(strategy.get("rollingUpdate") or NOTHING)
        if "activeDeadlineSeconds" in ((spec.get("template") or NOTHING).get("spec") or NOTHING):
            message = "activeDeadlineSeconds in DaemonSet is not Supported"
            causes.append(forbidden("spec.template.spec.activeDeadlineSeconds", message))
        return causes

    def _rolling(self, rolling: Mapping[str, Any]) -> Iterable[Cause]:
        path = "spec.updateStrategy.rollingUpdate"
        missing, surge = rolling.get("maxUnavailable", 1), rolling.get("maxSurge", 0)
        yield from a_share(missing, f"{path}.maxUnavailable")
        yield from a_share(surge, f"{path}.maxSurge")
        if is_none(missing) and is_none(surge):
            yield required(path, "cannot be 0 when maxSurge is 0")
        if not is_none(missing) and not is_none(surge):
            yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
