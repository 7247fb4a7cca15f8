"""Rules of custom resources between fields: ``x-kubernetes-validations``.

A rule sits at a place of the schema and is asked about the value there; one that names ``oldSelf`` about a change of
it. Expressions are compiled when the schema is first used, and refused with the definition that holds a wrong one.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ketch.kube.causes import duplicate, forbidden, invalid, required
from ketch.kube.codec import parse_time
from ketch.kube.errors import Cause
from ketch.local.apiserver import cel
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.cel.functions.standard import parse_duration
from ketch.local.apiserver.cel.types import KeyedList, Optional, SetList
from ketch.local.apiserver.schemas.nodes import ANYTHING, Node

RULES = "x-kubernetes-validations"
OLD = "oldSelf"
LONGEST_MESSAGE = 5 * 1024
_TEXTS = {"date-time": cel.TIMESTAMP, "date": cel.TIMESTAMP, "duration": cel.DURATION, "byte": cel.BYTES}
_SCALARS = {"integer": cel.INT, "number": cel.DOUBLE, "boolean": cel.BOOL}
_IDENTITY = {"apiVersion": cel.STRING, "kind": cel.STRING}
_NAMES = {"name": cel.STRING, "generateName": cel.STRING}


def type_of(node: Node, *, root: bool = False) -> cel.Type:
    """The type under which expressions see values of a schema."""
    if node.int_or_string or node.nullable:
        return cel.DYN
    if node.type == "array":
        return cel.list_of(type_of(node.items))
    if node.type == "string":
        return _TEXTS.get(node.format, cel.STRING)
    if node.type != "object":
        return _SCALARS.get(node.type, cel.DYN)
    if not node.properties:
        return cel.map_of(cel.STRING, type_of(node.additional)) if node.additional not in (None, ANYTHING) else cel.DYN

    def field(name: str) -> cel.Type | None:
        if root or node.embedded:
            if name in _IDENTITY:
                return cel.STRING
            if name == "metadata":
                return cel.object_of("object", _NAMES.get)
        child = node.child(name) if name in node.properties else None
        return None if child is None else type_of(child)

    return cel.object_of("object", field)


def as_value(node: Node, value: Any) -> Any:
    """A value as expressions see it: numbers, times and bytes by their schema, lists that compare as theirs do."""
    if not node.converts:
        return value
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: as_value(node.child(name) or ANYTHING, item) for name, item in fields.items()}
    if isinstance(value, list):
        items = [as_value(node.items, item) for item in cast("list[Any]", value)]
        if node.list_type == "map":
            return KeyedList(items, node.list_keys)
        return SetList(items) if node.list_type == "set" else items
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _parsed(node.format, value) if node.type == "string" and isinstance(value, str) else value


def _parsed(kind: str, text: str) -> Any:
    try:
        match kind:
            case "date-time":
                return parse_time(text)
            case "date":
                return parse_time(f"{text}T00:00:00Z")
            case "duration":
                return parse_duration(text)
            case "byte":
                return base64.b64decode(text, validate=True)
            case _:
                return text
    except (ValueError, binascii.Error):
        return text


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready to be asked."""

    raw: Mapping[str, Any]
    program: cel.Program
    message: cel.Program | None
    about_change: bool
    optional_old: bool

    def cause(self, kind: str, path: str, variables: Mapping[str, Any], failure: str = "") -> Cause:
        """What is wrong, in the rule's words."""
        text = self._text(variables)
        if failure:
            text = f"{failure} evaluating rule: {text or self.raw['rule']}"
        where = f"{path}{_joined(self.raw.get('fieldPath', ''), path)}"
        text = text or f"failed rule: {' '.join(self.raw['rule'].split())}"
        match self.raw.get("reason"):
            case "FieldValueForbidden":
                return forbidden(where, text)
            case "FieldValueRequired":
                return required(where, text)
            case "FieldValueDuplicate":
                return duplicate(where, kind)
            case _:
                return invalid(where, kind, text)

    def _text(self, variables: Mapping[str, Any]) -> str:
        if self.message is not None:
            try:
                found = self.message.evaluate(variables)
            except cel.EvaluationError:
                found = ""
            if isinstance(found, str) and found.strip() and "\n" not in found and len(found) <= LONGEST_MESSAGE:
                return found
        return str(self.raw.get("message") or "").strip()


def _joined(path: str, before: str) -> str:
    if not path:
        return ""
    text = path.replace("['", "[").replace("']", "]")
    return text if before else text.removeprefix(".")


def compile_rule(raw: Mapping[str, Any], kind: cel.Type) -> Rule:
    """A rule about values of type ``kind``. Raises CompilationError."""
    optional_old = bool(raw.get("optionalOldSelf"))
    variables = {"self": kind, OLD: cel.optional_of(kind) if optional_old else kind}
    program = cel.compile_expression(str(raw.get("rule", "")), variables, cel.BOOL)
    expression = raw.get("messageExpression")
    message = cel.compile_expression(expression, variables, cel.STRING) if expression else None
    return Rule(raw, program, message, OLD in program.names, optional_old)


def rules_of(node: Node, *, root: bool = False) -> Sequence[Rule]:
    """The rules at one place; those that a foreign database holds and that cannot be read ask nothing."""
    if node.rules is None:
        kind = type_of(node, root=root)
        found: list[Rule] = []
        for raw in node.schema.get(RULES) or NO_ITEMS:
            try:
                found.append(compile_rule(raw, kind))
            except cel.CompilationError:
                continue
        node.rules = found
    return cast("Sequence[Rule]", node.rules)


def check_rules(
    node: Node, value: Any, old: Any, path: str, causes: list[Cause], *, root: bool = False, had: bool = False
) -> None:
    """Add to ``causes`` what the rules at and below ``node`` say. ``had``: there was a value before, ``old``."""
    if not node.has_rules or value is None:
        return
    if node.schema.get(RULES):
        _ask(rules_of(node, root=root), node, (value, old, had), path, causes)
    if isinstance(value, dict):
        before = cast("dict[str, Any]", old) if isinstance(old, dict) else {}
        for name, item in cast("dict[str, Any]", value).items():
            child = node.child(name)
            if child is not None and child.has_rules and not (root and name == "metadata"):
                where = f"{path}.{name}" if path else name
                if name not in node.properties:
                    where = f"{path}[{name}]"
                check_rules(child, item, before.get(name), where, causes, had=name in before)
    elif isinstance(value, list) and node.items.has_rules:
        for index, item, was, had_one in _correlated(node, cast("list[Any]", value), old):
            check_rules(node.items, item, was, f"{path}[{index}]", causes, had=had_one)


def _correlated(node: Node, value: list[Any], old: Any) -> Iterator[tuple[int, Any, Any, bool]]:
    """Elements beside those that they were; known only where elements have keys."""
    before: dict[tuple[str, ...], Any] = {}
    if node.list_type == "map" and isinstance(old, list):
        before = {_key(node, item): item for item in cast("list[Any]", old)}
    for index, item in enumerate(value):
        key = _key(node, item) if before else ()
        yield index, item, before.get(key), key in before


def _key(node: Node, item: Any) -> tuple[str, ...]:
    fields = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
    return tuple(repr(fields.get(key)) for key in node.list_keys)


def _ask(rules: Sequence[Rule], node: Node, values: tuple[Any, Any, bool], path: str, causes: list[Cause]) -> None:
    value, old, had = values
    unchanged = had and value == old
    mine = as_value(node, value)
    before = as_value(node, old) if had else None
    for rule in rules:
        if rule.about_change and not had and not rule.optional_old:
            continue
        if unchanged and not rule.about_change:
            continue  # what was accepted once, and is as it was, does not fail for a rule that came later
        past = Optional(present=had, value=before) if rule.optional_old else before
        variables = {"self": mine, OLD: past}
        kind = node.type or "object"
        try:
            if rule.program.evaluate(variables) is not True:
                causes.append(rule.cause(kind, path, variables))
        except cel.EvaluationError as error:
            causes.append(rule.cause(kind, path, variables, str(error)))
