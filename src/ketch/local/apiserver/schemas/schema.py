"""A kind's schema: what the server asks of it."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any

from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.schemas.checking import check
from ketch.local.apiserver.schemas.defaults import default_for
from ketch.local.apiserver.schemas.definitions import OBJECT_META, kinds, node_of
from ketch.local.apiserver.schemas.nodes import Node
from ketch.local.apiserver.schemas.pruning import complete, prune
from ketch.local.apiserver.schemas.ratcheting import unchanged

IDENTITY: Mapping[str, Any] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"$ref": OBJECT_META},
}


class Schema:
    """Pruning, defaulting and checking of one kind in one version."""

    def __init__(
        self, find: Callable[[], Node], complete_object: Callable[[dict[str, Any]], None] | None, *, builtin: bool
    ) -> None:
        self._find = find
        self._complete = complete_object
        self.builtin = builtin

    @cached_property
    def node(self) -> Node:
        """The root of the tree."""
        return self._find()

    def prune(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The object without what the schema does not know, and the paths of that. Unchanged parts are shared."""
        unknown: list[str] = []
        return prune(self.node, obj, "", unknown), unknown

    def default(self, obj: dict[str, Any]) -> None:
        """Fill in defaults, in place."""
        if self._complete is not None:
            self._complete(obj)
        if not self.builtin:
            complete(self.node, obj)

    def validate(self, obj: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> list[Cause]:
        """What is wrong with the object; what it shares with ``old``, which was right, is not looked at again."""
        causes: list[Cause] = []
        if old is not None and self.builtin:
            required = self.node.required
            obj = {name: item for name, item in obj.items() if item is not old.get(name) or name in required}
        check(self.node, obj, "", causes)
        if self.builtin:
            return causes
        if causes and old is not None:
            causes = [cause for cause in causes if not unchanged(cause.field, obj, old)]
        if not causes and self.node.has_rules:
            from ketch.local.apiserver.schemas.rules import check_rules  # noqa: PLC0415  # deferred: 20 ms, first rule

            check_rules(self.node, obj, old, "", causes, root=True, had=old is not None)
        return causes


@cache
def schema_for(group: str, version: str, kind: str) -> Schema:
    """The schema of a built-in kind. Raises KeyError when used for one that is not among the definitions."""
    return Schema(lambda: node_of(kinds()[_full_group(group), version, kind]), default_for(group, kind), builtin=True)


def _full_group(group: str) -> str:
    return group


class _CustomRoot(Node):
    """A custom resource's root: its own fields, and metadata as every built-in kind has it."""

    def child(self, name: str) -> Node | None:
        """The node of a field."""
        return node_of(OBJECT_META) if name == "metadata" else super().child(name)


def compile_schema(openapi: Mapping[str, Any] | None) -> Schema:
    """A custom resource's schema; without one, anything goes."""
    return deferred_schema(lambda: openapi)


def deferred_schema(find: Callable[[], Mapping[str, Any] | None]) -> Schema:
    """As ``compile_schema``, of what ``find`` gives once it is needed: most kinds have no objects."""

    def root() -> Node:
        given = dict(find() or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
        given["properties"] = {**(given.get("properties") or NOTHING), **IDENTITY}
        return _CustomRoot(given, node_of, builtin=False)

    return Schema(root, None, builtin=False)
