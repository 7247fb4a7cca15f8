"""Rules between fields, as a definition holds them: whether they can be read, and asked where they stand."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.local.apiserver import cel
from ketch.local.apiserver.schemas.nodes import Node
from ketch.local.apiserver.schemas.rules import compile_rule, type_of

REASONS = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"]
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^']+)'\]")


def rule_causes(node: Node, raw: Mapping[str, Any], path: str, *, correlatable: bool, root: bool) -> Iterator[Cause]:
    """What is wrong with one rule; ``correlatable``: an old value is known where it stands."""
    text = raw.get("rule")
    if not text or not str(text).strip():
        yield required(f"{path}.rule", "rule is not specified")
        return
    if "message" in raw and (not str(raw["message"]).strip() or "\n" in str(raw["message"]).strip()):
        yield invalid(f"{path}.message", raw["message"], "must be a line that is not empty")
    if raw.get("reason") not in (None, *REASONS):
        yield unsupported(f"{path}.reason", raw["reason"], REASONS)
    if raw.get("fieldPath") and not _has_field(node, str(raw["fieldPath"])):
        yield invalid(f"{path}.fieldPath", raw["fieldPath"], "fieldPath must be a valid path to a field of the schema")
    try:
        rule = compile_rule(raw, type_of(node, root=root))
    except cel.CompilationError as error:
        name = "messageExpression" if raw.get("messageExpression") and _reads(raw, node, root=root) else "rule"
        yield invalid(f"{path}.{name}", raw[name], f"compilation failed: {error}")
        return
    if rule.about_change and not correlatable:
        message = "oldSelf cannot be used on the uncorrelatable portion of the schema"
        yield invalid(f"{path}.rule", text, message)


def _reads(raw: Mapping[str, Any], node: Node, *, root: bool) -> bool:
    """Whether the rule itself can be read: then its message cannot."""
    alone = {name: item for name, item in raw.items() if name != "messageExpression"}
    try:
        compile_rule(alone, type_of(node, root=root))
    except cel.CompilationError:
        return False
    return True


def _has_field(node: Node, path: str) -> bool:
    at: Node | None = node
    position = 0
    while position < len(path) and at is not None:
        found = _STEP.match(path, position)
        if found is None:
            return False
        at, position = at.child(found[1] or found[2]), found.end()
    return at is not None
