"""Which nodes the step's pod may run on: selector, tolerations, affinities. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from ketch.kube.types.pods import Toleration
from ketch.pipelines.kubernetes import spec
from ketch.pipelines.kubernetes.sources import Find, SettingProblem, objects_value
from ketch.pipelines.kubernetes.spec import ExecutorConfig, SelectorRequirement
from ketch.pipelines.values import kind_name

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_TERMS = "nodeSelectorTerms"

_TOLERATION = {"key": str, "operator": str, "value": str, "effect": str, "tolerationSeconds": int}


def node_selector(config: ExecutorConfig, find: Find) -> Mapping[str, str]:
    """Labels that the node must have. Raises SettingProblem."""
    selector = config.node_selector
    if selector is None:
        return {}
    if selector.node_selector_json is None:
        return selector.labels
    labels: dict[str, str] = {}
    for found in objects_value("the node selector", selector.node_selector_json, find):
        for key, value in found.items():
            if not isinstance(value, str):
                raise SettingProblem(f"the node selector: {key} must be text, not {kind_name(value)}")
            labels[key] = value
    return labels


def tolerations(config: ExecutorConfig, find: Find) -> tuple[Toleration, ...]:
    """Taints that the pod bears. Raises SettingProblem."""
    result: list[Toleration] = []
    for each in config.tolerations:
        if each.toleration_json is None:
            result.append(_toleration(each))
        else:
            result += [_toleration_of(found) for found in objects_value("the toleration", each.toleration_json, find)]
    return tuple(result)


def affinity(config: ExecutorConfig, find: Find) -> Mapping[str, Any]:
    """The pod's affinities; empty when it has none. Raises SettingProblem."""
    near = [each for each in config.pod_affinity if not each.anti]
    apart = [each for each in config.pod_affinity if each.anti]
    parts = {
        "nodeAffinity": _node_affinity(config.node_affinity, find),
        "podAffinity": _pod_affinity(near),
        "podAntiAffinity": _pod_affinity(apart),
    }
    return {name: part for name, part in parts.items() if part}


def _toleration(each: spec.Toleration) -> Toleration:
    seconds = None if each.toleration_seconds is None else int(each.toleration_seconds)
    return Toleration(
        key=each.key, operator=each.operator, value=each.value, effect=each.effect, toleration_seconds=seconds
    )


def _toleration_of(found: Mapping[str, Any]) -> Toleration:
    for key, value in found.items():
        if key not in _TOLERATION:
            raise SettingProblem(f"the toleration has no field {key!r}, only {', '.join(_TOLERATION)}")
        if not isinstance(value, _TOLERATION[key]) or isinstance(value, bool):
            expected = "a number" if _TOLERATION[key] is int else "text"
            raise SettingProblem(f"the toleration: {key} must be {expected}, not {kind_name(value)}")
    return msgspec.convert(found, Toleration)


def _node_affinity(terms: Sequence[spec.NodeAffinityTerm], find: Find) -> Mapping[str, Any]:
    required: list[Any] = []
    preferred: list[Any] = []
    for each in terms:
        if each.node_affinity_json is not None:
            for found in objects_value("the node affinity", each.node_affinity_json, find):
                of_json = _checked_affinity(found)
                required += of_json[0]
                preferred += of_json[1]
            continue
        term = {"matchExpressions": _requirements(each.match_expressions)}
        term["matchFields"] = _requirements(each.match_fields)
        term = {name: part for name, part in term.items() if part}
        if not term:
            continue  # a term without conditions would match no node at all
        if each.weight is None:
            required.append(term)
        else:
            preferred.append({"weight": each.weight, "preference": term})
    result: dict[str, Any] = {}
    if required:
        result[REQUIRED] = {_TERMS: required}
    if preferred:
        result[PREFERRED] = preferred
    return result


def _checked_affinity(found: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Required terms and preferred ones."""
    for key in found:
        if key not in (REQUIRED, PREFERRED):
            raise SettingProblem(f"the node affinity has no field {key!r}, only {REQUIRED} and {PREFERRED}")
    required: Any = found.get(REQUIRED) or {}
    if not isinstance(required, Mapping):
        raise SettingProblem(f"the node affinity: {REQUIRED} must be an object, not {kind_name(required)}")
    terms = cast("Mapping[str, Any]", required).get(_TERMS)
    return _list(f"{REQUIRED}.{_TERMS}", terms), _list(PREFERRED, found.get(PREFERRED))


def _list(name: str, value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise SettingProblem(f"the node affinity: {name} must be a list, not {kind_name(value)}")
    return cast("list[Any]", value or [])


def _pod_affinity(terms: Sequence[spec.PodAffinityTerm]) -> Mapping[str, Any]:
    required = [_pod_term(each) for each in terms if each.weight is None]
    preferred = [{"weight": each.weight, "podAffinityTerm": _pod_term(each)} for each in terms if each.weight]
    result: dict[str, Any] = {}
    if required:
        result[REQUIRED] = required
    if preferred:
        result[PREFERRED] = preferred
    return result


def _pod_term(each: spec.PodAffinityTerm) -> Mapping[str, Any]:
    term: dict[str, Any] = {
        "labelSelector": _selector(each.match_pod_labels, each.match_pod_expressions),
        "topologyKey": each.topology_key,
    }
    if each.namespaces:
        term["namespaces"] = list(each.namespaces)
    if each.match_namespace_labels or each.match_namespace_expressions:
        term["namespaceSelector"] = _selector(each.match_namespace_labels, each.match_namespace_expressions)
    return term


def _selector(labels: Mapping[str, str], expressions: Sequence[SelectorRequirement]) -> Mapping[str, Any]:
    parts: dict[str, Any] = {"matchLabels": dict(labels), "matchExpressions": _requirements(expressions)}
    return {name: part for name, part in parts.items() if part}


def _requirements(requirements: Sequence[SelectorRequirement]) -> list[Mapping[str, Any]]:
    return [
        {"key": each.key, "operator": each.operator} | ({"values": list(each.values)} if each.values else {})
        for each in requirements
    ]
