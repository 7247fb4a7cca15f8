"""LimitRanges and ResourceQuotas themselves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.causes import immutable, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy

LIMITED = ["Container", "PersistentVolumeClaim", "Pod"]
ORDER = ("min", "defaultRequest", "default", "max")
SCOPES = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
]
OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})


class LimitRangeStrategy(Strategy):
    """core/v1 LimitRange."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Least, default and most are in this order."""
        causes: list[Cause] = []
        for index, item in enumerate((obj.get("spec") or NOTHING).get("limits") or NO_ITEMS):
            path = f"spec.limits[{index}]"
            if item.get("type") not in LIMITED:
                causes.append(unsupported(f"{path}.type", item.get("type"), LIMITED))
            if item.get("type") == "Pod":
                causes += [
                    Cause(
                        "FieldValueForbidden", "Forbidden: may not be specified when `type` is 'Pod'", f"{path}.{name}"
                    )
                    for name in ("default", "defaultRequest")
                    if item.get(name)
                ]
            causes += _order(item, path)
        return causes


def _order(item: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for position, low in enumerate(ORDER):
        for high in ORDER[position + 1 :]:
            for name, text in (item.get(low) or NOTHING).items():
                limit = (item.get(high) or NOTHING).get(name)
                try:
                    over = limit is not None and parse_quantity(text) > parse_quantity(limit)
                except QuantityError:
                    continue  # the schema's check has named it
                if over:
                    yield invalid(
                        f"{path}.{low}[{name}]", text, f"{low} value {text} is greater than {high} value {limit}"
                    )


class QuotaStrategy(Strategy):
    """core/v1 ResourceQuota."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Nothing is counted yet."""
        obj["status"] = {}

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Scopes that go together and stay."""
        spec = obj.get("spec") or NOTHING
        scopes = spec.get("scopes") or NO_ITEMS
        causes = [unsupported("spec.scopes", scope, SCOPES) for scope in scopes if scope not in SCOPES]
        if any(pair <= set(scopes) for pair in OPPOSITES):
            causes.append(invalid("spec.scopes", scopes, "conflicting scopes"))
        for name, text in (spec.get("hard") or NOTHING).items():
            try:
                if parse_quantity(text) < 0:
                    causes.append(invalid(f"spec.hard[{name}]", text, "must be greater than or equal to 0"))
            except QuantityError:
                continue  # the schema's check has named it
        causes += self._expressions((spec.get("scopeSelector") or NOTHING).get("matchExpressions") or NO_ITEMS)
        if old is not None:
            before = old.get("spec") or NOTHING
            causes += [
                immutable(f"spec.{name}", spec.get(name))
                for name in ("scopes", "scopeSelector")
                if spec.get(name) != before.get(name)
            ]
        return causes

    def _expressions(self, expressions: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
        for index, each in enumerate(expressions):
            path, operator = f"spec.scopeSelector.matchExpressions[{index}]", each.get("operator")
            if each.get("scopeName") not in SCOPES:
                yield unsupported(f"{path}.scopeName", each.get("scopeName"), SCOPES)
            elif each["scopeName"] != "PriorityClass" and operator != "Exists":
                yield invalid(f"{path}.operator", operator, "must be 'Exists' when the scope is not PriorityClass")
            if operator in ("In", "NotIn") and not each.get("values"):
                yield required(f"{path}.values", "must be at least one value when `operator` is 'In' or 'NotIn'")
