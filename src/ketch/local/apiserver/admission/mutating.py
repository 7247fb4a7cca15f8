"""MutatingAdmissionPolicies: changes in expressions, bound to what they are about, with parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from ketch.kube.errors import APIError, BadRequest, Cause, Invalid, StatusDetails
from ketch.local.apiserver import cel
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.admission.asked import Asked
from ketch.local.apiserver.admission.conditions import Variables, all_hold
from ketch.local.apiserver.admission.matching import EXEMPT
from ketch.local.apiserver.admission.policies import GROUP, Composed, Policies
from ketch.local.apiserver.cel.errors import CELError
from ketch.local.apiserver.patches.apply import merged, misfits
from ketch.local.apiserver.patches.jsonpatch import json_patch
from ketch.local.apiserver.schemas.nodes import Node

POLICIES, BINDINGS = f"{GROUP}/mutatingadmissionpolicies", f"{GROUP}/mutatingadmissionpolicybindings"
APPLY, JSON_PATCH = "ApplyConfiguration", "JSONPatch"
FIXED = ("apiVersion", "kind", "metadata.name", "metadata.generateName", "metadata.namespace", "metadata.uid")
"""What of an object no policy changes."""

Obj = Mapping[str, Any]


class _Bound(NamedTuple):
    """A policy with one of its bindings."""

    policy: Obj
    binding: Obj

    @property
    def again(self) -> bool:
        """Whether it wants to see what others made of its object."""
        return self.policy["spec"].get("reinvocationPolicy") == "IfNeeded"


class MutatingPolicies:
    """Lets the policies that the store has change an object; ``policies`` finds what they are about."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def mutate(self, asked: Asked) -> Obj | None:
        """The object as the policies want it. Raises APIError where one fails."""
        if asked.resource.storage in EXEMPT or asked.obj is None:
            return asked.obj
        obj: Obj = asked.obj
        seen: dict[int, Obj] = {}
        bound = list(self._bound())
        for index, each in enumerate(bound):
            obj = seen[index] = self._changed(each, replace(asked, obj=obj))
        for index, each in enumerate(bound):
            if each.again and seen[index] != obj:
                obj = self._changed(each, replace(asked, obj=obj))
        return obj

    def _bound(self) -> Iterator[_Bound]:
        for binding in self._policies.listing(BINDINGS, None):
            policy = self._policies.lookup(POLICIES, "", binding["spec"].get("policyName", ""))
            if policy is not None:
                yield _Bound(policy, binding)

    def _changed(self, bound: _Bound, asked: Asked) -> Obj:
        """The object after one policy. Raises Invalid where it fails and that counts."""
        assert asked.obj is not None
        spec = bound.policy["spec"]
        seen = self._policies.seen(spec.get("matchConstraints") or {}, asked)
        if seen is None or not self._policies.within(bound.binding["spec"].get("matchResources"), asked):
            return asked.obj
        try:
            if not all_hold(spec, self._policies.variables(seen)):
                return asked.obj
            for params in self._policies.parameters(spec, bound.binding["spec"], asked):
                for mutation in spec.get("mutations") or NO_ITEMS:
                    variables = self._policies.variables(seen)
                    seen = replace(seen, obj=_mutated(mutation, spec, variables, params, seen))
        except (CELError, BadRequest, Invalid) as error:
            if spec.get("failurePolicy") == "Ignore":
                return asked.obj
            raise _failed(bound, asked, str(error)) from error
        result = seen.in_version(asked.resource).obj
        assert result is not None
        return result


def _mutated(mutation: Obj, spec: Obj, variables: Variables, params: Any, seen: Asked) -> Obj:
    """The object after one mutation. Raises CELError, BadRequest, Invalid."""
    obj = cast("dict[str, Any]", seen.obj)
    composed = Composed(spec.get("variables") or NO_ITEMS, variables, params)
    if mutation.get("patchType") == JSON_PATCH:
        text = mutation["jsonPatch"]["expression"]
        found = variables.evaluate(text, cel.DYN, variables=composed, params=params)
        if not isinstance(found, list):
            raise cel.EvaluationError(f"expression '{text}' must give a list of JSONPatch")
        made = json_patch(obj, [plain(each) for each in cast("list[Any]", found)])
    else:
        text = mutation["applyConfiguration"]["expression"]
        found = variables.evaluate(text, cel.DYN, variables=composed, params=params)
        if not isinstance(found, dict):
            raise cel.EvaluationError(f"expression '{text}' must give an Object")
        applied = cast("dict[str, Any]", plain(cast("Any", found)))
        _check_applied(seen.resource.schema.node, obj, applied)
        made = merged(seen.resource.schema.node, obj, applied)
    for path in FIXED:
        if _at(made, path) != _at(obj, path):
            raise Invalid(f"{path}: policies must not change it")
    return made


def plain(value: Any) -> Any:
    """What an expression gave, as JSON."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, bool | str | float) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    raise cel.EvaluationError(f"the expression gave a {type(value).__name__}, which JSON does not know")


def _check_applied(node: Node, live: Obj, applied: Any) -> None:
    """What can only be replaced as a whole is not, where it is there already. Raises BadRequest."""
    if wrong := list(misfits(node, applied)):
        raise BadRequest("; ".join(wrong))
    _check_atomic(node, live, applied, "")


def _check_atomic(node: Node, live: Any, applied: Any, path: str) -> None:
    if isinstance(applied, list):
        if node.list_type == "atomic" and live not in (None, [], applied):
            raise BadRequest(f"may not mutate atomic arrays, maps or structs: {path}")
        if node.list_type == "map" and isinstance(live, list):
            there = {_identity(node, each): each for each in cast("list[Any]", live)}
            for each in cast("list[Any]", applied):
                _check_atomic(node.items, there.get(_identity(node, each)), each, path)
    elif isinstance(applied, dict) and isinstance(live, dict):
        if node.atomic_map and live not in ({}, applied):
            raise BadRequest(f"may not mutate atomic arrays, maps or structs: {path}")
        for name, item in cast("dict[str, Any]", applied).items():
            child = node.child(name)
            if child is not None:
                _check_atomic(child, cast("Obj", live).get(name), item, f"{path}.{name}")


def _identity(node: Node, item: Any) -> tuple[Any, ...]:
    return tuple(cast("Obj", item).get(key) for key in node.list_keys) if isinstance(item, Mapping) else ()


def _at(obj: Any, path: str) -> Any:
    for step in path.split("."):
        obj = cast("Obj", obj).get(step) if isinstance(obj, Mapping) else None
    return obj


def _failed(bound: _Bound, asked: Asked, why: str) -> APIError:
    policy, binding = bound.policy["metadata"]["name"], bound.binding["metadata"]["name"]
    text = f"policy '{policy}' with binding '{binding}' denied request: {why}"
    resource, name = asked.resource, asked.name
    details = StatusDetails(name=name, group=resource.group, kind=resource.plural, causes=(Cause("Invalid", text),))
    return Invalid(f'{resource.qualified} "{name}" is invalid: {text}', details)
