"""LimitRanges: what containers get that say nothing, and what none may exceed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.base import Obj

Amounts = Mapping[str, Any]


def amounts(holder: Mapping[str, Any] | None) -> dict[str, Fraction]:
    """Quantities by resource; what is none counts nothing (the schema's check names it)."""
    found: dict[str, Fraction] = {}
    for name, text in (holder or NOTHING).items():
        try:
            found[name] = parse_quantity(text)
        except QuantityError:
            continue
    return found


def _plus(left: Mapping[str, Fraction], right: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {name: left.get(name, Fraction()) + right.get(name, Fraction()) for name in {*left, *right}}


def _most(left: Mapping[str, Fraction], right: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {name: max(left.get(name, Fraction()), right.get(name, Fraction())) for name in {*left, *right}}


def pod_amounts(spec: Mapping[str, Any], kind: str) -> Mapping[str, Fraction]:
    """What a pod asks for (``requests``) or may use (``limits``): its containers together, or its largest beginning."""
    total: dict[str, Fraction] = {}
    for container in spec.get("containers") or NO_ITEMS:
        total = _plus(total, amounts((container.get("resources") or NOTHING).get(kind)))
    beside: dict[str, Fraction] = {}
    begins: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or NO_ITEMS:
        own = amounts((container.get("resources") or NOTHING).get(kind))
        if container.get("restartPolicy") == "Always":
            beside = _plus(beside, own)
            begins = _most(begins, beside)
        else:
            begins = _most(begins, _plus(own, beside))
    return _plus(_most(_plus(total, beside), begins), amounts(spec.get("overhead")))


def items_of(ranges: Iterable[Mapping[str, Any]], kind: str) -> Iterator[Mapping[str, Any]]:
    """The limits of one type (Container, Pod, PersistentVolumeClaim)."""
    for each in ranges:
        for item in (each.get("spec") or NOTHING).get("limits") or NO_ITEMS:
            if item.get("type") == kind:
                yield item


def complete_pod(spec: Obj, ranges: Iterable[Mapping[str, Any]]) -> None:
    """Give containers the limits and requests that they do not name."""
    for item in items_of(ranges, "Container"):
        for container in (*spec.get("containers", NO_ITEMS), *spec.get("initContainers", NO_ITEMS)):
            resources = container.setdefault("resources", {})
            for kind, given in (("limits", item.get("default")), ("requests", item.get("defaultRequest"))):
                if given:
                    resources[kind] = {**given, **(resources.get(kind) or NOTHING)}


def joined(troubles: list[str]) -> str:
    """Troubles as one message."""
    return troubles[0] if len(troubles) == 1 else f"[{', '.join(troubles)}]"


def pod_troubles(spec: Mapping[str, Any], ranges: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where a pod breaks limits."""
    troubles: list[str] = []
    for item in items_of(ranges, "Container"):
        for container in (*spec.get("containers", NO_ITEMS), *spec.get("initContainers", NO_ITEMS)):
            resources = container.get("resources") or NOTHING
            troubles += _troubles(item, resources.get("requests"), resources.get("limits"))
    for item in items_of(ranges, "Pod"):
        troubles += _troubles(item, pod_amounts(spec, "requests"), pod_amounts(spec, "limits"))
    return troubles


def claim_troubles(spec: Mapping[str, Any], ranges: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where a claim breaks limits."""
    requests = (spec.get("resources") or NOTHING).get("requests")
    troubles: list[str] = []
    for item in items_of(ranges, "PersistentVolumeClaim"):
        troubles += _troubles({**item, "max": NOTHING}, requests, None)
        for name, text in (item.get("max") or NOTHING).items():
            asked = _amount(requests, name)
            if asked is not None and asked > parse_quantity(text):
                shown = (requests or NOTHING)[name]
                troubles.append(f"maximum {name} usage per PersistentVolumeClaim is {text}, but request is {shown}")
    return troubles


def _amount(amounts: Amounts | None, name: str) -> Fraction | None:
    value = (amounts or NOTHING).get(name)
    try:
        return None if value is None else value if isinstance(value, Fraction) else parse_quantity(value)
    except QuantityError:
        return None


def _shown(amounts: Amounts | None, name: str) -> str:
    value = (amounts or NOTHING)[name]
    if not isinstance(value, Fraction):
        return str(value)
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def _troubles(item: Mapping[str, Any], requests: Amounts | None, limits: Amounts | None) -> Iterator[str]:
    kind = item["type"]
    for name, text in (item.get("min") or NOTHING).items():
        least, asked, allowed = parse_quantity(text), _amount(requests, name), _amount(limits, name)
        if asked is None:
            yield f"minimum {name} usage per {kind} is {text}. No request is specified"
        elif asked < least:
            yield f"minimum {name} usage per {kind} is {text}, but request is {_shown(requests, name)}"
        elif allowed is not None and allowed < least:
            yield f"minimum {name} usage per {kind} is {text}, but limit is {_shown(limits, name)}"
    for name, text in (item.get("max") or NOTHING).items():
        most, asked, allowed = parse_quantity(text), _amount(requests, name), _amount(limits, name)
        if allowed is None:
            yield f"maximum {name} usage per {kind} is {text}. No limit is specified"
        elif allowed > most:
            yield f"maximum {name} usage per {kind} is {text}, but limit is {_shown(limits, name)}"
        elif asked is not None and asked > most:
            yield f"maximum {name} usage per {kind} is {text}, but request is {_shown(requests, name)}"
    for name, text in (item.get("maxLimitRequestRatio") or NOTHING).items():
        asked, allowed = _amount(requests, name), _amount(limits, name)
        if not asked or not allowed:
            missing = "request" if not asked else "limit"
            yield f"{name} max limit to request ratio per {kind} is {text}, but no {missing} is specified or it is 0"
        elif allowed / asked > parse_quantity(text):
            ratio = f"{float(allowed / asked):.6f}"
            yield f"{name} max limit to request ratio per {kind} is {text}, but provided ratio is {ratio}"
