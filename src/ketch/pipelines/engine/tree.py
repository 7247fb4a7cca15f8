"""The run's tasks as a tree in memory: made from the specification, rebuilt from rows, counted.

A task's identity follows from its path, so that deciding the same thing twice names the same task.
"""

import uuid
from collections.abc import Iterable

from ketch.pipelines.engine.inputs import loop_items, with_item
from ketch.pipelines.engine.nodes import Failures, Iterations, Node, Scope
from ketch.pipelines.engine.orders import TaskFacts
from ketch.pipelines.engine.plan import Plan, plan
from ketch.pipelines.ir.spec import ComponentSpec, PipelineSpec, TaskSpec
from ketch.pipelines.records.states import CONTAINER, DAG, FAILED, IMPORTER, LOOP, ROOT

_NAMESPACE = uuid.UUID("6f1d7d5e-4f0f-5d0b-9f57-0f3a1c9a7b11")  # of task ids


def task_id(run_id: str, path: str, life: str = "") -> str:
    """The id of the task at ``path``: the same whenever it is asked for.

    ``life`` tells one that is decided anew, after a retry, from what it was before.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{run_id}/{path}#{life}" if life else f"{run_id}/{path}"))


class Tree:
    """All nodes of a run by id, and their root."""

    def __init__(self, spec: PipelineSpec, run_id: str, generation: int = 0) -> None:
        self.spec, self.run_id, self.generation = spec, run_id, generation
        self.nodes: dict[str, Node] = {}
        self.root: Node | None = None
        self._plans: dict[str, Plan] = {}

    def add_root(self) -> Node:
        """The root, which is the run as a task."""
        self.root = Node(self._identity(ROOT, None), ROOT, ROOT, ROOT, self.spec.root)
        return self._add(self.root)

    def add_child(self, parent: Node, name: str) -> tuple[Node, TaskSpec]:
        """The task ``name`` of an open DAG; from now on it is decided."""
        if parent.component.dag is None or parent.scope is None:
            raise ValueError(f"task {parent.path} has no tasks inside")
        spec = parent.component.dag.tasks[name]
        component = self.spec.component(spec)
        kind = LOOP if spec.parameter_iterator or spec.artifact_iterator else self._kind(component)
        path = f"{parent.path}/{name}"
        node = Node(self._identity(path, parent), path, name, kind, component, spec, parent)
        parent.scope.children[name] = node
        parent.scope.undecided.pop(name, None)
        return self._add(node), spec

    def add_iteration(self, loop: Node, index: int) -> Node:
        """The iteration ``index`` of an open loop, with its inputs."""
        if loop.iterations is None or loop.spec is None:
            raise ValueError(f"task {loop.path} has no iterations")
        path, kind = f"{loop.path}/{index}", self._kind(loop.component)
        node = Node(self._identity(path, loop), path, loop.name, kind, loop.component, loop.spec, loop, index)
        node.inputs = with_item(loop.spec, loop.component, loop.inputs, loop.iterations.items[index])
        loop.iterations.children[index] = node
        return self._add(node)

    def remove(self, node: Node) -> list[str]:
        """Undo a task with all below it; it is undecided again. Returns the ids of what is gone."""
        if node is self.root:
            self.root = None
        if node.parent and node.parent.scope:
            del node.parent.scope.children[node.name]
        gone: list[str] = []
        pending = [node]
        while pending:
            each = pending.pop()
            del self.nodes[each.id]
            gone.append(each.id)
            pending += each.inside()
        return gone

    def open(self, node: Node) -> Scope:
        """Give a DAG its inside, with nothing decided."""
        name = node.spec.component_ref.name if node.spec else ""
        if name not in self._plans:
            if node.component.dag is None:
                raise ValueError(f"task {node.path} is no DAG")
            self._plans[name] = plan(node.component.dag)
        made = self._plans[name]
        node.scope = Scope(made, dict(made.waits), dict.fromkeys(made.waits))
        return node.scope

    def restore(self, tasks: Iterable[TaskFacts]) -> None:
        """Rebuild the tree from rows, whatever their order."""
        places: dict[str, Node] = {}
        for facts in sorted(tasks, key=lambda each: each.path.count("/")):
            above, _, segment = facts.path.rpartition("/")
            parent = places.get(above)
            if parent is None:
                node = self.add_root()
            elif parent.kind == LOOP:
                node = self.add_iteration(parent, int(segment))
            else:
                node, _ = self.add_child(parent, segment)
            self._rename(node, facts.id)
            places[facts.path] = node
            node.state, node.outputs, node.error = facts.state, facts.outputs, facts.error
            node.attempt, node.launched = facts.attempt, facts.launched
            if node.iteration is None:
                node.inputs = facts.inputs
            if node.kind == LOOP and node.spec is not None:
                items = loop_items(node.spec, node.inputs) if facts.iteration_count else None
                node.iterations = Iterations(items or [], node.spec.iterator_policy.parallelism_limit)
            elif node.component.dag is not None:
                self.open(node)
        self.recount(self.nodes.values())

    def recount(self, nodes: Iterable[Node]) -> None:
        """Bring the counters of ``nodes``, which come after their parents, in line with what is below them."""
        for node in reversed(list(nodes)):
            node.below = Failures()
            for child in node.inside():
                node.below.add(child.failures)
            if node.iterations:
                node.iterations.active = sum(not child.ended for child in node.inside())
                node.iterations.failed = any(child.state == FAILED for child in node.inside())
            if node.scope:
                self._recount_scope(node, node.scope.children)

    def _recount_scope(self, node: Node, children: dict[str, Node]) -> None:
        scope = self.open(node)
        scope.children = children
        for name, child in children.items():
            scope.undecided.pop(name, None)
            if child.ended:
                release(scope, name, well=child.well)
                scope.failed = scope.failed or child.state == FAILED
            else:
                scope.active += 1
        if scope.failed:
            omit_after_failure(scope)

    def _kind(self, component: ComponentSpec) -> str:
        if component.dag is not None:
            return DAG
        return IMPORTER if self.spec.executor(component).importer else CONTAINER

    def _identity(self, path: str, parent: Node | None) -> str:
        lives = [str(self.generation)] if self.generation else []
        while parent is not None:
            if parent.attempt:
                lives.append(f"{parent.path}:{parent.attempt}")
            parent = parent.parent
        return task_id(self.run_id, path, " ".join(lives))

    def _rename(self, node: Node, identity: str) -> None:
        """What was decided in an earlier life keeps its id."""
        if node.id != identity:
            del self.nodes[node.id]
            node.id = identity
            self.nodes[identity] = node

    def _add(self, node: Node) -> Node:
        self.nodes[node.id] = node
        return node


def release(scope: Scope, name: str, *, well: bool) -> list[str]:
    """A task is decided for good: count it at those that wait for it; returns who waits for nothing any more."""
    ready: list[str] = []
    for dependent in scope.plan.dependents[name]:
        scope.waiting[dependent] -= 1
        if not well:
            scope.blocked.add(dependent)
        if scope.waiting[dependent] == 0 and dependent in scope.undecided:
            ready.append(dependent)
    return ready


def omit_after_failure(scope: Scope) -> list[str]:
    """Nothing new starts after a failure, except the tolerant: decide all others now; returns who became ready."""
    omitted = [name for name in scope.undecided if name not in scope.plan.tolerant]
    for name in omitted:
        del scope.undecided[name]
    ready: list[str] = []
    for name in omitted:
        ready += release(scope, name, well=False)
    return ready
