"""Trying again: what ended well stays, steps that ran get another attempt, the rest is decided anew.

What runs regardless of how its upstreams ended was told of an end that no longer holds, so it is decided anew as well,
whether it had ended well or not. What its own condition left out stays so: it would be told the same.
"""

from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.engine.orders import Forget, Order, Reopen
from ketch.pipelines.engine.tree import Tree
from ketch.pipelines.records.states import CONTAINER, IMPORTER, PENDING, RUNNING, SKIPPED
from ketch.pipelines.values import NOTHING

STEPS = (CONTAINER, IMPORTER)


def reopen(tree: Tree, top: Node) -> tuple[list[Order], list[Node]]:
    """Open ``top`` and all below it that did not end well; returns what is open now, too."""
    orders: list[Order] = []
    opened: list[Node] = []
    pending = [top]
    while pending:
        node = pending.pop()
        if _decided_without_running(node):
            orders += map(Forget, tree.remove(node))
            continue
        orders += map(Forget, _outdated(tree, node))
        children = [child for child in node.inside() if _is_to_end_otherwise(child)]
        if node.kind in STEPS:
            node.attempt += 1
        node.state = PENDING if node.kind in STEPS else RUNNING
        node.error, node.outputs = "", NOTHING
        orders.append(Reopen(node.id, node.state, node.attempt))
        opened.append(node)
        pending += children
    tree.recount(opened)
    return orders, opened


def _is_to_end_otherwise(node: Node) -> bool:
    return node.ended and not node.well and node.state != SKIPPED


def _decided_without_running(node: Node) -> bool:
    has_inside = next(node.inside(), None) is not None
    return node.iteration is None and not has_inside and not node.launched


def _outdated(tree: Tree, node: Node) -> list[str]:
    """Remove the tasks of a DAG that wait for one which will run again, and whatever waits for those."""
    scope = node.scope
    if scope is None:
        return []
    gone: list[str] = []
    again = [name for name, child in scope.children.items() if _is_to_end_otherwise(child)]
    seen = set(again)
    while again:
        for name in scope.plan.dependents[again.pop()]:
            child = scope.children.get(name)
            if child is not None and child.ended:
                gone += tree.remove(child)
            if name not in seen:
                seen.add(name)
                again.append(name)
    return gone
